//! Only a worker becomes a worker: whatever a stranger forges, `main` runs as ever (F62).

mod fixtures;
mod support;

#[path = "forged_markers/forger.rs"]
mod forger;
#[path = "forged_markers/rights.rs"]
mod rights;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::process::{Command, Stdio};

use fixtures::{ended, program, tests_with};
use forger::{Letter, MARKER, mark, pair};
use rustix::net::{Shutdown, SocketType};

/// What `main` prints of what it could read, and its own exit code.
fn as_ever(read: &[u8]) -> (String, Option<i32>) {
    (format!("main ran and read {read:?}\n"), Some(17))
}

/// Starts the program with this standard input and a marker that would be right.
fn started_with(stdin: impl Into<Stdio>) -> Command {
    let mut command = program("hooked");
    command.env(MARKER, mark()).stdin(stdin);
    command
}

/// What becomes of the program when a stranger's socket is its standard input. The other end is closed, so that
/// `main` comes to the end of what was sent.
fn after(letter: &Letter) -> (String, Option<i32>) {
    let (ours, theirs) = pair(SocketType::STREAM);
    letter.send(&ours);
    drop(ours);
    ended(&mut started_with(theirs))
}

/// Starts the program as a worker would be started, and tells whether it reports ready. It ends with its socket,
/// whether it is a worker or comes to `main`.
fn becomes_a_worker(command: &mut Command, letter: &Letter) -> bool {
    let (ours, theirs) = pair(SocketType::STREAM);
    letter.send(&ours);
    rustix::net::shutdown(&ours, Shutdown::Write).expect("a connected socket");
    let mut child =
        command.env(MARKER, mark()).stdin(theirs).stdout(Stdio::piped()).spawn().expect("it starts");
    // The command holds their end for as long as it might start more.
    command.stdin(Stdio::null());
    let mut header = [0; forger::HEADER];
    // An end instead of a header is an answer as well.
    let reported = File::from(ours).read_exact(&mut header).is_ok();
    let mut output = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut output).expect("text");
    let code = child.wait().expect("it ends").code();
    if reported {
        assert_eq!(header[0], forger::READY);
        assert_eq!((output.as_str(), code), ("", Some(0)), "a worker does not come to `main`");
    } else {
        assert_eq!((output, code), as_ever(&letter.bytes));
    }
    reported
}

tests_with! {
    Hooked;

    /// All other tests of this file differ from this one in one thing, or they would prove nothing.
    fn with_everything_as_it_should_be_it_is_a_worker() {
        assert!(becomes_a_worker(&mut program("hooked"), &Letter::right()));
    }

    fn a_variable_alone_is_nothing() {
        let right = mark();
        let short = &right[..right.len() - 1];
        let words: [&[u8]; 8] =
            [b"", b"garbage", &[b'f'; 32], short.as_bytes(), right.as_bytes(), b"-", b"\xff\xfe", &[b'0'; 100_000]];
        for word in words {
            let output = ended(program("hooked").env(MARKER, OsStr::from_bytes(word)));
            assert_eq!(output, as_ever(b""), "{}", String::from_utf8_lossy(word));
        }
    }

    fn a_file_or_a_pipe_as_standard_input_is_left_to_main() {
        let bytes = Letter::right().bytes;
        let mut file = File::from(rustix::fs::memfd_create("a file", rustix::fs::MemfdFlags::CLOEXEC).expect("memory"));
        file.write_all(&bytes).and_then(|()| file.rewind()).expect("a file that can be written");
        assert_eq!(ended(&mut started_with(file)), as_ever(&bytes));
        let (reader, mut writer) = std::io::pipe().expect("a pipe");
        writer.write_all(&bytes).expect("room in the pipe");
        drop(writer);
        assert_eq!(ended(&mut started_with(reader)), as_ever(&bytes));
    }

    fn a_strangers_socket_keeps_every_byte_for_main() {
        let right = Letter::right();
        let strange: [(&str, Letter); 9] = [
            ("nothing", Letter::text(b"")),
            ("text", Letter::text(b"GET / HTTP/1.0\r\n\r\n")),
            ("more text than a hello has", Letter::text(&[b'x'; 100_000])),
            ("half a header", right.cut(17)),
            ("half a hello", right.cut(right.bytes.len() - 3)),
            ("a hello with another nonce", Letter::with_nonce([7; 16])),
            ("a frame of another kind", Letter::of_kind(3)),
            ("a length beyond any limit", Letter::claiming(1 << 40)),
            ("a hello with bytes too many", Letter::longer()),
        ];
        for (what, letter) in strange {
            assert_eq!(after(&letter), as_ever(&letter.bytes), "{what}");
        }
    }

    fn a_right_hello_without_its_descriptors_is_nothing() {
        for count in [0, 1, 3] {
            let letter = Letter::right().with_descriptors(count);
            assert_eq!(after(&letter), as_ever(&letter.bytes), "{count} descriptors");
        }
        let letter = Letter::right().with_files();
        assert_eq!(after(&letter), as_ever(&letter.bytes), "descriptors of files");
    }

    fn another_kind_of_socket_is_nothing() {
        let letter = Letter::right();
        let (ours, theirs) = pair(SocketType::SEQPACKET);
        letter.send(&ours);
        drop(ours);
        // A message of such a socket is read at once or lost, so how much `main` sees depends on how it reads.
        let (told, code) = ended(&mut started_with(theirs));
        assert!(told.starts_with("main ran and read [1, 0, 0, 0,"), "{told}");
        assert_eq!(code, Some(17));

        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let mut ours = std::net::TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (theirs, _) = listener.accept().expect("a connection");
        ours.write_all(&letter.bytes).expect("room in the socket");
        drop(ours);
        assert_eq!(ended(&mut started_with(OwnedFd::from(theirs))), as_ever(&letter.bytes));
    }

    fn a_socket_made_by_somebody_else_than_the_parent_is_nothing() {
        let letter = Letter::right();
        let (ours, theirs) = pair(SocketType::STREAM);
        letter.send(&ours);
        drop(ours);
        let mut shell = Command::new("sh");
        // Not the shell's last command, which it may become instead of starting it.
        shell.args(["-c", "\"$0\"; exit $?"]).arg(program("hooked").get_program());
        shell.env_remove("FIXTURE").env(MARKER, mark()).stdin(theirs);
        assert_eq!(ended(&mut shell), as_ever(&letter.bytes));
    }

    fn a_worker_that_does_not_recognise_itself_has_no_workers() {
        let (told, code) = ended(program("hooked").env(MARKER, mark()).env("FIXTURE", "pool"));
        assert!(told.starts_with("procpool is not initialised"), "{told}");
        assert_eq!(code, Some(1));
    }

    fn a_variable_that_nobody_made_keeps_nobody_from_having_a_pool() {
        for word in ["garbage", "00000000000000000000000000000000-1"] {
            let output = ended(program("hooked").env(MARKER, word).env("FIXTURE", "pool"));
            assert_eq!(output, ("Ok(42)\n".to_owned(), Some(0)), "{word}");
        }
    }
}

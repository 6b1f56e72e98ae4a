//! What the workers do: mostly their work.

use std::time::Duration;

use procpool::task;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::page;

/// What the body of a task does beside its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Act {
    Work,
    Fail,
    Panic,
    Endless,
    Exit,
    Abort,
    Segfault,
    Overflow,
    NoMemory,
    Daemonise,
    CloseChannel,
    Garbage,
}

impl Act {
    /// The worker does not survive it.
    pub(crate) fn is_deadly(self) -> bool {
        !matches!(self, Act::Work | Act::Fail | Act::Panic | Act::Endless)
    }
}

/// Nobody reads what a million crashes print.
#[task]
pub(crate) fn be_quiet() {
    // SAFETY: plain system calls on descriptors of this process.
    unsafe {
        let null = libc::open(c"/dev/null".as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        libc::dup2(null, 2);
        libc::close(null);
    }
}

/// The text that a task returns.
pub(crate) fn answer(id: u32, size: usize) -> String {
    let letter = char::from(b'a' + (id % 26) as u8);
    std::iter::repeat_n(letter, size).collect()
}

#[task]
pub(crate) fn work(
    page: &str,
    id: u32,
    act: Act,
    micros: u64,
    input: &str,
    size: usize,
) -> Result<String, u32> {
    let page = page::of_this_worker(page);
    page.started(id);
    assert!(input.bytes().all(|byte| byte == b'x'), "the arguments are whole");
    std::thread::sleep(Duration::from_micros(micros));
    match act {
        Act::Work | Act::Fail | Act::Panic => {}
        Act::Endless => loop {
            std::thread::park()
        },
        Act::Exit => std::process::exit(0),
        Act::Abort => std::process::abort(),
        // SAFETY: it is to crash.
        Act::Segfault => unsafe { std::ptr::null_mut::<u8>().write_volatile(1) },
        Act::Overflow => drop(overflow(0)),
        Act::NoMemory => drop(Vec::<u8>::with_capacity(isize::MAX as usize)),
        // SAFETY: a plain fork; the child does nothing but wait and end.
        Act::Daemonise => unsafe {
            if libc::fork() == 0 {
                libc::setsid();
                libc::usleep(300_000);
                libc::_exit(0);
            }
            libc::_exit(5);
        },
        Act::CloseChannel => spoil(|channel| {
            let _ = rustix::net::shutdown(channel, rustix::net::Shutdown::Both);
        }),
        Act::Garbage => spoil(|channel| {
            let _ = rustix::io::write(channel, &[0xEE; 100]);
        }),
    }
    page.finished(id);
    match act {
        Act::Panic => panic!("as it was told"),
        Act::Fail => Err(id),
        _ => Ok(answer(id, size)),
    }
}

#[expect(unconditional_recursion, reason = "the stack is to overflow")]
fn overflow(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 512]);
    overflow(depth + 1) + page[7]
}

/// Does something to the worker's channel, and waits for the consequences.
fn spoil(act: impl FnOnce(std::os::fd::BorrowedFd<'_>)) {
    let sockets = std::fs::read_dir("/proc/self/fd").expect("descriptors").filter_map(Result::ok);
    let channel = sockets
        .filter(|entry| {
            std::fs::read_link(entry.path()).is_ok_and(|to| to.to_string_lossy().starts_with("socket:"))
        })
        .find_map(|entry| entry.file_name().to_str()?.parse().ok())
        .expect("a channel");
    // SAFETY: the channel is open as long as the worker lives.
    act(unsafe { std::os::fd::BorrowedFd::borrow_raw(channel) });
    loop {
        std::thread::park();
    }
}

/// Values that refuse to travel.
pub(crate) struct Stubborn;

impl Serialize for Stubborn {
    fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
        Err(serde::ser::Error::custom("it does not want to"))
    }
}

impl<'de> Deserialize<'de> for Stubborn {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Stubborn, D::Error> {
        Err(serde::de::Error::custom("it does not want to"))
    }
}

#[task]
pub(crate) fn refuse(page: &str, id: u32) -> Stubborn {
    let page = page::of_this_worker(page);
    page.started(id);
    page.finished(id);
    Stubborn
}

//! Pipes and a socketpair, blocking on both sides.

use std::io::{Read, Write};
use std::marker::PhantomData;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;

use super::{Ended, other_side};
use crate::contest::Contestant;

const BLOCK: usize = 64 * 1024;

/// A way to the other side and back.
pub(super) trait Way {
    fn open() -> (Ended, Box<dyn Write + Send>, Box<dyn Read + Send>);
}

pub(super) struct Pipe;

impl Way for Pipe {
    fn open() -> (Ended, Box<dyn Write + Send>, Box<dyn Read + Send>) {
        let mut child = other_side("stream", Stdio::piped(), Stdio::piped());
        let (to, from) = (child.stdin.take().expect("a pipe"), child.stdout.take().expect("a pipe"));
        for pipe in [to.as_fd(), from.as_fd()] {
            // Where a user may not have so much, the pipe stays as it was.
            let _ = rustix::pipe::fcntl_setpipe_size(pipe, 1024 * 1024);
        }
        (Ended(child), Box::new(to), Box::new(from))
    }
}

pub(super) struct Socketpair;

impl Way for Socketpair {
    fn open() -> (Ended, Box<dyn Write + Send>, Box<dyn Read + Send>) {
        let (ours, theirs) = UnixStream::pair().expect("a socketpair");
        let theirs: OwnedFd = theirs.into();
        let child = other_side("stream", theirs.try_clone().expect("a descriptor").into(), theirs.into());
        (Ended(child), Box::new(ours.try_clone().expect("a descriptor")), Box::new(ours))
    }
}

pub(super) fn be_other_side() {
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let output_file = output.as_fd().try_clone_to_owned().expect("a descriptor");
    let input_file = input.as_fd().try_clone_to_owned().expect("a descriptor");
    // Past the buffers of the standard streams, which look for ends of lines.
    let (mut input_file, mut output_file) =
        (std::fs::File::from(input_file), std::fs::File::from(output_file));
    let mut block = vec![0; 16 * BLOCK];
    while let Ok(count @ 1..) = input_file.read(&mut block) {
        if output_file.write_all(&block[..count]).is_err() {
            break;
        }
    }
    let _ = (input.read(&mut []), output.flush());
}

pub(super) struct Stream<W> {
    to: Box<dyn Write + Send>,
    from: Box<dyn Read + Send>,
    _other: Ended,
    way: PhantomData<W>,
}

impl<W> Stream<W> {
    fn back(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut back = vec![0; bytes.len()];
        if bytes.len() <= BLOCK {
            self.to.write_all(bytes).expect("the other side reads");
            self.from.read_exact(&mut back).expect("the other side writes");
            return back;
        }
        // More than the kernel holds: both directions at once.
        std::thread::scope(|scope| {
            scope.spawn(|| self.to.write_all(bytes).expect("the other side reads"));
            self.from.read_exact(&mut back).expect("the other side writes");
        });
        back
    }
}

impl<W: Way> Contestant for Stream<W> {
    fn start(_workers: usize) -> Stream<W> {
        let (other, to, from) = W::open();
        Stream { to, from, _other: other, way: PhantomData }
    }

    fn one(&mut self, n: u64) -> Option<u64> {
        let mut word = n.to_ne_bytes();
        self.to.write_all(&word).expect("the other side reads");
        self.from.read_exact(&mut word).expect("the other side writes");
        Some(u64::from_ne_bytes(word) + 1)
    }

    /// Eight bytes for each, in writes as large as can be.
    fn many(&mut self, count: u64) -> Option<u64> {
        let bytes: Vec<u8> = (0..count).flat_map(u64::to_ne_bytes).collect();
        let back = self.back(&bytes);
        Some(back.chunks_exact(8).map(|word| u64::from_ne_bytes(word.try_into().expect("8 bytes")) + 1).sum())
    }

    fn echo(&mut self, bytes: Vec<u8>) -> Option<Vec<u8>> {
        Some(self.back(&bytes))
    }
}

//! What workers write, where the pool keeps it: pipes that are always emptied, and of each the last bytes.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::{Errno, read};
use rustix::pipe::{PipeFlags, pipe_with};

use super::machine::LaneNo;
use super::poller::{Poller, Token, What};
use crate::sys::fd::above_standard;

/// What is taken out of a pipe in one turn. More than a pipe holds: whoever looks finds what was there before.
const TURN: usize = 1 << 20;

/// The two streams of all workers of a pool, as far as they are kept.
#[derive(Debug, Default)]
pub(crate) struct Outputs {
    pub(crate) stdout: Option<Output>,
    pub(crate) stderr: Option<Output>,
}

#[derive(Debug)]
pub(crate) struct Output {
    pipe: OwnedFd,
    kept: Mutex<VecDeque<u8>>,
    /// How many bytes are kept.
    most: usize,
}

impl Outputs {
    /// From now on the poller tells when there is something.
    pub(super) fn watch(&self, poller: &Poller) -> io::Result<()> {
        for (number, output) in [&self.stdout, &self.stderr].into_iter().enumerate() {
            if let Some(output) = output {
                let token = Token { what: What::Output, lane: LaneNo(number), life: 0 };
                poller.add(output.pipe.as_fd(), token)?;
            }
        }
        Ok(())
    }

    /// Takes what is there.
    pub(super) fn drain(&self) {
        for output in [&self.stdout, &self.stderr].into_iter().flatten() {
            output.drain(&mut output.kept());
        }
    }

    /// The pool has ended: takes what is there, and nobody tells of more.
    pub(super) fn end(&self, poller: &Poller) {
        self.drain();
        for output in [&self.stdout, &self.stderr].into_iter().flatten() {
            poller.remove(output.pipe.as_fd());
        }
    }
}

impl Output {
    /// Keeps the last so many bytes of what is written to the end that is given with it.
    pub(crate) fn new(most: usize) -> io::Result<(Output, OwnedFd)> {
        let (pipe, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        let (pipe, theirs) = (above_standard(pipe)?, above_standard(theirs)?);
        // This end only: who writes waits for room, as with every pipe.
        fcntl_setfl(&pipe, OFlags::NONBLOCK)?;
        Ok((Output { pipe, kept: Mutex::default(), most }, theirs))
    }

    fn kept(&self) -> MutexGuard<'_, VecDeque<u8>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn drain(&self, kept: &mut VecDeque<u8>) {
        let mut buffer = [0; 16 << 10];
        let mut turn = TURN;
        while turn > 0 {
            match read(&self.pipe, &mut buffer) {
                Ok(count @ 1..) => {
                    turn = turn.saturating_sub(count);
                    let new = &buffer[count.saturating_sub(self.most)..count];
                    let excess = (kept.len() + new.len()).saturating_sub(self.most);
                    kept.drain(..excess);
                    kept.extend(new);
                }
                Err(Errno::INTR) => {}
                Ok(0) | Err(_) => return,
            }
        }
    }

    /// The last bytes that were written. A copy of the program, made by `fork`, takes nothing away from the original.
    pub(crate) fn last(&self, is_copy: bool) -> Vec<u8> {
        let mut kept = self.kept();
        if !is_copy {
            self.drain(&mut kept);
        }
        kept.iter().copied().collect()
    }
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn the_last_bytes_are_kept_and_no_more() {
        let (output, to) = Output::new(10).unwrap();
        let write = |text: &str| assert_eq!(rustix::io::write(&to, text.as_bytes()).unwrap(), text.len());
        assert_eq!(output.last(false), b"");
        write("0123456");
        assert_eq!(output.last(true), b"", "what is in the pipe is the original's");
        assert_eq!(output.last(false), b"0123456");
        write("789abc");
        assert_eq!(output.last(false), b"3456789abc");
        write(&"x".repeat(40_000));
        write("end");
        assert_eq!(output.last(false), b"xxxxxxxend");
        assert!(output.kept().capacity() < 100);
    }
}

//! Queues among what `connection::wait` waits for.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::{Consumer, JoinableQueue, Queue, SimpleQueue};
use crate::pipe::Waitable;

impl<T> Waitable for Consumer<T> {
    fn waited_for(&self) -> BorrowedFd<'_> {
        self.side.bell.handle.as_fd()
    }

    fn is_ready(&self) -> bool {
        !self.empty() || self.side.bell.is_gone()
    }

    fn prepare(&self) -> io::Result<bool> {
        self.store().look(&self.side.bell, &self.side.parcels)
    }

    fn has_something(&self, _: bool) -> bool {
        self.is_ready()
    }
}

macro_rules! as_their_consumers {
    ($($queue:ident: $consumer:ident$(.$inner:ident)?;)*) => {$(
        impl<T> Waitable for $queue<T> {
            fn waited_for(&self) -> BorrowedFd<'_> {
                self.$consumer$(.$inner)?.waited_for()
            }

            fn is_ready(&self) -> bool {
                self.$consumer$(.$inner)?.is_ready()
            }

            fn prepare(&self) -> io::Result<bool> {
                self.$consumer$(.$inner)?.prepare()
            }

            fn has_something(&self, readable: bool) -> bool {
                self.$consumer$(.$inner)?.has_something(readable)
            }
        }
    )*};
}

as_their_consumers! { Queue: consumer; JoinableQueue: queue.consumer; SimpleQueue: queue.consumer; }

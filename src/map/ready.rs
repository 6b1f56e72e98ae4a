//! Results that have come and have not been given.

use crate::error::TaskError;
use crate::sys::plain::Numbers;
use crate::task::guarded;

pub(super) enum Ready<T> {
    Results(std::vec::IntoIter<Result<T, TaskError>>),
    /// As they came: each becomes a value when it is given.
    Numbers(Numbers<T>),
}

impl<T> Ready<T> {
    pub(super) fn none() -> Ready<T> {
        Ready::Results(Vec::new().into_iter())
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Ready::Results(results) => results.len(),
            Ready::Numbers(numbers) => numbers.len(),
        }
    }
}

impl<T> Iterator for Ready<T> {
    type Item = Result<T, TaskError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Ready::Numbers(numbers) => numbers.next().map(Ok),
            Ready::Results(results) => results.next(),
        }
    }
}

/// To drop a value is the user's code, and these values nobody has seen: a panic of one is its own affair.
impl<T> Drop for Ready<T> {
    fn drop(&mut self) {
        if let Ready::Results(results) = self {
            for result in results {
                let _ = guarded(|| drop(result));
            }
        }
    }
}

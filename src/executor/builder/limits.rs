//! Bounds that the kernel keeps.

use crate::limits::Limits;

use super::Builder;

impl Builder {
    /// Keeps each worker within bounds of memory, CPU time, open files and the like. The default is what
    /// [`Limits::new`] says.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Limits, ProcessPoolExecutor};
    ///
    /// let pool = ProcessPoolExecutor::builder().limits(Limits::new().nice(5).open_files(128)).build()?;
    /// # let _ = pool;
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn limits(mut self, limits: Limits) -> Builder {
        self.limits = limits;
        self
    }
}

//! Faults on demand.

use crate::error::StartError;
use crate::faults::{Faults, Script};

use super::Builder;

impl Builder {
    /// Lets faults strike the pool's workers, by a script: to test how a program copes with them. With the feature
    /// `faults` only.
    ///
    /// # Examples
    ///
    /// ```
    /// use procpool::{Fault, Faults, ProcessPoolExecutor, task};
    ///
    /// #[task]
    /// fn double(n: u32) -> u32 {
    ///     2 * n
    /// }
    ///
    /// let faults = Faults::new().on_task(2, Fault::Abort);
    /// let pool = ProcessPoolExecutor::builder().faults(faults).build()?;
    /// let outcomes: Vec<bool> = (1..=3).map(|n| pool.submit(double, n).result().is_ok()).collect();
    /// assert_eq!(outcomes, [true, false, true]);
    /// # Ok::<(), procpool::StartError>(())
    /// ```
    pub fn faults(mut self, faults: Faults) -> Builder {
        if let Some(mistake) = faults.mistake() {
            self.mistake.get_or_insert(StartError::invalid(mistake));
        }
        self.faults = Script::new(faults);
        self
    }
}

//! What runs: the [`Task`] trait, one call of a task in a worker, and the table of all tasks.

mod call;
mod registry;
pub(crate) mod traces;

pub use call::{Call, Reply};
pub(crate) use call::{LARGE, Payload, Several, Stages, guarded};
pub use registry::{Entry, Numbered, Returns, ReturnsAnything, TASKS, WrittenOnCancel};
pub(crate) use registry::{Registry, TaskNumber};

use serde::{Serialize, de::DeserializeOwned};

/// A function that worker processes can run, made by [`#[task]`](macro@crate::task).
///
/// `#[task] fn f` turns `f` into a unit value of the same name that implements this trait and derefs to the
/// function pointer, so `pool.submit(f, 7)` sends it to a worker and `f(7)` still is an ordinary call. There
/// is no other way to implement it that is part of the public surface.
///
/// # Examples
///
/// ```
/// use procpool::{Task, task};
///
/// #[task]
/// fn double(n: u32) -> u32 {
///     2 * n
/// }
///
/// fn name_of<T: Task>(_task: T) -> &'static str {
///     T::NAME
/// }
///
/// assert!(name_of(double).ends_with("double"));
/// assert_eq!(double(21), 42);
/// ```
///
/// Slices of numbers cross as they are in memory, wherever in a value they stand, and a large `Vec<u8>` or `String`
/// becomes the memory of its message:
///
/// ```
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn scale(samples: Vec<f32>, factor: f32) -> Vec<f32> {
///     samples.into_iter().map(|sample| sample * factor).collect()
/// }
///
/// #[task]
/// fn invert(mut image: Vec<u8>) -> Result<Vec<u8>, String> {
///     image.iter_mut().for_each(|byte| *byte = !*byte);
///     Ok(image)
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// assert_eq!(pool.submit(scale, (vec![1.5; 100_000], 2.0)).result()?, vec![3.0; 100_000]);
/// assert_eq!(pool.submit(invert, vec![0; 1_000_000]).result()??, vec![255; 1_000_000]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a task",
    label = "workers only know functions marked with `#[task]`",
    note = "write `#[procpool::task]` over the function and pass its name, without parentheses"
)]
pub trait Task: Copy + Send + Sync + 'static {
    /// The arguments as the caller passes them: `()` for none, the value itself for one, a tuple for several.
    type Args<'a>: Serialize;

    /// What the function returns.
    type Output: Serialize + DeserializeOwned + 'static;

    /// The name under which the task is registered: its module path, or what `name = "…"` says.
    const NAME: &'static str;

    #[doc(hidden)]
    const ENTRY: &'static Entry;
}

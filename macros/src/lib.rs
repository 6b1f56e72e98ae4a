//! The `#[task]` attribute of procpool. Use it through that crate, as `procpool::task`.

mod args;
mod attributes;
mod expand;
mod lifetimes;
mod signature;

use proc_macro::TokenStream;
use quote::quote;

/// Makes a function a task: something that worker processes can run.
///
/// ```text
/// use procpool::{ProcessPoolExecutor, task};
///
/// #[task]
/// fn count(text: &str, letter: char) -> usize {
///     text.chars().filter(|&c| c == letter).count()
/// }
///
/// let pool = ProcessPoolExecutor::new()?;
/// let there = pool.submit(count, ("banana", 'a')).await?;    // in a worker process
/// let here = count("banana", 'a');                           // an ordinary call, as before
/// ```
///
/// The function becomes a value of the same name, which implements `Task` and derefs to the function pointer:
/// `count(…)` still is a call, also in the body of `count` itself, and `*count` is the pointer where a plain
/// function is wanted, as in `iter.map(*count)`. Visibility and documentation stay, and so does the warning about
/// a function that nobody uses. Works in modules and inside of functions.
///
/// # Arguments
///
/// A task takes up to twelve arguments. The caller of `submit` passes `()` for none, the value itself for one and
/// a tuple for several. Their types implement serde's `Serialize` and `Deserialize`; they may borrow:
///
/// | argument | the caller passes | the worker decodes |
/// |---|---|---|
/// | `T` | `T` | `T` |
/// | `&str`, `&[u8]` | the reference | without a copy |
/// | `&[T]`, `&Path`, `&OsStr`, `&CStr` | the reference | `Vec<T>`, `PathBuf`, `OsString`, `CString`, and lends it |
/// | any other `&T` | the reference | `T`, and lends it |
/// | `Option<&str>`, `(&str, u8)`, `Cow<'_, str>`, `Yours<'_>` | the same, borrowed | borrowed, as serde does |
///
/// A lifetime in a path is written, if only as `'_`. Lifetime parameters (`fn f<'a>(x: &'a str)`) are fine. Patterns
/// are fine.
///
/// # Result
///
/// A task returns an owned value that implements serde's `Serialize` and `Deserialize`, or nothing. A `Result<T, E>`
/// of yours comes back as it is, with your `E`.
///
/// # What is fast
///
/// Slices and vectors of numbers and of `bool`, text and bytes are copied as a whole and not element by element,
/// wherever in a value they stand: `Vec<u8>`, `&[f64]`, `Box<[u64]>`, `String`, `Option<Vec<i32>>`, or a struct with
/// such fields. `&str` and `&[u8]` are not even copied in the worker, and a `Vec<u8>` or `String` that makes up most of
/// its message becomes the message's own memory, on both sides. Other lists, such as a `Vec` of structs, a `VecDeque` or
/// a `HashMap`, are taken apart: where there is much of it, one vector per field is faster than one struct per element.
///
/// # Async functions
///
/// The worker runs an `async fn` to its end before it takes the next task. Called here, such a task returns a boxed
/// future, so that it can call itself; that future is not `Send`.
///
/// # Options
///
/// ```text
/// #[task(name = "shop/price/1", timeout = "1m30s", on_cancel = "kill")]
/// fn price(article: Article) -> Price { … }
/// ```
///
/// - `name = "…"`: the name of the task in errors and logs. Without it, the path of the function. A name chosen
///   here must be unique in the program.
/// - `timeout = "30s"`: the longest time that the body may run, if the caller does not say otherwise. Whole numbers
///   with a unit of `ms`, `s`, `m` or `h`, or several of these.
/// - `retries = 2`: how often the task is tried again when its worker dies or it runs out of time, if the caller does
///   not say otherwise.
/// - `on_cancel = "kill"`, `"cooperate"` or `"finish"`: whether the worker is killed, or the task asked to stop, if it is
///   cancelled while it runs, if the caller does not say otherwise.
/// - `crate = path`: where procpool is, if it is not `::procpool`.
///
/// # What is refused
///
/// The worker finds a task by its name and knows nothing but the encoded arguments. So there are no type or const
/// parameters, no `impl Trait`, no `self`, no `&mut`, and no result that borrows; `unsafe`, `extern` and `const`
/// functions cannot be tasks, but a task can call them. The error says what to do instead.
///
/// Because the name is that of a value, not of a function, a variable cannot have it: with a task `count` in scope,
/// write `let counted = …`. And a `pub` task must not have private types in its signature.
///
/// # Other attributes
///
/// `cfg` and lint levels apply as they would to the function. Documentation and `deprecated` go to the value;
/// everything else, such as `inline` or the attribute of another crate, goes to the function with the body.
/// `must_use` has no effect on calls, because they go through the pointer.
#[proc_macro_attribute]
pub fn task(options: TokenStream, item: TokenStream) -> TokenStream {
    let original = proc_macro2::TokenStream::from(item.clone());
    let expanded = syn::parse(options)
        .and_then(|options| syn::parse(item).and_then(|function| expand::task(&options, &function)));
    let expanded = expanded.unwrap_or_else(|refusal| {
        // The function stays, so that its callers do not add errors of their own.
        let refusal = refusal.into_compile_error();
        quote!(#refusal #original)
    });
    expanded.into()
}

//! The attributes of procpool, `#[task]` and `#[managed]`. Use them through that crate, as `procpool::task`.

mod args;
mod attributes;
mod expand;
mod lifetimes;
mod managed;
mod signature;

use proc_macro::TokenStream;
use quote::quote;
use syn::parse::Parse;

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
    beside_refusals(options, item, |options, function| expand::task(&options, &function))
}

/// Lets the methods of a type be called from other processes: writes a proxy for it.
///
/// ```text
/// use procpool::{Manager, managed};
///
/// struct Account { balance: u64 }
///
/// #[managed]
/// impl Account {
///     pub fn open(deposit: u64) -> Account { Account { balance: deposit } }
///     pub fn withdraw(&mut self, amount: u64) -> Result<u64, TooMuch> { … }
///     pub fn balance(&self) -> u64 { self.balance }
/// }
///
/// let manager = Manager::new()?;                              // a process that keeps objects
/// let account = AccountProxy::open(&manager, 100).await?;     // makes one there
/// let left = account.withdraw(30).await??;                    // from any process that has the proxy
/// ```
///
/// The block stays as it is. Beside it comes a type of the name of the type and `Proxy`, which can be an argument or a
/// result of tasks and methods, a message, and part of any value that is. It has
///
/// * for each function of the block that is `pub`, in whatever form, and has no `self` but returns the type, `Self`, or
///   a `Result` or an `Option` of it: a function of the same name that makes the object in a manager. It takes a
///   `&Manager` and the arguments, and returns a `MethodCall` of the proxy;
/// * for each `pub` method with `&self` or `&mut self`: a method of the same name, with `&self` and the same arguments,
///   that returns a `MethodCall`. Methods with `&self` run side by side, on threads of their own; one with `&mut self`
///   runs alone. If that panics, the object is poisoned, as by a `std::sync::RwLock`, which it is behind;
/// * `host(value)`, which has this very process keep a value, and `proxy()`, with what all proxies can do.
///
/// What is not `pub`, and what stands in other blocks, is not called from outside. The type is `Send` and `Sync`.
///
/// Arguments and results are as those of [`#[task]`](macro@task): owned results, up to twelve arguments, which may
/// borrow; nothing generic, not async. Methods are named by the path of the type in errors.
///
/// # Options
///
/// - `proxy = Name`: the name of the proxy.
/// - `crate = path`: where procpool is, if it is not `::procpool`.
#[proc_macro_attribute]
pub fn managed(options: TokenStream, item: TokenStream) -> TokenStream {
    beside_refusals(options, item, |options, block| managed::managed(&options, &block))
}

/// What `expand` makes of the item; or what is wrong with it, and the item as it is, so that those who use it do not add
/// errors of their own.
fn beside_refusals<O: Parse, I: Parse>(
    options: TokenStream,
    item: TokenStream,
    expand: impl FnOnce(O, I) -> syn::Result<proc_macro2::TokenStream>,
) -> TokenStream {
    let original = proc_macro2::TokenStream::from(item.clone());
    let expanded = syn::parse(options).and_then(|options| expand(options, syn::parse(item)?));
    let expanded = expanded.unwrap_or_else(|refusal| {
        let refusal = refusal.into_compile_error();
        quote!(#refusal #original)
    });
    expanded.into()
}

//! What a panic said and where, for the caller; and last words for panics that nobody can catch.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Once};

use crate::error::Panic;
use crate::primitive::{in_a_thread, thread_local};
use crate::sys::per_process::PerProcess;
use crate::sys::stack;
use crate::task::{Payload, traces};
use crate::transport::Board;

use super::desk::Desk;

/// Bytes of a message or a backtrace that travel, at most.
const TEXT_MAX: usize = 64 << 10;

thread_local! {
    /// The last panic of this thread: place and backtrace.
    static PLACE: RefCell<Option<(String, Option<String>)>> = const { RefCell::new(None) };
    /// Whether this thread runs tasks.
    static SERVING: Cell<bool> = const { Cell::new(false) };
    /// Whether its tasks are those whose last words this process says.
    static SPEAKS: Cell<bool> = const { Cell::new(false) };
}

struct LastWords {
    desk: Arc<Desk>,
    seq: AtomicU64,
}

/// A copy of a worker has no last words, or, as a worker, its own.
static LAST_WORDS: PerProcess<LastWords> = PerProcess::new();

/// Last words have been said.
static SAID: AtomicBool = AtomicBool::new(false);

/// This thread runs the tasks of a worker process from now on: panics leave their place, and those that abort the
/// process their last words.
pub(super) fn serve_with_last_words(desk: Arc<Desk>) {
    let _ = LAST_WORDS.get_or_make(|| Ok::<_, Infallible>(LastWords { desk, seq: AtomicU64::new(0) }));
    SPEAKS.with(|speaks| speaks.set(true));
    stack::watch(|| say("stack overflow"));
    serve();
}

/// This thread runs tasks from now on: panics leave their place.
pub(crate) fn serve() {
    static HOOK: Once = Once::new();
    SERVING.with(|serving| serving.set(true));
    HOOK.call_once(|| {
        let next = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            note(info);
            next(info);
        }));
    });
}

/// The task whose last words the next ones are.
pub(crate) fn begin(seq: u64) {
    PLACE.with(|place| place.replace(None));
    if SPEAKS.with(Cell::get)
        && let Some(words) = LAST_WORDS.get()
    {
        words.seq.store(seq, Ordering::Relaxed);
    }
}

/// What was noted and said so far is not of the call that comes now.
#[inline]
pub(super) fn forget(board: &Board) {
    PLACE.with(|place| {
        if place.borrow().is_some() {
            place.replace(None);
        }
    });
    if SAID.load(Ordering::Relaxed) && SPEAKS.with(Cell::get) {
        SAID.store(false, Ordering::Relaxed);
        board.forget_words();
    }
}

fn say(text: &str) {
    if let Some(words) = LAST_WORDS.get() {
        words.desk.board.say(words.seq.load(Ordering::Relaxed), text);
        SAID.store(true, Ordering::Relaxed);
        traces::leave_elsewhere();
    }
}

fn note(info: &PanicHookInfo<'_>) {
    let message = info.payload_as_str().unwrap_or("non-string payload");
    let location = info.location().map(|location| cut(location.to_string())).unwrap_or_default();
    // Whether this panic can be caught is not known here: a second one during unwinding aborts right after
    // the hook, and so does every one in a program built with `panic = "abort"`. Rust itself panics once more,
    // from its own code, to say that the last one cannot unwind: that text is not the cause.
    if !info.location().is_some_and(|location| location.file().ends_with("core/src/panicking.rs")) {
        say(&format!("{location}\n{message}"));
    }
    if in_a_thread() && SERVING.with(Cell::get) {
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        PLACE.with(|place| place.replace(Some((location, backtrace))));
        traces::leave();
    }
}

/// Puts together what a caught panic said.
pub(crate) fn describe(payload: Payload) -> Panic {
    let (location, backtrace) = match PLACE.with(RefCell::take) {
        Some((location, backtrace)) => (Some(location), backtrace),
        None => (None, None),
    };
    Panic { message: payload.0.map(cut), location, backtrace: backtrace.map(cut) }
}

/// What [`say`] left, read by the parent.
pub(crate) fn last_words(text: &str) -> Panic {
    let (location, message) = text.split_once('\n').unwrap_or(("", text));
    let location = (!location.is_empty()).then(|| location.to_owned());
    Panic { message: Some(message.to_owned()), location, backtrace: None }
}

/// A text that is short enough to travel.
pub(super) fn cut(mut text: String) -> String {
    if text.len() > TEXT_MAX {
        text.truncate(text.floor_char_boundary(TEXT_MAX));
    }
    text
}

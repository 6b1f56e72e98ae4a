//! One call of a method, on its way.

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use super::parcel::{LIMIT, Parcel};
use super::proxy::Place;
use super::talk::{Line, Request, Response};
use crate::error::{CodecSide, Ran, RecvError, SendError, TaskError, TaskErrorKind, WaitTimeout, What};
use crate::pipe::Link;
use crate::scheduler::verdict;
use crate::sys::ready::Interest;
use crate::sys::socket;
use crate::wire::attach::Handles;
use crate::wire::frame::Kind;

/// The call of a method of an object that another process keeps: a `Future` of what it returns.
///
/// The call is sent when it is made, as [`submit`](crate::ProcessPoolExecutor::submit) does; only what does not fit into the
/// socket at once (some 200 KiB, or when hundreds of calls begin at a time) leaves while the result is waited for. Calls that
/// are made before an earlier one has returned begin in any order, also those of one thread: wait for the one before where
/// that matters. Methods with `&self` run beside each other, one with `&mut self` alone; while one of these waits for the
/// others to end, none begins.
///
/// A method that calls its own object through a proxy, or one that calls it back, waits for itself without end, unless both
/// have `&self` and none with `&mut self` waits.
///
/// **Cancellation**: a method that has begun runs to its end. Dropping this loses the result; and the call, if it has not been
/// sent as a whole, or if the last proxy of its object goes away before it begins.
///
/// # Examples
///
/// ```
/// use procpool::Manager;
///
/// # procpool::__private::block_on(async {
/// let manager = Manager::new()?;
/// let names = manager.list::<String>().await?;
/// names.push(&"Ada".to_owned()).await?;                           // on any runtime or none
/// assert_eq!(names.get(0).result()?, Some("Ada".to_owned()));     // blocking
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
#[must_use = "without a look at its outcome, a call that failed is taken for one that did not"]
pub struct MethodCall<T> {
    method: &'static str,
    state: State,
    read: fn(Parcel) -> Result<T, String>,
}

enum State {
    Failed(TaskError),
    OnItsWay(Box<OnItsWay>),
    Over,
}

struct OnItsWay {
    place: Arc<Place>,
    line: Line,
    /// The other end of the line, until it has gone through the door.
    end: Option<OwnedFd>,
    /// To wait at the door with, without waking others who do.
    door: Option<Arc<Link>>,
    sent: bool,
}

/// How far a call has come.
enum Progress {
    Replied(Response),
    /// Until then.
    Held(At, Interest),
}

/// Where a call is held up.
type At = Arc<Link>;

impl OnItsWay {
    /// Sends as much as can be sent without waiting, and says where the rest is held up.
    fn send(&mut self) -> Result<Option<(At, Interest)>, (Ran, TaskErrorKind)> {
        if let Some(end) = &self.end {
            match socket::send_with(self.place.door.as_fd(), &[0], [end.as_fd()]) {
                Ok(()) => self.end = None,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let door =
                        self.door.get_or_insert_with(|| Arc::new(Link::new(self.place.door.handle.clone())));
                    return Ok(Some((Arc::clone(door), Interest::Write)));
                }
                Err(error) => return Err((Ran::No, gone_or(error))),
            }
        }
        if !self.sent {
            match self.line.push() {
                Ok(None) => self.sent = true,
                Ok(Some(interest)) => return Ok(Some((self.line.link(), interest))),
                Err(SendError::Io(error)) => return Err((Ran::No, gone_or(error))),
                Err(_) => return Err((Ran::No, TaskErrorKind::ManagerGone)),
            }
        }
        Ok(None)
    }

    /// Goes on as far as is possible without waiting.
    fn attempt(&mut self) -> Result<Progress, (Ran, TaskErrorKind)> {
        if let Some((at, interest)) = self.send()? {
            return Ok(Progress::Held(at, interest));
        }
        match self.line.try_recv() {
            Ok(Some(response)) => Ok(Progress::Replied(response)),
            Ok(None) => Ok(Progress::Held(self.line.link(), Interest::Read)),
            Err(RecvError::Decode { message }) => {
                let (what, side) = (What::Result, CodecSide::Decode);
                Err((Ran::Yes, TaskErrorKind::Codec { what, side, message }))
            }
            Err(RecvError::Io(error)) => Err((Ran::Maybe, gone_or(error))),
            Err(RecvError::Closed | RecvError::Cut) => Err((Ran::Maybe, TaskErrorKind::ManagerGone)),
            Err(error) => Err((Ran::Maybe, TaskErrorKind::Protocol { message: error.to_string() })),
        }
    }
}

fn gone_or(error: io::Error) -> TaskErrorKind {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => TaskErrorKind::ManagerGone,
        _ => TaskErrorKind::Unreachable { message: error.to_string() },
    }
}

impl<T> MethodCall<T> {
    pub(super) fn new(
        method: &'static str,
        place: &Arc<Place>,
        request: Request,
        read: fn(Parcel) -> Result<T, String>,
    ) -> MethodCall<T> {
        let failed = |kind| MethodCall::failed(method, TaskError::new(method, Ran::No, kind), read);
        let (mut line, end) = match place.peer.line() {
            Ok(line) => line,
            Err(error) => return failed(gone_or(error)),
        };
        match line.put(&request) {
            Ok(()) => {}
            Err(SendError::TooLarge { size, limit }) => {
                return failed(TaskErrorKind::TooLarge { what: What::Args, size, limit });
            }
            Err(error) => {
                let (what, side, message) = (What::Args, CodecSide::Encode, error.to_string());
                return failed(TaskErrorKind::Codec { what, side, message });
            }
        }
        let mut call = OnItsWay { place: Arc::clone(place), line, end, door: None, sent: false };
        match call.send() {
            Ok(_) => MethodCall { method, state: State::OnItsWay(Box::new(call)), read },
            Err((ran, kind)) => MethodCall::failed(method, TaskError::new(method, ran, kind), read),
        }
    }

    pub(super) fn failed(
        method: &'static str,
        error: TaskError,
        read: fn(Parcel) -> Result<T, String>,
    ) -> MethodCall<T> {
        MethodCall { method, state: State::Failed(error), read }
    }
}

impl<T> MethodCall<T> {
    /// The same call, with what its reply means.
    pub(super) fn reading<R>(self, read: fn(Parcel) -> Result<R, String>) -> MethodCall<R> {
        let MethodCall { method, state, .. } = self;
        MethodCall { method, state, read }
    }

    /// Blocks until the method has returned.
    ///
    /// # Errors
    ///
    /// The kinds of [`TaskError`] that a call can have: [`Panicked`](TaskErrorKind::Panicked);
    /// [`Poisoned`](TaskErrorKind::Poisoned), if a method with `&mut self` panicked before;
    /// [`ManagerGone`](TaskErrorKind::ManagerGone), if the process that kept the object has ended, or has no room for a thread
    /// or a descriptor; [`Codec`](TaskErrorKind::Codec) and [`TooLarge`](TaskErrorKind::TooLarge), above 1 GiB;
    /// [`Unreachable`](TaskErrorKind::Unreachable), without room for descriptors here.
    pub fn result(mut self) -> Result<T, TaskError> {
        // Without a deadline nothing runs out.
        self.wait(None).unwrap_or_else(|_| unreachable!("a wait without end ended"))
    }

    /// Blocks until the method has returned or the time is over; then the method goes on, and can be waited for again.
    ///
    /// # Errors
    ///
    /// [`WaitTimeout`] when the time is over, with a `timeout` of zero if the method has not returned now. The inner error
    /// is that of [`result`](MethodCall::result), and [`Invalid`](TaskErrorKind::Invalid) if the
    /// result was taken before.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use procpool::{Manager, managed};
    ///
    /// struct Sleeper;
    ///
    /// #[managed]
    /// impl Sleeper {
    ///     pub fn new() -> Sleeper {
    ///         Sleeper
    ///     }
    ///     pub fn sleep(&self, millis: u64) -> u64 {
    ///         std::thread::sleep(Duration::from_millis(millis));
    ///         millis
    ///     }
    /// }
    ///
    /// let manager = Manager::new()?;
    /// let sleeper = SleeperProxy::new(&manager).result()?;
    /// let mut call = sleeper.sleep(100);
    /// assert!(call.result_timeout(Duration::from_millis(1)).is_err());
    /// assert_eq!(call.result()?, 100);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn result_timeout(&mut self, timeout: Duration) -> Result<Result<T, TaskError>, WaitTimeout> {
        // A deadline beyond the clock's range is none.
        self.wait(Instant::now().checked_add(timeout))
    }

    fn wait(&mut self, until: Option<Instant>) -> Result<Result<T, TaskError>, WaitTimeout> {
        loop {
            match self.attempt() {
                Attempt::Over(outcome) => return Ok(outcome),
                Attempt::Held(at, interest) => match at.wait(interest, until) {
                    Ok(true) => {}
                    Ok(false) => return Err(WaitTimeout {}),
                    Err(error) => return Ok(Err(self.fail(Ran::Maybe, gone_or(error)))),
                },
            }
        }
    }

    /// Goes on as far as is possible without waiting.
    fn attempt(&mut self) -> Attempt<T> {
        let method = self.method;
        let going = match &mut self.state {
            State::OnItsWay(going) => going,
            State::Failed(error) => {
                let error = error.clone();
                self.state = State::Over;
                return Attempt::Over(Err(error));
            }
            State::Over => {
                let message = "the result was already taken from this call".to_owned();
                let error = TaskError::new(method, Ran::Yes, TaskErrorKind::Invalid { message });
                return Attempt::Over(Err(error));
            }
        };
        match going.attempt() {
            Err((ran, kind)) => Attempt::Over(Err(self.fail(ran, kind))),
            Ok(Progress::Replied(response)) => Attempt::Over(self.finish(response)),
            Ok(Progress::Held(at, interest)) => Attempt::Held(at, interest),
        }
    }

    /// It came to nothing.
    fn fail(&mut self, ran: Ran, kind: TaskErrorKind) -> TaskError {
        self.state = State::Over;
        TaskError::new(self.method, ran, kind)
    }

    fn finish(&mut self, response: Response) -> Result<T, TaskError> {
        if let State::OnItsWay(going) = std::mem::replace(&mut self.state, State::Over) {
            let OnItsWay { place, line, .. } = *going;
            place.peer.keep(line);
        }
        match response {
            Response::Replied(tag, parcel) if tag == Kind::Done.tag() => {
                verdict::decoded(self.method, Handles::default(), || (self.read)(parcel))
            }
            Response::Replied(tag, parcel) => {
                let kind = Kind::of_tag(tag);
                Err(verdict::failed_call(self.method, kind, &parcel.bytes, LIMIT as u64))
            }
            Response::Poisoned => Err(TaskError::new(self.method, Ran::No, TaskErrorKind::Poisoned)),
            Response::NoSuchMethod => {
                let message = "the object has no such method".to_owned();
                Err(TaskError::new(self.method, Ran::No, TaskErrorKind::Protocol { message }))
            }
        }
    }
}

/// What came of going on.
enum Attempt<T> {
    Over(Result<T, TaskError>),
    Held(At, Interest),
}

impl<T> Future for MethodCall<T> {
    type Output = Result<T, TaskError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match self.attempt() {
                Attempt::Over(outcome) => return Poll::Ready(outcome),
                Attempt::Held(at, interest) => {
                    if let Err(error) = ready!(at.poll(interest, context)) {
                        return Poll::Ready(Err(self.fail(Ran::Maybe, gone_or(error))));
                    }
                }
            }
        }
    }
}

impl<T> fmt::Debug for MethodCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MethodCall").field("method", &self.method).finish_non_exhaustive()
    }
}

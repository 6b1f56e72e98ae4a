//! Many calls, one after the other, whose results leave together.
//!
//! Each call is taken up for itself, so the parent can take back those that have not begun. Each result is left on the
//! shared page until it is sent, so a worker that dies takes nothing along but the call that it was at.

use std::io::{self, Write};
use std::sync::Arc;

use crate::faults::{self, Point};
use crate::sys::clock;
use crate::task::{Call, Entry, Registry, Reply, Stages, TaskNumber};
use crate::transport::{Board, FEW_CALLS, Message, Progress, RESULTS_MAX};
use crate::wire::attach::Handles;
use crate::wire::codec::Source;
use crate::wire::frame::{Frame, Header, Kind};
use crate::wire::records;

use super::serve::Worker;
use super::{current, panic};

/// Nanoseconds that a result waits for others at the most, while calls are short.
const PATIENCE: u64 = 100_000;
/// Calls between two looks at the clock, at the most.
const STRIDE_MAX: u32 = 64;

/// The steps of one call, told to the parent through the board.
struct OnBoard<'a> {
    board: &'a Board,
    call: u32,
    shows_output: bool,
}

impl Stages for OnBoard<'_> {
    fn starting(&self) {
        self.board.call_is(self.call, Progress::Started);
    }

    fn ended(&self) {
        // To print counts as the call's time: it may take for ever.
        if self.shows_output {
            show_output();
        }
        self.board.call_is(self.call, Progress::Finished);
    }
}

/// What calls printed is seen before their results are sent. It costs more than a short call, so of many short ones it is
/// not seen before their results are left: those who take them from there are in a hurry, because the next call is slow, or
/// find a worker that is dead.
fn show_output() {
    let _ = io::stdout().flush();
}

/// Results on their way out.
struct Batch {
    seq: u64,
    /// The first call whose result has not been sent.
    first: u32,
    /// The next call.
    next: u32,
    /// When results were last sent.
    sent: u64,
    /// When the clock was last looked at, and after how many calls to do so again.
    looked: u64,
    stride: u32,
    stride_max: u32,
    left: u32,
}

impl Worker {
    pub(super) fn run_calls(&mut self, Frame { header, body, .. }: Frame) -> io::Result<()> {
        let seq = header.seq;
        faults::hit(Point::Request)?;
        if !self.desk.board.claim(seq) {
            return self.speaker.say(Header { seq, ..Header::new(Kind::Skipped) }, &[]);
        }
        let desk = Arc::clone(&self.desk);
        let began = desk.board.start_calls(seq);
        let are_few = header.nanos <= FEW_CALLS.into();
        self.output = Message { bytes: std::mem::take(&mut self.output.bytes), handles: Handles::default() };
        self.output.bytes.clear();
        // Few calls may be those of several callers: what one does to the channel must not cost another.
        let stride_max = if are_few { 1 } else { STRIDE_MAX };
        let mut batch =
            Batch { seq, first: 0, next: 0, sent: began, looked: began, stride: 1, stride_max, left: 1 };
        let mut rest = &body[..];
        let mut function = None;
        // A parent that has taken calls back before need not have taken their arguments out.
        while u64::from(batch.next) < header.nanos
            && !desk.is_left()
            && let Some((task, args, more)) = records::first(rest)
            && desk.board.take_call(seq, batch.next)
        {
            rest = more;
            let another = function.is_none_or(|(known, _)| known != task);
            if another || !current::is_kept_by_nobody() {
                current::end();
                current::begin(&desk, &Header { task, nanos: 0, ..header }, began);
            }
            if another {
                function = Some((task, Registry::get().entry(TaskNumber(task))));
            }
            if !are_few || desk.board.claim_call(seq, batch.next) {
                let entry = function.and_then(|(_, entry)| entry);
                self.put_result(&mut batch, |worker, batch| worker.call_one(batch, entry, args))?;
            } else {
                self.put_result(&mut batch, |_, _| Kind::Skipped)?;
            }
        }
        desk.board.finish(seq);
        current::end();
        self.finish_calls(&batch, began)
    }

    /// Makes a call, and appends its result to the others.
    fn call_one(&mut self, batch: &Batch, entry: Option<&Entry>, args: &[u8]) -> Kind {
        let Some(entry) = entry else {
            return self.put(Kind::ArgsRefused, &"the worker does not know this task");
        };
        panic::begin(batch.seq);
        self.desk.board.forget_words();
        let source = Source::new(args);
        let stages =
            OnBoard { board: &self.desk.board, call: batch.next, shows_output: batch.stride_max == 1 };
        let limit = self.limit.min(records::RECORD_MAX - 1);
        let call = Call::new(&source, Handles::default(), &mut self.output, limit, &stages);
        match (entry.run)(call) {
            Reply::Ok | Reply::Whole => Kind::Done,
            Reply::Panicked(payload) => self.put(Kind::Panicked, &panic::describe(payload)),
            Reply::ArgsDecode(message) => self.put(Kind::ArgsRefused, &message),
            Reply::ResultEncode(message) => self.put(Kind::ResultRefused, &message),
            Reply::ResultTooLarge(size) => self.put(Kind::ResultTooLarge, &size),
        }
    }

    /// Lets the next call have its result, and sends what there is if it is time for that.
    fn put_result(
        &mut self,
        batch: &mut Batch,
        call: impl FnOnce(&mut Worker, &Batch) -> Kind,
    ) -> io::Result<()> {
        let mut before = self.output.bytes.len();
        let at = records::open(&mut self.output.bytes);
        let kind = call(self, batch);
        records::close(&mut self.output.bytes, at, kind.tag().into());
        batch.next += 1;
        let handles = std::mem::take(&mut self.output.handles);
        // Handles belong to one value, which travels alone; and what is too much goes in two parts.
        let most = RESULTS_MAX.min(self.limit);
        if before > 0 && (!handles.is_empty() || self.output.bytes.len() > most) {
            self.send_results(batch, batch.next - 1, before)?;
            before = 0;
        }
        if !handles.is_empty() || self.output.bytes.len() > most {
            self.output.handles = handles;
            return self.send_results(batch, batch.next, self.output.bytes.len());
        }
        if batch.left == 1 && batch.stride_max > 1 {
            show_output();
        }
        self.desk.board.leave_results(batch.first, before, &self.output.bytes[before..]);
        batch.left -= 1;
        if batch.left > 0 {
            return Ok(());
        }
        let now = clock::nanos();
        self.look_after_channel(now.saturating_sub(batch.looked))?;
        let short = now.saturating_sub(batch.looked) < PATIENCE / 8;
        batch.stride = if short { batch.stride_max.min(2 * batch.stride) } else { 1 };
        (batch.looked, batch.left) = (now, batch.stride);
        if now.saturating_sub(batch.sent) < PATIENCE {
            return Ok(());
        }
        self.send_results(batch, batch.next, self.output.bytes.len())?;
        batch.sent = now;
        Ok(())
    }

    /// Appends a value that always encodes: a text that was cut where it was made, or a number.
    fn put(&mut self, kind: Kind, value: &impl serde::Serialize) -> Kind {
        let _ = crate::wire::codec::encode(value, &mut self.output.bytes, usize::MAX);
        kind
    }

    /// Sends the results of the calls before that one, which are so many bytes.
    fn send_results(&mut self, batch: &mut Batch, end: u32, len: usize) -> io::Result<()> {
        if self.desk.is_left() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        show_output();
        let handles = std::mem::take(&mut self.output.handles);
        let header = Header { seq: batch.seq, task: batch.first, ..Header::new(Kind::Results) };
        self.speaker.say_with(header, &self.output.bytes[..len], handles.as_slice())?;
        self.output.bytes.drain(..len);
        batch.first = end;
        self.desk.board.forget_results(batch.first);
        Ok(())
    }

    /// Replies with the results that are left.
    fn finish_calls(&mut self, batch: &Batch, began: u64) -> io::Result<()> {
        show_output();
        let nanos = clock::nanos().saturating_sub(began);
        self.ask_for_replacement()?;
        if self.desk.is_left() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let header = Header { seq: batch.seq, task: batch.first, nanos, ..Header::new(Kind::Done) };
        self.reply(header)?;
        self.look_after_itself(nanos)
    }
}

//! Many calls, one after the other, whose results leave together.
//!
//! Of each call is known whether it has begun, so the parent can take back those that have not (`transport/run.rs`). Each result is left on the
//! shared page until it is sent, so a worker that dies takes nothing along but the call that it was at.

use std::io::{self, Write};
use std::sync::Arc;

use crate::faults::{self, Point};
use crate::sys::clock;
use crate::task::{Call, Registry, Reply, Several, TaskNumber, traces};
use crate::transport::{FEW_CALLS, Message, Progress, Run};
use crate::wire::attach::Handles;
use crate::wire::codec::Source;
use crate::wire::frame::{Frame, Header, Kind};
use crate::wire::records::{self, Group, Records};

use super::desk::Desk;
use super::serve::Worker;
use super::{current, panic};

/// Nanoseconds that a result waits for others at the most, while calls are short.
const PATIENCE: u64 = 100_000;
/// Calls between two looks at the clock, at the most.
const STRIDE_MAX: u32 = 64;
/// The same of calls that are over at once, and what those of a stride take then, in nanoseconds.
const LONG_STRIDE: (u32, u64) = (256, 2_000);

/// What calls printed is seen before their results are sent. It costs more than a short call, so of many short ones it is
/// not seen before their results are left: those who take them from there are in a hurry, because the next call is slow, or
/// find a worker that is dead.
fn show_output() {
    let _ = io::stdout().flush();
}

/// Calls that came together, and their results on their way out.
struct Batch<'a> {
    header: Header,
    began: u64,
    /// Few calls may be those of several callers: what one does to the channel, or prints, must not cost another.
    are_few: bool,
    /// The arguments of the calls that have not begun. A parent that has taken calls back before need not have taken their
    /// arguments out.
    rest: Records<'a>,
    /// The first call whose result has not been sent.
    first: u32,
    /// The call that runs, or the next one.
    next: u32,
    /// Where the result of the call that runs begins in the output, if that has been opened.
    at: Option<usize>,
    /// Before this, nothing in the output is other than it was.
    changed: usize,
    /// The numbers that calls returned last, if nothing else followed.
    group: Option<Group>,
    /// When results were last sent.
    sent: u64,
    /// When the clock was last looked at, and after how many calls to do so again.
    looked: u64,
    stride: u32,
    left: u32,
}

/// Those of them, one after the other, that are of one function.
struct Stretch<'w, 'a> {
    worker: &'w mut Worker,
    desk: &'w Arc<Desk>,
    batch: &'w mut Batch<'a>,
    source: &'a Source<'a>,
    task: u32,
    /// How many calls there are.
    calls: u32,
    sent: io::Result<()>,
}

impl Batch<'_> {
    fn stride_max(&self, most: u32) -> u32 {
        if self.are_few { 1 } else { most }
    }
}

impl<'a> Several<'a> for Stretch<'_, 'a> {
    #[inline]
    fn next(&mut self, starts: bool) -> Option<&'a [u8]> {
        loop {
            let (batch, board) = (&mut *self.batch, &self.desk.board);
            if batch.rest.mark()? != self.task || self.sent.is_err() {
                return None;
            }
            let (seq, call) = (batch.header.seq, batch.next);
            if call >= self.calls || self.desk.is_left() || !board.take_call(seq, call) {
                batch.rest = Records::new(&[]);
                return None;
            }
            let (_, args) = batch.rest.next()?;
            if !current::is_kept_by_nobody() {
                self.begin();
            }
            if !self.batch.are_few || board.claim_call(seq, call) {
                traces::seen();
                panic::forget(board);
                if starts {
                    board.call_is(call, Progress::Started);
                }
                return Some(args);
            }
            self.open();
            self.gave(Kind::Skipped);
        }
    }

    fn starting(&mut self) {
        self.desk.board.call_is(self.batch.next, Progress::Started);
    }

    fn ended(&mut self) {
        // To print counts as the call's time: it may take for ever.
        if self.batch.are_few {
            show_output();
        }
        self.desk.board.call_is(self.batch.next, Progress::Finished);
    }

    fn limit(&self) -> usize {
        self.worker.limit.min(records::RECORD_MAX - 1)
    }

    fn output(&mut self) -> &mut Message {
        self.open();
        &mut self.worker.output
    }

    fn returned(&mut self) {
        self.gave(Kind::Done);
    }

    #[inline]
    fn returned_number(&mut self, bytes: &[u8]) {
        self.ended();
        self.sent = self.worker.put_number(self.batch, bytes);
    }

    fn numbers(&mut self, given: usize, returned: usize) -> Option<(Run<'_>, &'a [u8])> {
        let (batch, output) = (&*self.batch, &self.worker.output.bytes);
        // The one before a look at the clock is put as all others are.
        let most = batch.left.min(self.calls.saturating_sub(batch.next)).saturating_sub(1) as usize;
        let room = self.desk.board.room_for_results(output.len() + most * returned);
        let room = room.min(self.worker.limit).saturating_sub(output.len()) / returned;
        let most = most.min(room);
        if most == 0 || !batch.group?.is_of(returned) || self.sent.is_err() || traces::are_there() {
            return None;
        }
        let (_, args) = { batch.rest }.group_of(given).filter(|&(task, _)| task == self.task)?;
        let args = args.get(..most * given).unwrap_or(args);
        let (seq, results) = (batch.header.seq, (batch.first, &output[..]));
        let bytes = args.len() / given * returned;
        let run = self.desk.board.run((seq, batch.next), results, bytes, self.desk.left())?;
        Some((run, args))
    }

    fn ran(&mut self, returned: &[u8], panicked: bool) {
        let (batch, output) = (&mut *self.batch, &mut self.worker.output.bytes);
        // Where there was no group, nothing has run.
        let Some(group) = batch.group else { return };
        let count = (returned.len() / group.width()) as u32;
        batch.rest = batch.rest.after(count + u32::from(panicked)).unwrap_or(Records::new(&[]));
        if count > 0 {
            output.extend_from_slice(returned);
            batch.changed = output.len();
            batch.next += count;
            batch.left -= count;
            self.desk.board.call_is(batch.next - 1, Progress::Finished);
        }
    }
}

impl Stretch<'_, '_> {
    /// The next call is not taken for the one before by whoever has kept that.
    fn begin(&mut self) {
        current::end();
        let header = Header { task: self.task, nanos: 0, ..self.batch.header };
        current::begin(self.desk, &header, self.batch.began);
    }

    /// The bytes of a result come next, which is no number, or is told instead of one that could not be encoded.
    fn open(&mut self) {
        let (batch, output) = (&mut *self.batch, &mut self.worker.output.bytes);
        if batch.at.is_none() {
            let group = batch.group.take();
            batch.changed = group.map_or(output.len(), |group| records::close_group(output, group));
            batch.at = Some(records::open(output));
        }
    }

    /// The result of the call that ran is complete.
    fn gave(&mut self, kind: Kind) {
        self.sent = self.worker.put_result(self.batch, kind);
    }

    fn run(mut self) -> io::Result<()> {
        self.begin();
        panic::begin(self.batch.header.seq);
        let entry = Registry::get().entry(TaskNumber(self.task));
        loop {
            let kind = match entry.map(|entry| (entry.run)(Call::several(self.source, &mut self))) {
                Some(Reply::Ok | Reply::Whole) => return self.sent,
                Some(Reply::Panicked(payload)) => self.put(Kind::Panicked, &panic::describe(payload)),
                Some(Reply::ArgsDecode(message)) => self.put(Kind::ArgsRefused, &panic::cut(message)),
                Some(Reply::ResultEncode(message)) => self.put(Kind::ResultRefused, &panic::cut(message)),
                Some(Reply::ResultTooLarge(size)) => self.put(Kind::ResultTooLarge, &size),
                None if self.next(false).is_none() => return self.sent,
                None => self.put(Kind::ArgsRefused, &"the worker does not know this task"),
            };
            self.gave(kind);
        }
    }

    /// Appends a value that always encodes: a text that was cut where it was made, or a number.
    fn put(&mut self, kind: Kind, value: &impl serde::Serialize) -> Kind {
        self.open();
        let Message { bytes, handles } = &mut self.worker.output;
        // A result may have been there already whose own end failed.
        records::begin_again(bytes, self.batch.at.unwrap_or_default());
        *handles = Handles::default();
        let _ = crate::wire::codec::encode(value, bytes, usize::MAX);
        kind
    }
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
        self.output = Message { bytes: std::mem::take(&mut self.output.bytes), handles: Handles::default() };
        self.output.bytes.clear();
        let source = Source::new(&[]);
        let mut batch = Batch {
            header,
            began,
            are_few: header.nanos <= FEW_CALLS.into(),
            rest: Records::new(&body),
            first: 0,
            next: 0,
            at: None,
            changed: 0,
            group: None,
            sent: began,
            looked: began,
            stride: 1,
            left: 1,
        };
        let calls = header.nanos.try_into().unwrap_or(u32::MAX);
        while let Some(task) = batch.rest.mark() {
            let (worker, batch) = (&mut *self, &mut batch);
            Stretch { worker, desk: &desk, batch, source: &source, task, calls, sent: Ok(()) }.run()?;
        }
        desk.board.finish(seq);
        current::end();
        self.finish_calls(&batch, began)
    }

    /// The call that ran has its result in the output. Sends what there is if it is time for that.
    fn put_result(&mut self, batch: &mut Batch<'_>, kind: Kind) -> io::Result<()> {
        let at = batch.at.take().unwrap_or_default();
        records::close(&mut self.output.bytes, at, kind.tag().into());
        batch.next += 1;
        let handles = std::mem::take(&mut self.output.handles);
        // Handles belong to one value, which travels alone; and what is too much goes in two parts.
        let most = self.desk.board.room_for_results(self.output.bytes.len()).min(self.limit);
        if at > 0 && (!handles.is_empty() || self.output.bytes.len() > most) {
            self.send_results(batch, batch.next - 1, at)?;
        }
        if !handles.is_empty() || self.output.bytes.len() > most {
            self.output.handles = handles;
            return self.send_results(batch, batch.next, self.output.bytes.len());
        }
        self.leave_result(batch)
    }

    /// The call that ran has returned a number. Sends what there is if it is time for that.
    #[inline]
    fn put_number(&mut self, batch: &mut Batch<'_>, bytes: &[u8]) -> io::Result<()> {
        let before = self.output.bytes.len();
        let after = before + records::OVERHEAD + bytes.len();
        let most = self.desk.board.room_for_results(after).min(self.limit);
        if before > 0 && after > most {
            self.send_results(batch, batch.next, before)?;
        }
        let output = &mut self.output.bytes;
        batch.changed = output.len();
        if batch.group.is_none_or(|group| !group.is_of(bytes.len())) {
            if let Some(group) = batch.group {
                batch.changed = records::close_group(output, group);
            }
            batch.group = Some(records::open_group(output, Kind::Done.tag().into(), bytes.len()));
        }
        // Most have this length, which is one step where it is known.
        match bytes.as_array::<8>() {
            Some(bytes) => output.extend_from_slice(bytes),
            None => output.extend_from_slice(bytes),
        }
        batch.next += 1;
        if self.output.bytes.len() > most {
            return self.send_results(batch, batch.next, self.output.bytes.len());
        }
        self.leave_result(batch)
    }

    /// Leaves the result of the call that ran, and sends what there is if it is time for that.
    #[inline]
    fn leave_result(&mut self, batch: &mut Batch<'_>) -> io::Result<()> {
        if batch.left == 1 && !batch.are_few {
            show_output();
        }
        self.desk.board.leave_results(batch.first, batch.changed, &self.output.bytes);
        batch.left -= 1;
        if batch.left > 0 {
            return Ok(());
        }
        let now = clock::nanos();
        self.look_after_channel(now.saturating_sub(batch.looked))?;
        batch.stride = match now.saturating_sub(batch.looked) {
            took if took < LONG_STRIDE.1 => batch.stride_max(LONG_STRIDE.0).min(2 * batch.stride),
            took if took < PATIENCE / 8 => batch.stride_max(STRIDE_MAX).min(2 * batch.stride),
            _ => 1,
        };
        (batch.looked, batch.left) = (now, batch.stride);
        if now.saturating_sub(batch.sent) < PATIENCE {
            return Ok(());
        }
        self.send_results(batch, batch.next, self.output.bytes.len())?;
        batch.sent = now;
        Ok(())
    }

    /// Sends the results of the calls before that one, which are so many bytes.
    fn send_results(&mut self, batch: &mut Batch<'_>, end: u32, len: usize) -> io::Result<()> {
        if self.desk.is_left() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        show_output();
        let handles = std::mem::take(&mut self.output.handles);
        let header = Header { seq: batch.header.seq, task: batch.first, ..Header::new(Kind::Results) };
        self.speaker.say_with(header, &self.output.bytes[..len], handles.as_slice())?;
        self.output.bytes.drain(..len);
        (batch.first, batch.changed, batch.group) = (end, 0, None);
        self.desk.board.forget_results(batch.first);
        Ok(())
    }

    /// Replies with the results that are left.
    fn finish_calls(&mut self, batch: &Batch<'_>, began: u64) -> io::Result<()> {
        show_output();
        let nanos = clock::nanos().saturating_sub(began);
        self.ask_for_replacement()?;
        if self.desk.is_left() {
            return Err(io::ErrorKind::NotConnected.into());
        }
        let header = Header { seq: batch.header.seq, task: batch.first, nanos, ..Header::new(Kind::Done) };
        self.reply(header)?;
        self.look_after_itself(nanos)
    }
}

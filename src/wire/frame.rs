//! Frames: a header of fixed size, then a body. The same shape both ways.
//!
//! Whoever reads treats the other side as hostile: the length is checked against a limit before anything is
//! allocated, and the buffer of a body grows with the bytes that arrive, to 64 times those; or it is memory that an earlier
//! one has left.

use crate::sys::{pages, spare};

use super::attach::{HANDLES_MAX, Handles};
use super::records::OVERHEAD;

/// Bytes of a header on the wire.
pub(crate) const HEADER: usize = 40;

/// What a frame says. Which kinds are allowed when is the reader's business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// To a worker, before it exists: who it is. Body: [`Hello`](crate::wire::hello::Hello).
    Hello,
    /// To a worker: run this before anything else, then report ready. Body: arguments.
    Init,
    /// To a worker: run a task. Body: arguments.
    Run,
    /// To a worker: end, when all that was sent before is done.
    Retire,
    /// From a worker: it takes tasks. Body: the initializer's result, if there was one.
    Ready,
    /// From a worker: a task returned. Body: its result.
    Done,
    /// From a worker: a task panicked, or the initializer. Body: the panic.
    Panicked,
    /// From a worker: the arguments could not be decoded. Body: why.
    ArgsRefused,
    /// From a worker: the result could not be encoded. Body: why.
    ResultRefused,
    /// From a worker: the result is larger than the limit; `nanos` is its size.
    ResultTooLarge,
    /// From a worker: it passed over a task that was taken back.
    Skipped,
    /// From a worker: a task returned an `Err`. Body: its result.
    Failed,
    /// From a worker: it uses more memory than it should, and is to be replaced.
    Swollen,
    /// From a worker, before it is ready: it cannot be what it is to be. Body: why.
    StartRefused,
    /// To the parent: there is something in the ring.
    Look,
    /// To the worker: several calls. Body: records of arguments, marked with the number of their task; `nanos` says how many.
    RunCalls,
    /// To the parent: the results of the next calls of a task that is several. Body: records, marked with the kind of
    /// reply that each is. The last of them come with `Done`.
    Results,
}

const KINDS: [Kind; 17] = [
    Kind::Hello,
    Kind::Init,
    Kind::Run,
    Kind::Retire,
    Kind::Ready,
    Kind::Done,
    Kind::Panicked,
    Kind::ArgsRefused,
    Kind::ResultRefused,
    Kind::ResultTooLarge,
    Kind::Skipped,
    Kind::Failed,
    Kind::Swollen,
    Kind::StartRefused,
    Kind::Look,
    Kind::RunCalls,
    Kind::Results,
];

/// The bit of the first byte that says so of the body.
const WHOLE: u8 = 0x80;

/// Everything about a frame but its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// For `Run`: the fault that it brings, see [`crate::faults`]. Zero in all other frames, and without that feature.
    pub(crate) fault: u8,
    /// For `Run`: which attempt at the task this is, counted from 1. Zero in all other frames.
    pub(crate) attempt: u16,
    /// Which function, for `Init`, `Run` and `RunCalls`; for results of several calls which of them is the first. Less
    /// than 2²⁴.
    pub(crate) task: u32,
    /// How many descriptors come with the first byte of the frame. Zero but for the kinds whose body is a value of the
    /// user's.
    pub(crate) handles: u8,
    /// The value that the body is, is a vector of bytes or a text, and the body its memory. For `Run` and `Done` only.
    pub(crate) whole: bool,
    /// Which call, counted per worker.
    pub(crate) seq: u64,
    /// How long the body of the task ran; a size for `ResultTooLarge`. For `Run`: how long the body may run,
    /// from its start; zero for as long as it likes.
    pub(crate) nanos: u64,
    /// Bytes of the body.
    pub(crate) len: u64,
    /// For `Run`: when the task must be done, in nanoseconds of the clock that all processes of the machine
    /// share; zero for never. Zero in all other frames.
    pub(crate) deadline: u64,
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) body: Vec<u8>,
    /// Those of the value that the body is.
    pub(crate) handles: Handles,
}

/// Bytes that are no frames. The stream cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    Kind(u8),
    Padding,
    /// Frames in shared memory whose lengths cannot be.
    Ring,
    /// More descriptors than there can be, or where there can be none.
    Handles {
        kind: Kind,
        handles: u8,
    },
    TooLong {
        len: u64,
        limit: u64,
    },
    /// The memory for the bytes that arrived cannot be had.
    OutOfMemory,
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::Kind(kind) => write!(f, "a frame of unknown kind {kind}"),
            Malformed::Padding => f.write_str("a frame header with bytes set that must be zero"),
            Malformed::Ring => f.write_str("a ring of frames whose lengths cannot be"),
            Malformed::Handles { kind, handles } => {
                write!(f, "a frame {kind:?} that announces {handles} descriptors")
            }
            Malformed::TooLong { len, limit } => {
                write!(f, "a frame of {len} bytes, over the limit of {limit}")
            }
            Malformed::OutOfMemory => f.write_str("a frame larger than the memory there is"),
        }
    }
}

impl Kind {
    /// As the tag of a record, which says what its bytes are.
    pub(crate) fn tag(self) -> u8 {
        self as u8
    }

    pub(crate) fn of_tag(tag: u8) -> Option<Kind> {
        KINDS.get(usize::from(tag)).copied()
    }

    /// Its body is a value of the user's.
    fn may_have_handles(self) -> bool {
        matches!(self, Kind::Init | Kind::Run | Kind::Ready | Kind::Done | Kind::Failed | Kind::Results)
    }
}

impl Header {
    /// A header with everything else zero.
    pub(crate) fn new(kind: Kind) -> Header {
        Header {
            kind,
            fault: 0,
            attempt: 0,
            task: 0,
            handles: 0,
            whole: false,
            seq: 0,
            nanos: 0,
            len: 0,
            deadline: 0,
        }
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        // Kinds count from 1, so that a stream of zeros is not a frame.
        bytes[0] = (self.kind as u8 + 1) | if self.whole { WHOLE } else { 0 };
        bytes[1] = self.fault;
        bytes[2..4].copy_from_slice(&self.attempt.to_le_bytes());
        bytes[4..7].copy_from_slice(&self.task.to_le_bytes()[..3]);
        bytes[7] = self.handles;
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.nanos.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.len.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.deadline.to_le_bytes());
        bytes
    }

    pub(crate) fn from_bytes(bytes: &[u8; HEADER], limit: u64) -> Result<Header, Malformed> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let whole = bytes[0] & WHOLE != 0;
        let kind = usize::from(bytes[0] & !WHOLE).wrapping_sub(1);
        let kind = KINDS.get(kind).copied().ok_or(Malformed::Kind(bytes[0]))?;
        let attempt = u16::from_le_bytes([bytes[2], bytes[3]]);
        let task = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], 0]);
        let handles = bytes[7];
        let deadline = word(32);
        let fault = bytes[1];
        let may_bring_a_fault = cfg!(feature = "faults") && kind == Kind::Run;
        if whole && !matches!(kind, Kind::Run | Kind::Done) {
            return Err(Malformed::Kind(bytes[0]));
        }
        if (fault != 0 && !may_bring_a_fault) || (kind != Kind::Run && (attempt, deadline) != (0, 0)) {
            return Err(Malformed::Padding);
        }
        if handles != 0 && (!kind.may_have_handles() || usize::from(handles) > HANDLES_MAX) {
            return Err(Malformed::Handles { kind, handles });
        }
        let header = Header {
            kind,
            fault,
            attempt,
            task,
            handles,
            whole,
            seq: word(8),
            nanos: word(16),
            len: word(24),
            deadline,
        };
        // The limit is one of values: of some there is a record around each, and why there is no value is none.
        let limit = match kind {
            Kind::RunCalls => limit.saturating_add(OVERHEAD as u64),
            Kind::Results => limit.max(TEXTS_MAX).saturating_add(OVERHEAD as u64),
            Kind::Panicked
            | Kind::ArgsRefused
            | Kind::ResultRefused
            | Kind::ResultTooLarge
            | Kind::StartRefused => limit.max(TEXTS_MAX),
            _ => limit,
        };
        if header.len > limit {
            return Err(Malformed::TooLong { len: header.len, limit });
        }
        Ok(header)
    }
}

/// Bytes that may tell why there is no value, with all its texts, which are cut to less where they are made.
const TEXTS_MAX: u64 = 256 << 10;

/// Cuts a stream of bytes, in whatever pieces it comes, into frames.
#[derive(Debug)]
pub(crate) struct Decoder {
    limit: u64,
    header: [u8; HEADER],
    /// Bytes of `header` that have arrived.
    have: usize,
    /// The frame whose body is arriving.
    arriving: Option<Frame>,
}

/// The first allocation for a body whose length is only claimed.
const FIRST: usize = 64 << 10;

/// For so many times what has come there is room at once, which costs nothing before it is filled: memory that has to move
/// as it grows costs more.
const BELIEVED: usize = 64;

impl Decoder {
    pub(crate) fn new(limit: u64) -> Decoder {
        Decoder { limit, header: [0; HEADER], have: 0, arriving: None }
    }

    /// Takes bytes off the front of `input` until a frame is whole or `input` is empty.
    pub(crate) fn feed(&mut self, input: &mut &[u8]) -> Result<Option<Frame>, Malformed> {
        if self.arriving.is_none() {
            let (taken, rest) = input.split_at(input.len().min(HEADER - self.have));
            self.header[self.have..self.have + taken.len()].copy_from_slice(taken);
            self.have += taken.len();
            *input = rest;
            if self.have < HEADER {
                return Ok(None);
            }
            self.have = 0;
            let header = Header::from_bytes(&self.header, self.limit)?;
            self.arriving = Some(Frame { header, body: Vec::new(), handles: Handles::default() });
        }
        if let Some(body) = self.body()? {
            let missing = body.missing();
            let (taken, rest) = input.split_at(input.len().min(missing));
            body.bytes.extend_from_slice(taken);
            *input = rest;
        }
        Ok(self.whole())
    }

    /// The body that is arriving, with room for some of what is missing: large bodies are read straight into
    /// it, and [`Decoder::whole`] tells when that was all.
    pub(crate) fn body(&mut self) -> Result<Option<Body<'_>>, Malformed> {
        let Some(Frame { header, body, .. }) = &mut self.arriving else { return Ok(None) };
        let missing = header.len - body.len() as u64;
        if body.capacity() == 0
            && let Some(memory) = usize::try_from(missing).ok().and_then(spare::take)
        {
            *body = memory;
        }
        if body.len() == body.capacity() && missing > 0 {
            let growth = if body.is_empty() { FIRST } else { (BELIEVED - 1).saturating_mul(body.len()) };
            let more = usize::try_from(missing.min(growth as u64)).map_err(|_| Malformed::OutOfMemory)?;
            pages::try_reserve(body, more).map_err(|_| Malformed::OutOfMemory)?;
            pages::prefer_large(body);
        }
        Ok(Some(Body { len: header.len, bytes: body }))
    }

    /// Part of a frame has arrived.
    pub(crate) fn is_at_work(&self) -> bool {
        self.have > 0 || self.arriving.is_some()
    }

    /// Takes the frame, if its body has arrived.
    pub(crate) fn whole(&mut self) -> Option<Frame> {
        self.arriving.take_if(|frame| frame.body.len() as u64 == frame.header.len)
    }
}

/// A body in the middle of its arrival.
#[derive(Debug)]
pub(crate) struct Body<'a> {
    len: u64,
    pub(crate) bytes: &'a mut Vec<u8>,
}

impl Body<'_> {
    /// Bytes that may be appended now without growing the buffer or running into the next frame.
    pub(crate) fn missing(&self) -> usize {
        let missing = self.len - self.bytes.len() as u64;
        usize::try_from(missing).unwrap_or(usize::MAX).min(self.bytes.capacity() - self.bytes.len())
    }
}

#[cfg(test)]
mod test {
    use super::*;

    fn frame(kind: Kind, len: usize) -> Frame {
        let body: Vec<u8> = (0..len).map(|i| (i * 7) as u8).collect();
        let (attempt, deadline) = if kind == Kind::Run { (513, u64::MAX - 1) } else { (0, 0) };
        let handles = if kind.may_have_handles() { 253 } else { 0 };
        let (task, seq, len) = (0x05_6789, 1 << 40, len as u64);
        let whole = matches!(kind, Kind::Run | Kind::Done);
        let header = Header { kind, fault: 0, attempt, task, handles, whole, seq, nanos: 77, len, deadline };
        Frame { header, body, handles: Handles::default() }
    }

    fn stream(frames: &[Frame]) -> Vec<u8> {
        frames.iter().flat_map(|frame| [&frame.header.to_bytes()[..], &frame.body].concat()).collect()
    }

    /// Everything that can be read, or how it ends.
    fn read(decoder: &mut Decoder, chunks: &[&[u8]]) -> Result<Vec<Frame>, Malformed> {
        let mut frames = Vec::new();
        for mut chunk in chunks.iter().copied() {
            loop {
                let before = chunk.len();
                match decoder.feed(&mut chunk)? {
                    Some(frame) => frames.push(frame),
                    None if chunk.is_empty() || chunk.len() == before => break,
                    None => {}
                }
            }
        }
        Ok(frames)
    }

    #[test]
    fn any_cut_of_the_stream_gives_the_same_frames() {
        let frames =
            [frame(Kind::Run, 0), frame(Kind::Done, 3), frame(Kind::Ready, 200), frame(Kind::Retire, 0)];
        let bytes = stream(&frames);
        for cut in 0..=bytes.len() {
            let (a, b) = bytes.split_at(cut);
            assert_eq!(read(&mut Decoder::new(200), &[a, b]).unwrap(), frames, "cut at {cut}");
        }
        let single: Vec<_> = bytes.chunks(1).collect();
        assert_eq!(read(&mut Decoder::new(200), &single).unwrap(), frames);
    }

    #[test]
    fn a_claimed_length_allocates_nothing_beyond_the_first_piece() {
        let mut decoder = Decoder::new(u64::MAX);
        let header = Header { len: u64::MAX, ..Header::new(Kind::Done) };
        assert!(decoder.feed(&mut &header.to_bytes()[..]).unwrap().is_none());
        assert!(decoder.body().unwrap().unwrap().bytes.capacity() <= FIRST);
    }

    #[test]
    fn a_buffer_has_room_for_some_times_what_has_come_whatever_is_claimed() {
        let mut decoder = Decoder::new(u64::MAX);
        let header = Header { len: 1 << 40, ..Header::new(Kind::Done) };
        decoder.feed(&mut &header.to_bytes()[..]).unwrap();
        let piece = vec![0; 1 << 20];
        for mebibytes in 1..=9 {
            decoder.feed(&mut &piece[..]).unwrap();
            let capacity = decoder.body().unwrap().unwrap().bytes.capacity();
            assert!(
                capacity <= ((BELIEVED * mebibytes) << 20) + (4 << 20),
                "{capacity} bytes for {mebibytes} MiB"
            );
        }
    }

    #[test]
    fn what_is_no_frame_is_refused_before_its_body() {
        let good = frame(Kind::Done, 8).header;
        let mut kind = good.to_bytes();
        for bad in [0, KINDS.len() as u8 + 1, 255] {
            kind[0] = bad;
            assert_eq!(Decoder::new(8).feed(&mut &kind[..]), Err(Malformed::Kind(bad)));
        }
        // What is only for `Run` is padding in all other frames: the attempt and the deadline.
        for at in [1, 2, 3, 32, 39] {
            let mut padding = good.to_bytes();
            padding[at] = 1;
            assert_eq!(Decoder::new(8).feed(&mut &padding[..]), Err(Malformed::Padding), "byte {at}");
        }
        let mut run = frame(Kind::Run, 8).header.to_bytes();
        run[1] = 1;
        let refused = Decoder::new(8).feed(&mut &run[..]) == Err(Malformed::Padding);
        assert_eq!(refused, !cfg!(feature = "faults"), "only scripts of faults use it");
        for (kind, handles) in [(Kind::Done, 254), (Kind::Run, 255), (Kind::Panicked, 1), (Kind::Look, 1)] {
            let header = Header { handles, ..Header::new(kind) };
            let refused = Decoder::new(8).feed(&mut &header.to_bytes()[..]);
            assert_eq!(refused, Err(Malformed::Handles { kind, handles }));
        }
        for len in [9, 1 << 31, 1 << 32, 1 << 63, u64::MAX] {
            let header = Header { len, ..good };
            let refused = Decoder::new(8).feed(&mut &header.to_bytes()[..]);
            assert_eq!(refused, Err(Malformed::TooLong { len, limit: 8 }));
        }
    }

    #[test]
    fn every_kind_survives_the_wire() {
        for kind in KINDS {
            let bytes = Header::new(kind).to_bytes();
            assert_eq!(Header::from_bytes(&bytes, 0).unwrap().kind, kind);
        }
    }
}

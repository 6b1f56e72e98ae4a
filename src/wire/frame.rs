//! Frames: a header of fixed size, then a body. The same shape both ways.
//!
//! Whoever reads treats the other side as hostile: the length is checked against a limit before anything is
//! allocated, and the buffer of a body grows with the bytes that arrive.

/// Bytes of a header on the wire.
pub(crate) const HEADER: usize = 32;

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
    /// From a worker: it cannot be as it was asked to be. Body: why.
    StartRefused,
}

const KINDS: [Kind; 12] = [
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
    Kind::StartRefused,
];

/// Everything about a frame but its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) kind: Kind,
    /// Which function, for `Init` and `Run`.
    pub(crate) task: u32,
    /// Which call, counted per worker.
    pub(crate) seq: u64,
    /// How long the body of the task ran; a size for `ResultTooLarge`.
    pub(crate) nanos: u64,
    /// Bytes of the body.
    pub(crate) len: u64,
}

/// A frame as it came.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) body: Vec<u8>,
}

/// Bytes that are no frames. The stream cannot be read any further.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Malformed {
    Kind(u8),
    Padding,
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
            Malformed::TooLong { len, limit } => {
                write!(f, "a frame of {len} bytes, over the limit of {limit}")
            }
            Malformed::OutOfMemory => f.write_str("a frame larger than the memory there is"),
        }
    }
}

impl Header {
    /// A header with everything else zero.
    pub(crate) fn new(kind: Kind) -> Header {
        Header { kind, task: 0, seq: 0, nanos: 0, len: 0 }
    }

    pub(crate) fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        // Kinds count from 1, so that a stream of zeros is not a frame.
        bytes[0] = self.kind as u8 + 1;
        bytes[4..8].copy_from_slice(&self.task.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.nanos.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.len.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; HEADER], limit: u64) -> Result<Header, Malformed> {
        let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let kind =
            KINDS.get(usize::from(bytes[0]).wrapping_sub(1)).copied().ok_or(Malformed::Kind(bytes[0]))?;
        if bytes[1..4] != [0; 3] {
            return Err(Malformed::Padding);
        }
        let task = u32::from_le_bytes(std::array::from_fn(|i| bytes[4 + i]));
        let header = Header { kind, task, seq: word(8), nanos: word(16), len: word(24) };
        if header.len > limit {
            return Err(Malformed::TooLong { len: header.len, limit });
        }
        Ok(header)
    }
}

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
            self.arriving = Some(Frame { header, body: Vec::new() });
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
        let Some(Frame { header, body }) = &mut self.arriving else { return Ok(None) };
        let missing = header.len - body.len() as u64;
        if body.len() == body.capacity() && missing > 0 {
            let more = missing.min(body.len().max(FIRST) as u64);
            let more = usize::try_from(more).map_err(|_| Malformed::OutOfMemory)?;
            body.try_reserve_exact(more).map_err(|_| Malformed::OutOfMemory)?;
        }
        Ok(Some(Body { len: header.len, bytes: body }))
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
        Frame { header: Header { kind, task: 5, seq: 1 << 40, nanos: 77, len: len as u64 }, body }
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
    fn what_is_no_frame_is_refused_before_its_body() {
        let good = frame(Kind::Done, 8).header;
        let mut kind = good.to_bytes();
        for bad in [0, KINDS.len() as u8 + 1, 255] {
            kind[0] = bad;
            assert_eq!(Decoder::new(8).feed(&mut &kind[..]), Err(Malformed::Kind(bad)));
        }
        let mut padding = good.to_bytes();
        padding[2] = 1;
        assert_eq!(Decoder::new(8).feed(&mut &padding[..]), Err(Malformed::Padding));
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

//! Small frames through memory that both sides share, without a system call: the express lane beside the socket.
//!
//! One side writes, the other reads. A frame is whole before it is announced, so a writer that dies leaves whole
//! frames or nothing. Frames in the ring and frames in the socket keep their order: each one in the ring says how many
//! bytes went into the socket before it, and waits for its reader to be there. A ring that is full, or a frame that is
//! very large, is therefore no obstacle: the frame takes the socket. Bodies that are large lie beside the ring (`bulk.rs`).
//!
//! The reader treats the writer as hostile, and the other way round: every number that the other side can write is
//! checked on each look, and a frame is copied before it is looked at.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};

use crate::sys::map::SharedMap;
use crate::wire::attach::Handles;
use crate::wire::frame::{Frame, HEADER, Header, Malformed};

use super::bulk::{BODY_MAX, Bulk};

/// How many bytes were ever written and read, each beside nothing that the other side writes, then the frames.
pub(super) const WRITTEN_AT: usize = 0;
const READ_AT: usize = 64;
const FRAMES_AT: usize = 128;

/// Words of frames.
const WORDS: usize = 6 << 10;
const CAPACITY: u64 = 8 * WORDS as u64;
const _: () =
    assert!(CAPACITY.is_multiple_of(LINE) && FRAMES_AT.is_multiple_of(64) && RING_BYTES.is_multiple_of(64));

/// The size of a ring in shared memory.
pub(crate) const RING_BYTES: usize = FRAMES_AT + 8 * WORDS;

/// Larger bodies lie beside the ring; or, as long as there is no memory there, only those that would fill too much of it.
const INLINE_MAX: usize = 2 << 10;
const INLINE_AT_NEED: usize = 16 << 10;

/// In the first word of a frame: its body lies there.
const BESIDE: u64 = 1 << 63;

const LINE: u64 = 64;

/// Words of a frame before its body: the bytes of the socket that come before it, and its header.
const HEAD: usize = 1 + HEADER / 8;

/// What a frame takes whose body is so many bytes: whole lines of the cache, so that a small one is one line that goes
/// from one processor to the other.
fn length(body: u64) -> u64 {
    (8 * HEAD as u64 + body).next_multiple_of(LINE)
}

#[derive(Debug)]
struct Ring {
    map: Arc<SharedMap>,
    at: usize,
}

impl Ring {
    fn load(&self, offset: usize) -> u64 {
        self.map.word(self.at + offset).load(Acquire)
    }

    fn store(&self, offset: usize, value: u64) {
        self.map.word(self.at + offset).store(value, Release);
    }

    fn words(&self) -> &[std::sync::atomic::AtomicU64] {
        self.map.words(self.at + FRAMES_AT, WORDS)
    }
}

#[derive(Debug)]
pub(crate) struct Writer {
    ring: Ring,
    bulk: Bulk,
    written: u64,
    /// What the reader was last seen to have read.
    read: u64,
}

/// What a look into the ring gave.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Popped {
    Frame(Frame),
    /// A frame is there, and bytes of the socket come before it.
    Later,
    Nothing,
}

#[derive(Debug)]
pub(crate) struct Reader {
    ring: Ring,
    bulk: Bulk,
    read: u64,
    /// What the writer was last seen to have written.
    written: u64,
    /// Whoever reads a frame writes to the place of its number: the worker that takes a task up, or the parent, whose next
    /// frame will have the next number. This is where the next one is.
    place_of: fn(u64) -> usize,
    next: usize,
}

impl Writer {
    /// The writer of the ring at this offset, which nobody has written to, and of what lies beside it.
    pub(super) fn new(map: Arc<SharedMap>, at: usize, bulk_at: usize) -> Writer {
        let bulk = Bulk::new(Arc::clone(&map), bulk_at);
        Writer { ring: Ring { map, at }, bulk, written: 0, read: 0 }
    }

    /// Puts a frame into the ring, after so many bytes in the socket. `false` if it is too large, if it has descriptors,
    /// which only a socket carries, or if there is no room.
    pub(crate) fn push(&mut self, after: u64, header: Header, body: &[u8]) -> bool {
        if body.len() > BODY_MAX || header.handles > 0 {
            return false;
        }
        let beside = body.len() > INLINE_MAX && self.bulk.is_there();
        if !beside && body.len() > INLINE_AT_NEED {
            return false;
        }
        let inline = if beside { &[] } else { body };
        let len = length(inline.len() as u64);
        if !self.has_room(len) {
            self.read = self.ring.load(READ_AT);
            if !self.has_room(len) {
                return false;
            }
        }
        if beside && !self.bulk.put(body) {
            return false;
        }
        let words = self.ring.words();
        let mut at = (self.written / 8) as usize;
        let mut put = |word: u64| {
            words[at % WORDS].store(word, Relaxed);
            at += 1;
        };
        put(after | if beside { BESIDE } else { 0 });
        let header = Header { len: body.len() as u64, ..header }.to_bytes();
        let (whole, rest) = inline.as_chunks::<8>();
        header.as_chunks::<8>().0.iter().chain(whole).for_each(|&bytes| put(u64::from_ne_bytes(bytes)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            put(u64::from_ne_bytes(last));
        }
        self.written += len;
        self.ring.store(WRITTEN_AT, self.written);
        true
    }

    /// To be called after frames have been put, where nobody waits for this thread: they may ask for memory.
    pub(crate) fn extend(&mut self) {
        self.bulk.extend();
    }

    /// A reader that claims to have read what was not written has no room either.
    fn has_room(&self, len: u64) -> bool {
        let used = self.written.wrapping_sub(self.read);
        used <= CAPACITY && CAPACITY - used >= len
    }
}

impl Reader {
    /// The reader of the ring at this offset, which nobody has read from, and of what lies beside it. Each number of a frame
    /// has its place in the memory.
    pub(super) fn new(map: Arc<SharedMap>, at: usize, bulk_at: usize, place_of: fn(u64) -> usize) -> Reader {
        let bulk = Bulk::new(Arc::clone(&map), bulk_at);
        Reader { ring: Ring { map, at }, bulk, read: 0, written: 0, place_of, next: place_of(0) }
    }

    /// Whether something is there.
    pub(crate) fn is_empty(&self) -> bool {
        self.read == self.written && self.ring.load(WRITTEN_AT) == self.read
    }

    /// The next frame, if its turn has come after so many bytes from the socket.
    pub(crate) fn pop(&mut self, after: u64, limit: u64) -> Result<Popped, Malformed> {
        if self.read == self.written {
            self.written = self.ring.load(WRITTEN_AT);
            if self.read == self.written {
                return Ok(Popped::Nothing);
            }
            self.ring.map.expect(self.next);
        }
        let available = self.written.wrapping_sub(self.read);
        if available > CAPACITY || available < 8 * HEAD as u64 {
            return Err(Malformed::Ring);
        }
        let words = self.ring.words();
        let mut at = (self.read / 8) as usize;
        let mut take = || {
            let word = words[at % WORDS].load(Relaxed);
            at += 1;
            word
        };
        let first = take();
        if first & !BESIDE > after {
            return Ok(Popped::Later);
        }
        let mut header = [0; HEADER];
        header.as_chunks_mut::<8>().0.iter_mut().for_each(|bytes| *bytes = take().to_ne_bytes());
        let header = Header::from_bytes(&header, limit.min(BODY_MAX as u64))?;
        let beside = first & BESIDE != 0;
        let len = length(if beside { 0 } else { header.len });
        // Of some kinds more may come than a ring holds, but not here.
        if available < len {
            return Err(Malformed::Ring);
        }
        if header.handles > 0 {
            return Err(Malformed::Handles { kind: header.kind, handles: header.handles });
        }
        let size = header.len as usize;
        let body = if beside {
            self.bulk.take(size).ok_or(Malformed::Ring)?
        } else {
            let mut body = vec![0; size.next_multiple_of(8)];
            body.as_chunks_mut::<8>().0.iter_mut().for_each(|bytes| *bytes = take().to_ne_bytes());
            body.truncate(size);
            body
        };
        self.read += len;
        self.next = (self.place_of)(header.seq.wrapping_add(1));
        self.ring.store(READ_AT, self.read);
        Ok(Popped::Frame(Frame { header, body, handles: Handles::default() }))
    }
}

#[cfg(test)]
mod test {
    use super::*;
    use crate::transport::bodies::body;
    use crate::transport::bulk::BULK_BYTES;
    use crate::wire::frame::Kind;

    fn ring() -> (Writer, Reader, Arc<SharedMap>) {
        let map = Arc::new(SharedMap::create(RING_BYTES + BULK_BYTES, RING_BYTES).unwrap().0);
        let mut writer = Writer::new(Arc::clone(&map), 0, RING_BYTES);
        assert!(!writer.bulk.is_there());
        writer.extend();
        (writer, Reader::new(Arc::clone(&map), 0, RING_BYTES, |_| 0), map)
    }

    fn pop(reader: &mut Reader, after: u64) -> Option<Frame> {
        match reader.pop(after, BODY_MAX as u64).unwrap() {
            Popped::Frame(frame) => Some(frame),
            Popped::Later | Popped::Nothing => None,
        }
    }

    fn done(seq: u64) -> Header {
        Header { seq, ..Header::new(Kind::Done) }
    }

    #[test]
    fn frames_of_all_sizes_come_out_as_they_went_in_round_after_round() {
        let (mut writer, mut reader, _map) = ring();
        let mut seq = 0;
        for round in 0..600 {
            let size = round * 23 % (BODY_MAX + 1);
            let first = seq;
            while writer.push(0, done(seq), body(seq as usize, size)) {
                seq += 1;
            }
            assert!(seq > first, "an empty ring has room");
            for seq in first..seq {
                let frame = pop(&mut reader, 0).unwrap();
                assert_eq!((frame.header.seq, &frame.body[..]), (seq, body(seq as usize, size)));
            }
            assert!(pop(&mut reader, 0).is_none() && reader.is_empty());
        }
        assert!(!writer.push(0, done(seq), &vec![0; BODY_MAX + 1]), "that is for the socket");
    }

    #[test]
    fn a_writer_and_a_reader_at_once_lose_nothing() {
        let (mut writer, mut reader, _map) = ring();
        const FRAMES: u64 = if cfg!(miri) { 300 } else { 200_000 };
        // Some lie beside the ring.
        let size = |seq: u64| if seq.is_multiple_of(16) { seq * 37 % 9000 } else { seq % 50 } as usize;
        std::thread::scope(|scope| {
            scope.spawn(move || {
                for seq in 0..FRAMES {
                    while !writer.push(0, done(seq), body(seq as usize, size(seq))) {
                        std::thread::yield_now();
                    }
                }
            });
            for seq in 0..FRAMES {
                let frame = loop {
                    match pop(&mut reader, 0) {
                        Some(frame) => break frame,
                        None => std::thread::yield_now(),
                    }
                };
                assert_eq!((frame.header.seq, &frame.body[..]), (seq, body(seq as usize, size(seq))));
            }
        });
    }

    #[test]
    fn a_frame_waits_for_what_went_through_the_socket_before_it() {
        let (mut writer, mut reader, _map) = ring();
        assert!(writer.push(100, done(1), b"later"));
        assert_eq!(reader.pop(99, 64), Ok(Popped::Later));
        assert!(!reader.is_empty());
        assert_eq!(pop(&mut reader, 100).unwrap().body, b"later");
    }

    #[test]
    fn nonsense_of_the_other_side_is_refused() {
        for written in [8, 40, CAPACITY + 8, u64::MAX, 1 << 63] {
            let (_writer, mut reader, map) = ring();
            map.word(WRITTEN_AT).store(written, Relaxed);
            assert_eq!(reader.pop(0, 64), Err(Malformed::Ring), "{written}");
        }
        for written in [8 * HEAD as u64, 56, 72] {
            let (mut writer, mut reader, map) = ring();
            assert!(writer.push(0, done(1), &[7; 10]));
            map.word(WRITTEN_AT).store(written, Relaxed);
            let popped = reader.pop(0, 64);
            // Who says that it has written more than it has is believed the part that makes sense.
            assert_eq!(popped.is_err(), written < LINE, "{written}: {popped:?}");
        }
        let (mut writer, mut reader, map) = ring();
        for read in [8, CAPACITY, 1 << 63] {
            map.word(READ_AT).store(read, Relaxed);
            writer.read = read;
            assert!(!writer.push(0, done(1), b""), "{read}");
        }
        map.word(READ_AT).store(0, Relaxed);
        writer.read = 0;
        assert!(writer.push(0, done(1), b"four"));
        // A header that claims more than was written, or more than the limit; and a kind that there is not.
        for (word, value, refused) in [
            (FRAMES_AT + 8 + 24, 5, Malformed::TooLong { len: 5, limit: 4 }),
            (FRAMES_AT + 8 + 24, 4096, Malformed::Ring),
            (FRAMES_AT + 8, 0xff, Malformed::Kind(0xff)),
            (FRAMES_AT + 8, 2 << 56 | 6, Malformed::Handles { kind: Kind::Done, handles: 2 }),
        ] {
            let before = map.word(word).swap(value, Relaxed);
            let limit = if refused == Malformed::Ring { 1 << 20 } else { 4 };
            assert_eq!(reader.pop(0, limit), Err(refused));
            map.word(word).store(before, Relaxed);
        }
        assert_eq!(pop(&mut reader, 0).unwrap().body, b"four");
        // A body that is said to lie beside the ring is as long as may lie there, or none.
        for (len, expected) in [(0, Some(0)), (8, Some(8)), (BODY_MAX, Some(BODY_MAX)), (BODY_MAX + 1, None)]
        {
            let (mut writer, mut reader, map) = ring();
            assert!(writer.push(0, done(1), b""));
            map.word(FRAMES_AT).store(BESIDE, Relaxed);
            map.word(FRAMES_AT + 8 + 24).store(len as u64, Relaxed);
            assert_eq!(reader.pop(0, u64::MAX).ok().and_then(size), expected, "{len}");
        }
        let (mut writer, mut reader, map) = ring();
        assert!(writer.push(0, done(1), b""));
        map.word(FRAMES_AT).store(BESIDE | 1 << 62, Relaxed);
        assert_eq!(reader.pop(0, 64), Ok(Popped::Later), "it waits for what was never sent");
    }

    fn size(popped: Popped) -> Option<usize> {
        match popped {
            Popped::Frame(frame) => Some(frame.body.len()),
            Popped::Later | Popped::Nothing => None,
        }
    }

    #[test]
    fn without_memory_beside_the_ring_bodies_of_some_size_lie_in_it() {
        let (mut writer, mut reader, map) = ring();
        let alone = &mut Writer::new(map, 0, RING_BYTES);
        for (writer, large) in [(alone, false), (&mut writer, true)] {
            writer.written = reader.read;
            assert!(writer.push(0, done(1), &[7; 16 << 10]));
            assert_eq!(writer.push(0, done(2), &[8; 17 << 10]), large);
            assert_eq!(pop(&mut reader, 0).unwrap().body, [7; 16 << 10]);
            assert_eq!(pop(&mut reader, 0).map(|frame| frame.body), large.then(|| vec![8; 17 << 10]));
        }
    }
}

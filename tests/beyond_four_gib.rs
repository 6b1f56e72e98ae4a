//! A message of more than 4 GiB is refused with its true size, or arrives whole: never cut, never waited for in vain
//! (F48).

mod support;

use std::fmt;
use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, Ran, TaskError, TaskErrorKind, What, task};
use serde::de::{Deserialize, Deserializer, Error as _, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeSeq, Serializer};

const CHUNK: usize = 1 << 20;
/// As many chunks as make 4 GiB, then one that is one byte long.
const CHUNKS: u64 = 1 << 12;

/// A value of so many chunks and one byte, each of which tells its place, that is never in memory as such.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Pattern {
    chunks: u64,
}

/// What the chunk of this number is.
fn write_chunk(chunk: &mut Vec<u8>, number: u64) {
    chunk.resize(CHUNK, b'.');
    for (sign, page) in chunk.chunks_mut(4096).enumerate() {
        page[..8].copy_from_slice(&number.to_le_bytes());
        page[8..16].copy_from_slice(&(sign as u64).to_le_bytes());
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.chunks as usize + 1))?;
        let mut chunk = Vec::new();
        for number in 0..self.chunks {
            write_chunk(&mut chunk, number);
            seq.serialize_element(&Bytes(&chunk))?;
        }
        seq.serialize_element(&Bytes(b"!"))?;
        seq.end()
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pattern, D::Error> {
        struct Check;
        impl<'de> Visitor<'de> for Check {
            type Value = Pattern;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the chunks of a pattern")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Pattern, A::Error> {
                let mut expected = Vec::new();
                let mut chunks = 0;
                while let Some(chunk) = seq.next_element::<&[u8]>()? {
                    if chunk == b"!" {
                        return Ok(Pattern { chunks });
                    }
                    write_chunk(&mut expected, chunks);
                    if chunk != expected {
                        return Err(A::Error::custom(format!("chunk {chunks} is another one")));
                    }
                    chunks += 1;
                }
                Err(A::Error::custom(format!("it ends after {chunks} chunks")))
            }
        }
        deserializer.deserialize_seq(Check)
    }
}

/// Bytes that are written as such and not one by one.
struct Bytes<'a>(&'a [u8]);

impl Serialize for Bytes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(self.0)
    }
}

#[task]
fn take(pattern: Pattern) -> u64 {
    pattern.chunks
}

#[task]
fn give(chunks: u64) -> Pattern {
    Pattern { chunks }
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

#[track_caller]
fn assert_too_large(error: &TaskError, whose: What, ran: Ran, limit: u64) {
    let TaskErrorKind::TooLarge { what, size, limit: told, .. } = error.kind() else { panic!("{error}") };
    assert_eq!((*what, *told, error.ran()), (whose, limit, ran), "{error}");
    // Each chunk has its length before it.
    let bytes = CHUNKS * CHUNK as u64;
    assert!((bytes + 1..bytes + bytes / 1000).contains(size), "{size}");
}

/// In kilobytes.
fn available_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

support::isolated! {
    timeout = 120;

    fn four_gib_are_refused_with_their_size_by_a_limit_that_their_low_32_bits_would_pass() {
        const LIMIT: usize = 8 << 20;
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_message_size(LIMIT).build().expect("a pool");
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        assert_eq!(pool.submit(take, Pattern { chunks: 7 }).result().expect("within the limit"), 7);
        let refused = pool.submit(take, Pattern { chunks: CHUNKS });
        assert!(refused.done(), "refused at once");
        assert_too_large(&refused.result().expect_err("too large"), What::Args, Ran::No, LIMIT as u64);
        let error = pool.submit(give, CHUNKS).result().expect_err("too large");
        assert_too_large(&error, What::Result, Ran::Yes, LIMIT as u64);
        assert_eq!(pool.submit(own_pid, ()).result().expect("the pool goes on"), worker);
        pool.shutdown(true).wait();
    }
}

support::isolated! {
    timeout = 600;

    #[ignore = "it needs 12 GiB of memory, and some minutes: for the night"]
    fn four_gib_and_a_byte_arrive_whole_in_both_directions() {
        if available_memory().is_none_or(|kib| kib < 12 << 20) {
            println!("SKIPPED: less than 12 GiB of memory are available");
            return;
        }
        let pool = ProcessPoolExecutor::builder().max_workers(1).max_message_size(5 << 30).build().expect("a pool");
        let began = Instant::now();
        assert_eq!(pool.submit(take, Pattern { chunks: CHUNKS }).result().expect("it arrives"), CHUNKS);
        println!("there after {:?}", began.elapsed());
        let began = Instant::now();
        let back = pool.submit(give, CHUNKS).result().expect("it arrives");
        assert_eq!(back, Pattern { chunks: CHUNKS });
        println!("back after {:?}", began.elapsed());
        let mut future = pool.submit(own_pid, ());
        future.result_timeout(Duration::from_secs(60)).expect("in time").expect("the pool goes on");
        pool.shutdown(true).wait();
    }
}

//! A value that cannot be encoded or decoded fails its own task and nothing else (F11 to F14, F47).

mod support;

use procpool::{CodecSide, Phase, ProcessPoolExecutor, Ran, TaskError, TaskErrorKind, What, task};
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeSeq, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::sync::atomic::{AtomicBool, Ordering};

/// A value that fails on its way, at one of four places: encode or decode, and there by an error, a panic, an
/// abort or an exit.
#[derive(Clone, Debug, PartialEq)]
struct Tricky {
    encode: Fault,
    decode: Fault,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
enum Fault {
    None,
    Error,
    Late,
    Panic,
    Abort,
    Exit,
}

const GOOD: Tricky = Tricky { encode: Fault::None, decode: Fault::None };

fn encode_fault(encode: Fault) -> Tricky {
    Tricky { encode, ..GOOD }
}

fn decode_fault(decode: Fault) -> Tricky {
    Tricky { decode, ..GOOD }
}

impl Serialize for Tricky {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.encode {
            Fault::None => self.decode.serialize(serializer),
            Fault::Error => Err(S::Error::custom("refuses to be encoded")),
            Fault::Late => {
                let mut seq = serializer.serialize_seq(Some(1 << 20))?;
                for byte in 0..(1 << 20) - 1 {
                    seq.serialize_element(&(byte as u8))?;
                }
                Err(S::Error::custom("refuses to be encoded, late"))
            }
            Fault::Panic => panic!("an encoder that panics"),
            Fault::Abort => std::process::abort(),
            Fault::Exit => std::process::exit(9),
        }
    }
}

impl<'de> Deserialize<'de> for Tricky {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tricky, D::Error> {
        match Fault::deserialize(deserializer)? {
            Fault::None => Ok(GOOD),
            Fault::Error | Fault::Late => Err(D::Error::custom("refuses to be decoded")),
            Fault::Panic => panic!("a decoder that panics"),
            Fault::Abort => std::process::abort(),
            Fault::Exit => std::process::exit(9),
        }
    }
}

#[task]
fn take(_value: Tricky) {}

/// Panics when it is dropped, where that was asked for: in the program and not in its workers.
#[derive(Serialize, Deserialize)]
struct Touchy(u64);

static TOUCHY: AtomicBool = AtomicBool::new(false);

impl Drop for Touchy {
    fn drop(&mut self) {
        assert!(!TOUCHY.load(Ordering::SeqCst), "touched");
    }
}

#[task]
fn touchy(n: u64) -> Touchy {
    Touchy(n)
}

/// Makes the value in the worker, so that it fails on its way back.
#[task]
fn give(encode: Fault, decode: Fault) -> Tricky {
    Tricky { encode, decode }
}

#[task]
fn own_pid() -> u32 {
    std::process::id()
}

fn pool() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool")
}

#[track_caller]
fn assert_codec(error: &TaskError, what: What, side: CodecSide, ran: Ran, text: &str) {
    match error.kind() {
        TaskErrorKind::Codec { what: w, side: s, message, .. } => {
            assert_eq!((*w, *s, error.ran()), (what, side, ran), "{error}");
            assert!(message.contains(text), "{message}");
        }
        other => panic!("{other:?}"),
    }
}

support::isolated! {
    timeout = 60;

    fn arguments_that_do_not_encode_are_refused_at_once() {
        let pool = pool();
        for (fault, text) in [(Fault::Error, "refuses"), (Fault::Late, "late"), (Fault::Panic, "an encoder that panics")] {
            let future = pool.submit(take, encode_fault(fault));
            assert!(future.done(), "nothing was queued");
            let error = future.result().expect_err("refused");
            assert_codec(&error, What::Args, CodecSide::Encode, Ran::No, text);
            let back = pool.try_submit(take, encode_fault(fault)).expect_err("refused");
            assert_eq!(back.into_args(), encode_fault(fault), "the arguments come back");
        }
        assert_eq!(pool.pending(), 0);
    }

    fn a_hundred_bad_ones_do_not_hurt_a_hundred_good_ones() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).max_pending(150).build().expect("a pool");
        let bad: Vec<_> = (0..100).map(|_| pool.submit(take, encode_fault(Fault::Error))).collect();
        let good: Vec<_> = (0..100).map(|_| pool.submit(take, GOOD)).collect();
        assert!(bad.into_iter().all(|future| future.result().is_err()));
        assert!(good.into_iter().all(|future| future.result().is_ok()));
        pool.shutdown(true).wait();
    }

    fn arguments_that_do_not_decode_leave_the_worker_alive() {
        let pool = pool();
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        for (fault, text) in [(Fault::Error, "refuses to be decoded"), (Fault::Panic, "a decoder that panics")] {
            let error = pool.submit(take, decode_fault(fault)).result().expect_err("it does not decode");
            assert_codec(&error, What::Args, CodecSide::Decode, Ran::No, text);
        }
        assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), worker);
    }

    fn arguments_whose_decoding_kills_every_worker_are_given_up() {
        for fault in [Fault::Abort, Fault::Exit] {
            let pool = pool();
            let error = pool.submit(take, decode_fault(fault)).result().expect_err("deadly");
            let exit = error.exit().unwrap_or_else(|| panic!("{error}"));
            assert_eq!((exit.phase(), error.ran()), (Phase::Sent, Ran::No), "{error}");
            pool.submit(own_pid, ()).result().expect("the pool goes on");
        }
    }

    fn results_that_do_not_encode_leave_the_worker_alive() {
        let pool = pool();
        let worker = pool.submit(own_pid, ()).result().expect("a value");
        for (fault, text) in [(Fault::Error, "refuses"), (Fault::Late, "late"), (Fault::Panic, "an encoder that panics")] {
            let error = pool.submit(give, (fault, Fault::None)).result().expect_err("it does not encode");
            assert_codec(&error, What::Result, CodecSide::Encode, Ran::Yes, text);
        }
        assert_eq!(pool.submit(own_pid, ()).result().expect("a value"), worker);
        for fault in [Fault::Abort, Fault::Exit] {
            let error = pool.submit(give, (fault, Fault::None)).result().expect_err("deadly");
            let exit = error.exit().unwrap_or_else(|| panic!("{error}"));
            assert_eq!((exit.phase(), error.ran()), (Phase::Replying, Ran::Yes), "the body had ended: {error}");
        }
        pool.submit(own_pid, ()).result().expect("the pool goes on");
    }

    fn results_that_do_not_decode_fail_only_their_own_future() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let good: Vec<_> = (0..50).map(|_| pool.submit(give, (Fault::None, Fault::None))).collect();
        for (fault, text) in [(Fault::Error, "refuses to be decoded"), (Fault::Panic, "a decoder that panics")] {
            let error = pool.submit(give, (Fault::None, fault)).result().expect_err("it does not decode");
            assert_codec(&error, What::Result, CodecSide::Decode, Ran::Yes, text);
        }
        for future in good {
            assert_eq!(future.result().expect("a good one"), GOOD);
        }
    }

    fn values_that_fail_in_a_chunk_fail_alone() {
        let pool = pool();
        let faults: Vec<Fault> = (0..60).map(|n| [Fault::None, Fault::Error, Fault::Panic][n % 3]).collect();
        let results = pool.map(give, faults.iter().map(|&fault| (Fault::None, fault))).chunksize(60);
        let arguments = pool.map(take, faults.iter().map(|&fault| encode_fault(fault))).chunksize(60);
        let given: Vec<_> = results.into_iter().collect();
        let taken: Vec<_> = arguments.into_iter().collect();
        assert_eq!((given.len(), taken.len()), (60, 60));
        for ((fault, given), taken) in faults.into_iter().zip(given).zip(taken) {
            let (decoding, encoding) = match fault {
                Fault::None => {
                    assert_eq!(given.expect("a good one"), GOOD);
                    taken.expect("a good one");
                    continue;
                }
                Fault::Panic => ("a decoder that panics", "an encoder that panics"),
                _ => ("refuses to be decoded", "refuses"),
            };
            assert_codec(&given.expect_err("bad"), What::Result, CodecSide::Decode, Ran::Yes, decoding);
            assert_codec(&taken.expect_err("bad"), What::Args, CodecSide::Encode, Ran::No, encoding);
        }
        pool.shutdown(true).wait();
    }

    fn values_of_a_map_that_nobody_has_seen_are_dropped_without_a_sound() {
        let pool = pool();
        let mut values = pool.map(touchy, 0..50).chunksize(50).into_iter();
        std::mem::forget(values.next().expect("a result").expect("a value"));
        TOUCHY.store(true, Ordering::SeqCst);
        let panic = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _values = values;
            panic!("the consumer");
        }));
        TOUCHY.store(false, Ordering::SeqCst);
        assert_eq!(panic.expect_err("it panicked").downcast_ref(), Some(&"the consumer"));
        pool.shutdown(true).wait();
    }

    fn a_result_that_nests_without_end_is_an_error_and_not_a_stack_overflow() {
        let error = on_a_small_stack(|pool| pool.submit(nested, 1_000_000).result().map(drop).expect_err("too deep"));
        assert_codec(&error, What::Result, CodecSide::Decode, Ran::Yes, "nested more than 128 levels deep");
    }

    fn a_result_of_more_elements_than_memory_holds_is_an_error_at_once() {
        let error = on_a_small_stack(|pool| pool.submit(endless, 1 << 60).result().map(drop).expect_err("too many"));
        assert_codec(&error, What::Result, CodecSide::Decode, Ran::Yes, "more elements than bytes");
    }

    fn ruinous_results_are_errors_in_callbacks_and_bundles_as_well() {
        on_a_small_stack(|pool| {
            // The callback runs on the pool's own thread, whose stack nobody chose for that.
            let future = pool.submit(nested, 1_000_000);
            let (tell, told) = std::sync::mpsc::channel();
            future.add_done_callback(move |done| tell.send(done.result().map(drop)).expect("somebody listens"));
            let error = told.recv().expect("it was called").expect_err("too deep");
            assert_codec(&error, What::Result, CodecSide::Decode, Ran::Yes, "128 levels");

            let together: Vec<_> = pool.map(endless, [1 << 60, 3, 1 << 61, 0]).chunksize(4).into_iter().collect();
            let lengths: Vec<Option<usize>> = together.into_iter().map(|end| end.ok().map(|units| units.0.len())).collect();
            assert_eq!(lengths, [None, Some(3), None, Some(0)], "one bad value is one error");
        });
    }
}

/// Runs `body` where a stack overflow comes early, and looks that the pool goes on with the same worker.
fn on_a_small_stack<T: Send + 'static>(body: impl FnOnce(&ProcessPoolExecutor) -> T + Send + 'static) -> T {
    let pool = pool();
    let worker = pool.submit(own_pid, ()).result().expect("a value");
    let thread = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
        let told = body(&pool);
        assert_eq!(pool.submit(own_pid, ()).result().expect("the pool goes on"), worker);
        told
    });
    thread.expect("a thread").join().expect("no overflow")
}

/// What the parent expects: each level is one byte.
#[derive(Debug, Deserialize)]
struct Nest(#[allow(dead_code, reason = "only its depth matters")] Option<Box<Nest>>);

/// Writes a million levels without recursing: what a hostile worker could send.
impl Serialize for Nest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut levels = serializer.serialize_tuple(1_000_000)?;
        for _ in 0..1_000_000 {
            levels.serialize_element(&true)?;
        }
        levels.end()
    }
}

#[task]
fn nested(_levels: u32) -> Nest {
    Nest(None)
}

/// What the parent expects: a list whose elements take no bytes.
#[derive(Debug, Deserialize)]
struct Units(Vec<()>, #[serde(skip)] u64);

/// Writes a length alone: what a hostile worker could send.
impl Serialize for Units {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_seq(usize::try_from(self.1).ok())?.end()
    }
}

#[task]
fn endless(length: u64) -> Units {
    Units(Vec::new(), length)
}

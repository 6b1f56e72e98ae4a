//! What a worker can write into the memory that it shares with its parent: rings, bells, slots.

use std::sync::atomic::{AtomicU64, Ordering};

use procpool::{TaskOptions, task};

use super::*;

/// Where things are on the shared page, as `transport/board.rs` and `transport/ring.rs` lay it out.
const SLOTS_AT: usize = 16 << 10;
const REQUESTS_BELL_AT: usize = SLOTS_AT + 1024 * 16;
const REPLIES_BELL_AT: usize = REQUESTS_BELL_AT + 64;
const NEXT_CALL_AT: usize = REPLIES_BELL_AT + 64;
const REQUESTS_AT: usize = NEXT_CALL_AT + 64;
const FRAMES: usize = 48 << 10;
const RING: usize = 128 + FRAMES;
/// In the first word of a frame: its body lies beside the ring.
const BESIDE: u64 = 1 << 63;
const REPLIES_AT: usize = REQUESTS_AT + RING;
/// Behind the rings: which calls nobody wants, of 64 chunks, and where those were cut off.
const CUT_AT: usize = REPLIES_AT + RING + 64 * 128;
const RESULTS_AT: usize = CUT_AT + 64 * 8;
const RESULTS: usize = 128 << 10;
/// How much was read of the large bodies, and those.
const BULK: usize = 64 + (256 << 10);
const END: usize = RESULTS_AT + RESULTS + 2 * BULK;

/// Where the page is, found by the name of its mapping.
fn range() -> [usize; 2] {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("mappings");
    let line = maps.lines().find(|line| line.contains("memfd:procpool")).expect("a worker shares a page");
    let (range, _) = line.split_once(' ').expect("a range");
    let (from, to) = range.split_once('-').expect("two addresses");
    [from, to].map(|text| usize::from_str_radix(text, 16).expect("an address"))
}

#[task]
fn echo(bytes: &[u8]) -> Vec<u8> {
    bytes.to_vec()
}

#[task]
fn size_of_the_page() -> usize {
    let [from, to] = range();
    to - from
}

/// The words of the page.
fn page() -> &'static [AtomicU64] {
    let [from, _] = range();
    // SAFETY: the page is mapped as long as the worker lives, and consists of words that both sides may write at
    // any time.
    unsafe { std::slice::from_raw_parts(from as *const AtomicU64, END / 8) }
}

fn put(at: usize, words: impl IntoIterator<Item = u64>) {
    for (word, value) in page()[at / 8..].iter().zip(words) {
        word.store(value, Ordering::SeqCst);
    }
}

/// A frame in the ring of replies, right behind what was written, after so many bytes in the socket.
fn forge(frame: &[u8], after: u64) {
    let written = page()[REPLIES_AT / 8].load(Ordering::SeqCst);
    let words = std::iter::once(after)
        .chain(frame.chunks(8).map(|bytes| u64::from_ne_bytes(bytes.try_into().expect("whole words"))));
    let mut len = 0;
    for word in words {
        put(REPLIES_AT + 128 + (written as usize + len) % FRAMES, [word]);
        len += 8;
    }
    put(REPLIES_AT, [written + len as u64]);
}

/// Numbers without a pattern, the same ones each time.
fn noise(seed: u64) -> impl Iterator<Item = u64> {
    std::iter::successors(Some(seed), |state| {
        Some(state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407))
    })
    .skip(1)
}

/// Writes into the page what no worker writes, then returns its number, hangs or dies.
#[task]
fn scribble(what: &str, number: u64, then: &str) -> u64 {
    match what {
        "nothing" => {}
        "a count of what was written" => put(REPLIES_AT, [number]),
        "a count of what was read" => put(REQUESTS_AT + 64, [number]),
        "a frame of unknown kind" => forge(&frame(77, 1, 0), 0),
        "a frame that is too long" => forge(&frame(6, 1, number), 0),
        "a frame whose body lies beside the ring" => forge(&frame(6, 1, number), BESIDE),
        "a result for a task of nobody" => forge(&frame(6, 99, 0), 0),
        "a second ready" => forge(&frame(5, 1, 0), 0),
        "a frame that waits for what never comes" => forge(&frame(6, 1, 0), number),
        "states of the bells" => put(REQUESTS_BELL_AT, [number; 16]),
        "the call that is next" => put(NEXT_CALL_AT, [number]),
        "results that were left" => put(NEXT_CALL_AT + 8, [number]),
        "how far a call has come" => put(NEXT_CALL_AT + 16, [number]),
        "how far a run has come" => put(NEXT_CALL_AT + 24, [number]),
        "what is said of barriers" => put(NEXT_CALL_AT + 32, [number]),
        "where calls were cut off" => put(CUT_AT, [number; 64]),
        "what was read of large bodies" => put(END - 2 * BULK, [number]),
        "noise in large bodies" => put(END - BULK + 64, noise(number).take(BULK / 8 - 8)),
        "noise in the results" => put(RESULTS_AT, noise(number).take(RESULTS / 8)),
        "states of tasks" => put(SLOTS_AT, noise(number).take(2048)),
        "last words" => put(0, noise(number).take(SLOTS_AT / 8)),
        "noise in the ring" => put(REPLIES_AT, noise(number).take(RING / 8)),
        "noise" => put(0, noise(number).take(END / 8)),
        "ones" => put(0, std::iter::repeat_n(u64::MAX, END / 8)),
        "zeros" => put(0, std::iter::repeat_n(0, END / 8)),
        _ => unreachable!("{what}"),
    }
    match then {
        "return" => {}
        "hang" => std::thread::sleep(Duration::from_secs(600)),
        "die" => std::process::abort(),
        _ => unreachable!("{then}"),
    }
    number
}

/// The culprit is one of many calls that travel together. Each of the others has one outcome, and soon, and a value is
/// true.
fn costs_its_chunk(what: &str, number: u64) {
    let pool = ProcessPoolExecutor::builder().max_workers(2).max_message_size(LIMIT).build().expect("a pool");
    for then in ["return", "die"] {
        let began = Instant::now();
        let calls = (0..60).map(|n| if n == 20 { (what, number, then) } else { ("nothing", n, "return") });
        let outcomes: Vec<_> = pool.map(scribble, calls).chunksize(30).into_iter().collect();
        assert_eq!(outcomes.len(), 60, "{what} {number:#x}, then {then}");
        assert!(outcomes[30..].iter().all(Result::is_ok), "{what} {number:#x}, then {then}: another chunk");
        for (n, value) in (0..).zip(&outcomes).filter_map(|(n, outcome)| Some((n, *outcome.as_ref().ok()?))) {
            assert_eq!(
                value,
                if n == 20 { number } else { n },
                "{what} {number:#x}, then {then}: of another call"
            );
        }
        assert!(outcomes[20].is_err() || then == "return", "{what} {number:#x}, then {then}");
        assert!(began.elapsed() < DETECT, "{what} {number:#x}, then {then}: {:?}", began.elapsed());
    }
    pool.shutdown(true).wait();
}

/// Whatever was scribbled, others are not hurt, and what becomes of the culprit is known in time. What hangs is
/// ended by its deadline.
fn costs_one_task(what: &str, number: u64) {
    for then in ["return", "hang", "die"] {
        let error = alone_is_hurt(&format!("{what} {number:#x}, then {then}"), |pool| {
            pool.with(TaskOptions::new().timeout(Duration::from_millis(200)))
                .submit(scribble, (what, number, then))
        });
        assert!(error.is_some() || then == "return", "{what} {number:#x}, then {then}: no error");
    }
}

support::isolated! {
    timeout = 120;

    fn this_test_knows_the_layout() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let size = pool.submit(size_of_the_page, ()).result().expect("a size");
        assert_eq!(size, END.next_multiple_of(4096), "it has changed: the other tests here must learn it");
    }

    fn counts_in_shared_memory_are_not_believed() {
        for number in [0, 8, 47, FRAMES as u64 + 8, 1 << 63, u64::MAX] {
            costs_one_task("a count of what was written", number);
            costs_one_task("a count of what was read", number);
            costs_one_task("what was read of large bodies", number);
        }
    }

    fn frames_in_the_ring_are_checked_like_those_in_the_socket() {
        for what in ["a frame of unknown kind", "a result for a task of nobody", "a second ready"] {
            costs_one_task(what, 0);
        }
        for len in [1, 4096, 4097, LIMIT as u64 + 1, 1 << 63, u64::MAX] {
            costs_one_task("a frame that is too long", len);
        }
    }

    fn bodies_beside_the_ring_are_checked_like_those_in_it() {
        for len in [(128 << 10) + 1, 256 << 10, 1 << 63, u64::MAX] {
            costs_one_task("a frame whose body lies beside the ring", len);
        }
        // Nothing was ever put there, and what there is are zeros: no number if they are not eight.
        for (len, then) in [0, 7, 8, 128 << 10].into_iter().flat_map(|len| [(len, "return"), (len, "die")]) {
            alone_is_hurt(&format!("{len} bytes beside the ring, then {then}"), |pool| {
                pool.submit(scribble, ("a frame whose body lies beside the ring", len, then))
            });
        }
    }

    fn a_worker_that_has_read_what_was_not_written_gets_no_wrong_arguments() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
        let bodies = || [100, 3_000, 17_000, 100_000, 130_000, 3_000, 200_000].map(|len| vec![len as u8; len]);
        let rounds: [&[u64]; 2] = [&[], &[8, 1 << 17, 1 << 18, 1 << 63, u64::MAX]];
        for forged in rounds.concat() {
            pool.submit(scribble, ("what was read of large bodies", forged, "return")).result().expect("it returns");
            for body in bodies() {
                assert_eq!(pool.submit(echo, &body).result().expect("its bytes"), body, "after {forged:#x}");
            }
        }
    }

    fn a_frame_that_waits_for_what_never_comes_holds_nobody_up() {
        for after in [1 << 20, 1 << 62, u64::MAX >> 1] {
            costs_one_task("a frame that waits for what never comes", after);
        }
    }

    fn a_call_that_scribbles_costs_its_chunk_at_most() {
        for number in [0, 1, 21 << 32 | 8, 1 << 20, 1 << 32, 1 << 63, u64::MAX] {
            for what in [
                "the call that is next",
                "results that were left",
                "how far a call has come",
                "how far a run has come",
                "what is said of barriers",
                "where calls were cut off",
            ] {
                costs_its_chunk(what, number);
            }
        }
        for seed in 1..4 {
            costs_its_chunk("noise in the ring", seed);
            costs_its_chunk("noise in the results", seed);
        }
    }

    fn noise_in_shared_memory_costs_one_task() {
        for number in [1, 2, 7, 1 << 32 | 1, u64::MAX] {
            costs_one_task("states of the bells", number);
        }
        for seed in 1..4 {
            for what in ["states of tasks", "last words", "noise in the ring", "noise in large bodies", "noise"] {
                costs_one_task(what, seed);
            }
        }
        costs_one_task("ones", 0);
        costs_one_task("zeros", 0);
    }
}

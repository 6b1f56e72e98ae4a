//! Death before each store of `put` and `get`, and before the lock is free.

use std::cell::Cell;
use std::time::Instant;

use crate::sys::keeper::in_a_killed_copy;
use crate::wire::attach::Handle;

use super::*;

thread_local! {
    /// After how many steps this thread dies with its process.
    static STEPS: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Called before each store.
pub(super) fn step() {
    match STEPS.get() {
        Some(0) => {
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
        Some(left) => STEPS.set(Some(left - 1)),
        None => {}
    }
}

/// More than there are.
const MOST: u32 = 12;

type Item = (u32, Vec<u8>, Option<Handle>);

fn item(number: u32, kind: u32) -> Item {
    let file = || Handle::new(std::fs::File::open("/dev/null").unwrap().into());
    (number, vec![7; if kind == 1 { 400_000 } else { 3 }], (kind == 2).then(file))
}

/// All that is left, which `qsize` knows from the first one on.
fn drain(queue: &JoinableQueue<Item>) -> Vec<u32> {
    let mut numbers = Vec::new();
    let mut left = None;
    loop {
        match queue.try_get() {
            Ok(item) => numbers.push(item.0),
            Err(GetError::Empty) => break,
            Err(error) => panic!("{error}"),
        }
        left = left.or(Some(queue.qsize() + 1));
        queue.task_done().unwrap();
    }
    assert_eq!(left.unwrap_or(0), numbers.len(), "of {numbers:?}");
    assert_eq!(queue.qsize(), 0);
    numbers
}

fn goes_on(queue: &JoinableQueue<Item>, kind: u32) {
    queue.put(&item(9, kind)).unwrap();
    assert_eq!(drain(queue), [9]);
    queue.join_timeout(Duration::from_secs(10)).unwrap();
}

#[test]
#[cfg_attr(miri, ignore = "it knows no fork")]
fn who_dies_while_putting_has_put_or_has_not_and_wakes_who_sleeps_if_he_has() {
    for (kind, before) in [(0, 0), (0, 2), (1, 0), (1, 2), (2, 0), (2, 2)] {
        let mut outcomes = [0; 2];
        for steps in 0..MOST {
            let queue = JoinableQueue::<Item>::bounded(3).unwrap();
            (0..before).for_each(|number| queue.put(&item(number, kind)).unwrap());
            if before == 0 {
                assert!(matches!(queue.try_get(), Err(GetError::Empty)), "it waits");
            }
            in_a_killed_copy(|| {
                STEPS.set(Some(steps));
                let _ = queue.put(&item(5, kind));
            });
            let woken = queue.queue.consumer.side.bell.wait(Some(Instant::now())).unwrap();
            let got = drain(&queue);
            let has_put = got.len() > before as usize;
            assert!(got.into_iter().eq((0..before).chain(has_put.then_some(5))), "{kind} {before} {steps}");
            assert!(before > 0 || !has_put || woken, "{kind} {steps}: somebody sleeps on");
            outcomes[usize::from(has_put)] += 1;
            goes_on(&queue, kind);
        }
        assert!(outcomes.iter().all(|&count| count > 0), "{kind} {before}: {outcomes:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "it knows no fork")]
fn who_dies_while_getting_has_got_or_has_not_and_wakes_who_waits_for_room_if_he_has() {
    for kind in 0..3 {
        let mut outcomes = [0; 2];
        for steps in 0..MOST {
            let queue = JoinableQueue::<Item>::bounded(3).unwrap();
            (0..3).for_each(|number| queue.put(&item(number, kind)).unwrap());
            assert!(matches!(queue.try_put(&item(3, kind)), Err(PutError::Full)), "it waits");
            in_a_killed_copy(|| {
                STEPS.set(Some(steps));
                let _ = queue.try_get();
            });
            let woken = queue.queue.producer.side.bell.wait(Some(Instant::now())).unwrap();
            let got = drain(&queue);
            let has_got = got.len() < 3;
            assert!(got.into_iter().eq(u32::from(has_got)..3), "{kind} {steps}");
            assert!(!has_got || woken || kind == 2, "{kind} {steps}: somebody sleeps on");
            outcomes[usize::from(has_got)] += 1;
            goes_on(&queue, kind);
        }
        assert!(outcomes.iter().all(|&count| count > 0), "{kind}: {outcomes:?}");
    }
}

#[test]
#[cfg_attr(miri, ignore = "it knows no fork")]
fn who_dies_while_items_are_moved_from_the_file_to_the_ring_loses_at_most_his_own() {
    let mut outcomes = [0; 2];
    for steps in 0..MOST {
        let queue = JoinableQueue::<Item>::new().unwrap();
        // The second one has no room in the ring, and what is put after it lies behind it.
        (0..6).for_each(|number| queue.put(&item(number, u32::from(number < 2))).unwrap());
        for number in 0..2 {
            assert_eq!(queue.get().unwrap().0, number);
            queue.task_done().unwrap();
        }
        // The second one dies while he brings to its end what the first one has begun.
        for steps in [steps].into_iter().chain((steps < 6).then_some(steps % 3)) {
            in_a_killed_copy(|| {
                STEPS.set(Some(steps));
                let _ = queue.try_get();
            });
        }
        let got = drain(&queue);
        let has_got = 4 - got.len() as u32;
        assert!(has_got < 2 && got.into_iter().eq(2 + has_got..6), "{steps}");
        outcomes[has_got as usize] += 1;
        goes_on(&queue, 0);
    }
    assert!(outcomes.iter().all(|&count| count > 0), "{outcomes:?}");
}

#[test]
fn however_much_lies_behind_the_ring_comes_in_its_order() {
    // Around what is moved at once, and with some that are too large for that.
    for size in [0, 100, 8_000, 16_300, 17_000, 70_000] {
        let queue = Queue::<(u32, Vec<u8>, Option<Handle>)>::new().unwrap();
        let kind = |number: u32| if number < 500 && number % 50 == 7 { 2 } else { 0 };
        let count = 100 + 4_000_000 / (size as u32 + 40);
        for number in 0..count {
            let (number, _, handle) = item(number, kind(number));
            queue.put(&(number, vec![3; if number % 9 == 0 { 5 } else { size }], handle)).unwrap();
        }
        for number in 0..count {
            let (got, bytes, handle) = queue.get().unwrap();
            assert_eq!((got, bytes.len()), (number, if number % 9 == 0 { 5 } else { size }));
            assert_eq!(handle.is_some(), kind(number) == 2);
        }
        assert!(queue.try_get().is_err() && queue.qsize() == 0);
    }
}

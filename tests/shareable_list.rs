//! The elements of a shared list are whole, whoever changes them at the same time, and whoever is killed over it
//! (F39, F41).

mod support;

use std::time::{Duration, Instant};

use procpool::{ProcessPoolExecutor, ShareableItem, ShareableList, TaskErrorKind, task};
use support::{Signal, eventually, kill};

/// Writes texts of one letter and of all lengths, which depend on the letter, for ever or so many times.
#[task]
fn scribble(list: ShareableList, letter: u8, times: Option<usize>) {
    for time in 0..times.unwrap_or(usize::MAX) {
        let len = 1 + time * 7 % 300;
        let text = char::from(letter).to_string().repeat(len);
        list.set(time % list.len(), format!("{len}:{text}")).expect("there is room");
    }
}

#[task]
fn describe(list: ShareableList) -> Vec<ShareableItem> {
    list.to_vec().expect("a list")
}

#[task]
fn fill(list: ShareableList, item: ShareableItem) -> Result<(), String> {
    (0..list.len()).try_for_each(|index| list.set(index, item.clone())).map_err(|error| error.to_string())
}

/// Whether an element is one that somebody has written, whole.
fn assert_whole(item: &ShareableItem) {
    let ShareableItem::Text(text) = item else { panic!("{item:?}") };
    let (len, letters) = text.split_once(':').expect("a number and a text");
    assert_eq!(len.parse(), Ok(letters.len()), "{text}");
    let first = letters.as_bytes()[0];
    assert!(letters.bytes().all(|letter| letter == first), "{text}");
}

fn scribbled(places: usize) -> ShareableList {
    // Room for the longest.
    let list = ShareableList::new(vec![" ".repeat(310); places]).expect("memory");
    (0..places).for_each(|place| list.set(place, "1:a").expect("there is room"));
    list
}

support::isolated! {
    timeout = 60;

    fn elements_of_all_kinds_are_read_and_replaced_by_every_process() {
        let items = [
            ShareableItem::None,
            true.into(),
            (-7).into(),
            i64::MAX.into(),
            0.5.into(),
            "".into(),
            "text of more than eight bytes: \u{e4}\u{1f980}".into(),
            vec![0, 255, 1].into(),
            Some(3.5).into(),
            None::<i64>.into(),
        ];
        let list = ShareableList::new(items.clone()).expect("memory");
        for inline in [false, true] {
            let pool = ProcessPoolExecutor::builder().max_workers(1).inline(inline).build().expect("a pool");
            assert_eq!(pool.submit(describe, list.clone()).result().expect("a value"), items);
            for item in [ShareableItem::from(9), f64::INFINITY.into(), "12345678".into(), ShareableItem::None] {
                pool.submit(fill, (list.clone(), item.clone())).result().expect("a value").expect("they fit");
                assert_eq!(list.to_vec().expect("a list"), vec![item.clone(); items.len()]);
                assert_eq!((list.count(&item), list.index_of(&item)), (items.len(), Some(0)));
            }
            for (index, item) in items.iter().enumerate() {
                list.set(index, item.clone()).expect("it was there before");
            }
            pool.shutdown(true).wait();
        }
        assert_eq!(format!("{:?}", ShareableList::new([1]).expect("memory")), "[Ok(Int(1))]");
        assert!(ShareableList::new(Vec::<i64>::new()).expect("memory").is_empty());
    }

    fn what_does_not_fit_or_is_not_there_is_an_error_and_changes_nothing() {
        let list = ShareableList::new(["four", "of nine.."]).expect("memory");
        assert_eq!((list.capacity(0), list.capacity(1), list.capacity(2)), (Some(8), Some(16), None));
        assert!(list.set(0, "nine.....").expect_err("too long").to_string().contains("room for 8"));
        assert!(list.set(1, vec![0; 17]).is_err());
        list.set(0, "eight...").expect("it fits");
        for index in [2, 3, usize::MAX] {
            assert!(list.get(index).is_err() && list.set(index, 1).is_err(), "{index}");
        }
        assert_eq!(list.to_vec().expect("a list"), ["eight...".into(), ShareableItem::from("of nine..")]);
        let refused = ProcessPoolExecutor::new().expect("a pool").submit(fill, (list, "x".repeat(9).into())).result();
        assert!(refused.expect("a value").expect_err("too long").contains("room for 8"));
    }

    fn readers_never_see_half_a_change() {
        let pool = ProcessPoolExecutor::builder().max_workers(3).build().expect("a pool");
        let list = scribbled(2);
        let mut writing: Vec<_> =
            (b'a'..b'd').map(|letter| pool.submit(scribble, (list.clone(), letter, Some(20_000)))).collect();
        let mut read = 0;
        while !writing.iter().all(|future| future.done()) {
            list.to_vec().expect("a list").iter().for_each(assert_whole);
            read += 1;
        }
        writing.drain(..).for_each(|future| future.result().expect("a value"));
        println!("read {read} times");
        assert!(read > 10);
    }

    fn a_writer_that_is_killed_leaves_whole_elements_and_no_lock() {
        let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
        let list = scribbled(3);
        let end = Instant::now() + Duration::from_secs(3);
        let mut killed = 0;
        while Instant::now() < end {
            list.set(0, "1:z").expect("the lock is free or becomes so");
            let writing = pool.submit(scribble, (list.clone(), b'k', None));
            let written = ShareableItem::from("1:z");
            eventually("it writes", Duration::from_secs(10), || list.get(0).is_ok_and(|item| item != written));
            pool.worker_pids().into_iter().for_each(|pid| kill(pid, Signal::KILL));
            let error = writing.result().expect_err("it was killed");
            assert!(matches!(error.kind(), TaskErrorKind::WorkerDied(_)), "{error}");
            list.to_vec().expect("a list").iter().for_each(assert_whole);
            killed += 1;
        }
        println!("{killed} were killed");
    }
}

//! Queues in the model checker: their own code on the kernel of `sync/model/kernel.rs`, with a ring of a few items, and
//! with processes that are killed at any step.

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};

use crate::interleavings::explore;
use crate::sync::model::kernel::Process;
use crate::sync::model::scene::Scene;

use super::*;

type Items = Arc<Mutex<Vec<u64>>>;

fn all(items: &Items) -> Vec<u64> {
    items.lock().unwrap().clone()
}

/// An item that has a handle, or has none.
type Item = (u64, Option<Handle>);

/// What becomes of all items.
#[derive(Clone, Default)]
struct Account {
    begun: Items,
    put: Items,
    got: Items,
    /// A producer was told that there are no consumers.
    refused: Arc<AtomicBool>,
}

impl Account {
    /// Puts so many items with rising numbers.
    fn produce(&self, producer: &Producer<Item>, first: u64, items: u64, handles: bool) {
        for number in first..first + items {
            self.begun.lock().unwrap().push(number);
            let file = (handles && number % 2 == 1).then(|| producer.side.store.file.clone());
            match producer.put(&(number, file)) {
                Ok(()) => self.put.lock().unwrap().push(number),
                Err(PutError::Closed) => return self.refused.store(true, SeqCst),
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Gets items to the end, or so many.
    fn consume(&self, consumer: &Consumer<Item>, most: usize, handles: bool, done: bool) {
        for item in consumer.iter().take(most) {
            let (number, file) = item.unwrap();
            assert_eq!(file.is_some(), handles && number % 2 == 1, "the handle of {number}");
            self.got.lock().unwrap().push(number);
            if done {
                consumer.task_done().unwrap();
            }
        }
    }
}

/// As another process gets it, in which this is called, and which has it open.
fn store(made: &Store) -> Arc<Store> {
    Arc::new(Store { page: made.page.in_another_process(), file: made.file.clone() })
}

fn sockets(process: &Process, of: [&Handle; 2]) -> [Handle; 2] {
    let own = of.map(|handle| Handle::new(handle.as_fd().try_clone_to_owned().unwrap()));
    process.opens(&own);
    own
}

fn producer(process: &Arc<Process>, made: &Queue<Item>) -> Producer<Item> {
    let side = &made.producer.side;
    let [bell, parcels] = sockets(process, [&side.bell.handle, &side.parcels]);
    process.enter(|| Producer::new(store(&side.store), bell, parcels))
}

fn consumer(process: &Arc<Process>, made: &Queue<Item>) -> Consumer<Item> {
    let side = &made.consumer.side;
    let [bell, parcels] = sockets(process, [&side.bell.handle, &side.parcels]);
    process.enter(|| Consumer::new(store(made.consumer.store()), bell, parcels))
}

/// A living process closes its side.
fn closes<T>(process: &Process, side: T) {
    process.closes();
    drop(side);
    // Who sleeps at a socket is told.
    process.closes();
}

#[derive(Clone, Copy)]
struct Queues {
    /// Processes that put; those that get come after them.
    producers: usize,
    consumers: usize,
    dying: &'static [usize],
    /// How many items it holds, 0 for any number.
    room: u32,
    /// How many items each producer puts.
    items: u64,
    handles: bool,
    /// What was got is counted until it is done.
    joinable: bool,
    /// Producers wait until all is done.
    joins: bool,
    /// How many items each consumer gets before it leaves.
    most: usize,
    /// Items that are there from the beginning.
    before: u64,
    /// Steps within which a process dies.
    longest: u32,
}

const QUEUES: Queues = Queues {
    producers: 1,
    consumers: 1,
    dying: &[],
    room: 0,
    items: 12,
    handles: false,
    joinable: false,
    joins: false,
    most: usize::MAX,
    before: 0,
    longest: 250,
};

impl Queues {
    fn play(self) {
        let Queues { producers, consumers, items, handles, joinable, most, .. } = self;
        Scene::play(producers + consumers, self.dying, self.longest, |scene| {
            let made = create::<Item>(self.room, joinable).unwrap();
            let account = Account::default();
            account.produce(&made.producer, 1000, self.before, handles);
            for index in 0..producers + consumers {
                let (process, account) = (Arc::clone(&scene.processes[index].0), account.clone());
                if index < producers {
                    let own = producer(&process, &made);
                    scene.start(index, None, move || {
                        account.produce(&own, 1 + index as u64 * items, items, handles);
                        if self.joins {
                            match own.join() {
                                Ok(()) | Err(JoinError::Closed) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                        closes(&process, own);
                    });
                } else {
                    let own = consumer(&process, &made);
                    scene.start(index, None, move || {
                        account.consume(&own, most, handles, joinable);
                        closes(&process, own);
                    });
                }
            }
            drop(made);
            scene.closed();
            scene.begun();
            scene.end();
            self.check(&account);
        });
    }

    fn check(self, account: &Account) {
        let Queues { producers, consumers, items, .. } = self;
        let (begun, put, got) = (all(&account.begun), all(&account.put), all(&account.got));
        let mut once = got.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), got.len(), "each is got once: {got:?}");
        assert!(got.iter().all(|number| begun.contains(number)), "nothing else is got: {got:?}");
        let dying = self.dying.iter().filter(|&&index| index >= producers).count();
        let leaves = self.most < usize::MAX;
        if dying < consumers && !leaves {
            let lost = put.iter().filter(|number| !once.contains(number)).count();
            assert!(lost <= dying, "who dies takes one item with it: {lost} are lost");
            assert!(!account.refused.load(SeqCst), "there was somebody who gets");
        }
        if consumers == 1 {
            for first in (0..producers as u64).map(|index| 1 + index * items) {
                let of_one = got.iter().filter(|&&number| (first..first + items).contains(&number));
                assert!(of_one.is_sorted(), "in their order: {got:?}");
            }
        }
    }
}

#[test]
fn each_item_is_got_once_and_the_queue_ends_with_its_producers() {
    explore(|| QUEUES.play());
    explore(|| Queues { producers: 2, consumers: 2, items: 6, ..QUEUES }.play());
    explore(|| Queues { producers: 2, room: 2, items: 5, ..QUEUES }.play());
    explore(|| Queues { handles: true, ..QUEUES }.play());
}

#[test]
fn a_producer_that_dies_at_any_step_has_put_an_item_or_has_not() {
    explore(|| Queues { dying: &[0], ..QUEUES }.play());
    explore(|| Queues { producers: 2, dying: &[0], room: 1, items: 5, ..QUEUES }.play());
    explore(|| Queues { producers: 2, dying: &[0], handles: true, items: 6, ..QUEUES }.play());
}

#[test]
fn a_consumer_that_dies_at_any_step_takes_one_item_with_it_at_most() {
    explore(|| Queues { consumers: 2, dying: &[1], ..QUEUES }.play());
    explore(|| Queues { consumers: 2, dying: &[1], room: 2, items: 8, ..QUEUES }.play());
    explore(|| Queues { consumers: 2, dying: &[1], handles: true, items: 8, ..QUEUES }.play());
    // More than the ring has room for, so what lies behind it is moved.
    explore(|| Queues { consumers: 2, dying: &[1], items: 1, before: 20, longest: 160, ..QUEUES }.play());
    explore(|| {
        Queues { producers: 2, consumers: 2, dying: &[0, 2], room: 3, items: 6, ..QUEUES }.play();
    });
}

#[test]
fn nobody_waits_at_a_queue_that_its_consumers_have_left() {
    explore(|| Queues { room: 1, dying: &[1], items: 6, ..QUEUES }.play());
    explore(|| Queues { room: 1, most: 2, items: 6, ..QUEUES }.play());
    explore(|| Queues { producers: 2, consumers: 2, dying: &[2, 3], room: 2, items: 6, ..QUEUES }.play());
}

#[test]
fn who_joins_a_queue_is_told_when_all_is_done_whoever_dies() {
    const JOINED: Queues = Queues { joinable: true, joins: true, items: 6, ..QUEUES };
    explore(|| JOINED.play());
    explore(|| Queues { consumers: 2, dying: &[1], ..JOINED }.play());
    explore(|| Queues { dying: &[1], ..JOINED }.play());
    explore(|| Queues { most: 2, ..JOINED }.play());
    // Who has died may have had the handles of an item that he had not got.
    explore(|| Queues { producers: 2, consumers: 2, dying: &[0, 2], items: 4, ..JOINED }.play());
    explore(|| {
        Queues { producers: 2, consumers: 2, dying: &[0, 2], items: 4, handles: true, ..JOINED }.play();
    });
}

#[test]
fn who_joins_a_plain_queue_is_told_when_it_is_empty() {
    const JOINED: Queues = Queues { joins: true, items: 4, ..QUEUES };
    explore(|| JOINED.play());
    explore(|| Queues { consumers: 2, dying: &[1], handles: true, ..JOINED }.play());
}

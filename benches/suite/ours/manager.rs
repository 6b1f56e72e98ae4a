//! What a call of a method costs, of an object that a manager keeps.

use procpool::{Manager, managed};

use crate::contest::{Size, manager};

struct Counter {
    count: u64,
}

#[managed]
impl Counter {
    pub fn new() -> Counter {
        Counter { count: 0 }
    }

    pub fn add(&mut self, amount: u64) -> u64 {
        self.count += amount;
        self.count
    }
}

pub fn manager(size: Size) {
    let times = manager::times(size);
    let keeper = Manager::new().expect("a manager");
    let value = keeper.value(&7_u64).result().expect("a value");
    manager::calls("get_us", times, || assert_eq!(value.get().result().expect("a number"), 7));
    let counter = CounterProxy::new(&keeper).result().expect("a counter");
    let mut count = 0;
    manager::calls("add_us", times, || {
        count += 3;
        assert_eq!(counter.add(3).result().expect("a number"), count, "no addition is lost");
    });
}

//! What is used in place of a task.

use procpool::{Task, task};

#[task]
fn used(n: u64) -> u64 {
    n
}

fn not_a_task(n: u64) -> u64 {
    n
}

fn submit<T: Task>(_: T, _: T::Args<'_>) {}

fn main() {
    submit(used, 1);
    submit(not_a_task, 1);
    submit(used, "1");
}

//! One task after the other, awaited.

use procpool::ProcessPoolExecutor;

use super::{add_one, pool};
use crate::contest::{Size, WORKERS, awaited};

pub(super) fn latency(size: Size) {
    for flavor in awaited::FLAVORS {
        let pool = pool(WORKERS);
        awaited::latency(flavor, size, move |n| call(pool.clone(), n));
    }
}

async fn call(pool: ProcessPoolExecutor, n: u64) -> u64 {
    pool.submit(add_one, n).await.expect("a result")
}

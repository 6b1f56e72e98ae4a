//! Whatever fails wherever it fails: that task says so, all others have their values, and the pool goes on.

use procpool::{ProcessPoolExecutor, TaskFuture, task};

use super::bomb::{Args, Bomb, Fault, Outcome, Reply, Stage, bombs, carry, judge};
use super::tasks::{echo, pool_of, values};
use crate::support;

fn submit(pool: &ProcessPoolExecutor, bombs: &[Option<Bomb>]) -> Vec<TaskFuture<Result<Reply, String>>> {
    bombs.iter().map(|bomb| pool.submit(carry, Args(bomb.clone()))).collect()
}

#[track_caller]
fn judge_all(bombs: &[Option<Bomb>], outcomes: impl IntoIterator<Item = Outcome>) {
    let mut count = 0;
    for (bomb, outcome) in bombs.iter().zip(outcomes) {
        judge(bomb.as_ref(), outcome);
        count += 1;
    }
    assert_eq!(count, bombs.len());
}

#[task]
fn warm() {
    let args = carry(Args(None)).map(|reply| Args(reply.0));
    assert!(args.is_ok_and(|Args(bomb)| bomb.is_none()) && echo(1) == 1);
}

/// One bad task; then many bad and as many good ones, apart and mixed; then chunks of a map with bad items.
fn survives(stage: Stage, fault: Fault) {
    let bad = Some(Bomb::new(stage, fault));
    let pool = pool_of(2);
    judge(bad.as_ref(), pool.submit(carry, Args(bad.clone())).result());
    judge(None, pool.submit(carry, Args(None)).result());

    let apart: Vec<_> = (0..24).map(|n| if n < 12 { bad.clone() } else { None }).collect();
    judge_all(&apart, submit(&pool, &apart).into_iter().map(TaskFuture::result));
    let mixed: Vec<_> = (0..24).map(|n| if n % 2 == 0 { bad.clone() } else { None }).collect();
    judge_all(&mixed, submit(&pool, &mixed).into_iter().map(TaskFuture::result));

    let chunks: Vec<_> = (0..12).map(|n| if n % 5 == 1 { bad.clone() } else { None }).collect();
    let map = pool.map(carry, chunks.iter().cloned().map(Args)).chunksize(4);
    judge_all(&chunks, map);

    pool.warm_up().wait().expect("all workers again");
    assert_eq!(pool.worker_pids().len(), 2);
    pool.shutdown(true).wait();
}

support::isolated! {
    timeout = 60;

    fn arguments_that_refuse_to_be_encoded() { survives(Stage::ArgsEncode, Fault::Error); }
    fn arguments_that_panic_while_being_encoded() { survives(Stage::ArgsEncode, Fault::Panic); }

    fn arguments_that_crash_the_worker_while_being_decoded() { survives(Stage::ArgsDecode, Fault::Crash); }
    fn arguments_that_exit_the_worker_while_being_decoded() { survives(Stage::ArgsDecode, Fault::Exit); }
    fn arguments_that_refuse_to_be_decoded() { survives(Stage::ArgsDecode, Fault::Error); }
    fn arguments_that_panic_while_being_decoded() { survives(Stage::ArgsDecode, Fault::Panic); }

    fn a_body_that_crashes_the_worker() { survives(Stage::Body, Fault::Crash); }
    fn a_body_that_exits_the_worker() { survives(Stage::Body, Fault::Exit); }
    fn a_body_that_returns_an_error() { survives(Stage::Body, Fault::Error); }
    fn a_body_that_panics() { survives(Stage::Body, Fault::Panic); }

    fn a_result_that_crashes_the_worker_while_being_encoded() { survives(Stage::ResultEncode, Fault::Crash); }
    fn a_result_that_exits_the_worker_while_being_encoded() { survives(Stage::ResultEncode, Fault::Exit); }
    fn a_result_that_refuses_to_be_encoded() { survives(Stage::ResultEncode, Fault::Error); }
    fn a_result_that_panics_while_being_encoded() { survives(Stage::ResultEncode, Fault::Panic); }

    fn a_result_that_refuses_to_be_decoded() { survives(Stage::ResultDecode, Fault::Error); }
    fn a_result_that_panics_while_being_decoded() { survives(Stage::ResultDecode, Fault::Panic); }

    fn what_waits_behind_many_bad_tasks_is_innocent_however_often_its_worker_dies() {
        for stage in [Stage::ArgsDecode, Stage::Body, Stage::ResultEncode] {
            // A first call is slow. With that behind it, a new worker is quick at once, and is sent more than one
            // task at a time, to die before it comes to most of them.
            let builder = ProcessPoolExecutor::builder().max_workers(1).initializer(warm, ());
            let pool = builder.build().expect("a pool");
            let bad = Some(Bomb::new(stage, Fault::Exit));
            let pairs = (0..8).map(|n| (pool.submit(echo, n), pool.submit(carry, Args(bad.clone()))));
            let pairs: Vec<_> = pairs.collect();
            let last: Vec<_> = (0..50).map(|n| pool.submit(echo, n)).collect();
            for (n, (quick, carried)) in (0..).zip(pairs) {
                assert_eq!(quick.result().expect("a value"), n);
                judge(bad.as_ref(), carried.result());
            }
            assert_eq!(values(last), (0..50).collect::<Vec<_>>());
            pool.shutdown(true).wait();
        }
    }

    fn all_faults_at_all_stages_at_once() {
        let pool = pool_of(2);
        let all: Vec<_> = bombs(None).into_iter().flat_map(|bomb| [Some(bomb), None]).collect();
        for _ in 0..3 {
            judge_all(&all, submit(&pool, &all).into_iter().map(TaskFuture::result));
        }
        assert_eq!(pool.submit(echo, 1).result().expect("the pool goes on"), 1);
        pool.shutdown(true).wait();
    }
}

//! How a pool ends.

use super::*;

#[test]
fn an_orderly_end_finishes_everything_first() {
    check(
        1,
        "
        submit 1
        < launch 0
        submit 2
        up 0
        < roused
        < run 0 1
        close
        < roused
        submit 3
        < refused: the pool was shut down
        reply 0
        < settle 1 ok
        < run 0 2
        reply 0
        < settle 2 ok
        < retire 0
        down 0
        < terminated
        close
        < roused",
    );
}

#[test]
fn a_pool_without_workers_ends_at_once() {
    check(
        2,
        "
        close
        < roused
        < terminated",
    );
}

#[test]
fn a_crash_during_the_end_does_not_lose_what_waits() {
    check(
        1,
        "
        submit 1
        < launch 0
        submit 2
        up 0
        < roused
        < run 0 1
        start 1
        close
        < roused
        down 0
        < settle 1 died Running ran=Maybe
        < launch 0
        up 0
        < roused
        < run 0 2
        reply 0
        < settle 2 ok
        < retire 0
        down 0
        < terminated",
    );
}

#[test]
fn what_waits_is_cancelled_on_request_and_what_runs_is_finished() {
    check(
        1,
        "
        submit 1
        < launch 0
        submit 2
        up 0
        < roused
        < run 0 1
        start 1
        close pending
        < roused
        < settle 2 cancelled running=false ran=No
        < revoke 0 1: too late
        reply 0
        < settle 1 ok
        < retire 0
        down 0
        < terminated",
    );
}

#[test]
fn killing_settles_all_at_once_and_ends_with_the_last_process() {
    check(
        2,
        "
        submit 1
        < launch 0
        submit 2
        < launch 1
        submit 3
        up 0
        < roused
        < run 0 1
        start 1
        close kill
        < roused
        < settle 2 cancelled running=false ran=No
        < settle 3 cancelled running=false ran=No
        < revoke 0 1: too late
        < kill 1
        < settle 1 cancelled running=true ran=Maybe
        < kill 0
        down 1
        down 0
        < terminated",
    );
}

#[test]
fn a_task_that_was_sent_and_had_not_started_is_cancelled_as_such() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        close kill
        < roused
        < revoke 0 1: taken
        < settle 1 cancelled running=false ran=No
        < kill 0
        down 0
        < terminated",
    );
}

#[test]
fn at_the_time_that_was_given_what_is_left_is_killed() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        start 1
        close by=300
        < roused
        at 299
        at 300
        < roused
        < revoke 0 1: too late
        < settle 1 cancelled running=true ran=Maybe
        < kill 0
        down 0
        < terminated",
    );
}

#[test]
fn a_worker_that_is_starting_for_nothing_is_killed() {
    check(
        1,
        "
        warm
        < launch 0
        close
        < roused
        < kill 0
        down 0
        < terminated",
    );
}

#[test]
fn a_broken_pool_ends_as_well() {
    check(
        1,
        "
        submit 1
        < launch 0
        unborn 0
        at 50
        < launch 0
        unborn 0
        at 150
        < launch 0
        unborn 0
        < roused
        < settle 1 broken ran=No
        close
        < roused
        < terminated",
    );
}

#[test]
fn a_pool_that_ends_is_not_warmed_up() {
    check(
        1,
        "
        close
        < roused
        < terminated
        warm",
    );
}

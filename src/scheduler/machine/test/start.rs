//! Workers that do not start.

use super::{check, workers};

#[test]
fn a_failed_start_is_tried_again_after_a_pause_that_doubles() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        unborn 0 oops
        wakes 50ms
        at 49ms
        at 50ms
        < launch 0
        unborn 0 oops
        wakes 150ms
        at 149ms
        at 150ms
        < launch 0
        up 0
        < roused
        < send 0 1
        ",
    );
}

#[test]
fn three_failed_starts_in_a_row_break_the_pool_with_their_cause() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        submit 2
        unborn 0 first
        at 50ms
        < launch 0
        unborn 0 second
        at 150ms
        < launch 0
        unborn 0 third
        < roused
        < settle 1 broken third ran=no
        < settle 2 broken third ran=no
        submit 3
        < refuse 3 the pool is broken: the initializer failed: third
        warm-up
        close
        < roused
        < terminated
        ",
    );
}

#[test]
fn a_start_that_succeeds_is_a_new_beginning() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        unborn 0 first
        at 50ms
        < launch 0
        unborn 0 second
        at 150ms
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 sent
        < launch 0
        unborn 0 third
        wakes 200ms
        at 200ms
        < launch 0
        unborn 0 fourth
        wakes 300ms
        ",
    );
}

#[test]
fn workers_that_were_launched_together_fail_as_one_and_one_tries_for_all() {
    check(
        workers(3),
        "
        submit 1 2 3
        < launch 0
        < launch 1
        < launch 2
        unborn 0 oops
        unborn 1 oops
        unborn 2 oops
        wakes 50ms
        at 50ms
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        < send 0 3
        ",
    );
}

#[test]
fn one_worker_that_becomes_ready_saves_the_pool() {
    check(
        workers(2),
        "
        submit 1
        < launch 0
        unborn 0 first
        at 50ms
        < launch 0
        unborn 0 second
        submit 2
        at 150ms
        < launch 0
        at 1s
        up 0
        < roused
        < send 0 1
        < launch 1
        ",
    );
}

#[test]
fn a_live_worker_keeps_the_pool_from_breaking() {
    check(
        workers(2),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        submit 2
        < launch 1
        unborn 1 first
        at 50ms
        < launch 1
        unborn 1 second
        at 150ms
        < launch 1
        unborn 1 third
        wakes 350ms
        at 350ms
        < launch 1
        unborn 1 fourth
        wakes 750ms
        done 0 1
        < settle 1 ok
        < send 0 2
        ",
    );
}

#[test]
fn a_worker_that_is_not_ready_in_time_is_killed_and_counts_as_failed() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        wakes 10s
        at 10s
        < kill 0
        up 0
        down 0
        wakes 10050ms
        at 10050ms
        < launch 0
        at 20050ms
        < kill 0
        down 0
        at 20150ms
        < launch 0
        at 30150ms
        < kill 0
        down 0
        < roused
        < settle 1 broken late ran=no
        ",
    );
}

#[test]
fn a_worker_that_dies_or_talks_nonsense_before_it_is_ready_counts_as_failed() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        down 0
        at 50ms
        < launch 0
        violate 0
        < kill 0
        down 0
        at 150ms
        < launch 0
        replies 0 1
        < kill 0
        ",
    );
}

#[test]
fn the_pool_that_breaks_tells_how_the_last_worker_failed() {
    for (events, cause) in [("down 0", "died"), ("violate 0\n< kill 0\ndown 0", "protocol")] {
        let transcript = format!(
            "
            submit 1
            < launch 0
            unborn 0 oops
            at 50ms
            < launch 0
            unborn 0 oops
            at 150ms
            < launch 0
            {events}
            < roused
            < settle 1 broken {cause} ran=no
            "
        );
        check(workers(1), &transcript);
    }
}

#[test]
fn a_broken_pool_is_no_reason_to_wait_for_its_workers() {
    check(
        workers(1),
        "
        warm-up
        < launch 0
        unborn 0 first
        at 50ms
        < launch 0
        unborn 0 second
        at 150ms
        < launch 0
        unborn 0 third
        < roused
        at 10s
        ",
    );
}

#[test]
fn who_has_started_in_time_is_not_looked_at_for_that_any_more() {
    check(
        workers(1),
        "
        warm-up
        < launch 0
        wakes 10s
        up 0
        < roused
        wakes never
        ",
    );
}

//! The end of a pool: gentle, impatient, or at once, and never without an end.

use super::{check, workers};

#[test]
fn a_pool_without_workers_ends_at_once() {
    check(
        workers(2),
        "
        close
        < roused
        < terminated
        terminated
        submit 1
        < refuse 1 closed
        close kill
        < roused
        ",
    );
}

#[test]
fn a_gentle_end_finishes_what_was_accepted() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        submit 2
        up 0
        < roused
        < send 0 1
        close
        < roused
        submit 3
        < refuse 3 closed
        done 0 1
        < settle 1 ok
        < send 0 2
        done 0 2
        < settle 2 ok
        < retire 0
        down 0
        < terminated
        ",
    );
}

#[test]
fn a_gentle_end_launches_workers_for_what_still_waits() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        close
        < roused
        down 0 running sent
        < settle 1 died running ran=maybe
        < launch 0
        up 0
        < roused
        < send 0 2
        done 0 2
        < settle 2 ok
        < retire 0
        down 0
        < terminated
        ",
    );
}

#[test]
fn a_gentle_end_of_a_pool_that_cannot_start_workers_is_an_end() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        close
        < roused
        unborn 0 first
        at 50ms
        < launch 0
        unborn 0 second
        at 150ms
        < launch 0
        unborn 0 third
        < roused
        < settle 1 broken third ran=no
        < terminated
        ",
    );
}

#[test]
fn workers_that_are_starting_for_nothing_are_killed() {
    check(
        workers(2),
        "
        warm-up
        < launch 0
        < launch 1
        up 0
        < roused
        close
        < roused
        < retire 0
        < kill 1
        warm-up
        up 1
        down 1
        down 0
        < terminated
        ",
    );
}

#[test]
fn an_impatient_end_cancels_what_has_not_started() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        submit 3
        up 0
        < roused
        < send 0 1
        < send 0 2
        close cancel
        < roused
        < settle 3 cancelled ran=no
        < revoke 0 2
        < revoke 0 1
        taken 2
        < settle 2 cancelled ran=no
        kept 1
        done 0 1
        < settle 1 ok
        < retire 0
        skip 0 2
        down 0
        < terminated
        counts cancelled 2 killed 0 pending 0 leaked 0
        ",
    );
}

#[test]
fn a_forced_end_kills_what_runs() {
    check(
        workers(3),
        "
        submit 1
        < launch 0
        submit 2
        < launch 1
        up 0
        < roused
        < send 0 1
        up 1
        < roused
        < send 1 2
        submit 3
        < launch 2
        close kill
        < roused
        < settle 3 cancelled ran=no
        < revoke 0 1
        < revoke 1 2
        < kill 2
        kept 1
        < settle 1 killed ran=maybe
        < kill 0
        taken 2
        < settle 2 cancelled ran=no
        < kill 1
        down 0 running
        down 1
        down 2
        < terminated
        counts cancelled 3 killed 1 pending 0 leaked 0
        ",
    );
}

#[test]
fn a_forced_end_does_not_send_again_what_comes_back() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        close kill
        < roused
        < revoke 0 2
        < revoke 0 1
        kept 2
        < settle 2 killed ran=maybe
        < kill 0
        kept 1
        < settle 1 killed ran=maybe
        down 0 running sent
        < terminated
        ",
    );
}

#[test]
fn an_end_by_a_time_is_gentle_until_then() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        submit 2
        up 0
        < roused
        < send 0 1
        close by 100ms
        < roused
        wakes 100ms
        at 99ms
        done 0 1
        < settle 1 ok
        < send 0 2
        at 100ms
        < roused
        < revoke 0 2
        kept 2
        < settle 2 killed ran=maybe
        < kill 0
        down 0 running
        < terminated
        ",
    );
}

#[test]
fn a_second_end_can_only_hasten_the_first() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        submit 2
        up 0
        < roused
        < send 0 1
        close by 100ms
        < roused
        close by 200ms
        < roused
        wakes 100ms
        close
        < roused
        close cancel
        < roused
        < settle 2 cancelled ran=no
        < revoke 0 1
        kept 1
        close kill
        < roused
        < revoke 0 1
        kept 1
        < settle 1 killed ran=maybe
        < kill 0
        close kill
        < roused
        < revoke 0 1
        kept 1
        down 0 running
        < terminated
        counts cancelled 2 killed 1 pending 0 leaked 0
        ",
    );
}

#[test]
fn a_worker_that_does_not_end_when_asked_is_killed() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        done 0 1
        < settle 1 ok
        close
        < roused
        < retire 0
        at 4999ms
        at 5s
        < kill 0
        down 0
        < terminated
        ",
    );
}

#[test]
fn a_forced_end_does_not_wait_for_workers_that_were_asked_to_end() {
    check(
        workers(1),
        "
        warm-up
        < launch 0
        up 0
        < roused
        close
        < roused
        < retire 0
        close kill
        < roused
        < kill 0
        down 0
        < terminated
        ",
    );
}

#[test]
fn a_worker_that_cannot_be_killed_does_not_hold_up_the_end() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        close kill
        < roused
        < revoke 0 2
        < revoke 0 1
        taken 2
        < settle 2 cancelled ran=no
        kept 1
        < settle 1 killed ran=maybe
        < kill 0
        wakes 3ms
        at 3ms
        wakes 5s
        at 5s
        < revoke 0 1
        kept 1
        at 5s
        < terminated
        counts cancelled 2 killed 1 pending 0 leaked 1
        done 0 1
        down 0
        counts cancelled 2 killed 1 pending 0 leaked 0
        ",
    );
}

#[test]
fn the_tasks_of_a_worker_that_cannot_be_killed_settle_or_go_to_its_replacement() {
    check(
        workers(1),
        "
        submit 1 2 3 timeout 10ms
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        < send 0 3
        at 1ms
        at 10ms
        < listen 0
        < revoke 0 3
        < revoke 0 2
        < inspect 0 1
        kept 3
        kept 2
        seen 1 running since 0ms
        < kill 0
        at 5010ms
        < revoke 0 3
        < revoke 0 2
        < revoke 0 1
        taken 3
        taken 2
        kept 1
        < settle 1 timed-out after 10ms ran=maybe
        wakes 5010ms
        at 5010ms
        < launch 1
        up 1
        < roused
        < send 1 2
        up 0
        skip 0 3
        done 0 1
        down 0
        done 1 2
        < settle 2 ok
        < send 1 3
        counts cancelled 0 killed 1 pending 1 leaked 0
        ",
    );
}

#[test]
fn a_pool_whose_workers_all_refuse_to_die_is_broken() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        at 10s
        < kill 0
        at 15s
        < launch 1
        at 25s
        < kill 1
        at 30s
        < roused
        < settle 1 broken spawn ran=no
        counts cancelled 0 killed 0 pending 0 leaked 2
        close
        < roused
        < terminated
        ",
    );
}

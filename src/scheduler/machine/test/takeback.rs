//! Cancelled tasks, and tasks that are stuck behind a slow one.

use super::{check, workers};

#[test]
fn a_task_that_waits_is_cancelled_at_once() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        submit 2
        cancel 1
        < settle 1 cancelled ran=no
        up 0
        < roused
        < send 0 2
        counts cancelled 1 killed 0 pending 1 leaked 0
        ",
    );
}

#[test]
fn a_task_that_was_sent_is_cancelled_if_its_worker_has_not_taken_it_up() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        submit 2
        cancel 1
        < revoke 0 1
        taken 1
        < settle 1 cancelled ran=no
        < send 0 2
        skip 0 1
        done 0 2
        < settle 2 ok
        ",
    );
}

#[test]
fn a_running_task_is_left_alone_by_a_mild_cancel() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        cancel 1
        < revoke 0 1
        kept 1
        done 0 1
        < settle 1 ok
        counts cancelled 0 killed 0 pending 0 leaked 0
        ",
    );
}

#[test]
fn a_running_task_is_killed_and_those_behind_it_go_on() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        kill 1
        < revoke 0 2
        < revoke 0 1
        taken 2
        kept 1
        < settle 1 killed ran=maybe
        < kill 0
        kill 1
        < revoke 0 1
        kept 1
        counts cancelled 1 killed 1 pending 1 leaked 0
        down 0 running
        < launch 0
        up 0
        < roused
        < send 0 2
        counts cancelled 1 killed 1 pending 1 leaked 0
        ",
    );
}

#[test]
fn a_worker_that_has_gone_on_to_the_next_task_is_not_killed_for_the_last() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        kill 1
        < revoke 0 2
        < revoke 0 1
        kept 2
        kept 1
        < settle 1 killed ran=maybe
        done 0 1
        done 0 2
        < settle 2 ok
        counts cancelled 1 killed 1 pending 0 leaked 0
        ",
    );
}

#[test]
fn what_waits_behind_a_task_out_of_time_is_taken_back_before_the_kill() {
    check(
        workers(1),
        "
        submit 1 2 timeout 1ms
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        at 1ms
        < revoke 0 2
        < inspect 0 1
        taken 2
        seen 1 running since 0ms
        < kill 0
        down 0 running
        < settle 1 timed-out after 1ms ran=maybe
        < launch 0
        up 0
        < roused
        < send 0 2
        ",
    );
}

#[test]
fn a_task_that_was_sent_and_has_not_started_is_cancelled_without_a_kill() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        kill 2
        < revoke 0 2
        taken 2
        < settle 2 cancelled ran=no
        done 0 1
        < settle 1 ok
        skip 0 2
        ",
    );
}

#[test]
fn cancelling_what_has_ended_does_nothing() {
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
        cancel 1
        kill 1
        submit 2
        < send 0 2
        kill 1
        ",
    );
}

#[test]
fn what_waits_behind_a_slow_task_is_taken_back_and_goes_elsewhere_in_order() {
    check(
        workers(2),
        "
        submit 1 2 3
        < launch 0
        < launch 1
        up 0
        < roused
        < send 0 1
        < send 0 2
        < send 0 3
        up 1
        < roused
        wakes 3ms
        at 3ms
        < listen 0
        < revoke 0 3
        < revoke 0 2
        taken 3
        taken 2
        < send 1 2
        ",
    );
}

#[test]
fn what_a_worker_took_up_in_time_stays_with_it() {
    check(
        workers(2),
        "
        submit 1 2 3
        < launch 0
        < launch 1
        up 0
        < roused
        < send 0 1
        < send 0 2
        < send 0 3
        up 1
        < roused
        at 3ms
        < listen 0
        < revoke 0 3
        < revoke 0 2
        taken 3
        kept 2
        < send 1 3
        done 0 1
        < settle 1 ok
        done 0 2
        < settle 2 ok
        ",
    );
}

#[test]
fn a_worker_that_pretends_to_have_taken_up_everything_is_not_asked_again_and_again() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        at 3ms
        < listen 0
        < revoke 0 2
        kept 2
        at 100ms
        at 9s
        wakes never
        ",
    );
}

#[test]
fn a_task_may_come_back_and_be_cancelled_in_one_moment() {
    check(
        workers(2),
        "
        submit 1 2
        < launch 0
        < launch 1
        up 0
        < roused
        < send 0 1
        < send 0 2
        up 1
        < roused
        close by 3ms
        < roused
        < retire 1
        at 3ms
        < listen 0
        < revoke 0 2
        < roused
        < revoke 0 2
        < revoke 0 1
        < kill 1
        taken 2
        kept 2
        < settle 2 cancelled ran=no
        kept 1
        < settle 1 killed ran=maybe
        < kill 0
        counts cancelled 2 killed 1 pending 0 leaked 0
        ",
    );
}

//! How a task that runs is stopped, step by step.

use super::{check, workers};

#[test]
fn a_task_that_cooperates_is_asked_and_decides() {
    check(
        workers(1),
        "
        submit 1 cooperates
        < launch 0
        up 0
        < roused
        < send 0 1
        cancel 1
        < revoke 0 1
        kept 1
        < ask 0
        done 0 1
        < settle 1 ok
        ",
    );
}

#[test]
fn a_task_out_of_time_is_asked_then_signalled_then_killed() {
    check(
        workers(1),
        "
        submit 1 timeout 10ms ask 20ms terminate 30ms
        < launch 0
        up 0
        < roused
        < send 0 1
        at 10ms
        < inspect 0 1
        seen 1 running since 0ms
        < ask 0
        wakes 30ms
        at 30ms
        < terminate 0
        wakes 60ms
        at 60ms
        < kill 0
        down 0 running
        < settle 1 timed-out after 10ms ran=maybe
        ",
    );
}

#[test]
fn a_task_that_ends_when_asked_has_its_own_outcome_and_its_worker_lives() {
    check(
        workers(1),
        "
        submit 1 timeout 10ms ask 20ms
        < launch 0
        up 0
        < roused
        < send 0 1
        at 10ms
        < inspect 0 1
        seen 1 running since 0ms
        < ask 0
        done 0 1
        < settle 1 ok
        submit 2
        < send 0 2
        at 30ms
        done 0 2
        < settle 2 ok
        ",
    );
}

#[test]
fn a_cancelled_task_that_goes_on_when_asked_is_killed() {
    check(
        workers(1),
        "
        submit 1 ask 20ms
        < launch 0
        up 0
        < roused
        < send 0 1
        stop 1
        < revoke 0 1
        kept 1
        < ask 0
        stop 1
        < revoke 0 1
        kept 1
        at 20ms
        < settle 1 killed ran=maybe
        < kill 0
        down 0 running
        ",
    );
}

#[test]
fn a_kill_takes_no_steps_and_cuts_those_short_that_are_being_taken() {
    check(
        workers(2),
        "
        submit 1 ask 20ms
        < launch 0
        submit 2 terminate 1s
        < launch 1
        up 0
        < roused
        < send 0 1
        up 1
        < roused
        < send 1 2
        stop 1
        < revoke 0 1
        kept 1
        < ask 0
        kill 1
        < revoke 0 1
        kept 1
        < settle 1 killed ran=maybe
        < kill 0
        stop 2
        < revoke 1 2
        kept 2
        < settle 2 killed ran=maybe
        < terminate 1
        close kill
        < roused
        < revoke 0 1
        < revoke 1 2
        kept 1
        kept 2
        < kill 1
        ",
    );
}

#[test]
fn a_crash_while_it_is_asked_is_told_as_a_crash() {
    check(
        workers(1),
        "
        submit 1 timeout 10ms ask 20ms
        < launch 0
        up 0
        < roused
        < send 0 1
        at 10ms
        < inspect 0 1
        seen 1 running since 0ms
        < ask 0
        down 0 running
        < settle 1 died running ran=maybe
        ",
    );
}

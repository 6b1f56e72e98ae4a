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

#[test]
fn a_task_is_asked_although_the_one_before_it_was_being_asked() {
    check(
        workers(1),
        "
        submit 1 2 ask 20ms
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        stop 1
        < revoke 0 2
        < revoke 0 1
        kept 2
        kept 1
        < ask 0
        at 1ms
        stop 2
        < revoke 0 2
        kept 2
        < ask 0
        done 0 1
        < settle 1 ok
        wakes 3ms
        at 20ms
        at 21ms
        < settle 2 killed ran=maybe
        < kill 0
        ",
    );
}

#[test]
fn nothing_waits_behind_a_task_whose_worker_was_asked_by_a_signal() {
    check(
        workers(2),
        "
        submit 1 2 timeout 1ms terminate 60s
        < launch 0
        < launch 1
        up 0
        < roused
        < send 0 1
        < send 0 2
        at 1ms
        < revoke 0 2
        < inspect 0 1
        taken 2
        seen 1 running since 0ms
        < terminate 0
        up 1
        < roused
        < send 1 2
        done 0 1
        < settle 1 ok
        down 0
        ",
    );
}

#[test]
fn a_forced_end_waits_for_no_signal_whatever_became_of_the_tasks() {
    check(
        workers(1),
        "
        submit 1 timeout 10ms terminate 60s
        < launch 0
        up 0
        < roused
        < send 0 1
        at 10ms
        < inspect 0 1
        seen 1 running since 0ms
        < terminate 0
        close kill
        < roused
        < revoke 0 1
        taken 1
        < settle 1 cancelled ran=no
        < kill 0
        down 0
        < terminated
        ",
    );
}

#[test]
fn a_task_whose_end_was_told_is_pending_no_more() {
    check(
        workers(1),
        "
        submit 1 terminate 60s
        < launch 0
        submit 2
        up 0
        < roused
        < send 0 1
        stop 1
        < revoke 0 1
        kept 1
        < settle 1 killed ran=maybe
        < terminate 0
        counts cancelled 1 killed 1 pending 1 leaked 0
        down 0 running
        < launch 0
        counts cancelled 1 killed 1 pending 1 leaked 0
        ",
    );
}

#[test]
fn a_task_may_be_given_all_the_time_there_is_to_stop() {
    let endless = format!("{}s", u64::MAX);
    let transcript = format!(
        "
        submit 1 ask {endless}
        < launch 0
        submit 2 terminate {endless}
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
        stop 2
        < revoke 1 2
        kept 2
        < settle 2 killed ran=maybe
        < terminate 1
        done 0 1
        < settle 1 ok
        "
    );
    check(workers(2), &transcript);
}

//! Attempts, and tasks that should have begun.

use super::{check, workers};

#[test]
fn a_task_whose_worker_died_is_tried_again_after_a_pause() {
    check(
        workers(1),
        "
        submit 1 retries 1
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 running
        submit 2
        < launch 0
        up 0
        < roused
        < send 0 2
        at 1s
        done 0 2
        < settle 2 ok
        < send 0 1 attempt 2
        done 0 1
        < settle 1 ok after died running ran=maybe
        ",
    );
}

#[test]
fn when_all_attempts_have_failed_the_last_failure_is_told_with_the_others() {
    check(
        workers(1),
        "
        submit 1 retries 2 timeout 10ms
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 running
        at 1s
        < launch 0
        up 0
        < roused
        < send 0 1 attempt 2
        panics 0 1
        at 3s
        < send 0 1 attempt 3
        at 3010ms
        < inspect 0 1
        seen 1 running since 3s
        < kill 0
        down 0 running
        < settle 1 timed-out after 10ms ran=yes after died running ran=maybe, ok
        ",
    );
}

#[test]
fn without_retries_nothing_that_may_have_started_runs_again() {
    check(
        workers(1),
        "
        submit 1 retries 0
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 running
        < settle 1 died running ran=maybe
        ",
    );
}

#[test]
fn a_task_that_returned_an_error_is_tried_again_and_its_last_error_is_its_value() {
    check(
        workers(1),
        "
        submit 1 retries 1
        < launch 0
        up 0
        < roused
        < send 0 1
        fails 0 1
        at 1s
        < send 0 1 attempt 2
        fails 0 1
        < settle 1 ok after ok
        ",
    );
}

#[test]
fn a_task_that_took_its_worker_down_goes_alone() {
    check(
        workers(1),
        "
        submit 9
        < launch 0
        up 0
        < roused
        < send 0 9
        done 0 9 in 10us
        < settle 9 ok
        submit 1 retries 1
        < send 0 1
        down 0 running
        submit 2
        < launch 0
        up 0
        < roused
        < send 0 2
        done 0 2 in 10us
        < settle 2 ok
        submit 3
        < send 0 3
        at 1s
        done 0 3 in 10us
        < settle 3 ok
        < send 0 1 attempt 2
        submit 4
        done 0 1 in 10us
        < settle 1 ok after died running ran=maybe
        < send 0 4
        ",
    );
}

#[test]
fn a_task_that_waits_for_its_next_attempt_can_be_cancelled() {
    check(
        workers(1),
        "
        submit 1 retries 1
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 running
        cancel 1
        < settle 1 cancelled ran=maybe after died running ran=maybe
        at 2s
        wakes never
        ",
    );
}

#[test]
fn a_task_that_was_cancelled_while_it_ran_is_not_tried_again() {
    check(
        workers(1),
        "
        submit 1 retries 1
        < launch 0
        up 0
        < roused
        < send 0 1
        cancel 1
        < revoke 0 1
        kept 1
        down 0 running
        < settle 1 died running ran=maybe
        ",
    );
}

#[test]
fn a_pool_that_is_shut_down_gently_waits_for_the_next_attempt() {
    check(
        workers(1),
        "
        submit 1 retries 1
        < launch 0
        up 0
        < roused
        < send 0 1
        fails 0 1
        close
        < roused
        at 1s
        < send 0 1 attempt 2
        done 0 1
        < settle 1 ok after ok
        < retire 0
        down 0
        < terminated
        ",
    );
}

#[test]
fn a_pool_that_cancels_what_waits_cancels_the_next_attempt() {
    check(
        workers(1),
        "
        submit 1 retries 1
        < launch 0
        up 0
        < roused
        < send 0 1
        fails 0 1
        close cancel
        < roused
        < settle 1 cancelled ran=yes after ok
        < retire 0
        down 0
        < terminated
        ",
    );
}

#[test]
fn a_task_that_is_late_before_it_begins_never_runs() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        submit 2 within 10ms
        at 10ms
        < settle 2 late after 10ms ran=no
        done 0 1
        < settle 1 ok
        ",
    );
}

#[test]
fn a_late_task_that_a_worker_has_is_taken_back_unless_it_was_taken_up() {
    check(
        workers(2),
        "
        submit 1 within 10ms
        < launch 0
        submit 2 within 10ms
        < launch 1
        up 0
        < roused
        < send 0 1
        up 1
        < roused
        < send 1 2
        at 10ms
        < revoke 0 1
        < revoke 1 2
        taken 1
        < settle 1 late after 10ms ran=no
        kept 2
        done 1 2
        < settle 2 ok
        ",
    );
}

#[test]
fn a_deadline_bounds_the_wait_and_the_body() {
    check(
        workers(1),
        "
        submit 1 deadline 10ms
        < launch 0
        submit 2 deadline 5ms
        at 4ms
        up 0
        < roused
        < send 0 1
        at 5ms
        < settle 2 late after 5ms ran=no
        at 10ms
        < revoke 0 1
        < inspect 0 1
        kept 1
        seen 1 running since 4ms
        < kill 0
        down 0 running
        < settle 1 timed-out after 6ms ran=maybe
        ",
    );
}

#[test]
fn there_is_no_next_attempt_beyond_the_deadline() {
    check(
        workers(1),
        "
        submit 1 retries 5 deadline 100ms
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 running
        < settle 1 died running ran=maybe
        ",
    );
}

#[test]
fn a_next_attempt_that_finds_no_worker_before_the_deadline_never_begins() {
    for submit in ["submit 1 retries 1 deadline 5s", "submit 1 retries 1 deadline 5s within 10ms"] {
        let transcript = format!(
            "
            {submit}
            < launch 0
            up 0
            < roused
            < send 0 1
            at 5ms
            fails 0 1
            submit 2
            < send 0 2
            at 2s
            at 5s
            < settle 1 late after 5s ran=yes after ok
            done 0 2
            < settle 2 ok
            "
        );
        check(workers(1), &transcript);
    }
}

#[test]
fn a_next_attempt_that_is_sent_ahead_is_taken_back_at_the_deadline() {
    check(
        workers(1),
        "
        submit 1 retries 1 deadline 1001ms
        < launch 0
        up 0
        < roused
        < send 0 1
        fails 0 1
        submit 2
        < send 0 2
        at 1s
        done 0 2 in 10us
        < settle 2 ok
        < send 0 1 attempt 2
        submit 3
        at 1001ms
        < revoke 0 1
        < inspect 0 1
        taken 1
        < settle 1 late after 1.001s ran=yes after ok
        seen 1 sent
        < send 0 3
        ",
    );
}

#[test]
fn a_late_task_that_comes_back_from_a_dead_worker_does_not_wait_for_another() {
    for spec in ["within 10ms", "deadline 10ms"] {
        let inspect = if spec.starts_with('d') { "< inspect 0 1" } else { "" };
        let transcript = format!(
            "
            submit 1 {spec}
            < launch 0
            up 0
            < roused
            < send 0 1
            at 10ms
            < revoke 0 1
            {inspect}
            kept 1
            down 0 sent
            < settle 1 late after 10ms ran=no
            "
        );
        check(workers(1), &transcript);
    }
}

#[test]
fn a_task_that_is_late_is_not_sent_although_a_worker_is_free() {
    check(
        workers(1),
        "
        at 10ms
        submit 1 deadline 5ms
        < settle 1 late after 0ns ran=no
        submit 2
        < launch 0
        up 0
        < roused
        < send 0 2
        done 0 2
        < settle 2 ok
        submit 3 deadline 10ms
        < settle 3 late after 0ns ran=no
        counts cancelled 0 killed 0 pending 0 leaked 0
        ",
    );
}

#[test]
fn what_is_told_of_a_killed_attempt_includes_those_before_it() {
    check(
        workers(1),
        "
        submit 1 retries 1
        < launch 0
        up 0
        < roused
        < send 0 1
        panics 0 1
        at 1s
        < send 0 1 attempt 2
        kill 1
        < revoke 0 1
        kept 1
        < settle 1 killed ran=yes after ok
        < kill 0
        ",
    );
}

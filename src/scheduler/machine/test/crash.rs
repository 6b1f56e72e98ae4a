//! The death of a worker costs the task it was at, and what is told of it is true.

use super::{check, workers};

#[test]
fn a_crash_fails_the_task_that_ran_and_returns_those_behind_it() {
    check(
        workers(1),
        "
        submit 1 2 3
        < launch 0
        submit 4
        up 0
        < roused
        < send 0 1
        < send 0 2
        < send 0 3
        down 0 running sent sent
        < settle 1 died running ran=maybe
        < launch 0
        up 0
        < roused
        < send 0 2
        done 0 2
        < settle 2 ok
        < send 0 3
        done 0 3
        < settle 3 ok
        < send 0 4
        ",
    );
}

#[test]
fn what_comes_back_is_sent_in_the_order_of_its_acceptance() {
    check(
        workers(2),
        "
        submit 1 2
        < launch 0
        < launch 1
        submit 3 4
        submit 5
        up 0
        < roused
        < send 0 1
        < send 0 2
        up 1
        < roused
        < send 1 3
        < send 1 4
        down 0 running sent
        < settle 1 died running ran=maybe
        < launch 0
        down 1 running sent
        < settle 3 died running ran=maybe
        < launch 1
        up 1
        < roused
        < send 1 2
        up 0
        < roused
        < send 0 4
        done 0 4
        < settle 4 ok
        < send 0 5
        ",
    );
}

#[test]
fn a_result_lost_on_its_way_is_told_as_such() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 replying
        < settle 1 died replying ran=yes
        ",
    );
}

#[test]
fn an_idle_worker_dies_unnoticed() {
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
        down 0
        submit 2
        < launch 0
        ",
    );
}

#[test]
fn a_task_that_never_started_goes_to_three_more_workers_and_then_fails() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 sent
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 sent
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 sent
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0 sent
        < settle 1 died sent ran=no
        ",
    );
}

#[test]
fn a_task_survives_any_number_of_crashes_before_it() {
    check(
        workers(5),
        "
        submit 1 9
        < launch 0
        < launch 1
        submit 2
        < launch 2
        submit 3
        < launch 3
        submit 4
        < launch 4
        up 0
        < roused
        < send 0 1
        < send 0 9
        up 1
        < roused
        < send 1 2
        done 1 2 in 30us
        < settle 2 ok
        < send 1 3
        < send 1 4
        up 2
        < roused
        up 3
        < roused
        submit 5
        < send 2 5
        submit 6
        < send 3 6
        done 2 5 in 30us
        < settle 5 ok
        done 3 6 in 30us
        < settle 6 ok
        submit 7
        < send 2 7
        submit 8
        < send 3 8
        up 4
        < roused
        submit 10
        < send 4 10
        done 4 10 in 30us
        < settle 10 ok
        submit 11
        < send 4 11
        down 0 running sent
        < settle 1 died running ran=maybe
        < launch 0
        < send 2 9
        down 2 running sent
        < settle 7 died running ran=maybe
        < send 3 9
        down 3 running sent
        < settle 8 died running ran=maybe
        < send 4 9
        down 4 running sent
        < settle 11 died running ran=maybe
        < send 1 9
        down 1 running sent sent
        < settle 3 died running ran=maybe
        < launch 1
        up 0
        < roused
        < send 0 9
        done 0 9
        < settle 9 ok
        < send 0 4
        ",
    );
}

#[test]
fn a_phase_that_was_not_told_proves_nothing() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        down 0
        < settle 1 died running ran=maybe
        ",
    );
}

#[test]
fn nonsense_from_a_worker_kills_it_and_fails_what_it_ran() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        violate 0
        < revoke 0 2
        < kill 0
        taken 2
        violate 0
        down 0 running
        < settle 1 protocol ran=maybe
        < launch 0
        up 0
        < roused
        < send 0 2
        ",
    );
}

#[test]
fn nonsense_from_a_worker_does_not_fail_what_it_has_not_begun() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        violate 0
        < kill 0
        down 0 sent
        < launch 0
        ",
    );
}

#[test]
fn who_has_said_nonsense_is_given_nothing_more_and_ends_when_its_task_has() {
    for nonsense in ["stray 0", "done 0 2", "skip 0 1", "skip 0 2"] {
        let transcript = format!(
            "
            submit 1 2
            < launch 0
            up 0
            < roused
            < send 0 1
            < send 0 2
            {nonsense}
            < revoke 0 2
            {nonsense}
            taken 2
            done 0 1
            < settle 1 ok
            < retire 0
            down 0
            < launch 0
            up 0
            < roused
            < send 0 2
            "
        );
        check(workers(1), &transcript);
    }
}

#[test]
fn who_has_said_nonsense_is_killed_if_its_task_does_not_end() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        stray 0
        < revoke 0 2
        taken 2
        at 49ms
        at 50ms
        < kill 0
        down 0 running
        < settle 1 protocol ran=maybe
        < launch 0
        up 0
        < roused
        < send 0 2
        ",
    );
}

#[test]
fn what_was_begun_before_it_could_be_taken_back_has_its_moment_as_well() {
    check(
        workers(1),
        "
        submit 1 2
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        stray 0
        < revoke 0 2
        kept 2
        done 0 1
        < settle 1 ok
        done 0 2
        < settle 2 ok
        < retire 0
        ",
    );
}

#[test]
fn a_reply_from_a_worker_without_a_task_is_nonsense() {
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
        done 0 1
        < retire 0
        down 0
        ",
    );
}

#[test]
fn being_ready_twice_is_nonsense() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        up 0
        < kill 0
        down 0 running
        < settle 1 protocol ran=maybe
        ",
    );
}

#[test]
fn replies_that_left_before_the_worker_was_killed_count() {
    check(
        workers(1),
        "
        submit 1 timeout 10ms
        < launch 0
        up 0
        < roused
        < send 0 1
        at 10ms
        < inspect 0 1
        seen 1 running since 0ms
        < kill 0
        done 0 1
        < settle 1 ok
        down 0
        counts cancelled 0 killed 0 pending 0 leaked 0
        ",
    );
}

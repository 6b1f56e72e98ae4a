//! Tasks with a timeout: the clock runs with the body, and only what is overdue is killed.

use super::{check, workers};

#[test]
fn a_task_that_runs_too_long_is_killed_and_those_behind_it_go_on() {
    check(
        workers(1),
        "
        submit 1 timeout 10ms
        < launch 0
        submit 2
        up 0
        < roused
        < send 0 1
        wakes 10ms
        at 10ms
        < inspect 0 1
        seen 1 running since 0ms
        < kill 0
        down 0 running
        < settle 1 timed-out after 10ms ran=maybe
        < launch 0
        up 0
        < roused
        < send 0 2
        counts cancelled 0 killed 1 pending 1 leaked 0
        ",
    );
}

#[test]
fn what_was_taken_back_from_behind_a_task_is_not_there_again_when_its_worker_is_killed() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        done 0 1 in 10us
        < settle 1 ok
        submit 2 timeout 1ms
        < send 0 2
        submit 3
        < send 0 3
        at 1ms
        < revoke 0 3
        < inspect 0 2
        taken 3
        seen 2 running since 0ms
        < kill 0
        down 0 running
        < settle 2 timed-out after 1ms ran=maybe
        < launch 0
        up 0
        < roused
        < send 0 3
        ",
    );
}

#[test]
fn the_clock_runs_from_the_start_of_the_body() {
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
        seen 1 running since 4ms
        wakes 14ms
        at 13ms
        at 14ms
        < inspect 0 1
        seen 1 running since 4ms
        < kill 0
        down 0 running
        < settle 1 timed-out after 10ms ran=maybe
        ",
    );
}

#[test]
fn a_body_that_has_not_begun_is_looked_at_again() {
    check(
        workers(1),
        "
        submit 1 timeout 1s
        < launch 0
        up 0
        < roused
        < send 0 1
        at 1s
        < inspect 0 1
        seen 1 sent
        wakes 1010ms
        at 1010ms
        < inspect 0 1
        seen 1 running since 1005ms
        wakes 2005ms
        ",
    );
}

#[test]
fn a_timeout_of_nothing_does_not_make_time_stand_still() {
    check(
        workers(1),
        "
        submit 1 timeout 0ms
        < launch 0
        up 0
        < roused
        < send 0 1
        wakes 0ms
        at 0ms
        < inspect 0 1
        seen 1 sent
        wakes 2ms
        at 2ms
        < inspect 0 1
        seen 1 running since 1ms
        < kill 0
        down 0 running
        < settle 1 timed-out after 1ms ran=maybe
        ",
    );
}

#[test]
fn a_task_behind_another_has_its_full_time() {
    check(
        workers(1),
        "
        submit 1 2 timeout 10ms
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        at 1ms
        done 0 1
        < settle 1 ok
        at 10ms
        wakes 11ms
        at 11ms
        < inspect 0 2
        seen 2 running since 1ms
        < kill 0
        ",
    );
}

#[test]
fn a_result_on_its_way_wins() {
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
        seen 1 replying
        < listen 0
        at 11ms
        done 0 1
        < settle 1 ok
        at 60s
        wakes never
        ",
    );
}

#[test]
fn a_result_that_never_comes_is_not_waited_for_without_end() {
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
        seen 1 replying
        < listen 0
        wakes 30010ms
        at 30010ms
        < inspect 0 1
        seen 1 replying
        < listen 0
        < kill 0
        down 0 replying
        < settle 1 died replying ran=yes
        ",
    );
}

#[test]
fn a_result_that_comes_between_the_decision_and_the_kill_wins() {
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

#[test]
fn a_body_that_ends_between_the_decision_and_the_kill_has_timed_out() {
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
        down 0 replying
        < settle 1 timed-out after 10ms ran=yes
        ",
    );
}

#[test]
fn a_worker_that_claims_to_have_started_just_now_is_believed_once() {
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
        seen 1 running since 3600s
        wakes 20ms
        at 20ms
        < inspect 0 1
        seen 1 running since 3600s
        < kill 0
        down 0 running
        < settle 1 timed-out after 10ms ran=maybe
        ",
    );
}

#[test]
fn a_worker_that_does_not_take_up_a_task_with_a_timeout_is_replaced() {
    check(
        workers(1),
        "
        submit 1 timeout 2s
        < launch 0
        up 0
        < roused
        < send 0 1
        at 2s
        < inspect 0 1
        seen 1 sent
        at 4995ms
        < inspect 0 1
        seen 1 sent
        wakes 5s
        at 5s
        < inspect 0 1
        seen 1 sent
        < revoke 0 1
        taken 1
        < kill 0
        down 0
        < launch 0
        up 0
        < roused
        < send 0 1
        ",
    );
}

#[test]
fn a_worker_that_takes_a_task_up_and_never_starts_it_is_replaced() {
    check(
        workers(1),
        "
        submit 1 timeout 10s
        < launch 0
        up 0
        < roused
        < send 0 1
        at 10s
        < inspect 0 1
        seen 1 sent
        < revoke 0 1
        kept 1
        < kill 0
        down 0 sent
        < launch 0
        ",
    );
}

#[test]
fn a_worker_that_takes_up_everything_and_starts_nothing_is_replaced() {
    check(
        workers(1),
        "
        submit 1 2 timeout 5s
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        at 4s
        < listen 0
        < revoke 0 2
        kept 2
        at 5s
        < revoke 0 2
        < inspect 0 1
        kept 2
        seen 1 sent
        < revoke 0 1
        kept 1
        < kill 0
        ",
    );
}

#[test]
fn tasks_that_have_ended_leave_no_appointments() {
    let mut transcript = String::from("warm-up\n< launch 0\nup 0\n< roused\n");
    for task in 1..100 {
        transcript.push_str(&format!("submit {task} timeout 60s\n< send 0 {task}\n"));
        transcript.push_str(&format!("done 0 {task}\n< settle {task} ok\n"));
    }
    transcript.push_str("at 60s\nwakes never");
    check(workers(1), &transcript);
}

#[test]
fn a_task_that_no_worker_takes_up_is_given_up_in_the_end() {
    let mut transcript = String::from("submit 1 timeout 2s\n< launch 0\n");
    for (life, end) in
        [(1, "< kill 0"), (2, "< kill 0"), (3, "< kill 0"), (4, "< settle 1 died sent ran=no\n< kill 0")]
    {
        transcript.push_str(&format!(
            "up 0\n< roused\n< send 0 1\nat {}s\n< inspect 0 1\nseen 1 sent\n< revoke 0 1\ntaken 1\n{end}\ndown 0\n",
            5 * life
        ));
        if life < 4 {
            transcript.push_str("< launch 0\n");
        }
    }
    check(workers(1), &transcript);
}

//! Who gets which task.

use super::*;

#[test]
fn a_worker_is_launched_for_the_first_task_and_reused() {
    check(
        2,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        reply 0
        < settle 1 ok
        submit 2
        < run 0 2",
    );
}

#[test]
fn each_waiting_task_launches_a_worker_until_all_places_are_taken() {
    check(
        2,
        "
        submit 1
        < launch 0
        submit 2
        < launch 1
        submit 3
        up 1
        < roused
        < run 1 1
        up 0
        < roused
        < run 0 2
        reply 1
        < settle 1 ok
        < run 1 3",
    );
}

#[test]
fn warming_up_launches_all_and_runs_nothing() {
    check(
        3,
        "
        warm
        < launch 0
        < launch 1
        < launch 2
        up 0
        < roused
        up 2
        < roused
        up 1
        < roused",
    );
}

#[test]
fn short_tasks_are_sent_ahead_and_long_ones_are_not() {
    check(
        1,
        "
        submit 1
        < launch 0
        submit 2
        submit 3
        submit 4
        up 0
        < roused
        < run 0 1
        reply 0 us=100
        < settle 1 ok
        < run 0 2
        < run 0 3
        < run 0 4
        reply 0 us=100000
        < settle 2 ok
        submit 5
        reply 0 us=100000
        < settle 3 ok
        submit 6
        reply 0 us=100000
        < settle 4 ok
        < run 0 5",
    );
}

#[test]
fn what_waits_behind_a_slow_task_is_taken_back() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        reply 0 us=10
        < settle 1 ok
        submit 2
        < run 0 2
        submit 3
        < run 0 3
        submit 4
        < run 0 4
        start 2
        at 3
        < revoke 0 4: taken
        < revoke 0 3: taken
        at 100
        reply 0 us=100000
        < settle 2 ok
        < run 0 3",
    );
}

#[test]
fn a_task_that_started_meanwhile_is_not_taken_back() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        reply 0 us=10
        < settle 1 ok
        submit 2
        < run 0 2
        submit 3
        < run 0 3
        finish 2
        start 3
        at 3
        < revoke 0 3: too late
        reply 0
        < settle 2 ok
        reply 0
        < settle 3 ok",
    );
}

#[test]
fn a_bundle_goes_to_one_worker_together() {
    check(
        2,
        "
        submit 1 bundle=1 more
        submit 2 bundle=1 more
        submit 3 bundle=2 more
        submit 4 bundle=2
        < launch 0
        < launch 1
        up 0
        < roused
        < run 0 1
        < run 0 2
        up 1
        < roused
        < run 1 3
        < run 1 4",
    );
}

#[test]
fn large_arguments_are_not_piled_up_before_a_worker() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        reply 0 us=1
        < settle 1 ok
        submit 2 bytes=1000000
        < run 0 2
        submit 3 bytes=1000000
        reply 0 us=1
        < settle 2 ok
        < run 0 3",
    );
}

#[test]
fn a_worker_that_had_its_share_is_replaced() {
    check_with(
        Settings { max_tasks_per_child: Some(2), ..settings(1) },
        "
        submit 1
        < launch 0
        submit 2
        submit 3
        up 0
        < roused
        < run 0 1
        reply 0 us=1
        < settle 1 ok
        < run 0 2
        reply 0 us=1
        < settle 2 ok
        < retire 0
        down 0
        < launch 0
        up 0
        < roused
        < run 0 3",
    );
}

#[test]
fn a_share_that_was_used_up_by_tasks_taken_back_ends_as_well() {
    check_with(
        Settings { max_tasks_per_child: Some(1), ..settings(1) },
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        cancel 1
        < revoke 0 1: taken
        < settle 1 cancelled running=false ran=No
        < retire 0
        submit 2
        down 0
        < launch 0",
    );
}

#[test]
fn no_slot_is_used_again_before_its_last_user_is_answered() {
    let now = Instant::now();
    let mut lane = Lane { life: Life::Up, next_seq: 1025, ..Lane::new(now) };
    assert!(!lane.has_room(1, 0, None), "1024 tasks are unanswered");
    lane.confirmed = 1;
    assert!(lane.has_room(1, 0, None));
}

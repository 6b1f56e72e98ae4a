//! What a death costs.

use super::*;

#[test]
fn a_killed_worker_fails_only_the_task_that_ran() {
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
        start 2
        down 0
        < settle 2 died Running ran=Maybe
        < launch 0
        up 0
        < roused
        < run 0 3",
    );
}

#[test]
fn a_task_that_had_run_says_so() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        finish 1
        down 0
        < settle 1 died Replying ran=Yes",
    );
}

#[test]
fn tasks_that_come_back_keep_their_order_before_all_others() {
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
        down 0
        < launch 0
        submit 4
        up 0
        < roused
        < run 0 2
        reply 0
        < settle 2 ok
        < run 0 3
        reply 0
        < settle 3 ok
        < run 0 4",
    );
}

#[test]
fn a_task_that_kills_every_worker_before_it_starts_is_given_up() {
    let again = "
        down 0
        < launch 0
        up 0
        < roused
        < run 0 1";
    check(
        1,
        &format!(
            "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        {again}
        {again}
        {again}
        down 0
        < settle 1 died Sent ran=No"
        ),
    );
}

#[test]
fn what_waits_behind_a_crash_is_innocent_however_often_that_happens() {
    let mut script = "submit 1\n< launch 0\n".to_owned();
    let ahead = |from: u32| (from..=12).map(|task| format!("< run 0 {task}\n")).collect::<String>();
    for task in 2..=12 {
        script += &format!("submit {task}\n");
    }
    // A good task makes the pool send all others ahead, and the next one is bad: five times over.
    for good in [1, 3, 5, 7, 9] {
        let bad = good + 1;
        script +=
            &format!("up 0\n< roused\n< run 0 {good}\nreply 0 us=1\n< settle {good} ok\n{}", ahead(bad));
        script += &format!("start {bad}\ndown 0\n< settle {bad} died Running ran=Maybe\n< launch 0\n");
    }
    script +=
        "up 0\n< roused\n< run 0 11\nreply 0 us=1\n< settle 11 ok\n< run 0 12\nreply 0\n< settle 12 ok\n";
    check(1, &script);
}

#[test]
fn a_worker_that_lies_is_killed_and_its_task_is_told() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        start 1
        reply 0 seq=9
        < kill 0
        reply 0 seq=1
        submit 2
        down 0
        < settle 1 protocol ran=Maybe
        < launch 0",
    );
}

#[test]
fn what_a_liar_had_not_started_goes_to_another() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        violate 0
        < kill 0
        down 0
        < launch 0
        up 0
        < roused
        < run 0 1",
    );
}

#[test]
fn passing_over_a_task_that_was_not_taken_back_is_a_lie() {
    for seq in [0, 1, 2] {
        check(
            1,
            &format!(
                "
            submit 1
            < launch 0
            up 0
            < roused
            < run 0 1
            skip 0 seq={seq}
            < kill 0"
            ),
        );
    }
}

#[test]
fn being_ready_twice_is_a_lie() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        up 0
        < kill 0",
    );
}

#[test]
fn an_idle_worker_that_dies_costs_nothing() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        reply 0
        < settle 1 ok
        down 0
        submit 2
        < launch 0",
    );
}

#[test]
fn failed_starts_wait_longer_each_time_and_break_the_pool_at_the_third() {
    check(
        1,
        "
        submit 1
        < launch 0
        unborn 0
        at 49
        at 50
        < launch 0
        unborn 0
        at 149
        at 150
        < launch 0
        unborn 0
        < roused
        < settle 1 broken ran=No
        submit 2
        < refused: the pool is broken: no luck",
    );
}

#[test]
fn a_success_forgets_earlier_failures() {
    check(
        2,
        "
        submit 1
        < launch 0
        unborn 0
        at 50
        < launch 0
        unborn 0
        at 150
        < launch 0
        up 0
        < roused
        < run 0 1
        submit 2
        < launch 1
        unborn 1
        at 200
        < launch 1
        unborn 1
        at 300
        < launch 1
        unborn 1
        reply 0
        < settle 1 ok
        < run 0 2",
    );
}

//! Who gets which task, when, and with which others.

use std::fmt::Write as _;

use super::{check, workers, workers_with_quota};

#[test]
fn a_task_gets_a_worker_made_for_it_and_its_reply_settles_it() {
    check(
        workers(4),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        done 0 1
        < settle 1 ok
        submit 2
        < send 0 2
        done 0 2
        < settle 2 ok
        counts cancelled 0 killed 0 pending 0 leaked 0
        ",
    );
}

#[test]
fn a_worker_is_launched_for_each_task_that_waits_up_to_the_limit() {
    check(
        workers(2),
        "
        submit 1
        < launch 0
        submit 2
        < launch 1
        submit 3
        up 1
        < roused
        < send 1 1
        up 0
        < roused
        < send 0 2
        done 0 2
        < settle 2 ok
        < send 0 3
        ",
    );
}

#[test]
fn the_lowest_idle_lane_is_used_first() {
    check(
        workers(2),
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
        done 1 2
        < settle 2 ok
        done 0 1
        < settle 1 ok
        submit 3
        < send 0 3
        ",
    );
}

#[test]
fn a_bundle_goes_to_one_worker_and_another_task_does_not_join_it() {
    check(
        workers(2),
        "
        submit 1 2 3
        < launch 0
        < launch 1
        submit 4
        up 0
        < roused
        < send 0 1
        < send 0 2
        < send 0 3
        up 1
        < roused
        < send 1 4
        ",
    );
}

#[test]
fn arguments_of_more_than_a_mebibyte_are_not_heaped_up_before_one_worker() {
    check(
        workers(1),
        "
        submit 1 2 3 bytes 600000
        < launch 0
        up 0
        < roused
        < send 0 1
        done 0 1 in 1us
        < settle 1 ok
        < send 0 2
        submit 4 bytes 5000000
        done 0 2 in 1us
        < settle 2 ok
        < send 0 3
        done 0 3 in 1us
        < settle 3 ok
        < send 0 4
        ",
    );
}

#[test]
fn short_tasks_are_sent_ahead_once_the_worker_is_known_to_be_fast() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        submit 2
        submit 3
        submit 4
        up 0
        < roused
        < send 0 1
        done 0 1 in 100us
        < settle 1 ok
        < send 0 2
        < send 0 3
        < send 0 4
        ",
    );
}

#[test]
fn long_tasks_are_not_sent_ahead() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        submit 2
        submit 3
        up 0
        < roused
        < send 0 1
        done 0 1 in 300us
        < settle 1 ok
        < send 0 2
        ",
    );
}

#[test]
fn what_is_sent_ahead_goes_where_least_waits() {
    check(
        workers(2),
        "
        warm-up
        < launch 0
        < launch 1
        up 0
        < roused
        up 1
        < roused
        submit 1
        < send 0 1
        submit 2
        < send 1 2
        done 0 1 in 30us
        < settle 1 ok
        done 1 2 in 30us
        < settle 2 ok
        submit 3
        < send 0 3
        submit 4
        < send 1 4
        submit 5
        < send 0 5
        submit 6
        < send 1 6
        ",
    );
}

#[test]
fn a_short_task_goes_to_a_worker_that_is_awake_rather_than_to_one_that_must_be_woken() {
    check(
        workers(2),
        "
        warm-up
        < launch 0
        < launch 1
        up 0
        < roused
        up 1
        < roused
        submit 1
        < send 0 1
        done 0 1 in 6us
        < settle 1 ok
        submit 2
        < send 0 2
        submit 3
        < send 0 3
        submit 4
        < send 0 4
        submit 5
        < send 1 5
        ",
    );
}

#[test]
fn nothing_is_sent_behind_a_task_that_has_run_for_long() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        done 0 1 in 1us
        < settle 1 ok
        submit 2
        < send 0 2
        at 3ms
        submit 3
        done 0 2 in 3ms
        < settle 2 ok
        < send 0 3
        ",
    );
}

#[test]
fn a_worker_that_has_had_its_share_is_replaced() {
    check(
        workers_with_quota(1, 2),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        done 0 1 in 1us
        < settle 1 ok
        submit 2
        < send 0 2
        submit 3
        done 0 2
        < settle 2 ok
        < retire 0
        down 0
        < launch 0
        up 0
        < roused
        < send 0 3
        ",
    );
}

#[test]
fn a_bundle_is_cut_at_the_share_of_the_worker() {
    check(
        workers_with_quota(1, 2),
        "
        submit 1 2 3
        < launch 0
        up 0
        < roused
        < send 0 1
        < send 0 2
        done 0 1
        < settle 1 ok
        done 0 2
        < settle 2 ok
        < retire 0
        down 0
        < launch 0
        ",
    );
}

#[test]
fn a_task_that_was_taken_back_counts_for_the_share_of_its_worker() {
    check(
        workers_with_quota(1, 1),
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
        < retire 0
        skip 0 1
        down 0
        < launch 0
        up 0
        < roused
        < send 0 2
        ",
    );
}

#[test]
fn all_workers_come_up_on_demand_and_are_told_of_once() {
    check(
        workers(2),
        "
        warm yes
        warm-up
        < launch 0
        < launch 1
        up 0
        < roused
        warm no
        down 0
        up 1
        < roused
        warm no
        at 50ms
        < launch 0
        up 0
        < roused
        warm yes
        down 0
        warm yes
        warm-up
        at 150ms
        < launch 0
        ",
    );
}

#[test]
fn a_worker_that_passes_over_nothing_gets_no_task_whose_slot_is_taken() {
    let mut transcript = String::from("submit 1\n< launch 0\nup 0\n< roused\n< send 0 1\n");
    for task in 1..=1024 {
        let next = task + 1;
        let _ = writeln!(transcript, "cancel {task}\n< revoke 0 {task}\ntaken {task}");
        let _ = writeln!(transcript, "< settle {task} cancelled ran=no\nsubmit {next}");
        if next <= 1024 {
            let _ = writeln!(transcript, "< send 0 {next}");
        }
    }
    transcript.push_str("skip 0 1\n< send 0 1025\nsubmit 1026\ncancel 1025\n< revoke 0 1025\ntaken 1025\n");
    transcript.push_str("< settle 1025 cancelled ran=no\nskip 0 2\n< send 0 1026");
    check(workers(1), &transcript);
}

#[test]
fn numbers_of_cancelled_tasks_do_not_pile_up_behind_one_that_waits() {
    let mut transcript = String::from("submit 1\n< launch 0\nup 0\n< roused\n< send 0 1\nsubmit 2\n");
    for task in 3..1000 {
        let _ = writeln!(transcript, "submit {task}\ncancel {task}\n< settle {task} cancelled ran=no");
    }
    let mut play = super::Play::new(workers(1));
    for line in transcript.lines().filter(|line| !line.starts_with('<')) {
        play.event(line);
        assert!(play.machine.backlog.numbers().len() <= 68);
    }
    play.effects.clear();
    play.event("done 0 1");
    assert_eq!(play.effects, ["settle 1 ok", "send 0 2"]);
}

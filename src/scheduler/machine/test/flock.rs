//! How many workers there are.

use std::time::Duration;

use crate::scheduler::policy::Settings;

use super::{check, workers};

#[test]
fn the_minimum_is_started_without_work_and_kept() {
    check(
        Settings { min_workers: 2, ..workers(3) },
        "
        tick
        < launch 0
        < launch 1
        up 0
        < roused
        up 1
        < roused
        submit 1
        < send 0 1
        down 0 running
        < settle 1 died running ran=maybe
        < launch 0
        ",
    );
}

#[test]
fn workers_that_die_before_they_have_done_anything_are_replaced_more_and_more_slowly() {
    check(
        Settings { min_workers: 1, ..workers(1) },
        "
        tick
        < launch 0
        up 0
        < roused
        down 0
        wakes 50ms
        at 50ms
        < launch 0
        up 0
        < roused
        down 0
        wakes 150ms
        at 150ms
        < launch 0
        up 0
        < roused
        submit 1
        < send 0 1
        done 0 1
        < settle 1 ok
        down 0
        < launch 0
        ",
    );
}

#[test]
fn an_idle_worker_above_the_minimum_ends() {
    check(
        Settings { min_workers: 1, idle_timeout: Some(Duration::from_secs(1)), ..workers(2) },
        "
        watch
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
        done 0 1
        < settle 1 ok
        at 500ms
        done 1 2
        < settle 2 ok
        at 1s
        < retire 0
        down 0
        < ended 0 Idle
        at 1500ms
        wakes never
        submit 3
        < send 1 3
        ",
    );
}

#[test]
fn work_keeps_a_worker_from_ending() {
    check(
        Settings { idle_timeout: Some(Duration::from_secs(1)), ..workers(1) },
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        at 5s
        done 0 1
        < settle 1 ok
        at 5900ms
        submit 2
        < send 0 2
        at 6s
        done 0 2
        < settle 2 ok
        at 7s
        < retire 0
        ",
    );
}

#[test]
fn a_worker_of_age_is_replaced_when_its_task_is_done() {
    check(
        Settings { max_worker_age: Some(Duration::from_secs(10)), ..workers(1) },
        "
        watch
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        at 10s
        submit 2
        done 0 1
        < settle 1 ok
        < retire 0
        down 0
        < ended 0 MaxAge
        < launch 0
        up 0
        < roused
        < send 0 2
        ",
    );
}

#[test]
fn an_idle_worker_of_age_ends() {
    check(
        Settings { max_worker_age: Some(Duration::from_secs(10)), ..workers(1) },
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        done 0 1
        < settle 1 ok
        at 8s
        at 10s
        < retire 0
        ",
    );
}

#[test]
fn a_swollen_worker_does_what_it_has_and_is_replaced() {
    check(
        workers(1),
        "
        watch
        submit 9
        < launch 0
        up 0
        < roused
        < send 0 9
        done 0 9 in 10us
        < settle 9 ok
        submit 1
        < send 0 1
        submit 2
        < send 0 2
        swollen 0
        submit 3
        done 0 1 in 10us
        < settle 1 ok
        done 0 2 in 10us
        < settle 2 ok
        < retire 0
        down 0
        < ended 0 MaxRss
        < launch 0
        ",
    );
}

#[test]
fn a_larger_pool_starts_more_workers_for_what_waits() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        submit 2
        resize 2
        < launch 1
        ",
    );
}

#[test]
fn a_smaller_pool_lets_workers_finish_and_idle_ones_go_first() {
    check(
        workers(3),
        "
        watch
        submit 1
        < launch 0
        submit 2
        < launch 1
        submit 3
        < launch 2
        up 0
        < roused
        < send 0 1
        up 1
        < roused
        < send 1 2
        up 2
        < roused
        < send 2 3
        done 0 1
        < settle 1 ok
        resize 1
        < retire 0
        down 0
        < ended 0 Resized
        submit 4
        done 2 3
        < settle 3 ok
        < retire 2
        down 2
        < ended 2 Resized
        done 1 2
        < settle 2 ok
        < send 1 4
        resize 2
        submit 5
        < launch 0
        ",
    );
}

#[test]
fn a_worker_that_starts_in_a_pool_that_shrank_ends_at_once() {
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
        resize 1
        up 1
        < roused
        < retire 1
        done 0 1
        < settle 1 ok
        < send 0 2
        ",
    );
}

#[test]
fn a_worker_too_many_takes_the_place_of_one_that_is_gone() {
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
        resize 1
        down 0 running
        < settle 1 died running ran=maybe
        up 1
        < roused
        < send 1 2
        submit 3
        resize 2
        < launch 0
        resize 1
        down 1 running
        < settle 2 died running ran=maybe
        up 0
        < roused
        < send 0 3
        ",
    );
}

#[test]
fn a_pool_that_shrinks_to_those_that_are_up_is_warm() {
    check(
        workers(2),
        "
        warm-up
        < launch 0
        < launch 1
        up 0
        < roused
        warm no
        unborn 1 nothing
        resize 1
        < roused
        warm yes
        ",
    );
}

#[test]
fn workers_wait_for_the_others_of_a_warm_up_however_long_they_are_idle() {
    check(
        Settings { idle_timeout: Some(Duration::from_secs(1)), ..workers(2) },
        "
        warm-up
        < launch 0
        < launch 1
        up 0
        < roused
        at 1500ms
        up 1
        < roused
        warm yes
        at 2500ms
        < retire 0
        < retire 1
        ",
    );
}

#[test]
fn a_warm_up_replaces_workers_that_die_at_once_more_and_more_slowly() {
    check(
        workers(2),
        "
        warm-up
        < launch 0
        < launch 1
        up 0
        < roused
        down 0
        wakes 50ms
        at 50ms
        < launch 0
        up 0
        < roused
        down 0
        wakes 150ms
        submit 1
        at 150ms
        < launch 0
        ",
    );
}

//! Tasks that are many calls.

use super::{check, workers};

#[test]
fn results_come_in_parts_before_the_task_ends() {
    check(
        workers(1),
        "
        submit 1 calls
        < launch 0
        up 0
        < roused
        < send 0 1
        tells 0 1
        < results 0 1
        tells 0 1
        < results 0 1
        done 0 1
        < settle 1 ok
        ",
    );
}

#[test]
fn what_is_not_many_calls_has_no_parts() {
    check(
        workers(1),
        "
        submit 1
        < launch 0
        up 0
        < roused
        < send 0 1
        tells 0 1
        at 50ms
        < kill 0
        ",
    );
}

#[test]
fn a_slow_task_of_many_calls_is_divided_once_and_its_rest_goes_before_what_came_later() {
    check(
        workers(1),
        "
        submit 1 calls
        < launch 0
        up 0
        < roused
        < send 0 1
        wakes 3ms
        at 3ms
        < listen 0
        < divide 0 1
        submit 3
        split 1 2
        at 20ms
        done 0 1 in 20ms
        < settle 1 ok
        < send 0 2
        done 0 2
        < settle 2 ok
        < send 0 3
        ",
    );
}

#[test]
fn the_rest_of_a_task_is_taken_by_a_pool_that_takes_no_more() {
    check(
        workers(1),
        "
        submit 1 calls
        < launch 0
        up 0
        < roused
        < send 0 1
        close
        < roused
        split 1 2
        down 0 running
        < settle 1 died running ran=maybe
        < launch 0
        up 0
        < roused
        < send 0 2
        done 0 2
        < settle 2 ok
        < retire 0
        ",
    );
}

#[test]
fn what_has_not_begun_is_looked_at_again_ever_later() {
    check(
        workers(1),
        "
        submit 1 calls
        < launch 0
        up 0
        < roused
        < send 0 1
        at 3ms
        < listen 0
        < divide 0 1
        unbegun 0 1
        wakes 6ms
        at 6ms
        < listen 0
        < divide 0 1
        unbegun 0 1
        wakes 12ms
        at 300ms
        < listen 0
        < divide 0 1
        unbegun 0 1
        wakes 428ms
        at 428ms
        < listen 0
        < divide 0 1
        wakes never
        ",
    );
}

#[test]
fn what_is_left_lying_goes_to_a_worker_that_works() {
    check(
        workers(2),
        "
        submit 1 calls
        < launch 0
        up 0
        < roused
        < send 0 1
        at 3ms
        < listen 0
        < divide 0 1
        unbegun 0 1
        at 6ms
        < listen 0
        < divide 0 1
        unbegun 0 1
        < revoke 0 1
        taken 1
        < launch 1
        up 1
        < roused
        < send 1 1
        submit 2
        done 1 1
        < settle 1 ok
        < send 1 2
        submit 3
        skip 0 1
        < send 0 3
        ",
    );
}

#[test]
fn what_was_begun_in_the_last_moment_stays_and_its_worker_is_heard_again() {
    check(
        workers(2),
        "
        submit 1 calls
        < launch 0
        up 0
        < roused
        < send 0 1
        at 7ms
        < listen 0
        < divide 0 1
        unbegun 0 1
        < revoke 0 1
        kept 1
        tells 0 1
        < results 0 1
        done 0 1
        < settle 1 ok
        submit 2
        < send 0 2
        ",
    );
}

#[test]
fn what_is_left_lying_stays_where_no_other_worker_works() {
    check(
        workers(2),
        "
        submit 1 calls
        < launch 0
        submit 2 calls
        < launch 1
        up 0
        < roused
        < send 0 1
        up 1
        < roused
        < send 1 2
        at 7ms
        < listen 0
        < divide 0 1
        < listen 1
        < divide 1 2
        unbegun 0 1
        unbegun 1 2
        wakes 14ms
        done 0 1 in 8ms
        < settle 1 ok
        at 14ms
        < listen 1
        < divide 1 2
        unbegun 1 2
        < revoke 1 2
        taken 2
        < send 0 2
        ",
    );
}

#[test]
fn a_call_that_is_killed_takes_its_worker_along_only_while_that_is_at_its_task() {
    check(
        workers(1),
        "
        submit 1 calls
        < launch 0
        kill-call 1
        up 0
        < roused
        < send 0 1
        kill-call 1
        < revoke 0 1
        taken 1
        < send 0 1
        kill-call 1
        < revoke 0 1
        kept 1
        < kill 0
        split 1 2
        down 0 running
        < settle 1 killed ran=maybe
        < launch 0
        up 0
        < roused
        < send 0 2
        ",
    );
}

#[test]
fn quick_calls_wake_no_more_workers_than_there_are_processors_unless_one_is_slow() {
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
        done 0 1
        < settle 1 ok
        done 1 2
        < settle 2 ok
        submit 3 calls quick
        < send 0 3
        submit 4 calls quick
        < send 0 4
        submit 5 calls quick
        done 0 3
        < settle 3 ok
        < send 0 5
        submit 6 calls quick
        at 3ms
        < listen 0
        < revoke 0 5
        < divide 0 4
        taken 5
        < send 1 5
        < send 1 6
        ",
    );
}

#[test]
fn quick_calls_wait_no_longer_for_a_processor_than_a_slow_task_is_not_known_to_be_slow() {
    check(
        workers(3),
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
        submit 3 calls quick
        wakes 3ms
        at 3ms
        < send 1 3
        ",
    );
}

#[test]
fn a_part_is_never_taken_for_one_that_was_cancelled_before_it_was_split_off() {
    check(
        workers(2),
        "
        submit 1 calls
        < launch 0
        up 0
        < roused
        < send 0 1
        at 3ms
        < listen 0
        < divide 0 1
        split 1 2
        < launch 1
        split 1 3
        cancel 2
        < settle 2 cancelled ran=no
        split 1 4
        up 1
        < roused
        < send 1 4
        done 0 1 in 20ms
        < settle 1 ok
        < send 0 3
        done 0 3
        < settle 3 ok
        done 1 4
        < settle 4 ok
        ",
    );
}

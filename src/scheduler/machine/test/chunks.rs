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
        wakes 2ms
        at 2ms
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
fn what_has_not_begun_is_looked_at_again() {
    check(
        workers(1),
        "
        submit 1 calls
        < launch 0
        up 0
        < roused
        < send 0 1
        at 2ms
        < listen 0
        < divide 0 1
        unbegun 0 1
        wakes 6ms
        at 6ms
        < listen 0
        < divide 0 1
        unbegun 0 1
        wakes 10ms
        at 10ms
        < listen 0
        < divide 0 1
        wakes never
        ",
    );
}

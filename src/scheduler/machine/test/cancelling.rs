//! Tasks that nobody wants any more.

use super::*;

#[test]
fn a_waiting_task_never_starts() {
    check(
        1,
        "
        submit 1
        < launch 0
        submit 2
        cancel 2
        < settle 2 cancelled running=false ran=No
        up 0
        < roused
        < run 0 1
        reply 0
        < settle 1 ok",
    );
}

#[test]
fn a_task_that_was_sent_and_has_not_started_is_taken_back() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        cancel 1
        < revoke 0 1: taken
        < settle 1 cancelled running=false ran=No
        skip 0 seq=1
        submit 2
        < run 0 2",
    );
}

#[test]
fn a_running_task_is_left_alone_unless_it_is_to_be_killed() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        start 1
        cancel 1
        < revoke 0 1: too late
        cancel 1 kill
        < revoke 0 1: too late
        < settle 1 cancelled running=true ran=Maybe
        < kill 0
        submit 2
        down 0
        < launch 0",
    );
}

#[test]
fn a_reply_after_the_cancellation_is_thrown_away() {
    check(
        1,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        start 1
        cancel 1 kill
        < revoke 0 1: too late
        < settle 1 cancelled running=true ran=Maybe
        < kill 0
        reply 0
        cancel 1
        down 0",
    );
}

#[test]
fn a_task_that_is_done_stays_done() {
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
        cancel 1 kill",
    );
}

#[test]
fn a_running_task_that_cooperates_is_asked_to_stop_and_decides() {
    check(
        1,
        "
        submit 1 cooperates
        < launch 0
        up 0
        < roused
        < run 0 1
        start 1
        submit 2 cooperates
        cancel 1
        < revoke 0 1: too late
        < ask 0 seq=1
        cancel 2
        < settle 2 cancelled running=false ran=No
        reply 0
        < settle 1 ok
        submit 3 cooperates
        < run 0 3
        start 3
        cancel 3 kill
        < revoke 0 3: too late
        < settle 3 cancelled running=true ran=Maybe
        < kill 0",
    );
}

//! Deadlines and patience.

use super::*;

#[test]
fn the_deadline_counts_from_the_start_of_the_body() {
    check(
        1,
        "
        submit 1 timeout=100
        < launch 0
        at 500
        up 0
        < roused
        < run 0 1
        at 550
        start 1
        at 600
        < look 0 1
        at 649
        at 650
        < look 0 1
        < kill 0
        down 0
        < settle 1 timed out after 100ms ran=Maybe",
    );
}

#[test]
fn a_result_that_is_on_its_way_wins() {
    check(
        1,
        "
        submit 1 timeout=100
        < launch 0
        up 0
        < roused
        < run 0 1
        start 1
        at 99
        finish 1
        at 100
        < look 0 1
        reply 0
        < settle 1 ok",
    );
}

#[test]
fn a_reply_that_was_in_the_socket_wins_over_the_kill() {
    check(
        1,
        "
        submit 1 timeout=100
        < launch 0
        up 0
        < roused
        < run 0 1
        start 1
        at 100
        < look 0 1
        < kill 0
        reply 0
        < settle 1 ok
        down 0",
    );
}

#[test]
fn only_the_late_task_pays_for_its_deadline() {
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
        submit 2 timeout=1
        < run 0 2
        submit 3
        < run 0 3
        start 2
        at 1
        < look 0 2
        < kill 0
        down 0
        < settle 2 timed out after 1ms ran=Maybe
        < launch 0
        up 0
        < roused
        < run 0 3",
    );
}

#[test]
fn a_worker_that_does_not_take_up_a_task_loses_it_to_another() {
    let mut script = String::from(
        "
        submit 1 timeout=1000
        < launch 0
        up 0
        < roused
        < run 0 1",
    );
    for at in (1000..5000).step_by(10) {
        script += &format!("\nat {at}\n< look 0 1");
    }
    script += "
        at 5000
        < look 0 1
        < revoke 0 1: taken
        < kill 0
        down 0
        < launch 0";
    check(1, &script);
}

#[test]
fn a_worker_that_moves_its_own_start_gains_nothing() {
    let base = Instant::now();
    let limit = Duration::from_millis(100);
    let mut machine: Machine<u32, ()> = Machine::new(settings(1), base);
    let mut effects = Vec::new();
    let task = machine.submit(1, Spec { timeout: Some(limit), ..Spec::default() }).unwrap();
    machine.step(base, Event::Up { lane: LaneNo(0) }, &mut effects);
    machine.dispatch(base, &mut effects);
    machine.step(base, Event::Up { lane: LaneNo(0) }, &mut effects);
    effects.clear();
    let claims = [base + limit / 2, base + limit, base + 2 * limit, base + 9 * limit];
    let mut condemned = false;
    for (step, claim) in (1..).zip(claims) {
        let seen = Event::Seen { task, phase: Phase::Running, started: Some(claim) };
        machine.step(base + limit / 2 + limit * step, seen, &mut effects);
        condemned |= effects.iter().any(|effect| matches!(effect, Effect::Kill { .. }));
    }
    assert!(condemned);
}

#[test]
fn a_worker_that_is_never_ready_is_a_failed_start() {
    check(
        1,
        "
        submit 1
        < launch 0
        at 9999
        at 10000
        < kill 0
        down 0
        at 10050
        < launch 0",
    );
}

#[test]
fn a_worker_that_does_not_end_when_asked_is_killed_and_then_given_up() {
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
        close
        < roused
        < retire 0
        at 4999
        at 5000
        < kill 0
        at 10000
        < terminated
        down 0",
    );
}

#[test]
fn tasks_of_a_worker_that_cannot_be_killed_are_settled_or_given_to_others() {
    check(
        2,
        "
        submit 1
        < launch 0
        up 0
        < roused
        < run 0 1
        reply 0 us=1
        < settle 1 ok
        submit 2 timeout=1
        < run 0 2
        submit 3
        < launch 1
        < run 0 3
        start 2
        at 1
        < look 0 2
        < kill 0
        at 5001
        < revoke 0 2: too late
        < revoke 0 3: taken
        < settle 2 timed out after 1ms ran=Maybe
        up 1
        < roused
        < run 1 3",
    );
}

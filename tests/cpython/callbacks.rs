//! What is called when a task is done.

use std::sync::mpsc;
use std::time::Duration;

use procpool::{Done, TaskFuture};

use super::tasks::{States, done, echo, fail, pool_of};
use crate::support;

/// What a callback of this future sees.
fn seen<R: Send + 'static>(
    future: &TaskFuture<u64>,
    look: impl FnOnce(&Done<'_, u64>) -> R + Send + 'static,
) -> mpsc::Receiver<R> {
    let (sender, receiver) = mpsc::channel();
    future.add_done_callback(move |done| sender.send(look(done)).expect("the test waits"));
    receiver
}

/// What comes within a time that is long for a callback.
fn soon<R>(receiver: &mpsc::Receiver<R>) -> R {
    receiver.recv_timeout(Duration::from_secs(20)).expect("the callback was called")
}

fn message(done: &Done<'_, u64>) -> Option<String> {
    done.error().and_then(|error| Some(error.panic()?.message().to_owned()))
}

/// The panics of this process, as the panic hook hears of them.
fn heard() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::panic::set_hook(Box::new(move |info| {
        sender.send(info.to_string()).expect("the test listens");
    }));
    receiver
}

support::isolated! {
    fn a_callback_gets_the_value() {
        let States { running, gate, pool, .. } = States::new();
        let value = seen(&running, |done| (done.is_ok(), done.result().ok()));
        gate.open();
        assert_eq!(soon(&value), (true, Some(1)));
        pool.shutdown(true).wait();
    }

    fn a_callback_gets_the_error() {
        let States { running, gate, pool, .. } = States::new();
        let failing = pool.submit(fail, "test");
        let error = seen(&failing, message);
        gate.open();
        assert_eq!(soon(&error).as_deref(), Some("test"));
        assert_eq!(running.result().expect("a value"), 1);
        pool.shutdown(true).wait();
    }

    fn a_callback_is_told_of_the_cancelling() {
        let States { pending, gate: _gate, pool: _pool, .. } = States::new();
        let cancelled = seen(&pending, |done| done.cancelled());
        assert!(pending.cancel());
        assert!(soon(&cancelled));
    }

    fn a_panic_in_a_callback_is_heard_and_harms_no_other() {
        let States { running, gate, pool, .. } = States::new();
        let heard = heard();
        running.add_done_callback(|_| panic!("doh"));
        let value = seen(&running, |done| done.result().ok());
        gate.open();
        assert_eq!(soon(&value), Some(1));
        assert!(soon(&heard).contains("doh"));
        assert_eq!(pool.submit(echo, 5).result().expect("the pool goes on"), 5);
        pool.shutdown(true).wait();
    }

    fn a_late_callback_gets_the_value_at_once() {
        let States { successful, gate: _gate, pool: _pool, .. } = States::new();
        let value = seen(&successful, |done| done.result().ok());
        assert_eq!(value.try_recv().expect("called by now"), Some(42));
    }

    fn a_late_callback_gets_the_error_at_once() {
        let States { failed, gate: _gate, pool: _pool, .. } = States::new();
        let error = seen(&failed, message);
        assert_eq!(error.try_recv().expect("called by now").as_deref(), Some("on purpose"));
    }

    fn a_late_callback_is_told_of_the_cancelling_at_once() {
        let States { cancelled, gate: _gate, pool: _pool, .. } = States::new();
        let told = seen(&cancelled, |done| done.cancelled());
        assert!(told.try_recv().expect("called by now"));
    }

    fn a_panic_in_a_late_callback_is_heard_and_does_not_reach_its_caller() {
        let pool = pool_of(1);
        let [future] = done([pool.submit(echo, 5)]);
        let heard = heard();
        future.add_done_callback(|_| panic!("doh"));
        assert!(heard.try_recv().expect("heard by now").contains("doh"));
        assert_eq!(future.result().expect("the value"), 5);
        pool.shutdown(true).wait();
    }
}

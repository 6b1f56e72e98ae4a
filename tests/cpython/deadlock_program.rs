//! A crash or an exit in the caller's own encoding or decoding ends the program, and its workers with it.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use super::bomb::{Args, Bomb, EXIT_CODE, Fault, Stage, carry};
use super::gate::Gate;
use super::tasks::{pool_of, stay};
use crate::support::{self, Program, eventually, tagged_pids};

const BOMB: &str = "CPYTHON_BOMB";

support::program! {
    fn a_program_that_ends_by_its_own_hand() {
        let bomb = match std::env::var(BOMB).as_deref() {
            Ok("crash at encode") => Bomb::new(Stage::ArgsEncode, Fault::Crash),
            Ok("crash at decode") => Bomb::new(Stage::ResultDecode, Fault::Crash),
            Ok("exit at encode") => Bomb::new(Stage::ArgsEncode, Fault::Exit),
            Ok("exit at decode") => Bomb::new(Stage::ResultDecode, Fault::Exit),
            other => panic!("{other:?}"),
        };
        let gate = Gate::closed();
        let pool = pool_of(2);
        let _busy = pool.submit(stay, (&gate.path(), 1));
        gate.arrived();
        println!("{}", gate.path());
        let _ = pool.submit(carry, Args(Some(bomb))).result();
        println!("still here");
    }
}

fn ends_with_its_program(bomb: &str) -> std::process::ExitStatus {
    let path = "deadlock_program::a_program_that_ends_by_its_own_hand";
    let mut program = Program::named(path).env(BOMB, bomb).spawn();
    let gate = program.line();
    let status = program.wait(Duration::from_secs(10));
    eventually("its workers are gone", Duration::from_secs(2), || tagged_pids().is_empty());
    // Nothing was dropped in that program, so its gate is left to us.
    std::fs::remove_dir_all(gate).expect("the gate of the program");
    status
}

support::isolated! {
    fn a_program_that_crashes_while_it_encodes_takes_its_workers_along() {
        assert_eq!(ends_with_its_program("crash at encode").signal(), Some(libc::SIGSEGV));
    }

    fn a_program_that_crashes_while_it_decodes_takes_its_workers_along() {
        assert_eq!(ends_with_its_program("crash at decode").signal(), Some(libc::SIGSEGV));
    }

    fn a_program_that_exits_while_it_encodes_takes_its_workers_along() {
        assert_eq!(ends_with_its_program("exit at encode").code(), Some(EXIT_CODE));
    }

    fn a_program_that_exits_while_it_decodes_takes_its_workers_along() {
        assert_eq!(ends_with_its_program("exit at decode").code(), Some(EXIT_CODE));
    }
}

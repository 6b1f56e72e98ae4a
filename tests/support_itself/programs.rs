//! A function as a program: it prints, ends, dies, and leaves its children to be seen.

use std::time::Duration;

use crate::support::{Program, Signal, eventually, isolated, kill, procfs, program, tag, tagged_pids};
use crate::{abandoned_sleeper, assert_tells};

const LIMIT: Duration = Duration::from_secs(20);

program! {
    fn a_talker() {
        println!("I was told {}", std::env::var("WORD").expect("a word"));
        println!("my tag is {}", tag().expect("programs carry the tag"));
        print!("and no newline");
    }

    fn one_that_returns_a_code() -> i32 {
        7
    }

    fn one_that_returns_an_error() -> Result<(), &'static str> {
        Err("out of order")
    }

    fn one_that_panics() {
        panic!("on purpose");
    }

    fn a_parent() {
        println!("{}", abandoned_sleeper());
        loop {
            std::thread::park();
        }
    }

    fn one_that_descends_from_itself() {
        let myself = std::env::current_exe().expect("a path");
        let path = "programs::one_that_descends_from_itself";
        let child = std::process::Command::new(myself).args(["--exact", path, "--nocapture"]).status();
        println!("{}", child.expect("an end"));
    }
}

isolated! {
    fn a_program_gets_its_environment_and_gives_its_lines() {
        let mut program = Program::named("programs::a_talker").env("WORD", "patience").spawn();
        assert_eq!(program.line(), "I was told patience");
        assert_eq!(program.line(), format!("my tag is {}", tag().expect("a tag")));
        assert_eq!(program.line(), "and no newline");
        assert_eq!(program.next_line(LIMIT), None);
        assert!(program.wait(LIMIT).success());
    }

    fn a_program_ends_with_its_own_code() {
        let code = |name| Program::named(name).spawn().wait(LIMIT).code();
        assert_eq!(code("programs::one_that_returns_a_code"), Some(7));
        assert_eq!(code("programs::one_that_returns_an_error"), Some(1));
        assert_eq!(code("programs::one_that_panics"), Some(101));
    }

    fn a_program_can_be_killed_and_its_child_is_still_seen() {
        let mut program = Program::named("programs::a_parent").spawn();
        let child: u32 = program.line().parse().expect("a process number");
        assert_eq!(tagged_pids().len(), 2);
        assert_eq!(procfs::parent_of(child), Some(program.pid()));
        program.kill();
        assert!(procfs::is_alive(child));
        assert_eq!(tagged_pids(), [child]);
        kill(child, Signal::KILL);
        eventually("the orphan is reaped by someone else", LIMIT, || tagged_pids().is_empty());
    }

    fn a_program_can_be_signalled() {
        use std::os::unix::process::ExitStatusExt;
        let mut program = Program::named("programs::a_parent").spawn();
        let child: u32 = program.line().parse().expect("a process number");
        program.signal(Signal::TERM);
        assert_eq!(program.wait(LIMIT).signal(), Some(Signal::TERM.as_raw()));
        kill(child, Signal::KILL);
    }

    fn a_dropped_program_is_gone() {
        let mut program = Program::named("programs::a_parent").spawn();
        let child: u32 = program.line().parse().expect("a process number");
        drop(program);
        assert_eq!(tagged_pids(), [child]);
        kill(child, Signal::KILL);
    }

    fn a_descendant_of_a_program_is_not_that_program() {
        let mut program = Program::named("programs::one_that_descends_from_itself").spawn();
        let told: Vec<String> = std::iter::from_fn(|| program.next_line(LIMIT)).collect();
        assert_eq!(told.last().map(String::as_str), Some("exit status: 101"), "{told:?}");
    }

    fn a_program_may_be_started_through_another_one() {
        let program = Program::command("programs::a_talker");
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", "\"$@\"; true", "sh"]).arg(program.get_program()).args(program.get_args());
        shell.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?)))).env("WORD", "shell");
        let output = shell.output().expect("a shell");
        assert_tells(&String::from_utf8_lossy(&output.stdout), &["I was told shell"]);
    }
}

fails! {
    fn a_program_that_does_not_exist_is_told() {
        Program::named("programs::nobody").spawn().line();
    } and then |failure| {
        assert_tells(&failure.report, &["no program programs::nobody began"]);
    }

    fn a_program_that_says_nothing_is_told() {
        let mut program = Program::named("programs::a_parent").spawn();
        program.line();
        program.next_line(Duration::from_millis(200));
    } and then |failure| {
        assert_tells(&failure.report, &["program programs::a_parent printed no line in time"]);
    }

    fn a_program_that_does_not_end_is_told() {
        let mut program = Program::named("programs::a_parent").spawn();
        program.line();
        program.wait(Duration::from_millis(200));
    } and then |failure| {
        assert_tells(&failure.report, &["program programs::a_parent did not end within 200ms"]);
    }
}

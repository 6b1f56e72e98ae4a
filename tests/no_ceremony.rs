//! A program needs no ceremony: `main` is as it always was, and tasks find the program as `main` would find it.

mod fixtures;
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use fixtures::{ended, program, run, tests_with};
use procpool::{ProcessPoolExecutor, task};

tests_with! {
    Cpp;

    fn static_cpp_is_constructed_once_before_a_task_runs() {
        let output = ended(program("cpp").env_remove("FIXTURE_WORD"));
        // Four initialisers, once each; sums and lengths that only constructed objects have. The worker's pool
        // gives it a variable of five letters, which the constructors can read.
        let parent = "([1, 1, 1, 1], [0, 100, 200], [5, 8, 4])\n";
        let worker = "([1, 1, 1, 1], [0, 100, 200], [10, 13, 9])\n";
        assert_eq!(output, ([parent, worker].concat(), Some(0)));
    }
}

tests_with! {
    Explicit;

    fn init_as_the_first_line_does_what_the_hook_does() {
        let count = support::Ledger::create();
        let output = ended(program("explicit").env("FIXTURE", "first").env("FIXTURE_COUNT", count.path()));
        assert_eq!(output, ("42\n".to_owned(), Some(0)));
        let came_to_main = fs::read_to_string(count.path()).expect("lines").lines().count();
        assert_eq!(came_to_main, 1, "the worker never got beyond `init`");
    }
}

tests_with! {
    Hooked;

    fn tokio_main_is_left_as_it_is() {
        for name in ["tokio_multi", "tokio_current"] {
            assert_eq!(ended(&mut program(name)), ("42\n".to_owned(), Some(0)), "{name}");
        }
    }

    fn a_task_that_starts_this_program_as_a_command_gets_its_main() {
        // The command's output; what is left of our variables in the task and in a command; the task's standard
        // input, which is empty although ours is not.
        let mut child = program("hooked").env("FIXTURE", "commands").env_remove("PROCPOOL_START_METHOD").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
        child.stdin.take().expect("a pipe").write_all(b"for main only").expect("room in the pipe");
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "hooked 1.0.0\n([], \"\")\n[]\n");
        assert_eq!(output.status.code(), Some(17));
    }

    fn two_tasks_of_one_name_are_told_with_both_places() {
        let (told, code) = run("twins", "");
        assert_eq!(code, Some(0));
        assert!(told.starts_with("DuplicateTask { name: \"twin\""), "{told}");
        for place in ["src/bin/twins.rs:5", "src/bin/twins.rs:8"] {
            assert!(told.contains(place), "{told}");
        }
    }

    fn workers_come_from_the_running_image_when_its_file_is_replaced_or_gone() {
        let folder = Folder::create();
        for replaced in [true, false] {
            let path = folder.0.join("copy");
            fs::copy(program("hooked").get_program(), &path).expect("a copy");
            let mut child = fixtures::command(path.clone()).env("FIXTURE", "replaced").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
            let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines().map(|line| line.expect("text"));
            let worker: u32 = lines.next().expect("a line").parse().expect("a number");
            fs::remove_file(&path).expect("it is there");
            if replaced {
                // As an installer does it: another program under the same name.
                fs::copy(program("twins").get_program(), &path).expect("a copy");
            }
            support::kill(worker, support::Signal::KILL);
            child.stdin.take().expect("a pipe").write_all(b"go on\n").expect("room in the pipe");
            assert_eq!(lines.next().as_deref(), Some("42"));
            assert!(lines.next().is_some_and(|image| image.ends_with("copy (deleted)")));
            assert_eq!(child.wait().expect("it ends").code(), Some(17));
        }
    }

    fn a_program_that_has_closed_its_standard_streams_gives_its_workers_open_ones() {
        assert_eq!(run("hooked", "closed").1, Some(0));
    }
}

tests_with! {
    Library;

    fn pools_work_in_tests_and_in_doctests() {
        let output = fixtures::cargo(&["test", "-p", "library"]).output().expect("cargo starts");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
        for passed in ["test result: ok. 1 passed", "test result: ok. 2 passed"] {
            assert!(said.contains(passed), "{said}");
        }
    }
}

tests_with! {
    Nextest;

    fn pools_work_under_nextest() {
        let output = fixtures::cargo(&["nextest", "run", "-p", "library"]).output().expect("cargo starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }
}

/// Starts a runtime for the thread that runs the tasks, and leaves it entered for good.
#[task]
fn start_tokio() -> Result<(), String> {
    let built = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let runtime = Box::leak(Box::new(built.map_err(|error| error.to_string())?));
    std::mem::forget(runtime.enter());
    Ok(())
}

#[task]
async fn add_on_tokio(a: u64, b: u64) -> u64 {
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    tokio::spawn(async move { a + b }).await.expect("it does not panic")
}

/// Waits for another thread, which needs a real wake-up but no runtime.
#[task]
async fn add_without_a_runtime(a: u64, b: u64) -> (u64, bool) {
    let (sender, receiver) = futures::channel::oneshot::channel();
    std::thread::spawn(move || sender.send(a + b));
    (receiver.await.expect("it sends"), tokio::runtime::Handle::try_current().is_ok())
}

support::isolated! {
    fn an_async_task_uses_tokio_if_the_initializer_started_it() {
        let pool = ProcessPoolExecutor::builder().max_workers(1).initializer(start_tokio, ()).build().expect("a pool");
        for n in 0..3 {
            assert_eq!(pool.submit(add_on_tokio, (n, 40)).result().expect("a value"), 40 + n);
        }
        let report = pool.shutdown(true).wait();
        assert_eq!((report.killed, report.leaked), (0, Vec::new()), "the runtime does not keep the worker from its end");
    }

    fn an_async_task_needs_no_runtime_and_finds_none_of_the_parents() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let pool = ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool");
            assert_eq!(pool.submit(add_without_a_runtime, (2, 40)).await.expect("a value"), (42, false));
            // Without one, tokio itself says what is missing, and that is the task's panic.
            let error = pool.submit(add_on_tokio, (2, 40)).await.expect_err("no reactor");
            assert!(error.is_panic() && error.to_string().contains("no reactor running"), "{error}");
        });
    }
}

/// A folder for copies of programs, removed at the end.
struct Folder(std::path::PathBuf);

impl Folder {
    fn create() -> Folder {
        let folder =
            std::env::temp_dir().join(format!("{}-copies", support::tag().expect("a test of its own")));
        fs::create_dir(&folder).expect("a fresh name");
        Folder(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // The census tells if it stays.
        let _ = fs::remove_dir_all(&self.0);
    }
}

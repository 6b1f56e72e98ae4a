//! Who takes part, and in what.

use std::path::PathBuf;

/// What a contestant is to the reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Procpool,
    /// A limit of the machine.
    Raw,
    /// Tasks on threads of the same process: the reference for those who use threads.
    Thread,
    /// Tasks in other processes.
    Process,
}

/// The program of a contestant.
#[derive(Clone, Debug)]
pub(super) enum Program {
    /// This one.
    Own,
    /// One of the workspace beside this folder.
    Peer,
    /// The same, built by an older compiler.
    OldPeer,
    /// Python's, with `benches/python/contestant.py`.
    Python,
    /// Another build of this one, as procpool.
    Other(PathBuf),
}

#[derive(Clone, Debug)]
pub(super) struct Contestant {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) program: Program,
    /// The workloads it does; empty is all that the kind does.
    does: &'static [&'static str],
}

impl Contestant {
    pub(super) fn does(&self, workload: &Workload) -> bool {
        if !self.does.is_empty() {
            return self.does.contains(&workload.name);
        }
        match workload.name {
            _ if self.kind == Kind::Procpool => true,
            // Of the others only Python's own has locks between processes, and objects that a process keeps.
            "locks" | "manager" => self.name == "multiprocessing-pool",
            "pipes" | "queues" => {
                matches!(&*self.name, "multiprocessing-pool" | "ipc-channel" | "crossmist")
            }
            other => !matches!(other, "async" | "growth" | "warmed"),
        }
    }

    pub(super) fn new(name: &str, kind: Kind, program: Program, does: &'static [&'static str]) -> Contestant {
        Contestant { name: name.to_owned(), kind, program, does }
    }
}

/// Procpool and the raw limits.
pub(super) fn own() -> Vec<Contestant> {
    let raw = |name, does| Contestant::new(name, Kind::Raw, Program::Own, does);
    vec![
        Contestant::new("procpool", Kind::Procpool, Program::Own, &[]),
        raw("raw-futex", &["latency", "locks", "pipes", "queues"]),
        raw("raw-pipe", &["latency", "throughput", "bytes", "pipes", "queues"]),
        raw("raw-socketpair", &["latency", "throughput", "bytes", "pipes", "manager"]),
        raw("raw-ring", &["throughput", "bytes"]),
        raw("raw-memcpy", &["bytes"]),
        raw("raw-exec", &["start", "spawn", "crash", "memory"]),
        Contestant::new("std-mutex", Kind::Thread, Program::Own, &["locks"]),
    ]
}

const THREAD: &[&str] = &["latency", "throughput", "map", "start", "skew", "efficiency", "idle"];

/// The peer that works when it is built by an older compiler only: it finds out at run time which types are plain data,
/// by a detail of the standard library that Rust 1.93 has changed.
pub(super) fn old_peer() -> Contestant {
    Contestant::new("crossmist", Kind::Process, Program::OldPeer, &[])
}

/// The peers in Rust: the names of their programs.
pub(super) fn peers() -> Vec<Contestant> {
    let peer = |name, kind, does| Contestant::new(name, kind, Program::Peer, does);
    vec![
        peer(
            "spawn_blocking",
            Kind::Thread,
            &["latency", "async", "throughput", "map", "start", "skew", "efficiency", "memory", "idle"],
        ),
        peer("rayon", Kind::Thread, THREAD),
        peer("ipc-channel", Kind::Process, &[]),
        peer("procspawn", Kind::Process, &[]),
    ]
}

/// The peers in Python, with the package that each needs beside Python.
pub(super) fn python() -> Vec<(Contestant, Option<&'static str>)> {
    let peer = |name| Contestant::new(name, Kind::Process, Program::Python, &[]);
    vec![
        (peer("cpython-executor"), None),
        (peer("multiprocessing-pool"), None),
        (peer("loky"), Some("loky")),
        (peer("pebble"), Some("pebble")),
        (peer("mpire"), Some("mpire")),
    ]
}

/// What is better.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Better {
    Less,
    More,
    /// It is told, and not compared.
    Neither,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) better: Better,
    /// Stands in the table that comes first.
    pub(super) main: bool,
}

#[derive(Debug)]
pub(super) struct Workload {
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    pub(super) metrics: &'static [Metric],
    /// Processes that give a sample each, whose median is the round's figure.
    pub(super) samples: usize,
    /// Done by all at the same time, once, since nobody does anything.
    pub(super) together: bool,
}

const fn less(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, better: Better::Less, main: true }
}

const fn more(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, better: Better::More, main: true }
}

const fn aside(metric: Metric) -> Metric {
    Metric { main: false, ..metric }
}

const fn told(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit, better: Better::Neither, main: false }
}

const fn workload(name: &'static str, title: &'static str, metrics: &'static [Metric]) -> Workload {
    Workload { name, title, metrics, samples: 1, together: false }
}

pub(super) static WORKLOADS: [Workload; 18] = [
    workload(
        "latency",
        "one task after the other, `u64 -> u64`, blocking for each result",
        &[
            less("hot_p50_us", "us"),
            aside(less("hot_p99_us", "us")),
            less("idle_p50_us", "us"),
            aside(less("idle_p99_us", "us")),
            less("cpu_us", "us"),
            less("spun_hot_p50_us", "us"),
            aside(less("spun_hot_p99_us", "us")),
            less("spun_idle_p50_us", "us"),
            aside(less("spun_idle_p99_us", "us")),
            aside(less("spun_cpu_us", "us")),
        ],
    ),
    workload(
        "async",
        "the same with `.await`, in a task of tokio's current-thread and multi-thread runtimes",
        &[
            less("current_p50_us", "us"),
            aside(less("current_p99_us", "us")),
            aside(less("current_idle_p50_us", "us")),
            less("multi_p50_us", "us"),
            aside(less("multi_p99_us", "us")),
            aside(less("multi_idle_p50_us", "us")),
        ],
    ),
    workload(
        "throughput",
        "100 000 tasks submitted, then gathered",
        &[more("tasks_per_s", "/s"), less("cpu_us", "us")],
    ),
    workload(
        "map",
        "a map over a million `u64`: one by one, as it is by default, in the best of chunks of 1000, 10 000, 100 000",
        &[
            more("chunk_1_per_s", "/s"),
            more("default_per_s", "/s"),
            more("best_per_s", "/s"),
            told("best_chunk", "items"),
        ],
    ),
    workload(
        "bytes",
        "bytes to a worker and back, into fresh memory: time, or twice the size by the time",
        &[
            aside(less("1k_us", "us")),
            less("64k_us", "us"),
            more("1m_gb_per_s", "GB/s"),
            more("16m_gb_per_s", "GB/s"),
            more("64m_gb_per_s", "GB/s"),
            aside(more("256m_gb_per_s", "GB/s")),
        ],
    ),
    Workload {
        samples: 5,
        ..workload(
            "start",
            "a fresh program: from no pool to the first result",
            &[less("first_result_ms", "ms")],
        )
    },
    workload(
        "spawn",
        "one process started, until it says its first word; a pool of one worker, until that is ready",
        &[less("spawn_ms", "ms"), aside(less("spawn_pool_ms", "ms"))],
    ),
    workload(
        "crash",
        "a worker killed by its task: until that is reported, until the next task is done; with two workers, with one",
        &[
            less("reported_ms", "ms"),
            less("next_ms", "ms"),
            aside(less("alone_reported_ms", "ms")),
            less("alone_next_ms", "ms"),
        ],
    ),
    workload(
        "skew",
        "tasks of 1 ms and of 100 ms in four orders: time by that of an ideal queue",
        &[
            aside(less("long_first_x_ideal", "x")),
            aside(less("long_last_x_ideal", "x")),
            aside(less("mixed_x_ideal", "x")),
            aside(less("random_x_ideal", "x")),
            less("worst_x_ideal", "x"),
        ],
    ),
    workload(
        "efficiency",
        "20 000 tasks of 50 us of CPU time: part of two cores, and of the CPU time used, that went into tasks",
        &[more("share_of_cores", ""), aside(more("share_of_used_cpu", ""))],
    ),
    workload(
        "memory",
        "unique memory for each idle worker, of the parent for each pending task; threads of the parent",
        &[less("worker_kib", "KiB"), less("pending_bytes", "B"), told("parent_threads", "")],
    ),
    workload(
        "warmed",
        "a program with 1 GiB to load: its first result, one more worker, what that has for itself after reading it all",
        &[
            less("forkserver_first_ms", "ms"),
            less("forkserver_next_ms", "ms"),
            less("forkserver_private_mib", "MiB"),
            told("spawn_first_ms", "ms"),
            told("spawn_next_ms", "ms"),
            told("spawn_private_mib", "MiB"),
        ],
    ),
    workload(
        "growth",
        "time per task with more workers and with more pending; threads of the parent",
        &[
            less("workers_1_us", "us"),
            less("workers_2_us", "us"),
            less("workers_4_us", "us"),
            less("workers_16_us", "us"),
            less("workers_64_us", "us"),
            less("pending_10_us", "us"),
            less("pending_1000_us", "us"),
            less("pending_100000_us", "us"),
            less("pending_1000000_us", "us"),
            less("workers_x", "x"),
            less("pending_x", "x"),
            told("workers_1_threads", ""),
            told("workers_64_threads", ""),
        ],
    ),
    workload(
        "locks",
        "a lock taken and freed, one added under the lock of a number, one added without: alone, by two processes at once",
        &[
            less("lock_free_ns", "ns"),
            less("lock_contended_ns", "ns"),
            less("increment_free_ns", "ns"),
            less("increment_contended_ns", "ns"),
            less("add_free_ns", "ns"),
            less("add_contended_ns", "ns"),
        ],
    ),
    workload(
        "pipes",
        "messages through a pipe to a worker: a number there and back, numbers one way, messages of 1 MiB one way",
        &[less("round_trip_us", "us"), more("one_way_per_s", "/s"), more("large_mb_per_s", "MB/s")],
    ),
    workload(
        "queues",
        "items through queues: a number there and back through two, numbers from one process, from four at once",
        &[less("round_trip_us", "us"), more("one_way_per_s", "/s"), more("from_four_per_s", "/s")],
    ),
    workload(
        "manager",
        "a call of a method of an object that another process keeps: a number got, one added",
        &[less("get_us", "us"), less("add_us", "us")],
    ),
    Workload {
        together: true,
        ..workload(
            "idle",
            "an idle pool: how often a thread of it or of its workers wakes up",
            &[less("wake_ups_in_10_s", "")],
        )
    },
];

//! Shared memory is made once and read in place by all, cannot be changed or taken away under anybody, and is gone with
//! its last user, however that ends (F41, F42).

mod support;

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use procpool::{Descriptor, ProcessPoolExecutor, Ran, Shared, SharedMemory, TaskErrorKind, task};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use support::{Signal, eventually, kill, procfs};

/// How often this process has it mapped, by its size in bytes.
fn mappings(pid: u32, size: usize) -> usize {
    let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let of_size = |line: &&str| {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let number = |text| usize::from_str_radix(text, 16).ok();
        range.is_some_and(|(from, to)| {
            number(to).zip(number(from)).is_some_and(|(to, from)| to - from == size.next_multiple_of(4096))
        })
    };
    maps.lines().filter(|line| line.contains("memfd:procpool")).filter(of_size).count()
}

/// How many descriptors of memory files this process has open.
fn memory_files(pid: u32) -> usize {
    procfs::fds(pid).into_values().filter(|to| to.contains("memfd:procpool")).count()
}

const SIZE: usize = 3_000_000;
const COUNT: usize = SIZE / 8;

fn numbers() -> Vec<u64> {
    (0..COUNT as u64).map(|n| n * n).collect()
}

static KEPT: std::sync::Mutex<Vec<Shared<[u64]>>> = std::sync::Mutex::new(Vec::new());

/// Keeps what it is given, and tells how often it is mapped and whether it begins at a page.
#[task]
fn keep(numbers: Shared<[u64]>, again: Vec<Shared<[u64]>>) -> (u64, usize, bool, bool) {
    let sum = numbers.iter().copied().fold(0, u64::wrapping_add);
    let same = again.iter().all(|other| std::ptr::eq(&**other, &*numbers));
    let mut kept = KEPT.lock().expect("nobody panicked");
    kept.push(numbers.clone());
    (sum, mappings(std::process::id(), SIZE), numbers.as_ptr().addr().is_multiple_of(4096), same)
}

#[task]
fn forget() -> (usize, usize) {
    KEPT.lock().expect("nobody panicked").clear();
    (mappings(std::process::id(), SIZE), memory_files(std::process::id()))
}

#[task]
fn make(count: usize) -> Shared<[[f32; 3]]> {
    let points: Vec<_> = (0..count).map(|i| [i as f32, 0.5, -1.0]).collect();
    Shared::from_slice(&points).expect("memory")
}

/// Counts itself and stays.
#[task]
fn hold(_numbers: Shared<[u64]>, memory: SharedMemory) {
    memory.words()[0].fetch_add(1, Ordering::Relaxed);
    std::thread::sleep(Duration::from_secs(600));
}

/// Tries to change what it was given.
#[task]
fn vandalise(memory: Descriptor) -> Vec<bool> {
    let fd = memory.as_fd();
    vec![
        rustix::io::pwrite(fd, b"vandal", 0).is_err(),
        ftruncate(fd, 0).is_err(),
        ftruncate(fd, 1 << 30).is_err(),
        fcntl_add_seals(fd, SealFlags::empty()).is_err(),
        File::options()
            .write(true)
            .open(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd)))
            .and_then(|mut file| std::io::Write::write_all(&mut file, b"vandal"))
            .is_err(),
    ]
}

/// How often a value of the type was decoded in this process.
static DECODED: AtomicU32 = AtomicU32::new(0);

#[derive(Debug, PartialEq)]
struct Counted(Vec<String>);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Counted, D::Error> {
        DECODED.fetch_add(1, Ordering::Relaxed);
        Vec::deserialize(deserializer).map(Counted)
    }
}

static WORDS: std::sync::OnceLock<Shared<Counted>> = std::sync::OnceLock::new();

#[task]
fn look_up(words: Shared<Counted>, place: usize, ask: bool) -> (Option<String>, u32) {
    let word = ask.then(|| words.get().expect("it decodes").0[place].clone());
    let _ = WORDS.set(words);
    (word, DECODED.load(Ordering::Relaxed))
}

#[task]
fn add(memory: SharedMemory, times: u64) {
    for _ in 0..times {
        memory.words()[1].fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes one byte of every word, over and over.
#[task]
fn stripe(memory: SharedMemory, place: usize, times: u8) {
    for time in 1..=times {
        for word in 0..memory.len() / 8 {
            memory.write_at(8 * word + place, &[time]).expect("it is within");
        }
    }
}

#[task]
fn take_slice(numbers: Shared<[u64]>) -> usize {
    numbers.len()
}

#[task]
fn take_value(value: Shared<String>) -> String {
    value.get().map_or_else(|error| error.to_string(), String::clone)
}

#[task]
fn take_memory(memory: SharedMemory) -> usize {
    memory.len()
}

/// Something else that pretends to be shared memory of so many bytes.
struct Forged(Descriptor, u64);

impl Forged {
    /// What the tasks that want another type make of it.
    fn error<T>(self, submit: impl FnOnce(Passed) -> procpool::TaskFuture<T>) -> String
    where
        T: serde::de::DeserializeOwned + std::fmt::Debug,
    {
        let error = submit(Passed(self)).result().expect_err("it is refused");
        assert_eq!(error.ran(), Ran::No, "{error}");
        match error.kind() {
            TaskErrorKind::Codec { message, .. } => message.clone(),
            other => panic!("{other}"),
        }
    }
}

struct Passed(Forged);

impl Serialize for Passed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.0.0, self.0.1).serialize(serializer)
    }
}

/// Of one type for whoever sends it, and of another for the task.
struct Wanted<T>(Option<Passed>, Option<T>);

impl<T> Serialize for Wanted<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Wanted<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Wanted<T>, D::Error> {
        Option::<T>::deserialize(deserializer).map(|wanted| Wanted(None, wanted))
    }
}

#[task]
fn want_slice(wanted: Wanted<Shared<[u64]>>) -> usize {
    wanted.1.map_or(0, |numbers| numbers.len())
}

#[task]
fn want_memory(wanted: Wanted<SharedMemory>) -> usize {
    wanted.1.map_or(0, |memory| memory.len())
}

fn one_worker() -> ProcessPoolExecutor {
    ProcessPoolExecutor::builder().max_workers(1).build().expect("a pool")
}

support::isolated! {
    timeout = 60;

    fn a_slice_is_in_memory_once_however_often_it_arrives() {
        let numbers = numbers();
        let sum = numbers.iter().copied().fold(0, u64::wrapping_add);
        let shared = Shared::from_slice(&numbers).expect("memory");
        assert!(*shared == numbers[..] && shared.size() == SIZE);
        for inline in [false, true] {
            let pool = ProcessPoolExecutor::builder().max_workers(1).inline(inline).build().expect("a pool");
            for _ in 0..20 {
                let told = pool.submit(keep, (shared.clone(), vec![shared.clone(); 3])).result();
                assert_eq!(told.expect("a value"), (sum, 1, true, true));
            }
            let left = if inline { 1 } else { 0 };
            assert_eq!(pool.submit(forget, ()).result().expect("a value"), (left, left), "inline: {inline}");
            pool.shutdown(true).wait();
        }
        let own = std::process::id();
        assert_eq!((mappings(own, SIZE), memory_files(own)), (1, 1));
        drop(shared);
        assert_eq!((mappings(own, SIZE), memory_files(own)), (0, 0));
    }

    fn a_result_can_be_shared_as_well_and_any_number_of_elements() {
        let pool = one_worker();
        for count in [0, 1, 2, 341, 342, 10_000] {
            let points = pool.submit(make, count).result().expect("a value");
            assert_eq!(points.len(), count);
            assert!(points.iter().enumerate().all(|(i, point)| *point == [i as f32, 0.5, -1.0]));
            let again = points.clone();
            drop(points);
            assert_eq!(again.len(), count);
        }
        assert!(Shared::from_slice(&[(); 3]).is_err(), "nobody could count them");
    }

    fn nobody_can_change_or_shrink_what_is_shared() {
        let numbers = numbers();
        let shared = Shared::from_slice(&numbers).expect("memory");
        let pool = one_worker();
        // A descriptor of the same file, as a process has it that has lost its mind.
        let fd = procfs::fds(std::process::id()).into_iter().find(|(_, to)| to.contains("memfd:procpool"));
        let path = format!("/proc/self/fd/{}", fd.expect("it is open").0);
        let file: OwnedFd = File::options().read(true).write(true).open(path).expect("open").into();
        assert_eq!(pool.submit(vandalise, Descriptor::new(file)).result().expect("a value"), [true; 5]);
        assert!(*shared == numbers[..]);
        let memory = SharedMemory::create(10_000).expect("memory");
        let same = memory.as_fd().try_clone_to_owned().expect("room");
        let refused = pool.submit(vandalise, Descriptor::new(same)).result().expect("a value");
        assert_eq!(refused, [false, true, true, true, false], "to write to it is what it is for");
        assert_eq!(memory.to_vec()[..6], *b"vandal");
    }

    fn a_value_is_decoded_once_in_each_process_that_asks() {
        let words = Shared::new(Counted((0..1000).map(|n| format!("word {n}")).collect())).expect("memory");
        let pool = one_worker();
        let ask = |place, ask| pool.submit(look_up, (words.clone(), place, ask)).result().expect("a value");
        assert_eq!(ask(0, false), (None, 0), "nobody has asked");
        for place in [7, 999] {
            assert_eq!(ask(place, true), (Some(format!("word {place}")), 1));
        }
        assert_eq!(words.get().expect("its own").0.len(), 1000);
        assert_eq!(DECODED.load(Ordering::Relaxed), 0, "who made it has it");
        assert!(Shared::new(vec![Some(1.5), None]).expect("memory").get().is_ok());
        struct Refuses;
        impl Serialize for Refuses {
            fn serialize<S: Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
                Err(serde::ser::Error::custom("not today"))
            }
        }
        impl<'de> Deserialize<'de> for Refuses {
            fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Refuses, D::Error> {
                Ok(Refuses)
            }
        }
        assert!(Shared::new(Refuses).expect_err("it refuses").to_string().contains("not today"));
        let null: OwnedFd = File::open("/dev/null").expect("null").into();
        let refused = Shared::new(vec![Descriptor::new(null)]).expect_err("it has no place");
        assert!(refused.to_string().contains("handle"), "{refused}");
    }

    fn users_that_are_killed_leave_nothing_behind() {
        let own = std::process::id();
        for _ in 0..3 {
            let shared = Shared::from_slice(&numbers()).expect("memory");
            let memory = SharedMemory::create(SIZE).expect("memory");
            let pool = ProcessPoolExecutor::builder().max_workers(2).build().expect("a pool");
            let holding: Vec<_> =
                (0..2).map(|_| pool.submit(hold, (shared.clone(), memory.clone()))).collect();
            eventually("both run", Duration::from_secs(10), || {
                memory.words()[0].load(Ordering::Relaxed) == 2
            });
            pool.worker_pids().into_iter().for_each(|pid| kill(pid, Signal::KILL));
            for future in holding {
                future.result().expect_err("it was killed");
            }
            // Those who are left have it still.
            assert_eq!(shared[COUNT - 1], (COUNT as u64 - 1).pow(2));
            assert_eq!(pool.submit(take_memory, memory.clone()).result().expect("a value"), SIZE);
            pool.shutdown(true).wait();
            drop((shared, memory));
            assert_eq!((mappings(own, SIZE), memory_files(own)), (0, 0));
        }
    }

    fn what_could_change_under_its_reader_is_refused() {
        let pool = one_worker();
        let memory_file = |size: u64, seals: SealFlags| {
            let fd = memfd_create("procpool-forged", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).expect("memory");
            ftruncate(&fd, size).expect("a size");
            let zeros = vec![0; size as usize];
            assert_eq!(rustix::io::pwrite(&fd, &zeros, 0), Ok(zeros.len()));
            fcntl_add_seals(&fd, seals).expect("seals");
            Descriptor::new(fd)
        };
        let resize = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        let all = resize | SealFlags::WRITE;
        let null = || Descriptor::new(File::open("/dev/null").expect("null"));
        let slice = |wanted| pool.submit(want_slice, Wanted(Some(wanted), None));
        let memory = |wanted| pool.submit(want_memory, Wanted(Some(wanted), None));
        for (forged, size, why) in [
            (null(), 8, "sealed"),
            (memory_file(80, SealFlags::empty()), 80, "sealed"),
            (memory_file(80, resize), 80, "sealed"),
            (memory_file(80, all), 88, "too small"),
            (memory_file(80, all), u64::MAX, "more bytes"),
            (memory_file(80, all), 1 << 62, "too small"),
            (memory_file(80, all), 79, "not as long"),
        ] {
            let message = Forged(forged, size).error(slice);
            assert!(message.contains(why) || size > 1 << 60, "{size}: {message}");
        }
        for (forged, size, why) in [
            (null(), 8, "sealed"),
            (memory_file(80, SealFlags::empty()), 80, "sealed"),
            (memory_file(80, SealFlags::GROW | SealFlags::SEAL), 80, "sealed"),
            (memory_file(80, resize), 81, "too small"),
            (memory_file(80, resize), u64::MAX, ""),
        ] {
            let message = Forged(forged, size).error(memory);
            assert!(message.contains(why), "{size}: {message}");
        }
        // What is as it must be is not.
        assert_eq!(slice(Passed(Forged(memory_file(80, all), 80))).result().expect("a value"), 10);
        assert_eq!(memory(Passed(Forged(memory_file(80, resize), 80))).result().expect("a value"), 80);
        let text = Shared::new("text".to_owned()).expect("memory");
        assert_eq!(pool.submit(take_value, text).result().expect("a value"), "text");
        let empty = Shared::<[u64]>::from_slice(&[]).expect("memory");
        assert_eq!(pool.submit(take_slice, empty).result().expect("a value"), 0);
    }

    fn more_than_there_is_room_for_is_an_error_and_no_signal() {
        let before = getrlimit(Resource::Fsize);
        setrlimit(Resource::Fsize, Rlimit { current: Some(1 << 20), ..before }).expect("a lower limit");
        let refused = SharedMemory::create(2 << 20).expect_err("the limit");
        assert!(refused.to_string().contains("RLIMIT_FSIZE"), "{refused}");
        assert!(Shared::from_slice(&vec![0_u8; 2 << 20]).is_err());
        setrlimit(Resource::Fsize, before).expect("the limit as it was");
        for size in [1 << 60, isize::MAX as usize, usize::MAX] {
            assert!(SharedMemory::create(size).is_err());
        }
    }

    fn bytes_are_copied_in_and_out_at_any_place_and_disturb_no_neighbours() {
        for len in [0, 1, 7, 8, 9, 100] {
            let memory = SharedMemory::create(len).expect("memory");
            assert_eq!((memory.len(), memory.words().len(), memory.is_empty()), (len, len / 8, len == 0));
            let mut model = vec![0; len];
            let mut value = 1_u8;
            for from in 0..=len {
                for to in from..=len {
                    let bytes: Vec<u8> = (from..to).map(|i| value.wrapping_add(i as u8)).collect();
                    memory.write_at(from, &bytes).expect("it is within");
                    model[from..to].copy_from_slice(&bytes);
                    value = value.wrapping_add(37);
                    let mut read = vec![0; to - from];
                    memory.read_at(from, &mut read).expect("it is within");
                    assert_eq!(read, bytes);
                }
                assert_eq!(memory.to_vec(), model);
            }
            for (offset, size) in [(len + 1, 0), (len, 1), (0, len + 1), (usize::MAX, 1), (1, usize::MAX >> 1)] {
                if size <= len + 1 {
                    assert!(memory.write_at(offset, &vec![0; size]).is_err());
                    assert!(memory.read_at(offset, &mut vec![0; size]).is_err());
                }
            }
            assert_eq!(memory.to_vec(), model);
        }
    }

    fn several_processes_write_to_one_memory_and_nothing_is_lost() {
        let pool = ProcessPoolExecutor::builder().max_workers(4).build().expect("a pool");
        let memory = SharedMemory::create(16).expect("memory");
        let adding: Vec<_> = (0..4).map(|_| pool.submit(add, (memory.clone(), 20_000))).collect();
        for future in adding {
            future.result().expect("a value");
        }
        assert_eq!(memory.words()[1].load(Ordering::Relaxed), 80_000, "the counter of every tutorial");
        let memory = SharedMemory::create(8 * 200).expect("memory");
        let striping: Vec<_> =
            (0..8).map(|place| pool.submit(stripe, (memory.clone(), place, 100 + place as u8))).collect();
        for future in striping {
            future.result().expect("a value");
        }
        let expected = [100, 101, 102, 103, 104, 105, 106, 107];
        assert!(memory.to_vec().chunks(8).all(|word| word == expected), "of eight writers to each word");
    }
}

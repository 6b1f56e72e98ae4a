//! A program in the foreground of a terminal, and somebody at the keyboard.

#![allow(unsafe_code, reason = "a terminal and a session")]

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Program, eventually};

const PATIENCE: Duration = Duration::from_secs(20);

/// A program that leads a session on a terminal of its own. Dropping it kills it.
pub struct OnTerminal {
    /// Our end of the terminal; `None` once it has hung up.
    master: Option<File>,
    pub child: Child,
    pub seen: String,
}

impl OnTerminal {
    pub fn start(name: &str) -> OnTerminal {
        let (mut master, mut slave) = (-1, -1);
        let none = std::ptr::null_mut::<libc::c_char>();
        // SAFETY: both numbers are written before the call returns 0, and nobody else owns the descriptors.
        let (master, slave) = unsafe {
            let opened =
                libc::openpty(&raw mut master, &raw mut slave, none, std::ptr::null(), std::ptr::null());
            assert_eq!(opened, 0, "a terminal: {}", std::io::Error::last_os_error());
            libc::fcntl(master, libc::F_SETFD, libc::FD_CLOEXEC);
            libc::fcntl(slave, libc::F_SETFD, libc::FD_CLOEXEC);
            (File::from_raw_fd(master), File::from_raw_fd(slave))
        };
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        let mut command = Program::command(name);
        command.stdin(end()).stdout(end()).stderr(end());
        // SAFETY: these are system calls only, safe between fork and exec.
        unsafe { command.pre_exec(lead_a_session) };
        let child = command.spawn().expect("the test binary starts again");
        OnTerminal { master: Some(master), child, seen: String::new() }
    }

    /// Reads what appears on the terminal until it contains `what`.
    #[track_caller]
    pub fn read_until(&mut self, what: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.seen.contains(what) {
            let master = self.master.as_mut().expect("it has not hung up");
            let left = end.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("seconds");
            let ready = poll(&mut [PollFd::new(&*master, PollFlags::IN)], Some(&timeout)).unwrap_or(0);
            assert!(ready > 0 || !left.is_zero(), "no {what:?} on the terminal, only:\n{}", self.seen);
            let mut buffer = [0; 4096];
            // The last one to close the terminal makes our end fail, which is how it ends.
            match if ready > 0 { master.read(&mut buffer) } else { continue } {
                Ok(count) if count > 0 => self.seen.push_str(&String::from_utf8_lossy(&buffer[..count])),
                _ => panic!("no {what:?} on the terminal before its end, only:\n{}", self.seen),
            }
        }
    }

    pub fn press(&mut self, key: &[u8]) {
        self.master.as_mut().expect("it has not hung up").write_all(key).expect("a key");
    }

    pub fn hang_up(&mut self) {
        self.master = None;
    }

    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        eventually("the program ends", PATIENCE, || {
            status = self.child.try_wait().expect("nobody else waits for it");
            status.is_some()
        });
        status.expect("it has ended")
    }
}

impl Drop for OnTerminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn lead_a_session() -> std::io::Result<()> {
    let no_core = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: plain system calls. Whoever started the tests may have these signals ignored, as a shell does for
    // what it runs in the background; a program in the foreground of a terminal has the defaults.
    unsafe {
        for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP] {
            libc::signal(signal, libc::SIG_DFL);
        }
        libc::setrlimit(libc::RLIMIT_CORE, &raw const no_core);
        if libc::setsid() < 0 || libc::ioctl(0, libc::TIOCSCTTY, 0) < 0 {
            return Err(std::io::Error::last_os_error());
        }
    }
    Ok(())
}

//! The rest of the kernel, and privileges.

#![allow(unsafe_code, reason = "the acts are system calls that no library makes")]

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;

use procpool::{Sandbox, task};

use super::Ends::{Deadly, With};
use super::files::Dir;
use super::{Act, Place, answer, confined, contrast, forbidden};

#[task]
fn set_up_io_uring(_place: Place) -> Act {
    let mut params = [0_u8; 120];
    // SAFETY: the parameters have the size that the kernel fills.
    let ring = answer(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, params.as_mut_ptr()) })?;
    close(ring)
}

fn close(fd: i64) -> Act {
    // SAFETY: the number came from a call of ours.
    answer(unsafe { libc::close(fd as i32) }.into()).map(drop)
}

#[task]
fn mount(place: Place) -> Act {
    let target = CString::new(place.path.as_os_str().as_bytes()).expect("a path");
    let kind = c"tmpfs".as_ptr();
    // SAFETY: the strings end with a zero.
    answer(unsafe { libc::mount(kind, target.as_ptr(), kind, 0, std::ptr::null()) }.into())?;
    // SAFETY: as above.
    answer(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }.into()).map(drop)
}

#[task]
fn make_a_bpf_map(_place: Place) -> Act {
    // Create, an array, of 4-byte keys, of 4-byte values, of one entry.
    let mut attributes = [0_u32; 18];
    attributes[..4].copy_from_slice(&[2, 4, 4, 1]);
    // SAFETY: the size of the attributes is given.
    let map =
        answer(unsafe { libc::syscall(libc::SYS_bpf, 0, attributes.as_ptr(), size_of_val(&attributes)) })?;
    close(map)
}

#[task]
fn leave_the_namespace(_place: Place) -> Act {
    // SAFETY: takes a number.
    answer(unsafe { libc::unshare(libc::CLONE_NEWUTS) }.into()).map(drop)
}

#[task]
pub(crate) fn change_the_root(_place: Place) -> Act {
    // SAFETY: the string ends with a zero.
    answer(unsafe { libc::chroot(c"/".as_ptr()) }.into()).map(drop)
}

#[task]
fn look_for_keys(_place: Place) -> Act {
    // The number of the session's keyring, made if there is none.
    // SAFETY: takes numbers.
    answer(unsafe { libc::syscall(libc::SYS_keyctl, 0, -3, 1) }).map(drop)
}

#[task]
fn share_memory_by_a_key(_place: Place) -> Act {
    // SAFETY: takes numbers.
    let id = answer(unsafe { libc::shmget(libc::IPC_PRIVATE, 4096, 0o600) }.into())?;
    // SAFETY: removes what was just made.
    answer(unsafe { libc::shmctl(id as i32, libc::IPC_RMID, std::ptr::null_mut()) }.into()).map(drop)
}

#[task]
fn adopt_orphans(_place: Place) -> Act {
    // SAFETY: takes numbers.
    answer(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1) }.into()).map(drop)
}

/// A call that no kernel has, and one that it has in its form for 32 bits.
#[task]
fn call_by_the_other_numbers(_place: Place) -> Act {
    #[cfg(target_arch = "x86_64")]
    {
        let pid: i64;
        // SAFETY: number 20 of the 32-bit form is `getpid`, which takes nothing and touches no memory.
        unsafe { std::arch::asm!("int 0x80", inlateout("rax") 20_i64 => pid, options(nostack)) };
        if pid == i64::from(std::process::id()) { Ok(()) } else { Err((-pid) as i32) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    Err(libc::ENOSYS)
}

#[task]
fn become_somebody_else(_place: Place) -> Act {
    // The kernel's own call, which concerns this thread only; the same user, so that it would be allowed.
    // SAFETY: takes numbers.
    answer(unsafe { libc::syscall(libc::SYS_setresuid, -1, -1, -1) }).map(drop)
}

#[task]
fn privileges(_place: Place) -> Vec<String> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let lines = status.lines().filter(|line| line.starts_with("Cap") || line.starts_with("NoNewPrivs"));
    lines.map(|line| line.replace('\t', " ")).collect()
}

forbidden! {
    io_uring_is_not_there: set_up_io_uring, Place::here(), With(libc::EPERM);
    bpf_is_deadly: make_a_bpf_map, Place::here(), Deadly;
    namespaces_are_deadly: leave_the_namespace, Place::here(), Deadly;
    another_root_is_deadly: change_the_root, Place::here(), Deadly;
    keys_are_deadly: look_for_keys, Place::here(), Deadly;
    what_is_not_known_is_not_there: share_memory_by_a_key, Place::here(), With(libc::ENOSYS);
    orphans_cannot_be_adopted: adopt_orphans, Place::here(), With(libc::EPERM);
    identities_cannot_be_changed: become_somebody_else, Place::here(), With(libc::EPERM);
}

crate::support::isolated! {
    timeout = 60;

    fn mounts_are_deadly() {
        let dir = Dir::new();
        contrast(mount, &dir.place(""), Sandbox::required(), Deadly);
    }

    fn calls_in_the_form_of_another_machine_are_deadly() {
        let pool = super::free();
        match pool.submit(call_by_the_other_numbers, Place::here()).result() {
            Ok(Ok(())) => {
                contrast(call_by_the_other_numbers, &Place::here(), Sandbox::required(), Deadly);
            }
            other => println!("SKIPPED: this machine has no other form of system calls: {other:?}"),
        }
    }

    fn no_privileges_are_left() {
        let within = confined(Sandbox::required()).submit(privileges, Place::here()).result().expect("lines");
        let none = "0000000000000000";
        for name in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
            assert!(within.contains(&format!("{name}: {none}")), "{within:?}");
        }
        assert!(within.contains(&"NoNewPrivs: 1".to_owned()), "{within:?}");
        let without = super::free().submit(privileges, Place::here()).result().expect("lines");
        assert!(without.contains(&"NoNewPrivs: 0".to_owned()), "{without:?}");
        if rustix::process::geteuid().is_root() {
            assert!(within.contains(&format!("CapBnd: {none}")), "{within:?}");
            assert!(!without.contains(&format!("CapEff: {none}")), "{without:?}");
        }
    }
}

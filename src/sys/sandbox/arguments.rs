//! Which arguments of system calls are refused to a confined worker.

use libc::*;

use super::calls::{NETWORK, PROGRAMS, REFUSED};

/// What decides about arguments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowed {
    pub(super) programs: bool,
    pub(super) network: bool,
    /// Landlock keeps signals inside.
    pub(super) signals_are_scoped: bool,
    /// The process itself.
    pub(super) own: u32,
}

/// What one argument must be for a rule to match. Arguments are compared as the kernel reads them, by their low 32
/// bits, except addresses.
#[derive(Clone, Copy, Debug)]
pub(super) enum Is {
    /// The argument is something else.
    Not(u8, u64),
    /// The argument, masked by the first number, is the second.
    Masked(u8, u64, u64),
    /// The argument is an address that is given.
    Address(u8),
}

/// What is refused: a call, and the arguments for which it is. All conditions of a rule must match, and no
/// condition means any arguments.
pub(super) fn refused(allowed: &Allowed) -> Vec<(c_long, Vec<Is>)> {
    let mut rules = Vec::new();
    let mut refuse = |calls: &[c_long]| rules.extend(calls.iter().map(|&call| (call, Vec::new())));
    refuse(REFUSED);
    if !allowed.programs {
        refuse(PROGRAMS);
    }
    if !allowed.network {
        refuse(NETWORK);
    }
    rules.extend(conditions(allowed));
    rules
}

fn conditions(allowed: &Allowed) -> Vec<(c_long, Vec<Is>)> {
    let own = u64::from(allowed.own);
    let own_group = u64::from(allowed.own.wrapping_neg());
    let mut rules = Vec::new();

    // A new namespace would give back what was dropped.
    for namespace in
        [CLONE_NEWNS, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP]
    {
        let bit = low(namespace.into());
        rules.push((SYS_clone, vec![Is::Masked(0, bit, bit)]));
    }
    if !allowed.programs {
        // Threads, but no processes. `clone3` hides its arguments behind a pointer and is not known here; the C
        // libraries then take this one.
        rules.push((SYS_clone, vec![Is::Masked(0, low(CLONE_THREAD.into()), 0)]));
        // To itself and to its own group, which the vigil kills when the parent dies.
        rules.push((SYS_kill, vec![Is::Not(0, 0), Is::Not(0, own), Is::Not(0, own_group)]));
        for call in [SYS_tgkill, SYS_rt_sigqueueinfo, SYS_rt_tgsigqueueinfo] {
            rules.push((call, vec![Is::Not(0, own)]));
        }
    }
    if !allowed.signals_are_scoped {
        // It names a thread of any process. The first thread of this one is enough for `raise` and `abort`.
        rules.push((SYS_tkill, vec![Is::Not(0, own)]));
    }

    // Limits and priorities of other processes of this user.
    for call in
        [SYS_prlimit64, SYS_sched_setaffinity, SYS_sched_setparam, SYS_sched_setscheduler, SYS_sched_setattr]
    {
        rules.push((call, vec![Is::Not(0, 0), Is::Not(0, own)]));
    }
    rules.push((SYS_setpriority, vec![Is::Not(0, 0)]));
    rules.push((SYS_setpriority, vec![Is::Not(1, 0), Is::Not(1, own)]));

    // The others send signals by way of a descriptor, or tell what others do with files.
    let fcntl = [
        F_DUPFD,
        F_DUPFD_CLOEXEC,
        F_GETFD,
        F_SETFD,
        F_GETFL,
        F_SETFL,
        F_GETLK,
        F_SETLK,
        F_SETLKW,
        F_OFD_GETLK,
        F_OFD_SETLK,
        F_OFD_SETLKW,
        F_GETPIPE_SZ,
        F_SETPIPE_SZ,
        F_ADD_SEALS,
        F_GET_SEALS,
    ];
    rules.push((SYS_fcntl, fcntl.into_iter().map(|command| Is::Not(1, low(command.into()))).collect()));
    // What libraries ask of any descriptor. The others reach into devices, and type into terminals.
    let harmless = [FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS, TIOCGWINSZ, TIOCGPGRP];
    let ioctl = harmless.into_iter().chain([TCGETS2]).map(|request| Is::Not(1, low(request as i64)));
    rules.push((SYS_ioctl, ioctl.collect()));
    let prctl = [
        PR_SET_NAME,
        PR_GET_NAME,
        PR_GET_DUMPABLE,
        PR_GET_PDEATHSIG,
        PR_SET_NO_NEW_PRIVS,
        PR_GET_NO_NEW_PRIVS,
        PR_GET_SECCOMP,
        PR_SET_THP_DISABLE,
        PR_GET_THP_DISABLE,
        PR_SET_TIMERSLACK,
        PR_GET_TIMERSLACK,
        PR_CAPBSET_READ,
        PR_SET_VMA,
    ];
    rules.push((SYS_prctl, prctl.into_iter().map(|option| Is::Not(0, low(option.into()))).collect()));

    // A pair of datagram sockets could send to any socket that has a name; one of streams cannot.
    rules.push((SYS_socketpair, vec![Is::Not(0, low(AF_UNIX.into()))]));
    rules.extend(other_types(&[SOCK_STREAM, SOCK_SEQPACKET]).map(|is| (SYS_socketpair, vec![is])));
    if allowed.network {
        // No local sockets with a name (of a display, a message bus, a container daemon), no raw ones, no netlink.
        rules.push((SYS_socket, vec![Is::Not(0, low(AF_INET.into())), Is::Not(0, low(AF_INET6.into()))]));
        rules.extend(other_types(&[SOCK_STREAM, SOCK_DGRAM]).map(|is| (SYS_socket, vec![is])));
        let protocols = [0, IPPROTO_TCP, IPPROTO_UDP];
        rules.push((SYS_socket, protocols.map(|protocol| Is::Not(2, low(protocol.into()))).to_vec()));
    } else {
        rules.push((SYS_sendto, vec![Is::Address(4)]));
    }
    rules
}

/// All types of sockets but these, whatever their flags.
fn other_types(types: &'static [c_int]) -> impl Iterator<Item = Is> {
    const TYPE: u64 = 0xf;
    (0..=TYPE)
        .filter(|&kind| !types.iter().any(|&known| low(known.into()) == kind))
        .map(|kind| Is::Masked(1, TYPE, kind))
}

/// The low 32 bits, which is what the kernel reads of an `int`.
fn low(value: i64) -> u64 {
    value as u64 & u64::from(u32::MAX)
}

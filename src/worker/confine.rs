//! A worker gives up what its sandbox denies, or does not become one.

use std::os::fd::BorrowedFd;

use crate::sys::{fd, sandbox};
use crate::transport::send;
use crate::wire::codec;
use crate::wire::frame::{Header, Kind};
use crate::wire::hello::{Confinement, Refused};

use super::boot::refuse;

/// Returns in a worker that is confined as it was asked to be. One that cannot be says so and ends, and so does
/// one that was only to try.
pub(super) fn confine(confinement: &Confinement, socket: BorrowedFd<'_>, parent: BorrowedFd<'_>) {
    // It is read from the kernel once, by a way that is closed from here on, and is needed for large values.
    let _ = rustix::param::page_size();
    let mut body = Vec::new();
    let enforced = fd::close_all_but(&[socket, parent])
        .map_err(|error| format!("its descriptors cannot be listed: {error}"))
        .and_then(|()| sandbox::enforce(&confinement.policy));
    let refused = match enforced {
        Ok(enforced) if confinement.probe => {
            let _ = codec::encode(&enforced, &mut body, usize::MAX);
            let _ = send(socket, Header::new(Kind::Ready), &body);
            std::process::exit(72)
        }
        Ok(enforced) => match refusal(confinement, &enforced) {
            None => return,
            Some(message) => message,
        },
        Err(message) => message,
    };
    refuse(socket, &Refused::Sandbox(refused))
}

fn refusal(confinement: &Confinement, enforced: &sandbox::Enforced) -> Option<String> {
    let gaps = confinement.policy.required.then_some(&enforced.gaps)?;
    let told = gaps.iter().map(|gap| format!("no protection of {}: {}", gap.protection, gap.message));
    told.reduce(|all, one| format!("{all}; {one}"))
}

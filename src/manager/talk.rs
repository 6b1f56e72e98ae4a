//! What a proxy and its object say to each other.

use serde::{Deserialize, Serialize};

use super::parcel::Parcel;
use crate::pipe::Connection;

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Request {
    Call { object: u64, task: u32, args: Parcel },
    ClearPoison { object: u64 },
}

impl Request {
    pub(super) fn object(&self) -> u64 {
        match self {
            Request::Call { object, .. } | Request::ClearPoison { object } => *object,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Response {
    /// The kind of a reply and its value, as of a task.
    Replied(u8, Parcel),
    Poisoned,
    /// The object has no method of that number: who keeps to the rules does not ask.
    NoSuchMethod,
}

/// One process that asks, and a thread of another that answers.
pub(super) type Line = Connection<Request, Response>;

//! How frames move: the two ends of a link, through a socket and through shared memory, and the page of words
//! that both sides share.

mod arrivals;
mod bell;
mod board;
#[cfg(test)]
mod bodies;
mod bulk;
mod inbound;
mod outbound;
mod ring;
mod run;
mod speaker;

pub(crate) use bell::{Bell, Wish};
pub(crate) use board::{Board, CHUNKS, CallBits, FEW_CALLS, Progress, call_bit};
pub(crate) use inbound::{Inbound, Received};
pub(crate) use outbound::{Bytes, Message, Outbound, Piece};
pub(crate) use run::{CALLS_MAX, Run};
pub(crate) use speaker::{Speaker, send};

//! How frames move: the two ends of a link, and the page of words that both sides share.

mod board;
mod inbound;
mod outbound;

pub(crate) use board::{Board, Progress};
pub(crate) use inbound::{Inbound, Received};
pub(crate) use outbound::{Outbound, Piece};

//! Values, payloads and frames as bytes. Nothing here performs I/O.

pub(crate) mod attach;
mod bounded;
pub(crate) mod codec;
pub(crate) mod frame;
pub(crate) mod hello;
pub(crate) mod records;

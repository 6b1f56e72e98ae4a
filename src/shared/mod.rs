//! Memory that processes share: values that are made once and read in place, and bytes that all of them may change.

mod known;
mod memory;
mod plain;
mod value;

pub use memory::SharedMemory;
pub use plain::Pod;
pub use value::Shared;

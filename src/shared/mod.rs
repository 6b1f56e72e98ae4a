//! Memory that processes share: values that are made once and read in place, and bytes that all of them may change.

mod known;
mod list;
mod memory;
mod value;

pub use list::{ShareableItem, ShareableList};
pub use memory::SharedMemory;
pub use value::Shared;

//! Plain data: types whose values are their bytes. The door to bytemuck.

/// A type whose values are plain memory, and any memory a value of it: numbers, arrays of them, and structs that derive
/// `bytemuck::Pod`.
pub use bytemuck::Pod;

/// The memory of some values.
pub(super) fn bytes<T: Pod>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

/// The values that this memory is, if it is as long and as aligned as some of them.
pub(super) fn values<T: Pod>(bytes: &[u8]) -> Option<&[T]> {
    bytemuck::try_cast_slice(bytes).ok()
}

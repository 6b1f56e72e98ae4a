//! Which types can lie in shared memory.

/// Plain data: any bytes are a value, and there is no padding. Numbers, arrays of them, and structures with
/// `#[derive(bytemuck::Pod)]`.
pub use bytemuck::Pod;

/// The bytes of a value.
pub(super) fn bytes<T: Pod>(value: &T) -> &[u8] {
    bytemuck::bytes_of(value)
}

/// A value out of bytes that `fill` writes.
#[inline]
pub(super) fn value<T: Pod>(fill: impl FnOnce(&mut [u8])) -> T {
    let mut value = T::zeroed();
    fill(bytemuck::bytes_of_mut(&mut value));
    value
}

/// The bytes of many values.
pub(crate) fn all_bytes<T: Pod>(values: &[T]) -> &[u8] {
    bytemuck::cast_slice(values)
}

/// The values that these bytes are, in their place, if they are as long and as aligned as some of them.
pub(crate) fn in_place<T: Pod>(bytes: &[u8]) -> Option<&[T]> {
    bytemuck::try_cast_slice(bytes).ok()
}

/// So many values out of bytes that `fill` writes.
pub(super) fn values<T: Pod>(count: usize, fill: impl FnOnce(&mut [u8])) -> Vec<T> {
    let mut values = vec![T::zeroed(); count];
    fill(bytemuck::cast_slice_mut(&mut values));
    values
}

/// A number that is read and written as a whole, also by those who do not hold the lock. All primitive numbers of at most
/// eight bytes are, and no other types.
pub trait Scalar: Pod + sealed::Scalar {}

/// A [`Scalar`] that can be counted with. All primitive integers of at most eight bytes are.
pub trait Integer: Scalar {}

mod sealed {
    pub trait Scalar {
        fn to_bits(self) -> u64;
        fn of_bits(bits: u64) -> Self;
    }
}

macro_rules! integers {
    ($($integer:ty)*) => {$(
        impl sealed::Scalar for $integer {
            #[inline]
            fn to_bits(self) -> u64 {
                self as u64
            }

            #[inline]
            fn of_bits(bits: u64) -> $integer {
                bits as $integer
            }
        }
        impl Scalar for $integer {}
        impl Integer for $integer {}
    )*};
}

integers! { u8 u16 u32 u64 usize i8 i16 i32 i64 isize }

impl sealed::Scalar for f32 {
    #[inline]
    fn to_bits(self) -> u64 {
        f32::to_bits(self).into()
    }

    #[inline]
    fn of_bits(bits: u64) -> f32 {
        f32::from_bits(bits as u32)
    }
}
impl Scalar for f32 {}

impl sealed::Scalar for f64 {
    #[inline]
    fn to_bits(self) -> u64 {
        f64::to_bits(self)
    }

    #[inline]
    fn of_bits(bits: u64) -> f64 {
        f64::from_bits(bits)
    }
}
impl Scalar for f64 {}

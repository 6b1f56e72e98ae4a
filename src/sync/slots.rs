//! Where the values of a `Value` or an `Array` lie, and how they are read and written.

use std::io;
use std::marker::PhantomData;
use std::sync::Arc;

use crate::sys::numbers::width;

use super::page::{Kind, Page, REST_AT};
use super::plain::{self, Integer, Pod, Scalar};

/// So many values of one type.
#[derive(Debug)]
pub(super) struct Slots<T> {
    page: Arc<Page>,
    count: usize,
    kind: PhantomData<fn() -> T>,
}

impl<T> Clone for Slots<T> {
    fn clone(&self) -> Slots<T> {
        Slots { page: Arc::clone(&self.page), count: self.count, kind: PhantomData }
    }
}

impl<T: Pod> Slots<T> {
    const SIZE: usize = size_of::<T>();
    const WIDTH: usize = width(size_of::<T>());

    /// New ones, of all zeros.
    pub(super) fn create(kind: Kind, count: usize) -> io::Result<Slots<T>> {
        if Self::SIZE == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "values of no size take no memory to share",
            ));
        }
        let room = count.checked_mul(Self::SIZE).ok_or(io::ErrorKind::OutOfMemory)?;
        Slots::of_page(Page::create(kind, Self::SIZE as u64, Some(room))?)
    }

    pub(super) fn of_page(page: Page) -> io::Result<Slots<T>> {
        let room = page.map().len() - REST_AT;
        if Self::SIZE == 0 || page.detail() != Self::SIZE as u64 || !room.is_multiple_of(Self::SIZE) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the memory does not hold values of {} bytes", Self::SIZE),
            ));
        }
        Ok(Slots { page: Arc::new(page), count: room / Self::SIZE, kind: PhantomData })
    }

    pub(super) fn page(&self) -> &Arc<Page> {
        &self.page
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    #[inline]
    fn at(&self, index: usize) -> usize {
        let count = self.count;
        assert!(index < count, "index out of bounds: the len is {count} but the index is {index}");
        REST_AT + index * Self::SIZE
    }

    pub(super) fn get(&self, index: usize) -> T {
        let at = self.at(index);
        plain::value(|bytes| self.page.map().copy_out(at, Self::WIDTH, bytes))
    }

    pub(super) fn set(&self, index: usize, value: &T) {
        self.page.map().copy_in(self.at(index), Self::WIDTH, plain::bytes(value));
    }

    pub(super) fn get_all(&self) -> Vec<T> {
        plain::values(self.count, |bytes| self.page.map().copy_out(REST_AT, Self::WIDTH, bytes))
    }

    pub(super) fn set_all(&self, values: &[T]) {
        assert_eq!(values.len(), self.count, "as many values as there are places");
        self.page.map().copy_in(REST_AT, Self::WIDTH, plain::all_bytes(values));
    }
}

impl<T: Scalar> Slots<T> {
    #[inline]
    pub(super) fn load(&self, index: usize) -> T {
        T::of_bits(self.page.map().load(self.at(index), Self::WIDTH))
    }

    #[inline]
    pub(super) fn store(&self, index: usize, value: T) {
        self.page.map().store(self.at(index), Self::WIDTH, value.to_bits());
    }

    #[inline]
    pub(super) fn swap(&self, index: usize, value: T) -> T {
        T::of_bits(self.page.map().swap(self.at(index), Self::WIDTH, value.to_bits()))
    }

    #[inline]
    pub(super) fn fetch_update(&self, index: usize, mut change: impl FnMut(T) -> Option<T>) -> Result<T, T> {
        let at = self.at(index);
        let mut seen = self.page.map().load(at, Self::WIDTH);
        while let Some(new) = change(T::of_bits(seen)) {
            match self.page.map().exchange(at, Self::WIDTH, seen, new.to_bits()) {
                Ok(before) => return Ok(T::of_bits(before)),
                Err(now) => seen = now,
            }
        }
        Err(T::of_bits(seen))
    }
}

impl<T: Integer> Slots<T> {
    #[inline]
    pub(super) fn fetch_add(&self, index: usize, value: T) -> T {
        T::of_bits(self.page.map().fetch_add(self.at(index), Self::WIDTH, value.to_bits()))
    }

    #[inline]
    pub(super) fn fetch_sub(&self, index: usize, value: T) -> T {
        let negative = value.to_bits().wrapping_neg();
        T::of_bits(self.page.map().fetch_add(self.at(index), Self::WIDTH, negative))
    }
}

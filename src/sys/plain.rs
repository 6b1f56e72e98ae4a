//! Numbers as the bytes they are, and the question which type a generic one is.
//!
//! Serde describes a slice element by element. Whoever finds out that a generic type is a slice of numbers can copy
//! it as a whole.

use std::any::TypeId;
use std::marker::PhantomData;
use std::mem::ManuallyDrop;
use std::ops::Range;

/// A type whose values can be seen as bytes.
///
/// # Safety
///
/// There is no padding: all bytes of a value are initialised.
pub(crate) unsafe trait Solid: Copy + 'static {}

/// A type whose values can be made of bytes.
///
/// # Safety
///
/// All bytes of the right number are a value, and there is no lifetime in the type, not even `'static`.
pub(crate) unsafe trait Number: Solid {}

macro_rules! numbers {
    ($($number:ty)*) => {$(
        // SAFETY: primitive numbers have no padding.
        unsafe impl Solid for $number {}
        // SAFETY: any bits are one of their values.
        unsafe impl Number for $number {}
    )*};
}

// SAFETY: it is one byte, which is 0 or 1.
unsafe impl Solid for bool {}

numbers! { u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize f32 f64 }

/// A type that is known down to its last lifetime, because it has none.
///
/// # Safety
///
/// There is no lifetime in the type, not even `'static`.
pub(crate) unsafe trait Lifeless: 'static {}

// SAFETY: numbers have no lifetimes, and a vector adds none.
unsafe impl<N: Number> Lifeless for Vec<N> {}
// SAFETY: nothing in it has a lifetime.
unsafe impl Lifeless for Vec<bool> {}
// SAFETY: nothing in it has a lifetime.
unsafe impl Lifeless for String {}

/// Equal for two types that are the same but for their lifetimes, and only for them.
#[inline]
pub(crate) fn id_of<T: ?Sized>() -> TypeId {
    trait Identified {
        fn id(&self) -> TypeId
        where
            Self: 'static;
    }
    impl<T: ?Sized> Identified for PhantomData<T> {
        #[inline]
        fn id(&self) -> TypeId
        where
            Self: 'static,
        {
            TypeId::of::<T>()
        }
    }
    let mortal: &dyn Identified = &PhantomData::<T>;
    // SAFETY: only the lifetime bound of the trait object changes, which has no representation. The object is of no
    // size and its one method reads nothing of it, so nothing that lived too short can be reached.
    let immortal = unsafe { std::mem::transmute::<&dyn Identified, &(dyn Identified + 'static)>(mortal) };
    immortal.id()
}

/// `value` as the type that it has under another name.
#[inline]
pub(crate) fn under_other_name<A: Lifeless, B>(value: A) -> Result<B, A> {
    if id_of::<A>() != id_of::<B>() {
        return Err(value);
    }
    let value = ManuallyDrop::new(value);
    // SAFETY: the two types are the same but for lifetimes, and the one has none, so they are the same. The value is
    // read once and not dropped in its old place.
    Ok(unsafe { std::mem::transmute_copy::<ManuallyDrop<A>, B>(&value) })
}

/// The memory of a vector of bytes or of a text, if `value` is one and has so many bytes.
#[inline]
pub(crate) fn into_bytes<A>(value: A, has: impl FnOnce(usize) -> bool) -> Result<Vec<u8>, A> {
    let len = if id_of::<A>() == TypeId::of::<Vec<u8>>() {
        // SAFETY: it is one, as neither of the types has a lifetime.
        unsafe { &*std::ptr::from_ref(&value).cast::<Vec<u8>>() }.len()
    } else if id_of::<A>() == TypeId::of::<String>() {
        // SAFETY: as above.
        unsafe { &*std::ptr::from_ref(&value).cast::<String>() }.len()
    } else {
        return Err(value);
    };
    if !has(len) {
        return Err(value);
    }
    let value = ManuallyDrop::new(value);
    Ok(match id_of::<A>() == TypeId::of::<String>() {
        // SAFETY: the types were compared. The value is read once and not dropped in its old place.
        true => unsafe { std::mem::transmute_copy::<ManuallyDrop<A>, String>(&value) }.into_bytes(),
        // SAFETY: as above.
        false => unsafe { std::mem::transmute_copy::<ManuallyDrop<A>, Vec<u8>>(&value) },
    })
}

/// What `value` refers to, if it is a `&[T]` or a `&Vec<T>`.
#[inline]
pub(crate) fn referred<T: Copy + 'static, V>(value: &V) -> Option<&[T]> {
    let id = id_of::<V>();
    if id == TypeId::of::<&'static [T]>() {
        // SAFETY: but for its lifetime `V` is `&[T]`. That lifetime is at least that of `value`, which the result has.
        return Some(unsafe { *std::ptr::from_ref(value).cast::<&[T]>() });
    }
    if id == TypeId::of::<&'static Vec<T>>() {
        // SAFETY: as above, with `&Vec<T>`.
        let vector: &Vec<T> = unsafe { *std::ptr::from_ref(value).cast::<&Vec<T>>() };
        return Some(vector);
    }
    None
}

/// Whether a value of this type is one number that is written as the bytes that it has in memory.
#[inline]
pub(crate) fn is_number<T: ?Sized>() -> bool {
    let id = id_of::<T>();
    macro_rules! any {
        ($($number:ty)*) => { false $(|| id == TypeId::of::<$number>())* };
    }
    // Serde makes 64 bits of these.
    let is_size = id == TypeId::of::<usize>() || id == TypeId::of::<isize>();
    let is_other = any!(u8 i8 u16 u32 u64 u128 i16 i32 i64 i128 f32 f64);
    is_other || is_size && size_of::<usize>() == 8
}

/// The memory of a value, if that is one number.
#[inline]
pub(crate) fn number_bytes<T: ?Sized>(value: &T) -> Option<&[u8]> {
    // SAFETY: `T` is a primitive number but for its lifetimes, of which numbers have none: so it has a size, and all
    // bytes of it are initialised.
    is_number::<T>()
        .then(|| unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of_val(value)) })
}

/// The value that these bytes are, if it is one number and they are as many.
#[inline]
pub(crate) fn number_of<T>(bytes: &[u8]) -> Option<T> {
    (is_number::<T>() && bytes.len() == size_of::<T>())
        // SAFETY: there are as many bytes as `T` has. It is a primitive number, of which any bits are a value, and which
        // is read from bytes of any alignment.
        .then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// The values that these bytes are, if each is one number of this type.
#[inline]
pub(crate) fn numbers_of<T>(bytes: &[u8]) -> Option<impl Iterator<Item = T>> {
    let chunks = is_number::<T>().then(|| bytes.chunks_exact(size_of::<T>()))?;
    // SAFETY: each chunk has as many bytes as `T`. It is a primitive number, of which any bits are a value, and which is
    // read from bytes of any alignment.
    Some(chunks.map(|bytes| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }))
}

/// Values that are numbers, made of bytes one by one.
pub(crate) struct Numbers<T> {
    bytes: Vec<u8>,
    at: usize,
    end: usize,
    value: PhantomData<fn() -> T>,
}

impl<T> Numbers<T> {
    /// Of these of the bytes; what is left over at the end is left out. `None` if there are not so many, or `T` is no number.
    pub(crate) fn of(bytes: Vec<u8>, range: Range<usize>) -> Option<Numbers<T>> {
        let len = bytes.get(range.clone())?.len();
        let end = range.start + is_number::<T>().then(|| len - len % size_of::<T>())?;
        Some(Numbers { bytes, at: range.start, end, value: PhantomData })
    }

    pub(crate) fn len(&self) -> usize {
        (self.end - self.at) / size_of::<T>()
    }
}

impl<T> Iterator for Numbers<T> {
    type Item = T;

    #[inline]
    fn next(&mut self) -> Option<T> {
        if self.at == self.end {
            return None;
        }
        let next = self.at + size_of::<T>();
        let number = number_of(self.bytes.get(self.at..next)?);
        self.at = next;
        number
    }
}

/// The memory of a slice if its elements are numbers; nothing of any other.
#[inline]
pub(crate) fn memory_of_numbers<T>(slice: &[T]) -> &[u8] {
    match is_number::<T>() {
        // SAFETY: the same memory for the same lifetime. Its elements are primitive numbers, so all bytes are initialised,
        // and bytes have no alignment.
        true => unsafe { std::slice::from_raw_parts(slice.as_ptr().cast(), size_of_val(slice)) },
        false => &[],
    }
}

/// The memory of a slice.
#[inline]
pub(crate) fn bytes<T: Solid>(slice: &[T]) -> &[u8] {
    // SAFETY: the same memory for the same lifetime; all its bytes are initialised, and bytes have no alignment.
    unsafe { std::slice::from_raw_parts(slice.as_ptr().cast(), size_of_val(slice)) }
}

/// Memory for so many bytes is there, or else nothing is; and it is faster to ask for it without asking whether it is.
const LITTLE: usize = 4096;

/// The numbers whose memory these bytes are a copy of; `None` if there is no memory for them. What is left over at
/// the end is left out.
pub(crate) fn numbers<N: Number>(bytes: &[u8]) -> Option<Vec<N>> {
    let len = bytes.len() / size_of::<N>();
    let mut numbers: Vec<N> = Vec::new();
    if bytes.len() <= LITTLE {
        numbers = Vec::with_capacity(len);
    } else {
        super::pages::try_reserve(&mut numbers, len).ok()?;
        super::pages::prefer_large(&mut numbers);
    }
    // SAFETY: the vector has room for `len` numbers, which the bytes are enough for, and it is new, so the two do not
    // overlap. Any bytes are numbers, so all `len` are initialised then.
    unsafe {
        let memory: *mut u8 = numbers.as_mut_ptr().cast();
        memory.copy_from_nonoverlapping(bytes.as_ptr(), len * size_of::<N>());
        numbers.set_len(len);
    }
    Some(numbers)
}

#[cfg(test)]
mod test {
    use super::*;

    /// Whether two types of any lifetime are the same.
    fn same<A: ?Sized, B: ?Sized>(_: &A, _: &B) -> bool {
        id_of::<A>() == id_of::<B>()
    }

    #[test]
    fn a_number_is_its_memory_and_nothing_else_is() {
        assert_eq!(number_bytes(&0x0102_u16), Some(&0x0102_u16.to_ne_bytes()[..]));
        assert_eq!(number_of::<f64>(&1.5_f64.to_ne_bytes()), Some(1.5));
        let unaligned = [0, 1, 0, 0, 0, 0];
        assert_eq!(number_of::<u32>(&unaligned[1..5]), Some(u32::from_ne_bytes([1, 0, 0, 0])));
        assert_eq!(number_of::<u32>(&unaligned), None);
        assert_eq!(number_bytes(&true), None, "not all bytes are one");
        assert_eq!(number_of::<bool>(&[2]), None);
        assert_eq!(number_of::<char>(&[255; 4]), None);
        assert_eq!(number_bytes(&(1_u8,)), None);
        assert_eq!(number_bytes("text"), None);
        assert_eq!(number_bytes(&[1_u8][..]), None);
        let unaligned = numbers_of::<u16>(&unaligned[1..]).unwrap();
        let expected = [[1, 0], [0, 0]].map(u16::from_ne_bytes);
        assert_eq!(unaligned.collect::<Vec<_>>(), expected, "what is left over is left out");
        assert!(numbers_of::<bool>(&[1]).is_none() && numbers_of::<()>(&[]).is_none());
    }

    #[test]
    fn bytes_and_text_give_their_memory() {
        let text = "text".repeat(10);
        let place = text.as_ptr();
        let bytes = into_bytes(text, |len| len == 40).expect("it is a text");
        assert_eq!(bytes.as_ptr(), place);
        let bytes = into_bytes(bytes, |_| true).expect("it is bytes");
        assert_eq!((bytes.as_ptr(), bytes.len()), (place, 40));
        assert!(into_bytes(bytes, |len| len < 40).is_err());
        assert!(into_bytes(vec![1_i8], |_| true).is_err());
        assert!(into_bytes("text", |_| true).is_err());
    }

    #[test]
    fn types_are_told_apart_but_not_by_their_lifetimes() {
        let local = String::from("local");
        let lent: &str = &local;
        assert!(same(&lent, &"static"));
        assert!(same(&vec![lent], &vec!["static"]));
        assert!(!same(&lent, &local));
        assert!(!same(&1u64, &1i64));
        assert!(!same(&[1u8, 2], &[1u8, 2, 3]));
        assert_ne!(id_of::<[u8]>(), id_of::<str>());
    }

    #[test]
    fn a_value_changes_its_name_only_if_it_is_the_same_type() {
        fn named<B>(vector: Vec<u64>) -> Result<B, Vec<u64>> {
            under_other_name(vector)
        }
        assert_eq!(named::<Vec<u64>>(vec![1, 2]), Ok(vec![1, 2]));
        assert_eq!(named::<Vec<i64>>(vec![1, 2]), Err(vec![1, 2]));
        assert_eq!(named::<usize>(vec![]), Err(vec![]));
        assert_eq!(under_other_name::<_, String>("text".to_owned()), Ok("text".to_owned()));
    }

    #[test]
    fn slices_and_vectors_are_seen_through_a_generic_type() {
        let vector = vec![1.5f64, 2.5];
        assert_eq!(referred::<f64, _>(&&vector), Some(&vector[..]));
        assert_eq!(referred::<f64, _>(&&vector[1..]), Some(&vector[1..]));
        assert_eq!(referred::<u64, _>(&&vector), None);
        assert_eq!(referred::<f64, _>(&vector), None, "it is itself, and refers to nothing");
        assert_eq!(referred::<f64, _>(&vector.iter()), None);
    }

    #[test]
    fn numbers_are_their_bytes() {
        assert_eq!(bytes(&[0x0102_u16, 0xffff])[..2], 0x0102_u16.to_ne_bytes());
        // Not aligned, and with a rest.
        let memory = [&[7][..], bytes(&[f64::NAN, -0.0]), &[1, 2, 3]].concat();
        let read: Vec<f64> = numbers(&memory[1..]).unwrap();
        assert_eq!(read.len(), 2);
        assert!(read[0].is_nan() && read[1].is_sign_negative());
        assert_eq!(numbers::<u128>(&[]), Some(vec![]));
    }
}

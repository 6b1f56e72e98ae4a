//! Encoding within the same bounds, so that a value which nobody could decode is refused while its owner watches.

use std::fmt;

use serde::ser::{
    Error as _, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::{Bounds, Error, Full, Sink, below, plain};

/// A serializer that counts, or one of its compounds. A compound's depth is that of what it contains.
pub(in crate::wire) struct Bounded<'b, 's, S> {
    inner: S,
    depth: u32,
    bounds: &'b Bounds<Sink<'s>>,
}

impl<'b, 's, S> Bounded<'b, 's, S> {
    /// At the outermost level of a value.
    pub(in crate::wire) fn new(inner: S, bounds: &'b Bounds<Sink<'s>>) -> Bounded<'b, 's, S> {
        Bounded { inner, depth: 0, bounds }
    }

    #[inline]
    fn write<E>(&self, bytes: &[u8]) -> Result<(), Error<E>> {
        write(self.bounds, bytes)
    }

    #[inline]
    fn inside<'v, T: ?Sized>(&self, value: &'v T) -> Inside<'b, 's, 'v, T> {
        Inside { value, depth: self.depth, bounds: self.bounds }
    }
}

/// Writes past the format. That something did not fit, the sink remembers, and it goes before what is said.
#[inline]
fn write<E>(bounds: &Bounds<Sink<'_>>, bytes: &[u8]) -> Result<(), Error<E>> {
    bounds.bytes.write(bytes).map_err(|Full| Error::said("the value is too large"))
}

/// A value at some level.
struct Inside<'b, 's, 'v, T: ?Sized> {
    value: &'v T,
    depth: u32,
    bounds: &'b Bounds<Sink<'s>>,
}

impl<T: Serialize + ?Sized> Serialize for Inside<'_, '_, '_, T> {
    #[inline]
    fn serialize<S: Serializer>(&self, inner: S) -> Result<S::Ok, S::Error> {
        self.value
            .serialize(Bounded { inner, depth: self.depth, bounds: self.bounds })
            .map_err(|error| self.bounds.set_aside(error, |text| S::Error::custom(text)))
    }
}

/// Values that contain no others.
macro_rules! leaf {
    ($($method:ident ($($type:ty)?))*) => {$(
        leaf! { @one $method $($type)? }
    )*};
    (@one $method:ident $type:ty) => {
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, Self::Error> {
            self.inner.$method(value).map_err(|error| self.bounds.recover(error))
        }
    };
    (@one $method:ident) => {
        #[inline]
        fn $method(self) -> Result<S::Ok, Self::Error> {
            self.inner.$method().map_err(|error| self.bounds.recover(error))
        }
    };
}

/// Numbers of several bytes, which the format would write in another way than memory holds them.
macro_rules! number {
    ($($method:ident ($type:ty))*) => {$(
        #[inline]
        fn $method(self, value: $type) -> Result<S::Ok, Self::Error> {
            self.write(&value.to_ne_bytes())?;
            // A unit has no bytes, but tells the format that this was all.
            self.inner.serialize_unit().map_err(|error| self.bounds.recover(error))
        }
    )*};
}

/// Values that contain one other.
macro_rules! wrapper {
    ($($method:ident ($($arg:ident: $type:ty),*))*) => {$(
        #[inline]
        fn $method<T: Serialize + ?Sized>(self, $($arg: $type,)* value: &T) -> Result<S::Ok, Self::Error> {
            let value = Inside { value, depth: below(self.depth)?, bounds: self.bounds };
            self.inner.$method($($arg,)* &value).map_err(|error| self.bounds.recover(error))
        }
    )*};
}

/// Values that contain several others.
macro_rules! compound {
    ($($method:ident $compound:ident ($($arg:ident: $type:ty),*) levels: $levels:literal)*) => {$(
        #[inline]
        fn $method(self, $($arg: $type),*) -> Result<Self::$compound, Self::Error> {
            let (depth, bounds) = (below(self.depth + $levels - 1)?, self.bounds);
            let inner = self.inner.$method($($arg),*).map_err(|error| bounds.recover(error))?;
            Ok(Bounded { inner, depth, bounds })
        }
    )*};
}

impl<'b, 's, S: Serializer> Serializer for Bounded<'b, 's, S> {
    type Ok = S::Ok;
    type Error = Error<S::Error>;
    type SerializeSeq = Bounded<'b, 's, S::SerializeSeq>;
    type SerializeTuple = Bounded<'b, 's, S::SerializeTuple>;
    type SerializeTupleStruct = Bounded<'b, 's, S::SerializeTupleStruct>;
    type SerializeTupleVariant = Bounded<'b, 's, S::SerializeTupleVariant>;
    type SerializeMap = Bounded<'b, 's, S::SerializeMap>;
    type SerializeStruct = Bounded<'b, 's, S::SerializeStruct>;
    type SerializeStructVariant = Bounded<'b, 's, S::SerializeStructVariant>;

    leaf! {
        serialize_bool(bool) serialize_i8(i8) serialize_u8(u8) serialize_char(char)
        serialize_str(&str) serialize_bytes(&[u8]) serialize_unit() serialize_unit_struct(&'static str)
    }

    number! {
        serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128)
        serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128)
        serialize_f32(f32) serialize_f64(f64)
    }

    #[inline]
    fn collect_seq<I>(self, elements: I) -> Result<S::Ok, Self::Error>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        if let Some((len, bytes)) = plain::memory(&elements) {
            below(self.depth)?;
            let bounds = self.bounds;
            let seq = self.inner.serialize_seq(Some(len)).map_err(|error| bounds.recover(error))?;
            write(bounds, bytes)?;
            bounds.count_elements(len)?;
            return seq.end().map_err(|error| bounds.recover(error));
        }
        let mut elements = elements.into_iter();
        let (least, most) = elements.size_hint();
        let mut seq = self.serialize_seq(most.filter(|&most| most == least))?;
        elements.try_for_each(|element| SerializeSeq::serialize_element(&mut seq, &element))?;
        SerializeSeq::end(seq)
    }

    wrapper! {
        serialize_some()
        serialize_newtype_struct(name: &'static str)
        serialize_newtype_variant(name: &'static str, index: u32, variant: &'static str)
    }

    compound! {
        serialize_seq SerializeSeq (len: Option<usize>) levels: 1
        serialize_map SerializeMap (len: Option<usize>) levels: 1
        serialize_tuple SerializeTuple (len: usize) levels: 1
        serialize_tuple_struct SerializeTupleStruct (name: &'static str, len: usize) levels: 1
        serialize_struct SerializeStruct (name: &'static str, len: usize) levels: 1
        serialize_tuple_variant SerializeTupleVariant
            (name: &'static str, index: u32, variant: &'static str, len: usize) levels: 2
        serialize_struct_variant SerializeStructVariant
            (name: &'static str, index: u32, variant: &'static str, len: usize) levels: 2
    }

    // The decoder counts a level before it knows that nothing is inside.
    #[inline]
    fn serialize_none(self) -> Result<S::Ok, Self::Error> {
        below(self.depth)?;
        self.inner.serialize_none().map_err(|error| self.bounds.recover(error))
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<S::Ok, Self::Error> {
        below(self.depth)?;
        self.inner.serialize_unit_variant(name, index, variant).map_err(|error| self.bounds.recover(error))
    }

    #[inline]
    fn collect_str<T: fmt::Display + ?Sized>(self, value: &T) -> Result<S::Ok, Self::Error> {
        self.inner.collect_str(value).map_err(|error| self.bounds.recover(error))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<S: SerializeSeq> SerializeSeq for Bounded<'_, '_, S> {
    type Ok = S::Ok;
    type Error = Error<S::Error>;

    #[inline]
    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        self.bounds.count_element()?;
        let value = self.inside(value);
        self.inner.serialize_element(&value).map_err(|error| self.bounds.recover(error))
    }

    #[inline]
    fn end(self) -> Result<S::Ok, Self::Error> {
        self.inner.end().map_err(|error| self.bounds.recover(error))
    }
}

impl<S: SerializeMap> SerializeMap for Bounded<'_, '_, S> {
    type Ok = S::Ok;
    type Error = Error<S::Error>;

    #[inline]
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Self::Error> {
        self.bounds.count_element()?;
        let key = self.inside(key);
        self.inner.serialize_key(&key).map_err(|error| self.bounds.recover(error))
    }

    #[inline]
    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Self::Error> {
        let value = self.inside(value);
        self.inner.serialize_value(&value).map_err(|error| self.bounds.recover(error))
    }

    #[inline]
    fn end(self) -> Result<S::Ok, Self::Error> {
        self.inner.end().map_err(|error| self.bounds.recover(error))
    }
}

/// Compounds whose number of parts is the type's, not the value's.
macro_rules! parts {
    ($($compound:ident $method:ident ($($key:ident)?))*) => {$(
        impl<S: $compound> $compound for Bounded<'_, '_, S> {
            type Ok = S::Ok;
            type Error = Error<S::Error>;

            #[inline]
            fn $method<T: Serialize + ?Sized>(
                &mut self,
                $($key: &'static str,)?
                value: &T,
            ) -> Result<(), Self::Error> {
                let value = self.inside(value);
                self.inner.$method($($key,)? &value).map_err(|error| self.bounds.recover(error))
            }

            #[inline]
            fn end(self) -> Result<S::Ok, Self::Error> {
                self.inner.end().map_err(|error| self.bounds.recover(error))
            }

            $(
                #[inline]
                fn skip_field(&mut self, $key: &'static str) -> Result<(), Self::Error> {
                    self.inner.skip_field($key).map_err(|error| self.bounds.recover(error))
                }
            )?
        }
    )*};
}

parts! {
    SerializeTuple serialize_element()
    SerializeTupleStruct serialize_field()
    SerializeTupleVariant serialize_field()
    SerializeStruct serialize_field(key)
    SerializeStructVariant serialize_field(key)
}

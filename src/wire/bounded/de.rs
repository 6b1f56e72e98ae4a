//! Decoding within the bounds.
//!
//! A deserializer, the visitor it calls, the access that it hands to the visitor and the seed that the access is
//! given take turns down the levels of a value. Each is wrapped, so that the next one is.

use std::fmt;

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, MapAccess, SeqAccess, VariantAccess, Visitor,
};

use super::{Bounds, END_INSIDE, Error, Source, below, plain};

/// A deserializer that counts.
pub(in crate::wire) struct Bounded<'b, 'de, D> {
    inner: D,
    depth: u32,
    /// Whether the deserializer reads the bytes of the value, and not something that was read before, as the number of
    /// a variant is.
    direct: bool,
    bounds: &'b Bounds<&'de Source<'de>>,
}

impl<'b, 'de, D> Bounded<'b, 'de, D> {
    /// At the outermost level of a value.
    pub(in crate::wire) fn new(inner: D, bounds: &'b Bounds<&'de Source<'de>>) -> Bounded<'b, 'de, D> {
        Bounded { inner, depth: 0, direct: true, bounds }
    }
}

impl<'de, D: Deserializer<'de>> Bounded<'_, 'de, D> {
    /// The length of what follows, of which only the length is read.
    #[inline]
    fn len(self) -> Result<usize, Error<D::Error>> {
        let bounds = self.bounds;
        let len = self.inner.deserialize_seq(plain::Length).map_err(|error| bounds.recover(error))?;
        len.ok_or_else(|| Error::said(END_INSIDE))
    }

    /// A sequence of anything.
    #[inline]
    fn deserialize_elements<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error<D::Error>> {
        let bounds = self.bounds;
        let visitor =
            Inside { inner: visitor, depth: below(self.depth)?, direct: self.direct, elements: true, bounds };
        self.inner.deserialize_seq(visitor).map_err(|error| bounds.recover(error))
    }
}

/// A visitor, an access or a seed at some level.
struct Inside<'b, 'de, T> {
    inner: T,
    depth: u32,
    /// As for [`Bounded`].
    direct: bool,
    /// Whether what a sequence yields are elements. The fields of a tuple are not.
    elements: bool,
    bounds: &'b Bounds<&'de Source<'de>>,
}

impl<'b, 'de, T> Inside<'b, 'de, T> {
    /// Something else at the same level.
    #[inline]
    fn same<U>(&self, inner: U) -> Inside<'b, 'de, U> {
        let Inside { depth, direct, elements, bounds, .. } = *self;
        Inside { inner, depth, direct, elements, bounds }
    }
}

/// Values that contain no others.
macro_rules! leaf {
    ($($method:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            let bounds = self.bounds;
            let visitor = Inside { inner: visitor, depth: self.depth, direct: self.direct, elements: true, bounds };
            self.inner.$method(visitor).map_err(|error| bounds.recover(error))
        }
    )*};
}

/// Numbers of several bytes, which are as memory holds them.
macro_rules! number {
    ($($method:ident $visit:ident $type:ty)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            let bounds = self.bounds;
            if self.direct {
                let bytes = bounds.bytes.array().ok_or_else(|| Error::said(END_INSIDE))?;
                return visitor.$visit(<$type>::from_ne_bytes(bytes));
            }
            let visitor =
                Inside { inner: visitor, depth: self.depth, direct: self.direct, elements: true, bounds };
            self.inner.$method(visitor).map_err(|error| bounds.recover(error))
        }
    )*};
}

/// Values that may contain others.
macro_rules! container {
    ($($method:ident ($($arg:ident: $type:ty),*) elements: $elements:literal)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, $($arg: $type,)* visitor: V) -> Result<V::Value, Self::Error> {
            let bounds = self.bounds;
            let visitor = Inside {
                inner: visitor,
                depth: below(self.depth)?,
                direct: self.direct,
                elements: $elements,
                bounds,
            };
            self.inner.$method($($arg,)* visitor).map_err(|error| bounds.recover(error))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, 'de, D> {
    type Error = Error<D::Error>;

    leaf! {
        deserialize_bool deserialize_i8 deserialize_u8 deserialize_char deserialize_str
        deserialize_bytes deserialize_unit deserialize_identifier
    }

    #[inline]
    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.direct
            && let Some(owned) = plain::made_by::<V>()
        {
            let source = self.bounds.bytes;
            return (owned.read)(source, self.len()?).map_err(Error::said);
        }
        self.deserialize_str(visitor)
    }

    #[inline]
    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if !self.direct {
            return self.deserialize_bytes(visitor);
        }
        let source = self.bounds.bytes;
        let len = self.len()?;
        match source.give(len) {
            Some(bytes) => visitor.visit_byte_buf(bytes),
            None => visitor.visit_borrowed_bytes(source.lend(len).ok_or_else(|| Error::said(END_INSIDE))?),
        }
    }

    number! {
        deserialize_i16 visit_i16 i16
        deserialize_i32 visit_i32 i32
        deserialize_i64 visit_i64 i64
        deserialize_i128 visit_i128 i128
        deserialize_u16 visit_u16 u16
        deserialize_u32 visit_u32 u32
        deserialize_u64 visit_u64 u64
        deserialize_u128 visit_u128 u128
        deserialize_f32 visit_f32 f32
        deserialize_f64 visit_f64 f64
    }

    #[inline]
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
        if self.direct
            && let Some(owned) = plain::made_by::<V>()
        {
            below::<D::Error>(self.depth)?;
            let bounds = self.bounds;
            let len = self.len()?;
            let value = (owned.read)(bounds.bytes, len).map_err(Error::said)?;
            bounds.count_elements(len)?;
            return Ok(value);
        }
        self.deserialize_elements(visitor)
    }

    container! {
        deserialize_any() elements: true
        deserialize_ignored_any() elements: true
        deserialize_option() elements: true
        deserialize_newtype_struct(name: &'static str) elements: true
        deserialize_map() elements: true
        deserialize_tuple(len: usize) elements: false
        deserialize_tuple_struct(name: &'static str, len: usize) elements: false
        deserialize_struct(name: &'static str, fields: &'static [&'static str]) elements: false
        deserialize_enum(name: &'static str, variants: &'static [&'static str]) elements: false
    }

    #[inline]
    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let bounds = self.bounds;
        let visitor =
            Inside { inner: visitor, depth: self.depth, direct: self.direct, elements: true, bounds };
        self.inner.deserialize_unit_struct(name, visitor).map_err(|error| bounds.recover(error))
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// What a visitor is told of values that contain no others.
macro_rules! visit {
    ($($method:ident ($($type:ty)?))*) => {$(
        visit! { @one $method $($type)? }
    )*};
    (@one $method:ident $type:ty) => {
        #[inline]
        fn $method<E: serde::de::Error>(self, value: $type) -> Result<V::Value, E> {
            let bounds = self.bounds;
            self.inner.$method(value).map_err(|error: Error<E>| bounds.set_aside(error, |text| E::custom(text)))
        }
    };
    (@one $method:ident) => {
        #[inline]
        fn $method<E: serde::de::Error>(self) -> Result<V::Value, E> {
            let bounds = self.bounds;
            self.inner.$method().map_err(|error: Error<E>| bounds.set_aside(error, |text| E::custom(text)))
        }
    };
}

/// What a visitor is handed to look further down.
macro_rules! descend {
    ($($method:ident $bound:ident $wrapper:ident)*) => {$(
        #[inline]
        fn $method<A: $bound<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
            let bounds = self.bounds;
            let wrapped = descend!(@wrap $wrapper self inner);
            self.inner.$method(wrapped).map_err(|error| bounds.set_aside(error, |text| A::Error::custom(text)))
        }
    )*};
    (@wrap Bounded $self:ident $inner:ident) => {
        Bounded { inner: $inner, depth: $self.depth, direct: $self.direct, bounds: $self.bounds }
    };
    (@wrap Inside $self:ident $inner:ident) => { $self.same($inner) };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Inside<'_, 'de, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    visit! {
        visit_bool(bool) visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_f32(f32) visit_f64(f64) visit_char(char)
        visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
        visit_none() visit_unit()
    }

    descend! {
        visit_some Deserializer Bounded
        visit_newtype_struct Deserializer Bounded
        visit_seq SeqAccess Inside
        visit_map MapAccess Inside
        visit_enum EnumAccess Inside
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Inside<'_, 'de, S> {
    type Value = S::Value;

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let bounds = self.bounds;
        self.inner
            .deserialize(Bounded { inner, depth: self.depth, direct: self.direct, bounds })
            .map_err(|error| bounds.set_aside(error, |text| D::Error::custom(text)))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Inside<'_, 'de, A> {
    type Error = Error<A::Error>;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Self::Error> {
        let seed = self.same(seed);
        let element = self.inner.next_element_seed(seed);
        if self.elements && matches!(element, Ok(Some(_))) {
            self.bounds.count_element()?;
        }
        element.map_err(|error| self.bounds.recover(error))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|hint| hint.min(self.bounds.plausible()))
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Inside<'_, 'de, A> {
    type Error = Error<A::Error>;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, Self::Error> {
        let seed = self.same(seed);
        let key = self.inner.next_key_seed(seed).map_err(|error| self.bounds.recover(error))?;
        if key.is_some() {
            self.bounds.count_element()?;
        }
        Ok(key)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Self::Error> {
        let seed = self.same(seed);
        self.inner.next_value_seed(seed).map_err(|error| self.bounds.recover(error))
    }

    #[inline]
    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint().map(|hint| hint.min(self.bounds.plausible()))
    }
}

impl<'b, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Inside<'b, 'de, A> {
    type Error = Error<A::Error>;
    type Variant = Inside<'b, 'de, A::Variant>;

    #[inline]
    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), Self::Error> {
        let Inside { inner, depth, direct, elements, bounds } = self;
        let seed = Inside { inner: seed, depth, direct: false, elements, bounds };
        let (value, variant) = inner.variant_seed(seed).map_err(|error| bounds.recover(error))?;
        Ok((value, Inside { inner: variant, depth, direct, elements, bounds }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Inside<'_, 'de, A> {
    type Error = Error<A::Error>;

    #[inline]
    fn unit_variant(self) -> Result<(), Self::Error> {
        let bounds = self.bounds;
        self.inner.unit_variant().map_err(|error| bounds.recover(error))
    }

    #[inline]
    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Self::Error> {
        let bounds = self.bounds;
        let seed = self.same(seed);
        self.inner.newtype_variant_seed(seed).map_err(|error| bounds.recover(error))
    }

    #[inline]
    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, Self::Error> {
        let bounds = self.bounds;
        let visitor = Inside { depth: below(self.depth)?, ..self.same(visitor) };
        self.inner.tuple_variant(len, visitor).map_err(|error| bounds.recover(error))
    }

    #[inline]
    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        let bounds = self.bounds;
        let visitor = Inside { depth: below(self.depth)?, ..self.same(visitor) };
        self.inner.struct_variant(fields, visitor).map_err(|error| bounds.recover(error))
    }
}

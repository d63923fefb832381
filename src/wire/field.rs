//! `Field`: how each type of Kafka's schemas is read and written.
//!
//! Owns the encoding of numbers, strings, bytes, arrays and null, for both the old form and the
//! flexible one (KIP-482). Knows no message; the tables of `messages/` are made of these.

use bytes::Bytes;
use smallvec::SmallVec;

use crate::wire::codec::{DecodeFault, Reader, Writer};
use crate::wire::error_code::ErrorCode;
use crate::wire::kstr::KStr;
use crate::words::{
    LeaderEpoch, NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, TimestampMs, TopicId,
};

/// What the encoding of a field depends on besides its type.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    pub version: i16,
    /// Compact lengths, and tagged fields at the end of each structure.
    pub flexible: bool,
    /// Whether this field may be null at this version.
    pub nullable: bool,
}

impl Form {
    pub fn nullable(self, nullable: bool) -> Form {
        Form { nullable, ..self }
    }
}

/// A type that can stand in a message table.
pub trait Field: Sized {
    /// The value of a field that is not on the wire, unless its row says otherwise: zero, false,
    /// and empty; not null.
    fn empty() -> Self;
    fn take(reader: &mut Reader<'_>, form: Form) -> Result<Self, DecodeFault>;
    fn put(&self, writer: &mut Writer, form: Form);
    /// Fewest bytes that a value takes; bounds how many elements an array may claim.
    fn bytes_min(form: Form) -> usize;

    /// A value to test with, at random; fields that the version lacks have their default.
    #[cfg(test)]
    fn sample(dice: &mut crate::wire::testing::Dice, form: Form) -> Self;
    #[cfg(test)]
    fn shape() -> crate::wire::testing::Shape;
}

/// A type that has an encoding for null.
pub trait Nullable: Field {
    fn take_nullable(reader: &mut Reader<'_>, form: Form) -> Result<Option<Self>, DecodeFault>;
    fn put_null(writer: &mut Writer, form: Form);
    /// Like [`Field::put`], where null would have been possible.
    fn put_present(&self, writer: &mut Writer, form: Form) {
        self.put(writer, form);
    }
    /// Bytes of the mark that tells present from null, if it is not part of the value.
    fn mark_bytes() -> usize {
        0
    }
}

/// A field that is null at some versions. At the others null is refused on reading, and on
/// writing stands for the empty value (an old Metadata request's "all topics", for one).
impl<T: Nullable> Field for Option<T> {
    fn empty() -> Self {
        Some(T::empty())
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, form: Form) -> Result<Self, DecodeFault> {
        if form.nullable {
            T::take_nullable(reader, form)
        } else {
            T::take(reader, form).map(Some)
        }
    }

    #[inline]
    fn put(&self, writer: &mut Writer, form: Form) {
        match self {
            Some(value) if form.nullable => value.put_present(writer, form),
            Some(value) => value.put(writer, form),
            None if form.nullable => T::put_null(writer, form),
            None => T::empty().put(writer, form),
        }
    }

    fn bytes_min(form: Form) -> usize {
        if form.nullable && T::mark_bytes() > 0 {
            T::mark_bytes()
        } else {
            T::bytes_min(form)
        }
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::wire::testing::Dice, form: Form) -> Self {
        (!form.nullable || dice.below(4) > 0).then(|| T::sample(dice, form))
    }
    #[cfg(test)]
    fn shape() -> crate::wire::testing::Shape {
        T::shape()
    }
}

macro_rules! plain {
    ($($type:ty, $empty:expr, $bytes:literal, $kafka:literal,
       |$array:ident| $take:expr, |$value:ident| $put:expr;)*) => {$(
        impl Field for $type {
            fn empty() -> Self { $empty }
            #[inline]
            fn take(reader: &mut Reader<'_>, _: Form) -> Result<Self, DecodeFault> {
                let $array = reader.array::<$bytes>()?;
                Ok($take)
            }
            #[inline]
            fn put(&self, writer: &mut Writer, _: Form) {
                let $value = *self;
                writer.put(&$put);
            }
            fn bytes_min(_: Form) -> usize { $bytes }
            #[cfg(test)]
            fn sample(dice: &mut crate::wire::testing::Dice, _: Form) -> Self {
                let $array: [u8; $bytes] = dice.array();
                $take
            }
            #[cfg(test)]
            fn shape() -> crate::wire::testing::Shape {
                crate::wire::testing::Shape::Plain($kafka)
            }
        }
    )*};
}

plain! {
    i8, 0, 1, "int8", |b| i8::from_be_bytes(b), |v| v.to_be_bytes();
    i16, 0, 2, "int16", |b| i16::from_be_bytes(b), |v| v.to_be_bytes();
    i32, 0, 4, "int32", |b| i32::from_be_bytes(b), |v| v.to_be_bytes();
    i64, 0, 8, "int64", |b| i64::from_be_bytes(b), |v| v.to_be_bytes();
    u16, 0, 2, "uint16", |b| u16::from_be_bytes(b), |v| v.to_be_bytes();
    u32, 0, 4, "uint32", |b| u32::from_be_bytes(b), |v| v.to_be_bytes();
    f64, 0.0, 8, "float64", |b| f64::from_be_bytes(b), |v| v.to_be_bytes();
    bool, false, 1, "bool", |b| b != [0], |v| [u8::from(v)];
    TopicId, TopicId::ZERO, 16, "uuid", |b| TopicId(b), |v| v.0;
    ErrorCode, ErrorCode::NONE, 2, "int16", |b| ErrorCode(i16::from_be_bytes(b)), |v| v.0.to_be_bytes();
    LeaderEpoch, LeaderEpoch(0), 4, "int32", |b| LeaderEpoch(i32::from_be_bytes(b)), |v| v.0.to_be_bytes();
    NodeId, NodeId(0), 4, "int32", |b| NodeId(i32::from_be_bytes(b)), |v| v.0.to_be_bytes();
    Offset, Offset(0), 8, "int64", |b| Offset(i64::from_be_bytes(b)), |v| v.0.to_be_bytes();
    PartitionIndex, PartitionIndex(0), 4, "int32", |b| PartitionIndex(i32::from_be_bytes(b)), |v| v.0.to_be_bytes();
    ProducerId, ProducerId(0), 8, "int64", |b| ProducerId(i64::from_be_bytes(b)), |v| v.0.to_be_bytes();
    ProducerEpoch, ProducerEpoch(0), 2, "int16", |b| ProducerEpoch(i16::from_be_bytes(b)), |v| v.0.to_be_bytes();
    TimestampMs, TimestampMs(0), 8, "int64", |b| TimestampMs(i64::from_be_bytes(b)), |v| v.0.to_be_bytes();
}

impl Field for KStr {
    fn empty() -> Self {
        KStr::default()
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, form: Form) -> Result<Self, DecodeFault> {
        Self::take_nullable(reader, form)?.ok_or(DecodeFault::Null)
    }

    fn put(&self, writer: &mut Writer, form: Form) {
        writer.string(Some(self), form.flexible);
    }

    fn bytes_min(form: Form) -> usize {
        if form.flexible { 1 } else { 2 }
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::wire::testing::Dice, _: Form) -> Self {
        KStr::from(dice.text())
    }
    #[cfg(test)]
    fn shape() -> crate::wire::testing::Shape {
        crate::wire::testing::Shape::Plain("string")
    }
}

impl Nullable for KStr {
    #[inline]
    fn take_nullable(reader: &mut Reader<'_>, form: Form) -> Result<Option<Self>, DecodeFault> {
        let Some(len) = reader.string_len(form.flexible)? else {
            return Ok(None);
        };
        reader.share(len).map(KStr::from_wire).map(Some)
    }

    fn put_null(writer: &mut Writer, form: Form) {
        writer.string(None, form.flexible);
    }
}

/// From this length on bytes are spliced into an outgoing message instead of copied.
const SPLICE_BYTES_MIN: usize = 4096;

/// Kafka's `bytes` and, in requests, `records`.
impl Field for Bytes {
    fn empty() -> Self {
        Bytes::new()
    }

    #[inline]
    fn take(reader: &mut Reader<'_>, form: Form) -> Result<Self, DecodeFault> {
        Self::take_nullable(reader, form)?.ok_or(DecodeFault::Null)
    }

    fn put(&self, writer: &mut Writer, form: Form) {
        writer.long_len(Some(self.len()), form.flexible);
        if self.len() < SPLICE_BYTES_MIN {
            writer.put(self);
        } else {
            writer.splice(self.clone());
        }
    }

    fn bytes_min(form: Form) -> usize {
        if form.flexible { 1 } else { 4 }
    }

    #[cfg(test)]
    fn sample(dice: &mut crate::wire::testing::Dice, _: Form) -> Self {
        dice.bytes()
    }
    #[cfg(test)]
    fn shape() -> crate::wire::testing::Shape {
        crate::wire::testing::Shape::Plain("bytes")
    }
}

impl Nullable for Bytes {
    #[inline]
    fn take_nullable(reader: &mut Reader<'_>, form: Form) -> Result<Option<Self>, DecodeFault> {
        match reader.long_len(form.flexible)? {
            None => Ok(None),
            Some(len) => reader.share(len).map(Some),
        }
    }

    fn put_null(writer: &mut Writer, form: Form) {
        writer.long_len(None, form.flexible);
    }
}

/// Bytes that an array takes from the heap before its first element has been read. Beyond that it
/// grows as elements arrive.
const ARRAY_BYTES_UPFRONT_MAX: usize = 16 * 1024;

fn upfront<T>(count: usize) -> usize {
    // Elements without a size take nothing from the heap.
    count.min(
        ARRAY_BYTES_UPFRONT_MAX
            .checked_div(size_of::<T>())
            .unwrap_or(ARRAY_BYTES_UPFRONT_MAX),
    )
}

macro_rules! array {
    ([$($generics:tt)*] $type:ty, $with:path) => {
        impl<$($generics)*> Field for $type {
            fn empty() -> Self {
                Self::new()
            }

            #[inline]
            fn take(reader: &mut Reader<'_>, form: Form) -> Result<Self, DecodeFault> {
                Self::take_nullable(reader, form)?.ok_or(DecodeFault::Null)
            }

            fn put(&self, writer: &mut Writer, form: Form) {
                writer.long_len(Some(self.len()), form.flexible);
                for element in self {
                    element.put(writer, form.nullable(false));
                }
            }

            fn bytes_min(form: Form) -> usize {
                if form.flexible { 1 } else { 4 }
            }

            #[cfg(test)]
            fn sample(dice: &mut crate::wire::testing::Dice, form: Form) -> Self {
                let count = dice.below(4);
                (0..count).map(|_| T::sample(dice, form.nullable(false))).collect()
            }
            #[cfg(test)]
            fn shape() -> crate::wire::testing::Shape {
                crate::wire::testing::Shape::Array(Box::new(T::shape()))
            }
        }

        impl<$($generics)*> Nullable for $type {
            #[inline]
            fn take_nullable(
                reader: &mut Reader<'_>,
                form: Form,
            ) -> Result<Option<Self>, DecodeFault> {
                let form = form.nullable(false);
                let Some(count) = reader.count(form.flexible, T::bytes_min(form))? else {
                    return Ok(None);
                };
                let mut elements = $with(upfront::<T>(count));
                for _ in 0..count {
                    elements.push(T::take(reader, form)?);
                }
                Ok(Some(elements))
            }

            fn put_null(writer: &mut Writer, form: Form) {
                writer.long_len(None, form.flexible);
            }
        }
    };
}

array!([T: Field] Vec<T>, Vec::with_capacity);
array!([T: Field, const N: usize] SmallVec<[T; N]>, SmallVec::with_capacity);

//! The language that message tables are written in.
//!
//! Owns the macros that turn a table into a struct with its reader and writer, and the traits
//! they implement. Knows no single message.
//!
//! ```text
//! request! {                          // or response!, or structure! for a part of either
//!     /// What it asks.
//!     MetadataRequest(METADATA);      // the API key: versions and flexible form come from its row
//!     topics: Option<Vec<MetadataRequestTopic>>, 0.., null 1..;
//!     allow_auto_topic_creation: bool, 4.., default true;
//!     cluster_id: Option<KStr>, 12.., null 12.., tag 0, default None;
//! }
//! ```
//!
//! A row is: name, type, versions that have the field, then as needed the versions at which it may
//! be null, its tag (KIP-482; tagged in all its versions), and its value when it is not on the
//! wire, if not zero, false or empty. On writing, a field that the version lacks is left out
//! whatever its value: Kafka calls that ignorable.

use std::ops::RangeBounds;

use crate::wire::api_key::{ApiKey, ApiRow};
use crate::wire::codec::{DecodeFault, Reader, Writer};
use crate::wire::field::{Field, Form};

/// The body of a request or of a response.
pub trait Message: Field {
    const NAME: &'static str;
    /// The API this message belongs to: its key and its versions.
    const API: &'static ApiRow;

    /// Reads a body. Bytes after it are left alone, as Kafka does.
    fn read(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeFault> {
        if !Self::API.supports(version) {
            return Err(DecodeFault::Version(version));
        }
        Self::take(reader, form(Self::API, version))
    }

    /// Writes a body in `version`, which the caller has chosen from the API's range.
    fn write(&self, writer: &mut Writer, version: i16) {
        debug_assert!(Self::API.supports(version), "{} {version}", Self::NAME);
        self.put(writer, form(Self::API, version));
    }
}

/// A request, with the type of its answer.
pub trait Request: Message {
    type Response: Message;
}

/// The form of a body's fields.
fn form(api: &ApiRow, version: i16) -> Form {
    Form {
        version,
        flexible: api.is_flexible(version),
        nullable: false,
    }
}

/// The row of `key`, for the constants of message tables.
pub const fn api(key: ApiKey) -> &'static ApiRow {
    ApiKey::row_of(key)
}

/// Whether a version is among those a row names.
#[inline]
pub fn within(versions: impl RangeBounds<i16>, version: i16) -> bool {
    versions.contains(&version)
}

/// A request and the name of its answer.
macro_rules! request {
    ($(#[$doc:meta])* $name:ident($key:ident) -> $response:ident; $($rows:tt)*) => {
        crate::wire::message::structure! { $(#[$doc])* $name; $($rows)* }
        impl crate::wire::message::Message for $name {
            const NAME: &'static str = stringify!($name);
            const API: &'static crate::wire::api_key::ApiRow =
                crate::wire::message::api(crate::wire::api_key::ApiKey::$key);
        }
        impl crate::wire::message::Request for $name {
            type Response = $response;
        }
    };
}

/// A response.
macro_rules! response {
    ($(#[$doc:meta])* $name:ident($key:ident); $($rows:tt)*) => {
        crate::wire::message::structure! { $(#[$doc])* $name; $($rows)* }
        impl crate::wire::message::Message for $name {
            const NAME: &'static str = stringify!($name);
            const API: &'static crate::wire::api_key::ApiRow =
                crate::wire::message::api(crate::wire::api_key::ApiKey::$key);
        }
    };
}

/// A structure inside messages.
macro_rules! structure {
    (
        $(#[$doc:meta])*
        $name:ident;
        $(
            $(#[$field_doc:meta])*
            $field:ident: $type:ty, $versions:expr
            $(, null $null:expr)? $(, tag $tag:literal)? $(, default $default:expr)?;
        )*
    ) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Debug)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl Default for $name {
            fn default() -> Self {
                <Self as crate::wire::field::Field>::empty()
            }
        }

        #[allow(unused_imports, unused_variables, unused_mut, reason = "not every structure has every kind of row")]
        impl crate::wire::field::Field for $name {
            #[inline]
            fn empty() -> Self {
                $name { $($field: crate::wire::message::value!($type $(, $default)?),)* }
            }

            fn take(
                reader: &mut crate::wire::codec::Reader<'_>,
                form: crate::wire::field::Form,
            ) -> Result<Self, crate::wire::codec::DecodeFault> {
                use crate::wire::{codec::DecodeFault, field::Field, message::within};
                let mut this = Self::empty();
                $(crate::wire::message::untagged! { [$($tag)?]
                    if within($versions, form.version) {
                        let form = form.nullable(false $(|| within($null, form.version))?);
                        this.$field = <$type as Field>::take(reader, form)?;
                    }
                })*
                if form.flexible {
                    for _ in 0..reader.uvarint()? {
                        let (tag, mut value) = reader.tag()?;
                        $(crate::wire::message::tagged! { [$($tag)?]
                            if tag == crate::wire::message::number!($($tag)?) {
                                if !within($versions, form.version) {
                                    return Err(DecodeFault::TagVersion(tag));
                                }
                                let form =
                                    form.nullable(false $(|| within($null, form.version))?);
                                this.$field = <$type as Field>::take(&mut value, form)?;
                                if value.remaining() > 0 {
                                    return Err(DecodeFault::TagSize(tag));
                                }
                            }
                        })*
                    }
                }
                Ok(this)
            }

            fn put(
                &self,
                writer: &mut crate::wire::codec::Writer,
                form: crate::wire::field::Form,
            ) {
                use crate::wire::{field::Field, message::within};
                $(crate::wire::message::untagged! { [$($tag)?]
                    if within($versions, form.version) {
                        let form = form.nullable(false $(|| within($null, form.version))?);
                        self.$field.put(writer, form);
                    }
                })*
                if form.flexible {
                    let mut tags = 0u32;
                    $(crate::wire::message::tagged! { [$($tag)?]
                        if within($versions, form.version)
                            && self.$field != crate::wire::message::value!($type $(, $default)?)
                        {
                            tags = tags.saturating_add(1);
                        }
                    })*
                    writer.uvarint(tags);
                    $(crate::wire::message::tagged! { [$($tag)?]
                        if within($versions, form.version)
                            && self.$field != crate::wire::message::value!($type $(, $default)?)
                        {
                            let form = form.nullable(false $(|| within($null, form.version))?);
                            let tag = crate::wire::message::number!($($tag)?);
                            writer.tag(tag, |writer| self.$field.put(writer, form));
                        }
                    })*
                }
            }

            fn bytes_min(form: crate::wire::field::Form) -> usize {
                use crate::wire::{field::Field, message::within};
                let mut bytes = usize::from(form.flexible);
                $(crate::wire::message::untagged! { [$($tag)?]
                    if within($versions, form.version) {
                        let form = form.nullable(false $(|| within($null, form.version))?);
                        bytes = bytes.saturating_add(<$type as Field>::bytes_min(form));
                    }
                })*
                bytes
            }

            #[cfg(test)]
            fn sample(
                dice: &mut crate::wire::testing::Dice,
                form: crate::wire::field::Form,
            ) -> Self {
                use crate::wire::{field::Field, message::within};
                let mut this = Self::empty();
                $(
                    if within($versions, form.version) {
                        let form = form.nullable(false $(|| within($null, form.version))?);
                        this.$field = <$type as Field>::sample(dice, form);
                    }
                )*
                this
            }

            #[cfg(test)]
            fn shape() -> crate::wire::testing::Shape {
                use crate::wire::testing::{RowShape, Shape, bounds};
                let mut rows = Vec::new();
                $({
                    let mut row = RowShape {
                        name: stringify!($field),
                        versions: bounds($versions),
                        null: None,
                        tag: None,
                        default: format!(
                            "{:?}",
                            crate::wire::message::value!($type $(, $default)?)
                        ),
                        shape: <$type as crate::wire::field::Field>::shape(),
                    };
                    $(row.null = Some(bounds($null));)?
                    $(row.tag = Some($tag);)?
                    rows.push(row);
                })*
                Shape::Structure(rows)
            }
        }

        /// Null is a byte of its own (KIP-893).
        impl crate::wire::field::Nullable for $name {
            fn take_nullable(
                reader: &mut crate::wire::codec::Reader<'_>,
                form: crate::wire::field::Form,
            ) -> Result<Option<Self>, crate::wire::codec::DecodeFault> {
                if reader.i8()? < 0 {
                    return Ok(None);
                }
                <Self as crate::wire::field::Field>::take(reader, form.nullable(false)).map(Some)
            }

            fn put_null(
                writer: &mut crate::wire::codec::Writer,
                _: crate::wire::field::Form,
            ) {
                writer.i8(-1);
            }

            fn put_present(
                &self,
                writer: &mut crate::wire::codec::Writer,
                form: crate::wire::field::Form,
            ) {
                writer.i8(1);
                crate::wire::field::Field::put(self, writer, form.nullable(false));
            }

            fn mark_bytes() -> usize {
                1
            }
        }
    };
}

/// The value of a field that is not on the wire.
macro_rules! value {
    ($type:ty) => {
        <$type as crate::wire::field::Field>::empty()
    };
    ($type:ty, $default:expr) => {
        std::convert::identity::<$type>($default)
    };
}

/// Code for rows without a tag only.
macro_rules! untagged {
    ([] $($code:tt)*) => { $($code)* };
    ([$tag:literal] $($code:tt)*) => {};
}

/// Code for rows with a tag only.
macro_rules! tagged {
    ([] $($code:tt)*) => {};
    ([$tag:literal] $($code:tt)*) => { $($code)* };
}

/// The tag of a row that has one.
macro_rules! number {
    ($tag:literal) => {
        $tag
    };
}

pub(crate) use {number, request, response, structure, tagged, untagged, value};

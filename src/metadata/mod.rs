//! Cluster metadata as a pure core: what exists, who leads it, and how it may change.
//!
//! A change is decided ([`decide`], a pure function of the image) into [`Record`]s; records are
//! the only way the [`MetadataImage`] changes ([`MetadataImage::apply`]), live or at load. Lives
//! on the control writer, images on every shard. Never does I/O, never draws a random number.

pub mod admin;
pub mod alter;
pub mod cell;
pub mod codec;
pub mod decide;
pub mod delete;
pub mod grow;
pub mod image;
pub mod ownership;
pub mod placement;
pub mod records;
pub mod topic_rules;

pub use admin::{AdminReply, AdminRequest, TopicRefusal};
pub use alter::AlterRefusal;
pub use cell::ImageCell;
pub use image::{MetadataImage, Partition, Topic};
pub use ownership::{Ownership, owner};
pub use records::{ClusterId, Node, Record, Resource};

//! What is owed to whom until which offset or deadline: the job of Kafka's purgatories.
//!
//! Lives on every shard, one of each per use. Owns tickets (small names that the shard gives to
//! the requests it parks), never the requests themselves; never reads a clock, never answers.
//! Three tools, and a request may hold a ticket in several of them at once:
//!
//! - [`OffsetQueue`]: answers owed when one partition's mark reaches an offset (produce, acks=all).
//! - [`Watchers`]: who wants to look again when something happens to a key (parked fetches).
//! - [`Wheel`]: who must be answered when a deadline is reached, whatever happened.
//!
//! All of them are bounded: what does not fit is refused with [`Full`], and the caller answers at
//! once instead of parking.

mod offsets;
mod slab;
mod watchers;
mod wheel;

pub use offsets::OffsetQueue;
pub use watchers::Watchers;
pub use wheel::{TimerHandle, Wheel};

/// The bound given at construction is reached; nothing was changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Full;

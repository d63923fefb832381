//! What a handler of a cold request may see of its shard.
//!
//! Owns nothing: borrowed facts for the length of one call. Changes go through the metadata
//! writer, as an [`AdminRequest`](crate::metadata::AdminRequest) that the handler hands back.

use crate::api::k22_init_producer_id::ProducerIds;
use crate::metadata::{MetadataImage, Resource};
use crate::settings::{BrokerSettings, Layers};
use crate::words::NodeId;

/// A shard as its handlers see it.
pub struct Ports<'a> {
    pub image: &'a MetadataImage,
    /// The node that this shard is.
    pub node: NodeId,
    pub settings: &'a BrokerSettings,
    /// Producer ids that this shard may hand out.
    pub producer_ids: &'a mut ProducerIds,
}

impl Ports<'_> {
    /// The layers under which this node's settings, and its topics', are looked up.
    pub fn layers(&self) -> Layers<'_> {
        Layers {
            node: self.image.configs(&Resource::Broker(self.node)),
            cluster: self.image.configs(&Resource::BrokerDefault),
            fixed: self.settings,
        }
    }
}

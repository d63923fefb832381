//! The table of partitions that a shard leads.

use std::collections::HashMap;

use crate::shard::partition::{Partition, Slot};
use crate::words::TopicPartition;

/// Partitions by slot and by identity.
#[derive(Default)]
pub struct Partitions {
    slots: Vec<Option<Box<Partition>>>,
    by_id: HashMap<TopicPartition, Slot>,
}

impl Partitions {
    pub fn get(&self, slot: Slot) -> Option<&Partition> {
        self.slots.get(slot.0 as usize)?.as_deref()
    }

    pub fn get_mut(&mut self, slot: Slot) -> Option<&mut Partition> {
        self.slots.get_mut(slot.0 as usize)?.as_deref_mut()
    }

    pub fn slot_of(&self, id: TopicPartition) -> Option<Slot> {
        self.by_id.get(&id).copied()
    }

    /// Recovery could not vouch for what the partition holds.
    pub fn is_unrecovered(&self, slot: Slot) -> bool {
        self.get(slot)
            .is_some_and(|partition| partition.unrecovered)
    }

    /// The partition in `slot`, if it is still the one an operation was started for.
    pub fn same(&self, slot: Slot, id: TopicPartition) -> bool {
        self.get(slot)
            .is_some_and(|partition| partition.topic_partition == id)
    }

    /// Slots are not used twice in one run of the process: a stale slot finds nothing.
    pub fn insert(&mut self, partition: Partition) -> Slot {
        let slot = Slot(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        self.by_id.insert(partition.topic_partition, slot);
        self.slots.push(Some(Box::new(partition)));
        slot
    }

    pub fn remove(&mut self, slot: Slot) -> Option<Partition> {
        let partition = self.slots.get_mut(slot.0 as usize)?.take()?;
        self.by_id.remove(&partition.topic_partition);
        Some(*partition)
    }

    pub fn iter(&self) -> impl Iterator<Item = (Slot, &Partition)> {
        self.slots.iter().enumerate().filter_map(|(at, partition)| {
            Some((Slot(u32::try_from(at).ok()?), partition.as_deref()?))
        })
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (Slot, &mut Partition)> {
        self.slots
            .iter_mut()
            .enumerate()
            .filter_map(|(at, partition)| {
                Some((Slot(u32::try_from(at).ok()?), partition.as_deref_mut()?))
            })
    }

    pub fn slots(&self) -> Vec<Slot> {
        self.iter().map(|(slot, _)| slot).collect()
    }

    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }
}

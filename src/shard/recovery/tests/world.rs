//! A shard small enough to be obviously right, on a disk that loses power, and the oracle that
//! knows what it acknowledged.
//!
//! It keeps the promises that recovery leans on (src/FORMAT.md, "What recovery leans on") and
//! does nothing else well. Its randomness comes from one seed.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::super::active::{Active, Building};
use super::super::*;
use crate::devices::memory_disk::MemoryDisk;
use crate::devices::{FileHandle, Open};
use crate::log::journal_entry::{DurableMark, EntryBatch, encode, encoded_len};
use crate::log::journal_ring::{JournalFile, JournalRing, NoPlace, RingLimits};
use crate::log::names::{
    LEADER_EPOCH_CHECKPOINT, SegmentFileKind, encode_partition_metadata, segment_file_name,
};
use crate::log::producer_snapshot;
use crate::wire::record::{BATCH_HEADER_BYTES, BatchBuilder, BatchHeader, Codec, NewRecord};
use crate::words::limits::BLOCK_BYTES;
use crate::words::{LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, Sequence};

pub(super) const DATA: &str = "/data";
const FILE_BYTES: u64 = 8 * BLOCK_BYTES as u64;

pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides.max(1)
    }
}

pub(super) fn id(topic: u8, partition: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicId([topic; 16]),
        partition: PartitionIndex(partition),
    }
}

/// Two topics with segments and indexes so small that every run rolls.
pub(super) fn topics() -> BTreeMap<TopicId, LiveTopic> {
    let settings = LogSettings {
        segment_bytes: 3000,
        index_interval_bytes: 200,
        ..LogSettings::default()
    };
    let topic = |name: &str, partitions| LiveTopic {
        name: name.to_owned(),
        partitions,
        settings: settings.clone(),
    };
    BTreeMap::from([
        (TopicId([1; 16]), topic("alpha", 2)),
        (TopicId([2; 16]), topic("beta", 1)),
    ])
}

pub(super) const PARTITIONS: [(u8, i32); 3] = [(1, 0), (1, 1), (2, 0)];

/// What clients were told, and what may be there besides.
#[derive(Clone, Default)]
pub(super) struct Oracle {
    /// Every batch that was ever submitted at the end of what was known, by base offset.
    pub(super) submitted: BTreeMap<TopicPartition, BTreeMap<i64, Vec<Vec<u8>>>>,
    /// Offset after the last acknowledged record.
    pub(super) acknowledged: BTreeMap<TopicPartition, i64>,
}

struct TailBatch {
    header: BatchHeader,
    bytes: Vec<u8>,
}

struct Partition {
    segments: Vec<RecoveredSegment>,
    directory: PathBuf,
    log_start: Offset,
    next: i64,
    epochs: LeaderEpochs,
    producers: Producers,
    base: Offset,
    bytes: u64,
    indexes: SegmentIndexes,
    first_batch_timestamp: Option<TimestampMs>,
    filled: i64,
    tail: Vec<TailBatch>,
    sequence: i32,
}

/// One life of the little shard.
pub(super) struct MiniShard {
    disk: MemoryDisk,
    ring: JournalRing,
    incarnation: u64,
    files: BTreeMap<JournalFile, FileHandle>,
    partitions: BTreeMap<TopicPartition, Partition>,
    marks: Vec<DurableMark>,
    settings: LogSettings,
    epoch: i32,
}

pub(super) fn recover_on(disk: &MemoryDisk) -> Result<Recovered, RecoveryError> {
    recover_topics(disk, &topics())
}

/// A start with so many shards, whose journals are `journal.0` and up.
pub(super) fn recover_for(disk: &MemoryDisk, shards: u16) -> Result<Recovered, RecoveryError> {
    recover_with(disk, &topics(), shards)
}

pub(super) fn recover_topics(
    disk: &MemoryDisk,
    topics: &BTreeMap<TopicId, LiveTopic>,
) -> Result<Recovered, RecoveryError> {
    recover_with(disk, topics, 1)
}

fn recover_with(
    disk: &MemoryDisk,
    topics: &BTreeMap<TopicId, LiveTopic>,
    shards: u16,
) -> Result<Recovered, RecoveryError> {
    let input = RecoveryInput {
        data_dir: Path::new(DATA),
        topics,
        salt: 0x5eed,
        producers_max: 100,
        shards,
        threads: 1,
    };
    recover(disk, &input, &mut |_| {})
}

impl MiniShard {
    /// Begins a life on what recovery gave.
    pub(super) fn start(disk: &MemoryDisk, recovered: Recovered) -> io::Result<MiniShard> {
        let journal = Path::new(DATA).join("journal.0");
        disk.create_dir_all(&journal)?;
        let mut shard = MiniShard {
            disk: disk.clone(),
            ring: JournalRing::new(
                RingLimits {
                    file_bytes: FILE_BYTES,
                    files_max: 3,
                },
                recovered.incarnation,
                &[JournalFile(0), JournalFile(1)],
            ),
            incarnation: recovered.incarnation,
            files: BTreeMap::new(),
            partitions: BTreeMap::new(),
            marks: Vec::new(),
            settings: topics()[&TopicId([1; 16])].settings.clone(),
            epoch: (recovered.incarnation >> 32) as i32,
        };
        for number in 0..2 {
            shard.journal_file(JournalFile(number))?;
        }
        for (id, partition) in recovered.partitions {
            shard.adopt(id, partition);
        }
        for (topic, index) in PARTITIONS {
            shard.create(id(topic, index))?;
        }
        Ok(shard)
    }

    fn journal_file(&mut self, file: JournalFile) -> io::Result<()> {
        let directory = Path::new(DATA).join("journal.0");
        let handle = self
            .disk
            .open(&directory.join(format!("{}.journal", file.0)), Open::Direct)?;
        if self.disk.len(&handle)? < FILE_BYTES {
            self.disk
                .write_at(&handle, 0, &vec![0; FILE_BYTES as usize])?;
            self.disk.sync(&handle)?;
            self.disk.sync_dir(&directory)?;
        }
        self.files.insert(file, handle);
        Ok(())
    }

    fn adopt(&mut self, id: TopicPartition, mut recovered: RecoveredPartition) {
        let active = recovered.segments.pop().expect("never empty");
        self.partitions.insert(
            id,
            Partition {
                segments: recovered.segments,
                directory: recovered.directory,
                log_start: recovered.log_start,
                next: recovered.next_offset.0,
                epochs: recovered.epochs,
                sequence: next_sequence(&recovered.producers),
                producers: recovered.producers,
                indexes: recovered.indexes,
                base: active.base_offset,
                bytes: active.size_bytes,
                first_batch_timestamp: active.first_batch_timestamp,
                filled: recovered.next_offset.0,
                tail: Vec::new(),
            },
        );
    }

    fn create(&mut self, id: TopicPartition) -> io::Result<()> {
        if self.partitions.contains_key(&id) {
            return Ok(());
        }
        let name = topics()[&id.topic].name.clone();
        let directory = Path::new(DATA).join(log_dir_name(&name, id.partition));
        self.disk.create_dir_all(&directory)?;
        self.disk.write_atomic(
            &directory.join(PARTITION_METADATA),
            &encode_partition_metadata(id.topic),
        )?;
        let indexes = Active::open(&self.disk, &directory, Offset(0), &self.settings);
        self.partitions.insert(
            id,
            Partition {
                segments: Vec::new(),
                directory,
                log_start: Offset(0),
                next: 0,
                epochs: LeaderEpochs::new(),
                producers: Producers::new(100, Offset(0)),
                indexes: indexes.map_err(io::Error::other)?.indexes,
                base: Offset(0),
                bytes: 0,
                first_batch_timestamp: None,
                filled: 0,
                tail: Vec::new(),
                sequence: 0,
            },
        );
        Ok(())
    }

    fn batch(
        &mut self,
        id: TopicPartition,
        records: u64,
        value: usize,
        dice: &mut Dice,
    ) -> TailBatch {
        let partition = self.partitions.get_mut(&id).expect("created");
        let producer = ProducerId(i64::from(id.partition.0));
        let mut builder = BatchBuilder::new(Codec::NONE)
            .base_offset(Offset(partition.next))
            .leader_epoch(LeaderEpoch(self.epoch))
            .producer(producer, ProducerEpoch(0), Sequence(partition.sequence));
        let value: Vec<u8> = (0..value).map(|_| dice.roll(256) as u8).collect();
        for _ in 0..records {
            let timestamp = TimestampMs(1_000_000 + dice.roll(1000) as i64);
            builder
                .push(&NewRecord::of(timestamp, None, Some(&value)))
                .expect("fits");
        }
        let bytes = builder.build().expect("a batch").to_vec();
        let header = BatchHeader::parse(&bytes).expect("a header");
        partition.sequence += records as i32;
        partition.next = header.next_offset().0;
        TailBatch { header, bytes }
    }

    /// One to four batches, journaled. `flush` also makes them durable and acknowledges them.
    pub(super) fn append(
        &mut self,
        oracle: &mut Oracle,
        dice: &mut Dice,
        flush: bool,
    ) -> io::Result<()> {
        let mut group: Vec<(TopicPartition, TailBatch)> = Vec::new();
        for _ in 0..=dice.roll(3) {
            let (topic, index) = PARTITIONS[dice.roll(3) as usize];
            let (records, value) = (1 + dice.roll(3), dice.roll(900) as usize);
            let batch = self.batch(id(topic, index), records, value, dice);
            oracle.submit(id(topic, index), &batch);
            group.push((id(topic, index), batch));
        }
        let sequence = self.write_entry(&group)?;
        for (id, batch) in group {
            self.partitions
                .get_mut(&id)
                .expect("created")
                .tail
                .push(batch);
        }
        if flush {
            // Older entries of both files are flushed with it: groups complete in order.
            let handles: Vec<FileHandle> = self.files.values().cloned().collect();
            for handle in handles {
                self.disk.sync(&handle)?;
            }
            self.ring.completed(sequence);
            for (id, partition) in &self.partitions {
                oracle.acknowledged.insert(*id, partition.next);
            }
        }
        Ok(())
    }

    fn write_entry(&mut self, group: &[(TopicPartition, TailBatch)]) -> io::Result<u64> {
        let batches: Vec<EntryBatch<'_>> = group
            .iter()
            .map(|(id, batch)| EntryBatch {
                topic_partition: *id,
                base_offset: batch.header.base_offset,
                last_offset: batch.header.last_offset(),
                leader_epoch: batch.header.leader_epoch,
                header: batch.bytes[..BATCH_HEADER_BYTES]
                    .try_into()
                    .expect("a header"),
                body: &batch.bytes[BATCH_HEADER_BYTES..],
            })
            .collect();
        let marks = std::mem::take(&mut self.marks);
        let len = encoded_len(&batches, &marks).expect("small");
        let ends = || {
            group
                .iter()
                .map(|(id, batch)| (*id, batch.header.last_offset()))
        };
        let place = loop {
            match self.ring.place(len, ends()) {
                Ok(place) => break place,
                Err(NoPlace::Full) => match self.ring.grow() {
                    Some(file) => {
                        self.journal_file(file)?;
                        self.ring.added(file);
                    }
                    None => self.drain()?,
                },
                Err(NoPlace::Misshapen) => panic!("an entry of {len} bytes"),
            }
        };
        let mut bytes = vec![0; len];
        encode(place.stamp, &batches, &marks, &mut bytes, &mut Vec::new()).expect("sized");
        let handle = self.files[&place.file].clone();
        self.disk.write_at(&handle, place.position, &bytes)?;
        Ok(place.stamp.sequence)
    }

    /// Makes room: completes what is in flight, fills everything, checkpoints.
    fn drain(&mut self) -> io::Result<()> {
        let handles: Vec<FileHandle> = self.files.values().cloned().collect();
        for handle in handles {
            self.disk.sync(&handle)?;
        }
        self.ring.completed(self.ring.last_placed());
        for (topic, index) in PARTITIONS {
            self.fill(id(topic, index), true)?;
        }
        self.checkpoint()
    }

    /// Writes the tail of a partition to its segment; with `flush` it counts as filled.
    pub(super) fn fill(&mut self, id: TopicPartition, flush: bool) -> io::Result<()> {
        let partition = self.partitions.get_mut(&id).expect("created");
        if partition.tail.is_empty() {
            return Ok(());
        }
        let mut building = partition.building(&self.disk, &self.settings)?;
        let tail = if flush {
            &partition.tail[..]
        } else {
            &partition.tail[..1]
        };
        for batch in tail {
            building
                .replay(&batch.header, &batch.bytes, None)
                .map_err(io::Error::other)?;
        }
        // Bytes go out, padded to the block as direct writes are; the flush may not come.
        let bytes = building.active.file.len();
        building
            .active
            .file
            .write_kept_back(&self.disk)
            .map_err(io::Error::other)?;
        let handle = self.disk.open(&building.active.file.path, Open::Buffered)?;
        let padding = bytes.next_multiple_of(BLOCK_BYTES as u64) - bytes;
        self.disk
            .write_at(&handle, bytes, &vec![0; padding as usize])?;
        if !flush {
            return Ok(());
        }
        self.disk.sync(&handle)?;
        self.disk.sync_dir(building.directory)?;
        let base = building.active.base;
        let (end, segments) = (building.next, building.segments);
        let (indexes, first) = (
            building.active.indexes,
            building.active.first_batch_timestamp,
        );
        let (epochs, producers) = (building.epochs, building.producers);
        (partition.base, partition.bytes) = (base, bytes);
        partition.tail.clear();
        partition.filled = end.0;
        partition.segments = segments;
        partition.indexes = indexes;
        partition.first_batch_timestamp = first;
        partition.epochs = epochs;
        partition.producers = producers;
        self.ring.filled(id, Offset(end.0 - 1));
        Ok(())
    }

    /// A run that skips the journal: straight to the segment with everything before it, flushed,
    /// then acknowledged. What is in flight before it completes first.
    pub(super) fn bypass(&mut self, oracle: &mut Oracle, dice: &mut Dice) -> io::Result<()> {
        let (topic, index) = PARTITIONS[dice.roll(3) as usize];
        let id = id(topic, index);
        for _ in 0..=dice.roll(2) {
            let batch = self.batch(id, 2, 300, dice);
            oracle.submit(id, &batch);
            self.partitions
                .get_mut(&id)
                .expect("created")
                .tail
                .push(batch);
        }
        let handles: Vec<FileHandle> = self.files.values().cloned().collect();
        for handle in handles {
            self.disk.sync(&handle)?;
        }
        self.ring.completed(self.ring.last_placed());
        self.fill(id, true)?;
        for (id, partition) in &self.partitions {
            oracle.acknowledged.insert(*id, partition.next);
        }
        let last_offset = Offset(self.partitions[&id].next - 1);
        self.marks.push(DurableMark {
            topic_partition: id,
            last_offset,
        });
        Ok(())
    }

    /// The power goes while a bypass is being written and the group behind it, with a batch of the
    /// same partition, is in the journal already: neither was answered.
    pub(super) fn cut_in_bypass(&mut self, oracle: &mut Oracle, dice: &mut Dice) -> io::Result<()> {
        let (topic, index) = PARTITIONS[dice.roll(3) as usize];
        let id = id(topic, index);
        self.fill(id, true)?;
        for _ in 0..4 {
            let batch = self.batch(id, 2, 600, dice);
            oracle.submit(id, &batch);
            self.partitions
                .get_mut(&id)
                .expect("created")
                .tail
                .push(batch);
        }
        let partition = &self.partitions[&id];
        let mut building = partition.building(&self.disk, &self.settings)?;
        for batch in &partition.tail {
            building
                .replay(&batch.header, &batch.bytes, None)
                .map_err(io::Error::other)?;
        }
        building
            .active
            .file
            .write_kept_back(&self.disk)
            .map_err(io::Error::other)?;
        let behind = self.batch(id, 1, 50, dice);
        oracle.submit(id, &behind);
        self.write_entry(&[(id, behind)])?;
        for handle in self.files.values() {
            self.disk.sync(handle)?;
        }
        Err(io::Error::other("power cut"))
    }

    /// Indexes, epochs and producers first, then the checkpoint that counts on them.
    pub(super) fn checkpoint(&mut self) -> io::Result<()> {
        let through = self.ring.checkpoint_through();
        let mut marks = Vec::new();
        for (id, partition) in &self.partitions {
            if partition.filled == 0 {
                continue;
            }
            let base = partition.base;
            let path = |offset, kind| partition.directory.join(segment_file_name(offset, kind));
            let indexes = &partition.indexes;
            self.disk.write_atomic(
                &path(base, SegmentFileKind::OffsetIndex),
                indexes.offset_index().bytes(),
            )?;
            self.disk.write_atomic(
                &path(base, SegmentFileKind::TimeIndex),
                indexes.time_index().bytes(),
            )?;
            let snapshot = producer_snapshot::encode(&partition.producers.snapshot());
            let end = Offset(partition.filled);
            self.disk
                .write_atomic(&path(end, SegmentFileKind::ProducerSnapshot), &snapshot)?;
            let epochs = partition.directory.join(LEADER_EPOCH_CHECKPOINT);
            self.disk
                .write_atomic(&epochs, &partition.epochs.encode())?;
            let index = indexes.mark();
            marks.push(PartitionMark {
                id: *id,
                log_start: partition.log_start,
                end_offset: end,
                active_base: base,
                active_bytes: partition.bytes,
                max_timestamp: index.max_timestamp.timestamp,
                max_timestamp_offset: index.max_timestamp.offset,
                offset_index_entries: index.offset_index_entries,
                time_index_entries: index.time_index_entries,
                bytes_since_index_entry: index.bytes_since_index_entry,
                leader_epoch: LeaderEpoch(self.epoch),
                first_batch_timestamp: partition.first_batch_timestamp.unwrap_or(TimestampMs(-1)),
            });
        }
        let checkpoint = ShardCheckpoint {
            shard: ShardId(0),
            through: JournalMark {
                incarnation: self.incarnation,
                sequence: through,
            },
            partitions: marks,
        };
        let path = Path::new(DATA).join("journal.0").join(CHECKPOINT);
        self.disk.write_atomic(&path, &checkpoint.encode())?;
        self.ring.checkpointed(through);
        Ok(())
    }

    /// Some steps of a life; ends with the first error, which is the power cut.
    pub(super) fn live(
        &mut self,
        oracle: &mut Oracle,
        dice: &mut Dice,
        steps: usize,
    ) -> io::Result<()> {
        for _ in 0..steps {
            match dice.roll(48) / 4 {
                0 if dice.roll(8) == 0 => self.cut_in_bypass(oracle, dice)?,
                0..=4 => self.append(oracle, dice, true)?,
                5 | 6 => self.append(oracle, dice, false)?,
                7 => self.bypass(oracle, dice)?,
                8 => self.checkpoint()?,
                9 => {
                    let (topic, index) = PARTITIONS[dice.roll(3) as usize];
                    self.fill(id(topic, index), false)?;
                }
                _ => {
                    // A fill takes only what is complete in the journal.
                    self.append(oracle, dice, true)?;
                    let (topic, index) = PARTITIONS[dice.roll(3) as usize];
                    self.fill(id(topic, index), true)?;
                }
            }
        }
        Ok(())
    }
}

/// Sequence after the last one known, so that a life goes on where the last one ended.
fn next_sequence(producers: &Producers) -> i32 {
    let last = producers
        .iter()
        .map(|(_, entry)| entry.last_sequence().0)
        .max();
    last.map_or(0, |last| last + 1)
}

impl Partition {
    fn building<'a>(
        &'a self,
        disk: &'a MemoryDisk,
        settings: &'a LogSettings,
    ) -> io::Result<Building<'a>> {
        let mut active =
            Active::open(disk, &self.directory, self.base, settings).map_err(io::Error::other)?;
        active
            .file
            .cut(disk, self.bytes)
            .map_err(io::Error::other)?;
        active.indexes = self.indexes.clone();
        active.first_batch_timestamp = self.first_batch_timestamp;
        Ok(Building {
            disk,
            directory: &self.directory,
            settings,
            epochs: self.epochs.clone(),
            producers: self.producers.clone(),
            producers_from: Offset(0),
            segments: self.segments.clone(),
            active,
            next: Offset(self.filled),
            snapshots: Vec::new(),
            batches_replayed: 0,
            bytes_replayed: 0,
            bytes_scanned: 0,
        })
    }
}

impl Oracle {
    fn submit(&mut self, id: TopicPartition, batch: &TailBatch) {
        let log = self.submitted.entry(id).or_default();
        log.entry(batch.header.base_offset.0)
            .or_default()
            .push(batch.bytes.clone());
    }
}

impl Oracle {
    /// What recovery kept is from now on as good as acknowledged.
    pub(super) fn settle(&mut self, recovered: &Recovered) {
        for (id, partition) in &recovered.partitions {
            self.acknowledged.insert(*id, partition.next_offset.0);
        }
    }
}

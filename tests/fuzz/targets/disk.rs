//! Targets of what lies on disks: segments, journals, indexes, checkpoints, metadata, properties.

use std::path::Path;
use std::sync::Arc;

use ottla::control::log::FileLog;
use ottla::control::meta_properties;
use ottla::devices::Disk;
use ottla::devices::memory_disk::MemoryDisk;
use ottla::log::checkpoints::{ShardCheckpoint, encode_offsets, parse_offsets};
use ottla::log::epochs::LeaderEpochs;
use ottla::log::journal_entry::{self, EntryBatch, Found, Item};
use ottla::log::names::{self, LogDir, SegmentFile};
use ottla::log::offset_index::{OffsetIndex, OffsetIndexView};
use ottla::log::producer_snapshot;
use ottla::log::producers::Producers;
use ottla::log::segment_scan::{Order, ScanEnd, ScannedBatch, SegmentScan, Step};
use ottla::log::time_index::{TimeIndex, TimeIndexView};
use ottla::metadata::codec::{self, Verdict};
use ottla::metadata::{ClusterId, MetadataImage};
use ottla::settings::{BrokerSettings, Layers, listeners, load, properties, topic};
use ottla::wire::record::crc;
use ottla::words::limits::BLOCK_BYTES;
use ottla::words::{LeaderEpoch, Offset, TimestampMs};

use super::record::mend_batch;
use super::{count, head, put_u32};

fn scan(bytes: &[u8], piece: usize, order: Order) -> (Vec<ScannedBatch>, ScanEnd) {
    let mut scan = SegmentScan::new(0, Offset(0), order);
    let mut found = Vec::new();
    for mut piece in bytes.chunks(piece) {
        loop {
            match scan.step(&mut piece) {
                Step::More => break,
                Step::Batch(batch) => found.push(batch),
                Step::End(end) => return (found, end),
            }
        }
        assert!(piece.is_empty());
    }
    (found, scan.finish())
}

/// First byte: the size of the pieces. However a segment is read, the same is found in it.
pub fn segment_scan(bytes: &[u8]) {
    let (piece, bytes) = head(bytes);
    for bytes in [bytes.to_vec(), mend_batch(bytes)] {
        for order in [Order::Contiguous, Order::Ascending] {
            let whole = scan(&bytes, bytes.len().max(1), order);
            let pieces = scan(&bytes, usize::from(piece) + 1, order);
            assert_eq!(whole, pieces);
            let (batches, end) = whole;
            let good: usize = batches.iter().map(|b| b.header.size_bytes()).sum();
            assert_eq!(end.good_bytes, good as u64);
            for batch in batches {
                let at = usize::try_from(batch.position).expect("inside the input");
                assert!(crc::is_intact(
                    &batch.header,
                    &bytes[at..][..batch.header.size_bytes()]
                ));
            }
        }
    }
}

/// Makes padding, lengths and checksum of a journal entry what they should be.
pub(super) fn mend_entry(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    let used = bytes.len().max(journal_entry::ENTRY_HEADER_BYTES);
    bytes.resize(used.next_multiple_of(BLOCK_BYTES), 0);
    bytes[..8].copy_from_slice(&journal_entry::ENTRY_MAGIC);
    put_u32(&mut bytes, 8, journal_entry::ENTRY_VERSION);
    put_u32(
        &mut bytes,
        48,
        count(used - journal_entry::ENTRY_HEADER_BYTES),
    );
    let total = count(bytes.len());
    put_u32(&mut bytes, 52, total);
    let mut sum = crc::Crc32c::new();
    sum.update(&bytes[..60]);
    sum.update(&bytes[journal_entry::ENTRY_HEADER_BYTES..used]);
    put_u32(&mut bytes, 60, sum.finish());
    bytes
}

/// A block boundary of a journal file. A whole entry, written again, is the same entry.
pub fn journal_entry(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), mend_entry(bytes)] {
        let claim = journal_entry::claim(&bytes);
        let Found::Entry(entry) = journal_entry::decode(&bytes, None) else {
            continue;
        };
        let other = entry.stamp.incarnation.wrapping_add(1);
        assert!(matches!(
            journal_entry::decode(&bytes, Some(other)),
            Found::Stale(_)
        ));
        let claim = claim.expect("an entry claims what it is");
        assert_eq!(claim.stamp, entry.stamp);
        let (mut batches, mut marks) = (Vec::new(), Vec::new());
        let mut in_order = true;
        for item in entry.items() {
            match item {
                Item::Mark(mark) => marks.push(mark),
                Item::Batch(batch) => {
                    in_order &= marks.is_empty();
                    let at = batch.place.at as usize;
                    assert_eq!(batch.bytes, &bytes[at..][..batch.place.len as usize]);
                    let (header, body) = batch.bytes.split_first_chunk().expect("a header");
                    batches.push(EntryBatch {
                        topic_partition: batch.topic_partition,
                        base_offset: batch.base_offset,
                        last_offset: batch.last_offset,
                        leader_epoch: batch.leader_epoch,
                        header: *header,
                        body,
                    });
                }
            }
        }
        assert_eq!(claim.batches.len(), batches.len());
        let total = journal_entry::encoded_len(&batches, &marks);
        assert_eq!(total, Some(entry.total_bytes as usize));
        let mut out = vec![0; entry.total_bytes as usize];
        let mut places = Vec::new();
        journal_entry::encode(entry.stamp, &batches, &marks, &mut out, &mut places)
            .expect("it was an entry");
        let Found::Entry(again) = journal_entry::decode(&out, None) else {
            panic!("what was written is no entry");
        };
        assert!(!in_order || again.items().eq(entry.items()));
        assert_eq!(again.stamp, entry.stamp);
    }
}

/// First byte: the base offset. An index that passes its check finds every one of its entries.
pub fn offset_index(bytes: &[u8]) {
    let (base, bytes) = head(bytes);
    for base in [Offset(i64::from(base)), Offset(i64::MAX), Offset(i64::MIN)] {
        let view = OffsetIndexView::new(base, bytes);
        for target in [i64::MIN, -1, 0, base.0.saturating_add(9), i64::MAX] {
            let found = view.lookup(Offset(target));
            assert!(found.offset >= base);
        }
        let good = view.check(u64::from(u32::MAX) + 1).is_ok();
        let len = count(view.len());
        let loaded = OffsetIndex::load(base, 1 << 20, bytes, len, u64::from(u32::MAX) + 1);
        assert!(loaded.is_ok() || !good);
        let Ok(mut index) = loaded else { continue };
        for at in 0..view.len() {
            let entry = view.entry(at).expect("inside");
            if base.0.checked_add(i64::from(i32::MAX)).is_some() && base.0 >= 0 {
                assert_eq!(index.lookup(entry.offset), entry);
            }
        }
        let _ = index.append(Offset(base.0.saturating_add(1000)), u32::MAX);
        index.truncate_to(Offset(base.0.saturating_add(9)));
        index.resize(8);
        let _ = (index.is_full(), index.len());
    }
}

/// The same for times.
pub fn time_index(bytes: &[u8]) {
    let (base, bytes) = head(bytes);
    for base in [Offset(i64::from(base)), Offset(i64::MAX), Offset(i64::MIN)] {
        let view = TimeIndexView::new(base, bytes);
        for target in [i64::MIN, -1, 0, i64::MAX] {
            let found = view.lookup(TimestampMs(target));
            assert!(found.offset >= base);
        }
        let good = view.check().is_ok();
        let loaded = TimeIndex::load(base, 1 << 20, bytes, count(view.len()));
        assert!(loaded.is_ok() || !good);
        let Ok(mut index) = loaded else { continue };
        for at in 0..view.len() {
            let entry = view.entry(at).expect("inside");
            assert_eq!(view.lookup(entry.timestamp), entry);
        }
        let mut more = view.last();
        more.timestamp.0 = more.timestamp.0.saturating_add(1);
        let _ = index.append_last(more);
        let _ = index.maybe_append(more);
        index.truncate_to(Offset(base.0.saturating_add(9)));
        index.resize(12);
        let _ = (index.is_full(), index.len());
    }
}

/// A snapshot of producers; what is taken over and written again reads as the same.
pub fn producer_snapshot(bytes: &[u8]) {
    let mut mended = bytes.to_vec();
    if mended.len() >= 10 {
        mended[..2].copy_from_slice(&[0, 1]);
        let entries = count((bytes.len() - 10) / 46);
        put_u32(&mut mended, 6, entries);
        mended.truncate(10 + entries as usize * 46);
        let sum = crc::crc32c(&mended[6..]);
        put_u32(&mut mended, 2, sum);
    }
    for bytes in [bytes.to_vec(), mended] {
        let Ok(entries) = producer_snapshot::parse(&bytes) else {
            continue;
        };
        assert_eq!(producer_snapshot::encode(&entries), bytes);
        // Who has a transaction open is never forgotten, the bound or not.
        let open = entries.iter().filter(|entry| entry.txn_first_offset.0 >= 0);
        let most = 100 + open.count();
        let mut producers = Producers::from_snapshot(100, Offset(50), entries);
        assert!(producers.len() <= most);
        let again = producer_snapshot::encode(&producers.snapshot());
        let entries = producer_snapshot::parse(&again).expect("what we wrote");
        assert_eq!(entries.len(), producers.len());
        let _ = producers.first_unstable_offset();
        producers.settle_below(Offset(i64::MAX));
        producers.expire(TimestampMs(i64::MAX), 1);
        producers.expire(TimestampMs(i64::MIN), 1);
    }
}

pub fn shard_checkpoint(bytes: &[u8]) {
    let mut mended = bytes.to_vec();
    if mended.len() >= 36 {
        mended[..8].copy_from_slice(b"OTTLACKP");
        mended[12..14].copy_from_slice(&[0, 1]);
        let entries = count((mended.len() - 36) / 92);
        put_u32(&mut mended, 32, entries);
        mended.truncate(36 + entries as usize * 92);
        let sum = crc::crc32c(&mended[12..]);
        put_u32(&mut mended, 8, sum);
    }
    for bytes in [bytes.to_vec(), mended] {
        if let Ok(checkpoint) = ShardCheckpoint::parse(&bytes) {
            assert_eq!(checkpoint.encode(), bytes);
        }
    }
}

pub fn offset_checkpoint(bytes: &[u8]) {
    if let Ok(entries) = parse_offsets(bytes) {
        let written = encode_offsets(&entries);
        assert_eq!(parse_offsets(&written), Ok(entries));
    }
}

/// Epochs ascend with their offsets whatever the file says.
pub fn epoch_checkpoint(bytes: &[u8]) {
    let Ok(mut epochs) = LeaderEpochs::parse(bytes) else {
        return;
    };
    assert_eq!(LeaderEpochs::parse(&epochs.encode()).as_ref(), Ok(&epochs));
    let ascending = |epochs: &LeaderEpochs| {
        epochs.entries().windows(2).all(|pair| {
            pair[0].epoch < pair[1].epoch && pair[0].start_offset < pair[1].start_offset
        })
    };
    assert!(ascending(&epochs));
    for epoch in [-1, 0, 1, 7, i32::MAX] {
        let _ = epochs.end_offset_for(LeaderEpoch(epoch), Offset(i64::MAX));
    }
    for offset in [-1, 0, 7, i64::MAX] {
        let _ = epochs.epoch_at(Offset(offset));
    }
    epochs.truncate_from_start(Offset(5));
    epochs.truncate_from_end(Offset(100));
    epochs.assign(LeaderEpoch(3), Offset(9));
    assert!(ascending(&epochs));
}

/// Magic, length and checksum of a metadata frame around `body`.
fn metadata_frame_of(body: &[u8]) -> Vec<u8> {
    let length = count(body.len()).to_le_bytes();
    let sum = crc::crc32c(&[&length, body].concat()).to_le_bytes();
    [b"OTM1".as_slice(), &length, &sum, body].concat()
}

pub fn metadata_frame(bytes: &[u8]) {
    for at in [0, 1, bytes.len() / 2, bytes.len(), usize::MAX] {
        let _ = codec::read_at(bytes, at);
    }
    let frame = metadata_frame_of(bytes);
    let Verdict::Frame(read) = codec::read_at(&frame, 0) else {
        return;
    };
    assert_eq!(read.end, frame.len());
    let mut again = Vec::new();
    codec::encode_frame(read.base_version, &read.records, &mut again).expect("it fitted before");
    assert_eq!(
        codec::read_at(&again, 0),
        Verdict::Frame(codec::Frame {
            end: again.len(),
            ..read
        })
    );
}

/// A whole metadata log: as found, and as one frame around the bytes. What it folds to survives a
/// snapshot.
pub fn metadata_log(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), metadata_frame_of(bytes)] {
        let disk = Arc::new(MemoryDisk::new());
        let dir = Path::new("/d");
        disk.create_dir_all(dir).expect("an empty disk");
        disk.write_atomic(&dir.join("metadata.log"), &bytes)
            .expect("room on the disk");
        let Ok((_, image)) = FileLog::load(disk.clone(), dir, 1 << 20) else {
            continue;
        };
        let mut again = MetadataImage::empty();
        let records = image.to_records();
        again.apply_all(&records).expect("an image's own records");
        assert_eq!(again.to_records(), records);
        let (_, reopened) = FileLog::load(disk, dir, 1 << 20).expect("what was good stays good");
        assert_eq!(reopened.to_records(), records);
        assert_eq!(reopened.version(), image.version());
    }
}

/// Names of files and directories; one that parses is the one that we would give.
pub fn log_names(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Some(file) = SegmentFile::parse(name) {
        assert_eq!(file.name(), name);
    }
    if let Some(dir) = LogDir::parse(name) {
        let live = names::log_dir_name(&dir.topic, dir.partition);
        assert!(name.starts_with(&live), "{name}");
        let marked = names::marked_dir_name(&dir.topic, dir.partition, [9; 16], dir.kind);
        assert!(marked.len() <= 255);
    }
    if let Some(id) = names::parse_topic_id(name) {
        assert_eq!(id.to_string(), name);
    }
    if let Some(id) = ClusterId::parse(name) {
        assert_eq!(id.to_string(), name);
    }
}

pub fn property_files(bytes: &[u8]) {
    if let Ok(id) = names::parse_partition_metadata(bytes) {
        let written = names::encode_partition_metadata(id);
        assert_eq!(names::parse_partition_metadata(&written), Ok(id));
    }
    if let Ok(meta) = names::MetaProperties::parse(bytes) {
        assert_eq!(names::MetaProperties::parse(&meta.encode()), Ok(meta));
    }
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    if let Ok(meta) = meta_properties::MetaProperties::parse(text) {
        let written = meta.to_string();
        assert_eq!(meta_properties::MetaProperties::parse(&written), Ok(meta));
    }
}

pub fn server_properties(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Ok(entries) = properties::parse(&text) {
        assert!(entries.len() <= bytes.len());
    }
    let _ = load::from_override(&text);
    let Ok(given) = load::from_file(&text) else {
        return;
    };
    match load::load(&given) {
        Ok((_, warnings)) => warnings
            .iter()
            .for_each(|warning| drop(warning.to_string())),
        Err(errors) => {
            assert!(!errors.is_empty());
            errors.iter().for_each(|error| drop(error.to_string()));
        }
    }
    for one in &given {
        let items: Vec<String> = one.value.split(',').map(str::to_owned).collect();
        let _ = listeners::parse(&items);
    }
}

/// Lines `key=value` as the settings of a new topic; `key` alone is a null value.
pub fn topic_configs(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let configs = text.lines().map(|line| match line.split_once('=') {
        Some((key, value)) => (key, Some(value)),
        None => (line, None),
    });
    match topic::validate(configs) {
        Err(refusal) => drop(refusal.to_string()),
        Ok(configs) => {
            let settings = BrokerSettings::defaults();
            let layers = Layers {
                node: &Default::default(),
                cluster: &Default::default(),
                fixed: &settings,
            };
            let _ = topic::TopicSettings::resolve(&configs, &layers);
        }
    }
}

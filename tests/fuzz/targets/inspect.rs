//! Targets of `ottla inspect`: its readers are fed what the writers' readers are fed.

use ottla::inspect::batch::{Batch, HEADER_BYTES, Records};
use ottla::inspect::bytes::Source;
use ottla::inspect::index::{Exact, OffsetIndex, TimeIndex};
use ottla::inspect::journal::{Block, Walk as JournalWalk};
use ottla::inspect::segment::{Step, Walk};
use ottla::inspect::unpack::unpack;
use ottla::inspect::{metadata, names, papers};
use ottla::log::journal_entry::{self, Found};
use ottla::log::producer_snapshot;
use ottla::wire::record::{BatchHeader, crc};

use super::OUTPUT_MAX;
use super::disk::mend_entry;
use super::record::mend_batch;

/// A segment. Whatever is shown lies in the file, and the broker's reader agrees about checksums.
pub fn inspect_segment(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), mend_batch(bytes)] {
        let mut offsets = OffsetIndex::new(0, &bytes, Exact::Yes);
        let mut times = TimeIndex::new(0, &bytes, Exact::No);
        let mut walk = Walk::new(bytes.as_slice(), true);
        let mut end = 0;
        loop {
            let found = match walk.step().expect("memory reads") {
                Step::Batch(found) => found,
                Step::End(last) => {
                    assert_eq!(last.position, end);
                    break;
                }
            };
            assert_eq!(found.position, end);
            end = found.position + found.batch.size();
            let at = usize::try_from(found.position).expect("inside the input");
            let batch = &bytes[at..usize::try_from(end).expect("inside the input")];
            if let Ok(header) = BatchHeader::parse(batch) {
                assert_eq!(found.intact, crc::is_intact(&header, batch));
            }
            offsets.see(found.position, &found.batch);
            times.see(&found.batch);
            records(found.batch, &batch[HEADER_BYTES..]);
        }
        assert!(offsets.faults().len() <= offsets.len() + 1);
        assert!(times.faults().len() <= times.len() + 1);
    }
}

fn records(batch: Batch, packed: &[u8]) {
    let Ok(unpacked) = unpack(batch.codec(), packed, OUTPUT_MAX) else {
        return;
    };
    assert!(batch.codec() == 0 || unpacked.len() <= OUTPUT_MAX);
    for record in Records::new(batch, &unpacked).flatten() {
        assert_eq!(record.headers.count(), record.headers.count);
    }
}

/// A journal file. What one reader calls a whole entry, the other does, too.
pub fn inspect_journal(bytes: &[u8]) {
    for bytes in [bytes.to_vec(), mend_entry(bytes)] {
        let mut walk = JournalWalk::new(bytes.as_slice());
        while let Some((at, block)) = walk.step().expect("memory reads") {
            let rest = &bytes[usize::try_from(at).expect("inside the input")..];
            let broker = journal_entry::decode(rest, None);
            match block {
                // What else is wrong with an entry is a finding here and a refusal there.
                Block::Entry(entry) if entry.faults.is_empty() => {
                    let Found::Entry(theirs) = broker else {
                        panic!("an entry here, {broker:?} there");
                    };
                    assert_eq!(entry.stamp.sequence, theirs.stamp.sequence);
                    assert_eq!(
                        entry.batches.len() + entry.marks.len(),
                        theirs.items().count()
                    );
                }
                Block::Entry(entry) => assert!(entry.end() <= Source::size(bytes.as_slice())),
                Block::Zero => assert!(matches!(broker, Found::Zero)),
                Block::Broken { .. } | Block::Remains => {
                    let zero = rest.get(56..60).is_some_and(|zero| zero == [0; 4]);
                    assert!(!matches!(broker, Found::Entry(_)) || !zero);
                }
            }
        }
    }
}

/// Every small file. Both readers of a snapshot take or refuse the same.
pub fn inspect_papers(bytes: &[u8]) {
    let ours = papers::snapshot(bytes)
        .map(|producers| producers.len())
        .ok();
    let theirs = producer_snapshot::parse(bytes)
        .map(|producers| producers.len())
        .ok();
    assert_eq!(ours, theirs);
    let mut mended = bytes.to_vec();
    if mended.len() > 12 {
        let sum = crc::crc32c(&mended[12..]);
        mended[8..12].copy_from_slice(&sum.to_be_bytes());
        mended[..8].copy_from_slice(b"OTTLACKP");
    }
    for bytes in [bytes, &mended] {
        let ours = papers::checkpoint(bytes).ok().map(|own| own.marks.len());
        let theirs = ottla::log::checkpoints::ShardCheckpoint::parse(bytes).ok();
        assert_eq!(ours, theirs.map(|theirs| theirs.partitions.len()));
    }
    let _ = (papers::epochs(bytes), papers::offsets(bytes));
    let _ = (
        names::partition_metadata(bytes),
        names::meta_properties(bytes),
    );
    let text = String::from_utf8_lossy(bytes);
    let _ = (
        names::segment_file(&text),
        names::partition_dir(&text),
        names::topic_id(&text),
    );
    let _ = (
        names::journal_dir(&text),
        names::journal_file(&text),
        names::is_set_aside(&text),
    );
}

/// A metadata log. Frames that the broker would fold are folded here without a fault.
pub fn inspect_metadata(bytes: &[u8]) {
    let folded = metadata::read(bytes);
    assert!(folded.end <= bytes.len() as u64);
    for fault in &folded.faults {
        assert!(fault.at <= bytes.len() as u64);
    }
}

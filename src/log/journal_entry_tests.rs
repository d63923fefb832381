//! Claims about journal entries: what is written is read back, what is damaged is never read.

use proptest::prelude::*;

use super::*;

pub(super) fn partition(topic: u8, index: i32) -> TopicPartition {
    TopicPartition {
        topic: TopicId([topic; 16]),
        partition: PartitionIndex(index),
    }
}

fn batch(topic: u8, base: i64, body: &[u8]) -> EntryBatch<'_> {
    EntryBatch {
        topic_partition: partition(topic, 3),
        base_offset: Offset(base),
        last_offset: Offset(base + 1),
        leader_epoch: LeaderEpoch(5),
        header: [topic; BATCH_HEADER_BYTES],
        body,
    }
}

const STAMP: EntryStamp = EntryStamp {
    incarnation: 9,
    sequence: 77,
    filled_through: 60,
    completed_through: 75,
};

fn encoded(batches: &[EntryBatch<'_>], marks: &[DurableMark]) -> (Vec<u8>, Vec<Range<usize>>) {
    let mut out = vec![0xff; encoded_len(batches, marks).unwrap()];
    let mut places = Vec::new();
    encode(STAMP, batches, marks, &mut out, &mut places).unwrap();
    (out, places)
}

fn whole(bytes: &[u8]) -> Entry<'_> {
    match decode(bytes, Some(STAMP.incarnation)) {
        Found::Entry(entry) => entry,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_entry_gives_back_its_batches_and_marks_in_order() {
    let mark = DurableMark {
        topic_partition: partition(8, 0),
        last_offset: Offset(41),
    };
    let (bytes, places) = encoded(&[batch(1, 10, b"hello"), batch(2, 0, b"")], &[mark]);
    assert_eq!(bytes.len(), BLOCK_BYTES);
    let entry = whole(&bytes);
    assert_eq!(entry.stamp, STAMP);
    let items: Vec<Item<'_>> = entry.items().collect();
    assert_eq!(items.len(), 3);
    let (Item::Batch(first), Item::Batch(second)) = (items[0], items[1]) else {
        panic!("{items:?}");
    };
    assert_eq!(first.bytes, &bytes[places[0].clone()]);
    assert_eq!(first.place.at as usize, places[0].start);
    assert_eq!(&first.bytes[BATCH_HEADER_BYTES..], b"hello");
    assert_eq!(second.place.at as usize, places[1].start);
    assert_eq!(second.topic_partition, partition(2, 3));
    assert_eq!(second.last_offset, Offset(1));
    assert_eq!(items[2], Item::Mark(mark));
}

#[test]
fn padding_is_zero_even_in_a_recycled_buffer() {
    let (bytes, places) = encoded(&[batch(1, 10, b"hello")], &[]);
    assert!(bytes[places[0].end..].iter().all(|byte| *byte == 0));
}

#[test]
fn an_entry_may_fill_its_blocks_to_the_last_byte() {
    let room = BLOCK_BYTES - ENTRY_HEADER_BYTES - DESCRIPTOR_BYTES - BATCH_HEADER_BYTES;
    let body = vec![7; room];
    assert_eq!(encoded_len(&[batch(1, 0, &body)], &[]), Some(BLOCK_BYTES));
    let longer = vec![7; room + 1];
    assert_eq!(
        encoded_len(&[batch(1, 0, &longer)], &[]),
        Some(2 * BLOCK_BYTES)
    );
    whole(&encoded(&[batch(1, 0, &body)], &[]).0);
    whole(&encoded(&[batch(1, 0, &longer)], &[]).0);
}

#[test]
fn the_buffer_must_have_the_exact_size() {
    let mut out = vec![0; 2 * BLOCK_BYTES];
    assert_eq!(
        encode(STAMP, &[batch(1, 0, b"x")], &[], &mut out, &mut Vec::new()),
        Err(EncodeFault::WrongBuffer {
            expected: BLOCK_BYTES,
            found: 2 * BLOCK_BYTES
        })
    );
}

#[test]
fn zeros_stale_entries_and_foreign_bytes_are_three_words() {
    assert!(matches!(decode(&[0; BLOCK_BYTES], None), Found::Zero));
    assert!(matches!(decode(&[], None), Found::Zero));
    let (bytes, _) = encoded(&[batch(1, 0, b"x")], &[]);
    assert!(matches!(decode(&bytes, Some(10)), Found::Stale(stamp) if stamp == STAMP));
    assert!(matches!(decode(&bytes, None), Found::Entry(_)));
    let text = [b'a'; BLOCK_BYTES];
    assert!(matches!(decode(&text, None), Found::Torn(Tear::NoMagic)));
    let mut newer = bytes;
    newer[11] = 2;
    assert!(matches!(
        decode(&newer, None),
        Found::Torn(Tear::Version(2))
    ));
}

#[test]
fn every_torn_sector_is_seen() {
    let body = vec![7; 3 * BLOCK_BYTES];
    let (bytes, places) = encoded(&[batch(1, 0, &body)], &[]);
    for sector in 0..places[0].end / 512 {
        let mut torn = bytes.clone();
        torn[sector * 512..(sector + 1) * 512].fill(0);
        assert!(
            matches!(decode(&torn, None), Found::Torn(_) | Found::Zero),
            "sector {sector}"
        );
    }
    for len in 0..bytes.len() {
        assert!(!matches!(decode(&bytes[..len], None), Found::Entry(_)));
    }
}

#[test]
fn every_flipped_bit_of_header_and_body_is_seen() {
    let (bytes, places) = encoded(&[batch(1, 0, b"hello"), batch(2, 9, b"you")], &[]);
    for at in 0..places[1].end {
        for bit in 0..8 {
            let mut rotten = bytes.clone();
            rotten[at] ^= 1 << bit;
            assert!(
                !matches!(decode(&rotten, None), Found::Entry(_)),
                "byte {at}"
            );
        }
    }
}

#[test]
fn a_rotten_body_still_names_its_suspects() {
    let (mut bytes, places) = encoded(&[batch(1, 10, b"hello")], &[]);
    bytes[places[0].start + 3] ^= 1;
    assert!(matches!(decode(&bytes, None), Found::Torn(Tear::Crc)));
    let claim = claim(&bytes).unwrap();
    assert_eq!(claim.stamp, STAMP);
    assert_eq!(claim.batches, vec![(partition(1, 3), Offset(11))]);
    assert_eq!(super::claim(&[0xff; BLOCK_BYTES]), None);
}

/// A whole checksum over contradicting descriptors: only a writer's bug or a forger makes it.
#[test]
fn descriptors_that_do_not_add_up_are_refused_despite_a_good_checksum() {
    let (bytes, _) = encoded(&[batch(1, 10, b"hello")], &[]);
    for (at, value) in [
        (15, 0u8),
        (15, 2),
        (64 + 43, 5),
        (64 + 43, 255),
        (64 + 47, 9),
    ] {
        let mut forged = bytes.clone();
        forged[at] = value;
        let used = 64 + 48 + BATCH_HEADER_BYTES + 5;
        let (head, body) = forged[..used].split_at(ENTRY_HEADER_BYTES);
        let crc = crc_of(head, body);
        forged[60..64].copy_from_slice(&crc.to_be_bytes());
        assert!(matches!(
            decode(&forged, None),
            Found::Torn(Tear::Descriptors)
        ));
    }
}

#[test]
fn the_checksum_is_crc_32c() {
    let (bytes, places) = encoded(&[batch(1, 10, b"hello")], &[]);
    let oracle = crc32c::crc32c_append(crc32c::crc32c(&bytes[..60]), &bytes[64..places[0].end]);
    assert_eq!(bytes[60..64], oracle.to_be_bytes());
}

proptest! {
    #[test]
    fn any_group_comes_back_as_it_was(
        groups in prop::collection::vec((0u8..4, 0i64..1_000_000, prop::collection::vec(any::<u8>(), 0..3000)), 0..20),
        marks in prop::collection::vec((any::<u8>(), any::<i64>()), 0..4),
    ) {
        let batches: Vec<EntryBatch<'_>> = groups.iter().map(|(t, o, b)| batch(*t, *o, b)).collect();
        let marks: Vec<DurableMark> = marks.iter().map(|(t, o)| DurableMark {
            topic_partition: partition(*t, 0),
            last_offset: Offset(*o),
        }).collect();
        let (bytes, places) = encoded(&batches, &marks);
        let entry = whole(&bytes);
        let mut found_marks = Vec::new();
        let mut found = 0;
        for item in entry.items() {
            match item {
                Item::Mark(mark) => found_marks.push(mark),
                Item::Batch(got) => {
                    let want = &batches[found];
                    prop_assert_eq!(got.base_offset, want.base_offset);
                    prop_assert_eq!(got.bytes, &bytes[places[found].clone()]);
                    prop_assert_eq!(&got.bytes[BATCH_HEADER_BYTES..], want.body);
                    found += 1;
                }
            }
        }
        prop_assert_eq!(found, batches.len());
        prop_assert_eq!(found_marks, marks);
    }

    #[test]
    fn garbage_behind_the_magic_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..6000)) {
        let mut all = ENTRY_MAGIC.to_vec();
        all.extend_from_slice(&ENTRY_VERSION.to_be_bytes());
        all.extend_from_slice(&bytes);
        prop_assert!(!matches!(decode(&all, None), Found::Entry(_)));
        claim(&all);
        claim(&bytes);
    }
}

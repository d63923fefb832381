//! Sessions as Apache Kafka 4.3 was seen to answer, and against a client that believes them.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::words::Now;
use crate::words::limits::FETCH_SESSION_IDLE_MS_MAX;

const V: i16 = 12;

fn at_ms(ms: u64) -> Now {
    Now {
        mono_ns: ms * 1_000_000,
        ..Now::default()
    }
}

fn named(topic: &str, partition: i32) -> PartitionRef {
    PartitionRef {
        topic: TopicRef::Name(topic.into()),
        partition: PartitionIndex(partition),
    }
}

fn part(partition: PartitionRef, fetch_offset: i64) -> AskPartition {
    AskPartition {
        partition,
        current_leader_epoch: LeaderEpoch(-1),
        fetch_offset: Offset(fetch_offset),
        last_fetched_epoch: LeaderEpoch(-1),
        log_start_offset: Offset(-1),
        max_bytes: 1000,
    }
}

/// Partitions of topic `a`, by number and fetch offset.
fn ask(session_id: i32, epoch: i32, parts: &[(i32, i64)]) -> FetchAsk {
    let parts = parts
        .iter()
        .map(|(p, offset)| part(named("a", *p), *offset));
    FetchAsk {
        version: V,
        session_id,
        epoch,
        partitions: parts.collect(),
        forgotten: Vec::new(),
        is_follower: false,
    }
}

fn forgetting(mut ask: FetchAsk, partitions: &[i32]) -> FetchAsk {
    let partitions = partitions.iter().copied().map(PartitionIndex).collect();
    ask.forgotten = vec![(TopicRef::Name("a".into()), partitions)];
    ask
}

fn well(high_watermark: i64, records_bytes: usize) -> AnswerFacts {
    AnswerFacts {
        error: 0,
        high_watermark: Offset(high_watermark),
        log_start_offset: Offset(0),
        records_bytes,
        diverging: false,
        preferred_replica: false,
        not_read: false,
    }
}

fn ill(error: i16) -> AnswerFacts {
    AnswerFacts {
        error,
        log_start_offset: Offset(-1),
        not_read: error == 3,
        ..well(-1, 0)
    }
}

fn cache(sessions_max: usize) -> FetchSessions {
    FetchSessions::new(FetchSessionLimits {
        sessions_max,
        ..FetchSessionLimits::default()
    })
}

/// The whole of a fetch at once: (error, session id, partitions named), where `look` answers for
/// a partition and the offset it is fetched at.
fn fetch(
    sessions: &mut FetchSessions,
    ms: u64,
    ask: FetchAsk,
    look: impl Fn(i32, i64) -> AnswerFacts,
) -> (Option<SessionRefusal>, i32, Vec<i32>) {
    let context = match sessions.begin(at_ms(ms), ask, |_| None) {
        Ok(context) => context,
        Err(refusal) => return (Some(refusal), NO_SESSION_ID, Vec::new()),
    };
    let plan: Vec<(i32, i64)> = plan_of(&context);
    let facts: Vec<AnswerFacts> = plan.iter().map(|(p, offset)| look(*p, *offset)).collect();
    let answer = sessions.finish(at_ms(ms), 41, context, &facts);
    let parts = answer.partitions.iter().map(|index| plan[*index].0);
    (answer.refusal, answer.session_id, parts.collect())
}

fn plan_of(context: &FetchContext) -> Vec<(i32, i64)> {
    let plan = context.plan().iter();
    plan.map(|p| (p.ask.partition.partition.0, p.ask.fetch_offset.0))
        .collect()
}

/// A log with one record in every partition below 70, none from there, and no partition 77.
fn one_record(partition: i32, offset: i64) -> AnswerFacts {
    match (partition, offset) {
        (77, _) => ill(3),
        (70.., _) => well(0, 0),
        (_, 0) => well(1, 69),
        (_, 1) => well(1, 0),
        _ => ill(1),
    }
}

fn open(sessions: &mut FetchSessions, ms: u64, parts: &[(i32, i64)]) -> i32 {
    fetch(sessions, ms, ask(0, INITIAL_EPOCH, parts), one_record).1
}

#[test]
fn a_session_answers_only_news() {
    let mut s = cache(10);
    assert_eq!(
        fetch(&mut s, 0, ask(0, -1, &[(0, 0)]), one_record),
        (None, 0, vec![0])
    );
    let full = fetch(&mut s, 0, ask(0, 0, &[(0, 0), (1, 0), (70, 0)]), one_record);
    assert_eq!(full, (None, 42, vec![0, 1, 70]));
    let moved_on = fetch(&mut s, 0, ask(42, 1, &[(0, 1), (1, 1)]), one_record);
    assert_eq!(moved_on, (None, 42, vec![]));
    let news = |p, offset| {
        if p == 70 {
            well(1, 69)
        } else {
            one_record(p, offset)
        }
    };
    assert_eq!(
        fetch(&mut s, 0, ask(42, 2, &[]), news),
        (None, 42, vec![70])
    );
    // The session keeps the last offset that was asked for.
    assert_eq!(
        fetch(&mut s, 0, ask(42, 3, &[]), news),
        (None, 42, vec![70])
    );
    let forget = forgetting(ask(42, 4, &[]), &[70]);
    assert_eq!(fetch(&mut s, 0, forget, news), (None, 42, vec![]));
    // New to the session again: named, though empty.
    assert_eq!(
        fetch(&mut s, 0, ask(42, 5, &[(70, 1), (71, 0)]), one_record),
        (None, 42, vec![70, 71])
    );
}

#[test]
fn a_partition_in_error_is_named_until_it_is_well_again_and_once_more() {
    let mut s = cache(10);
    let id = open(&mut s, 0, &[(0, 1)]);
    assert_eq!(fetch(&mut s, 0, ask(id, 1, &[(0, 55)]), one_record).2, [0]);
    assert_eq!(fetch(&mut s, 0, ask(id, 2, &[]), one_record).2, [0]);
    assert_eq!(fetch(&mut s, 0, ask(id, 3, &[(0, 1)]), one_record).2, [0]);
    assert_eq!(fetch(&mut s, 0, ask(id, 4, &[]), one_record).2, [0; 0]);
    // Even when the error named the marks, so that nothing but the error went away.
    let ill_with_marks = AnswerFacts {
        error: 6,
        ..well(1, 0)
    };
    assert_eq!(
        fetch(&mut s, 0, ask(id, 5, &[]), |_, _| ill_with_marks).2,
        [0]
    );
    assert_eq!(fetch(&mut s, 0, ask(id, 6, &[]), one_record).2, [0]);
}

#[test]
fn a_wrong_epoch_is_refused_and_does_not_spoil_the_session() {
    let mut s = cache(10);
    let id = open(&mut s, 0, &[(0, 1)]);
    for epoch in [2, 9, -2, i32::MAX, i32::MIN] {
        let refused = fetch(&mut s, 0, ask(id, epoch, &[(5, 0)]), one_record);
        assert_eq!(refused, (Some(SessionRefusal::InvalidEpoch), 0, vec![]));
    }
    assert_eq!(
        fetch(&mut s, 0, ask(id, 1, &[]), one_record),
        (None, id, vec![])
    );
}

#[test]
fn an_id_that_was_not_given_out_is_not_found() {
    let mut s = cache(10);
    open(&mut s, 0, &[(0, 1)]);
    for id in [0, 1, -5, i32::MAX, i32::MIN] {
        let refused = fetch(&mut s, 0, ask(id, 1, &[]), one_record);
        assert_eq!(refused, (Some(SessionRefusal::IdNotFound), 0, vec![]));
    }
}

#[test]
fn epochs_0_and_minus_1_close_the_session_they_name() {
    let mut s = cache(10);
    for epoch in [INITIAL_EPOCH, FINAL_EPOCH] {
        let id = open(&mut s, 0, &[(0, 1)]);
        let context = s
            .begin(at_ms(0), ask(id, epoch, &[(0, 0)]), |_| None)
            .unwrap();
        let gone = fetch(&mut s, 0, ask(id, 1, &[]), one_record);
        assert_eq!(gone.0, Some(SessionRefusal::IdNotFound));
        let answer = s.finish(at_ms(0), 7, context, &[well(1, 69)]);
        assert_eq!(
            (answer.session_id == 0, answer.partitions),
            (epoch == FINAL_EPOCH, vec![0])
        );
    }
}

#[test]
fn a_session_keeps_the_way_in_which_it_names_topics() {
    let mut s = cache(10);
    let by_name = open(&mut s, 0, &[(0, 1)]);
    let with_version = |version, ask| FetchAsk { version, ..ask };
    let by_id = fetch(&mut s, 0, with_version(13, ask(0, 0, &[])), one_record).1;
    let refused = (Some(SessionRefusal::TopicIdError), 0, vec![]);
    assert_eq!(
        fetch(
            &mut s,
            0,
            with_version(13, ask(by_name, 1, &[])),
            one_record
        ),
        refused
    );
    assert_eq!(
        fetch(&mut s, 0, with_version(12, ask(by_id, 1, &[])), one_record),
        refused
    );
    assert_eq!(fetch(&mut s, 0, ask(by_name, 1, &[]), one_record).0, None);
}

#[test]
fn a_full_request_without_partitions_makes_a_session_that_ends_with_its_next_request() {
    let mut s = cache(10);
    let id = open(&mut s, 0, &[]);
    assert_ne!(id, NO_SESSION_ID);
    assert_eq!(
        fetch(&mut s, 0, ask(id, 1, &[]), one_record),
        (None, 0, vec![])
    );
    assert_eq!(
        fetch(&mut s, 0, ask(id, 2, &[]), one_record).0,
        Some(SessionRefusal::IdNotFound)
    );
}

#[test]
fn forgetting_all_closes_the_session_and_answers_what_was_named() {
    let mut s = cache(10);
    let id = open(&mut s, 0, &[(0, 1), (1, 1)]);
    let forget = forgetting(ask(id, 1, &[(0, 0)]), &[0, 1, 5]);
    assert_eq!(fetch(&mut s, 0, forget, one_record), (None, 0, vec![0]));
    assert_eq!((s.len(), s.partitions(), s.bytes()), (0, 0, 0));
}

#[test]
fn forgetting_comes_after_adding() {
    let mut s = cache(10);
    let id = open(&mut s, 0, &[(0, 1)]);
    let both = forgetting(ask(id, 1, &[(1, 0)]), &[1]);
    assert_eq!(fetch(&mut s, 0, both, one_record), (None, id, vec![]));
}

#[test]
fn what_was_not_read_is_answered_last_and_what_gave_records_is_read_last() {
    let mut s = cache(10);
    // A partition named twice: the place of the first, the offset of the last.
    let full = ask(0, 0, &[(77, 0), (2, 0), (0, 0), (2, 1)]);
    let (_, id, parts) = fetch(&mut s, 0, full, one_record);
    assert_eq!(parts, [2, 0, 77]);
    let (_, _, parts) = fetch(&mut s, 0, ask(id, 1, &[(2, 0), (1, 0)]), one_record);
    assert_eq!(parts, [2, 0, 1, 77]);
    // Room for one partition's records: the one that waited longest.
    let mut first = Vec::new();
    for epoch in 2..6 {
        let context = s.begin(at_ms(0), ask(id, epoch, &[]), |_| None).unwrap();
        let plan = plan_of(&context);
        let fed = plan.iter().find(|(p, _)| *p != 77).unwrap().0;
        first.push(fed);
        let look = |(p, offset): &(i32, i64)| match *p {
            p if p == fed => one_record(p, *offset),
            77 => ill(3),
            _ => well(1, 0),
        };
        let facts: Vec<AnswerFacts> = plan.iter().map(look).collect();
        s.finish(at_ms(0), 0, context, &facts);
    }
    assert_eq!(first, [2, 0, 1, 2]);
}

#[test]
fn a_topic_id_keeps_the_name_that_it_had_once() {
    let mut s = cache(10);
    let (known, unknown) = (TopicId([1; 16]), TopicId([2; 16]));
    let of = |id| {
        part(
            PartitionRef {
                topic: TopicRef::Id(id),
                partition: PartitionIndex(0),
            },
            0,
        )
    };
    let full = FetchAsk {
        version: 17,
        partitions: vec![of(known), of(unknown)],
        ..ask(0, 0, &[])
    };
    let names = |context: &FetchContext| -> Vec<Option<String>> {
        let plan = context.plan().iter();
        plan.map(|p| p.topic_name().map(|name| name.to_string()))
            .collect()
    };
    let lookup = |id| (id == known).then(|| "a".into());
    let context = s.begin(at_ms(0), full, lookup).unwrap();
    assert_eq!(names(&context), [Some("a".into()), None]);
    let id = s
        .finish(at_ms(0), 0, context, &[well(0, 0), ill(100)])
        .session_id;
    // The topic is deleted: still the same name, so the answer will be 3 and not 100.
    let next = |epoch| FetchAsk {
        version: 17,
        ..ask(id, epoch, &[])
    };
    let context = s.begin(at_ms(0), next(1), |_| None).unwrap();
    assert_eq!(names(&context), [Some("a".into()), None]);
    // The other one appears.
    let context = s.begin(at_ms(0), next(2), |_| Some("b".into())).unwrap();
    assert_eq!(names(&context), [Some("a".into()), Some("b".into())]);
}

#[test]
fn news_are_records_marks_errors_divergence_and_preferred_replicas() {
    let mut s = cache(10);
    let id = open(&mut s, 0, &[(0, 1)]);
    let context = s.begin(at_ms(0), ask(id, 1, &[]), |_| None).unwrap();
    let same = well(1, 0);
    assert!(!context.must_answer(0, &same));
    assert!(!context.must_answer(1, &ill(1)), "not in the plan");
    let news = [
        AnswerFacts { error: 6, ..same },
        AnswerFacts {
            high_watermark: Offset(2),
            ..same
        },
        AnswerFacts {
            log_start_offset: Offset(1),
            ..same
        },
        AnswerFacts {
            records_bytes: 1,
            ..same
        },
        AnswerFacts {
            diverging: true,
            ..same
        },
        AnswerFacts {
            preferred_replica: true,
            ..same
        },
    ];
    for facts in news {
        assert!(context.must_answer(0, &facts), "{facts:?}");
    }
}

#[test]
fn a_parked_fetch_that_was_overtaken_is_refused_under_the_sessions_id() {
    let mut s = cache(10);
    let id = open(&mut s, 0, &[(0, 1)]);
    let parked = s.begin(at_ms(0), ask(id, 1, &[]), |_| None).unwrap();
    assert_eq!(
        fetch(&mut s, 0, ask(id, 2, &[]), one_record),
        (None, id, vec![])
    );
    assert_eq!(
        s.finish_empty(&parked).refusal,
        Some(SessionRefusal::InvalidEpoch)
    );
    let answer = s.finish(at_ms(0), 0, parked, &[well(9, 69)]);
    let refused = FetchAnswer {
        refusal: Some(SessionRefusal::InvalidEpoch),
        session_id: id,
        partitions: vec![],
    };
    assert_eq!(answer, refused);
    // Its news were told to nobody, so they are news again.
    assert_eq!(fetch(&mut s, 0, ask(id, 3, &[]), |_, _| well(9, 0)).2, [0]);
}

#[test]
fn a_parked_fetch_whose_session_is_gone_is_answered_all_the_same() {
    let mut s = cache(1);
    let id = open(&mut s, 0, &[(0, 1), (1, 1)]);
    let parked = s.begin(at_ms(0), ask(id, 1, &[]), |_| None).unwrap();
    fetch(&mut s, 0, ask(id, FINAL_EPOCH, &[]), one_record);
    // Another session gets the very same id.
    assert_eq!(open(&mut s, 0, &[(0, 1), (1, 1)]), id);
    let answer = s.finish(at_ms(0), 0, parked, &[well(5, 69), well(1, 0)]);
    assert_eq!(
        (answer.refusal, answer.session_id, answer.partitions),
        (None, id, vec![0])
    );
    assert_eq!(
        fetch(&mut s, 0, ask(id, 1, &[]), |_, _| well(5, 0)).2,
        [0, 1]
    );
}

#[test]
fn an_empty_end_tells_nothing_and_leaves_the_session_good() {
    let mut s = cache(10);
    let id = open(&mut s, 0, &[(0, 1)]);
    let context = s.begin(at_ms(0), ask(id, 1, &[]), |_| None).unwrap();
    let answer = s.finish_empty(&context);
    assert_eq!(
        (answer.refusal, answer.session_id, answer.partitions),
        (None, id, vec![])
    );
    assert_eq!(fetch(&mut s, 0, ask(id, 2, &[]), |_, _| well(9, 0)).2, [0]);
    let full = s.begin(at_ms(0), ask(0, 0, &[(0, 1)]), |_| None).unwrap();
    assert_eq!(
        (s.finish_empty(&full).session_id, s.len()),
        (NO_SESSION_ID, 1)
    );
}

#[test]
fn the_epoch_wraps_to_1() {
    let mut s = cache(10);
    let id = open(&mut s, 0, &[(0, 1)]);
    s.set_next_epoch(id, i32::MAX);
    assert_eq!(fetch(&mut s, 0, ask(id, i32::MAX, &[]), one_record).0, None);
    assert_eq!(fetch(&mut s, 0, ask(id, 1, &[]), one_record).0, None);
}

#[test]
fn every_random_number_gives_a_positive_id_that_is_free() {
    let mut s = cache(100);
    for random in [
        0,
        0,
        1,
        u32::MAX,
        u32::MAX,
        i32::MAX as u32,
        i32::MAX as u32 - 1,
        i32::MAX as u32 - 1,
    ] {
        let context = s.begin(at_ms(0), ask(0, 0, &[]), |_| None).unwrap();
        assert!(s.finish(at_ms(0), random, context, &[]).session_id > 0);
    }
    assert_eq!(s.len(), 8);
}

mod eviction {
    use super::*;

    const LONG: u64 = FETCH_SESSION_IDLE_MS_MAX + 1;

    fn full_of(size: i32, is_follower: bool) -> FetchAsk {
        let parts: Vec<(i32, i64)> = (0..size).map(|p| (p, 1)).collect();
        FetchAsk {
            is_follower,
            ..ask(0, 0, &parts)
        }
    }

    /// Whether the session still takes requests.
    fn lives(s: &mut FetchSessions, ms: u64, id: i32, epoch: i32) -> bool {
        fetch(s, ms, ask(id, epoch, &[]), one_record).0.is_none()
    }

    /// One slot: a holder that was made at 0 (and used again at `used`), then a newcomer at `ms`.
    fn newcomer_wins(holder: FetchAsk, used: Option<u64>, newcomer: FetchAsk, ms: u64) -> bool {
        let mut s = cache(1);
        let id = fetch(&mut s, 0, holder, one_record).1;
        assert!(used.is_none_or(|used| lives(&mut s, used, id, 1)));
        let new_id = fetch(&mut s, ms, newcomer, one_record).1;
        assert_eq!((s.len(), s.evictions()), (1, u64::from(new_id != 0)));
        new_id != 0
    }

    #[test]
    fn a_session_idle_for_too_long_makes_way_for_any_other() {
        let newcomer = || full_of(1, false);
        assert!(!newcomer_wins(full_of(9, true), None, newcomer(), LONG - 1));
        assert!(newcomer_wins(full_of(9, true), None, newcomer(), LONG));
        assert!(!newcomer_wins(full_of(9, true), Some(10), newcomer(), LONG));
    }

    #[test]
    fn a_larger_session_displaces_a_smaller_one_that_is_not_young() {
        assert!(!newcomer_wins(
            full_of(2, false),
            Some(10),
            full_of(3, false),
            20
        ));
        assert!(newcomer_wins(
            full_of(2, false),
            Some(LONG),
            full_of(3, false),
            LONG + 1
        ));
        assert!(!newcomer_wins(
            full_of(2, false),
            Some(LONG),
            full_of(2, false),
            LONG + 1
        ));
    }

    #[test]
    fn a_followers_session_displaces_any_consumers_and_never_the_reverse() {
        assert!(newcomer_wins(
            full_of(9, false),
            Some(10),
            full_of(1, true),
            20
        ));
        assert!(!newcomer_wins(
            full_of(1, true),
            Some(LONG),
            full_of(9, false),
            LONG + 1
        ));
        assert!(!newcomer_wins(
            full_of(1, true),
            Some(10),
            full_of(9, true),
            20
        ));
        assert!(newcomer_wins(
            full_of(1, true),
            Some(LONG),
            full_of(9, true),
            LONG + 1
        ));
    }

    #[test]
    fn without_slots_every_fetch_is_sessionless() {
        let mut s = cache(0);
        assert_eq!(
            fetch(&mut s, 0, full_of(2, true), one_record),
            (None, 0, vec![0, 1])
        );
    }

    #[test]
    fn a_session_that_grows_past_its_bound_is_closed_and_a_full_fetch_past_it_gets_none() {
        let limits = FetchSessionLimits {
            partitions_per_session_max: 3,
            ..FetchSessionLimits::default()
        };
        let mut s = FetchSessions::new(limits);
        let id = fetch(&mut s, 0, full_of(2, false), one_record).1;
        assert_eq!(
            fetch(&mut s, 0, ask(id, 1, &[(1, 1), (2, 1)]), one_record).0,
            None
        );
        let grown = fetch(&mut s, 0, ask(id, 2, &[(3, 1)]), one_record);
        assert_eq!(grown, (Some(SessionRefusal::IdNotFound), 0, vec![]));
        assert_eq!(
            fetch(&mut s, 0, full_of(4, false), one_record),
            (None, 0, vec![0, 1, 2, 3])
        );
        assert_eq!((s.len(), s.bytes()), (0, 0));
    }

    #[test]
    fn memory_is_bounded_over_all_sessions() {
        let mut s = cache(10);
        fetch(&mut s, 0, full_of(10, false), one_record);
        let bytes_max = s.bytes() * 5 / 2;
        let mut s = FetchSessions::new(FetchSessionLimits {
            bytes_max,
            ..FetchSessionLimits::default()
        });
        let first = fetch(&mut s, 0, full_of(10, false), one_record).1;
        let second = fetch(&mut s, 0, full_of(10, false), one_record).1;
        assert_eq!(fetch(&mut s, 0, full_of(10, false), one_record).1, 0);
        // The first is used on, the second is stale: it makes way when the first grows.
        assert!(lives(&mut s, LONG, first, 1));
        let more: Vec<(i32, i64)> = (10..20).map(|p| (p, 1)).collect();
        assert_eq!(
            fetch(&mut s, LONG, ask(first, 2, &more), one_record).0,
            None
        );
        assert!(!lives(&mut s, LONG, second, 1));
        // Nobody is left to make way: it goes itself.
        let more: Vec<(i32, i64)> = (20..30).map(|p| (p, 1)).collect();
        let gone = fetch(&mut s, LONG, ask(first, 3, &more), one_record);
        assert_eq!(gone.0, Some(SessionRefusal::IdNotFound));
        assert_eq!((s.len(), s.bytes(), s.partitions()), (0, 0, 0));
    }
}

/// What a client does next; partitions are 0..6.
#[derive(Clone, Debug)]
enum Step {
    /// Something changes in a partition: high watermark, log start, or (last) its health.
    Change(i32, u8),
    /// A fetch that adds, updates and forgets. With true it is parked during the next changes.
    Fetch(Vec<(i32, i64)>, Vec<i32>, bool),
    /// Another client wants a session of that size, and time passes.
    Other(i32, u64),
}

fn step() -> impl Strategy<Value = Step> {
    let parts = prop::collection::vec((0i32..6, 0i64..3), 0..4);
    let forgotten = prop::collection::vec(0i32..6, 0..3);
    prop_oneof![
        4 => (0i32..6, 0u8..3).prop_map(|(p, what)| Step::Change(p, what)),
        5 => (parts, forgotten, any::<bool>()).prop_map(|(a, f, parked)| Step::Fetch(a, f, parked)),
        1 => (0i32..8, 0u64..200_000).prop_map(|(size, ms)| Step::Other(size, ms)),
    ]
}

/// A client as KIP-227 means it: what it asks for, and what it believes of each partition.
#[derive(Default)]
struct Client {
    session: i32,
    epoch: i32,
    wants: BTreeMap<i32, i64>,
    believes: BTreeMap<i32, (i16, Offset, Offset)>,
}

impl Client {
    fn request(&mut self, parts: &[(i32, i64)], forgotten: &[i32]) -> FetchAsk {
        let forgotten: Vec<i32> = forgotten
            .iter()
            .copied()
            .filter(|p| self.wants.contains_key(p))
            .collect();
        self.wants.retain(|p, _| !forgotten.contains(p));
        self.believes.retain(|p, _| !forgotten.contains(p));
        let parts: Vec<(i32, i64)> = parts
            .iter()
            .copied()
            .filter(|(p, _)| !forgotten.contains(p))
            .collect();
        self.wants.extend(parts.iter().copied());
        if self.epoch == 0 {
            let all: Vec<(i32, i64)> = self.wants.iter().map(|(p, o)| (*p, *o)).collect();
            return ask(0, 0, &all);
        }
        forgetting(ask(self.session, self.epoch, &parts), &forgotten)
    }

    /// Believes an answer, checking it against all that the broker found.
    fn take(&mut self, answer: FetchAnswer, order: &[(i32, i64)], facts: &[AnswerFacts]) {
        let truth = |f: &AnswerFacts| (f.error, f.high_watermark, f.log_start_offset);
        assert_eq!(answer.refusal, None);
        for at in answer.partitions {
            let told = truth(&facts[at]);
            let before = self.believes.insert(order[at].0, told);
            let old = before == Some(told) && told.0 == 0 && facts[at].records_bytes == 0;
            assert!(!old || self.epoch == 0, "named without need");
        }
        for ((p, _), facts) in order.iter().zip(facts) {
            assert_eq!(self.believes.get(p), Some(&truth(facts)));
        }
        if answer.session_id == NO_SESSION_ID {
            return self.restart();
        }
        self.session = answer.session_id;
        self.epoch += 1;
    }

    fn restart(&mut self) {
        (self.session, self.epoch) = (0, 0);
        self.believes.clear();
    }
}

/// Another high watermark, another log start, an error, or well again.
fn change(facts: &mut AnswerFacts, what: u8, random: i64) {
    match what {
        0 if facts.error == 0 => facts.high_watermark.0 += 1,
        1 if facts.error == 0 => facts.log_start_offset.0 += 1,
        2 if facts.error == 0 => *facts = ill(6),
        _ => *facts = well(random, 0),
    }
}

proptest! {
    /// Whatever is left out of the answers, a client that puts them together knows, after each,
    /// exactly what the broker found; nothing is named without need; and every fetch reads exactly
    /// what the client wants.
    #[test]
    fn a_client_that_believes_incremental_answers_is_never_wrong(
        steps in prop::collection::vec(step(), 0..150)
    ) {
        let mut s = cache(2);
        let mut world: BTreeMap<i32, AnswerFacts> = (0..6).map(|p| (p, well(0, 0))).collect();
        let (mut client, mut ms, mut random) = (Client::default(), 0, 0);
        let mut parked: Option<FetchContext> = None;
        for step in steps {
            random += 1;
            match step {
                Step::Change(p, what) => {
                    change(world.get_mut(&p).unwrap(), what, random);
                }
                Step::Other(size, passed) => {
                    ms += passed;
                    let parts: Vec<(i32, i64)> = (100..100 + size).map(|p| (p, 1)).collect();
                    let context = s.begin(at_ms(ms), ask(0, 0, &parts), |_| None).unwrap();
                    let facts: Vec<AnswerFacts> = parts.iter().map(|_| well(1, 0)).collect();
                    s.finish(at_ms(ms), 1000 + random as u32, context, &facts);
                }
                Step::Fetch(parts, forgotten, park) => {
                    let context = match parked.take() {
                        Some(context) => context,
                        None => match s.begin(at_ms(ms), client.request(&parts, &forgotten), |_| None) {
                            Ok(context) => context,
                            Err(refusal) => {
                                prop_assert_eq!(refusal, SessionRefusal::IdNotFound);
                                client.restart();
                                continue;
                            }
                        },
                    };
                    let plan: BTreeMap<i32, i64> = plan_of(&context).into_iter().collect();
                    prop_assert_eq!(&plan, &client.wants);
                    if park {
                        parked = Some(context);
                        continue;
                    }
                    let order = plan_of(&context);
                    let look = |(p, offset): &(i32, i64)| {
                        let facts = world[p];
                        // Records below the high watermark, if it is well.
                        let bytes = usize::from(facts.error == 0 && *offset < facts.high_watermark.0);
                        AnswerFacts { records_bytes: bytes, ..facts }
                    };
                    let facts: Vec<AnswerFacts> = order.iter().map(look).collect();
                    let answer = s.finish(at_ms(ms), random as u32, context, &facts);
                    client.take(answer, &order, &facts);
                }
            }
            prop_assert!(s.len() <= 2);
            prop_assert!(!s.is_empty() || (s.bytes() == 0 && s.partitions() == 0));
        }
    }
}

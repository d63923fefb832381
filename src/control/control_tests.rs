//! The metadata writer as a machine: order, durability before answers, faults.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::metadata::admin::{NewTopic, TopicSelector};
use crate::metadata::{Node, Record};
use crate::settings::BrokerSettings;
use crate::words::{NodeId, ProducerId};

/// A log that remembers, and fails when told to.
#[derive(Clone, Default)]
struct Notes {
    appends: Arc<Mutex<Vec<(u64, usize)>>>,
    faults: Arc<Mutex<Vec<LogFault>>>,
    /// Records that one append holds.
    room: Option<usize>,
}

impl MetadataLog for Notes {
    fn append(&mut self, base_version: u64, records: &[Record]) -> Result<(), LogFault> {
        if self.room.is_some_and(|room| records.len() > room) {
            return Err(LogFault::TooLarge);
        }
        if let Some(fault) = self.faults.lock().unwrap().pop() {
            return Err(fault);
        }
        self.appends
            .lock()
            .unwrap()
            .push((base_version, records.len()));
        Ok(())
    }

    fn applied(&mut self, _image: &MetadataImage) {}
}

struct World {
    control: Control<Notes>,
    cell: Arc<ImageCell>,
    notes: Notes,
    woken: Arc<AtomicUsize>,
}

fn world(room: Option<usize>, delete_topics: bool) -> World {
    let mut image = MetadataImage::empty();
    let node = |id| Node {
        id: NodeId(id),
        host: "h".into(),
        port: 9092,
        rack: None,
    };
    let registered = Record::NodesRegistered {
        start: 1,
        nodes: vec![node(0), node(1)],
    };
    image.apply(&registered).unwrap();
    let image = Arc::new(image);
    let cell = Arc::new(ImageCell::new(Arc::clone(&image)));
    let notes = Notes {
        room,
        ..Notes::default()
    };
    let woken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&woken);
    let mut number = 1u128;
    let with = ControlStart {
        cell: Arc::clone(&cell),
        defaults: TopicDefaults::of(&BrokerSettings::defaults()),
        delete_topics,
        settings: BrokerSettings::defaults(),
        new_id: Box::new(move || {
            number += 1;
            number.to_be_bytes()
        }),
        wake: Box::new(move || {
            counted.fetch_add(1, Ordering::Relaxed);
        }),
    };
    World {
        control: Control::new(notes.clone(), image, with),
        cell,
        notes,
        woken,
    }
}

fn create(name: &str, validate_only: bool) -> AdminRequest {
    AdminRequest::CreateTopics {
        topics: vec![NewTopic {
            name: name.into(),
            partitions: 2,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }],
        validate_only,
    }
}

fn delete(name: &str) -> AdminRequest {
    AdminRequest::DeleteTopics {
        topics: vec![TopicSelector {
            name: Some(name.into()),
            id: TopicId::ZERO,
        }],
    }
}

/// One turn with these questions from peer 0; the answers as `token refusal`.
fn turn(world: &mut World, requests: Vec<AdminRequest>) -> Vec<String> {
    let mut effects = Vec::new();
    for (token, request) in (0u64..).map(Token).zip(requests) {
        let message = ControlMessage::Ask { token, request };
        let from = PeerId(0);
        let event = Event::Message { from, message };
        world.control.handle(Now::default(), event, &mut effects);
    }
    assert!(
        effects.is_empty(),
        "nothing is answered before the end of the turn"
    );
    world.control.end_turn(Now::default(), &mut effects);
    effects.into_iter().map(line).collect()
}

fn line(effect: Effect<ControlMessage>) -> String {
    let Effect::Post {
        to: PeerId(0),
        message: ControlMessage::Answer { token, reply },
    } = effect
    else {
        panic!("not an answer")
    };
    let what = match reply {
        AdminReply::Created(all) | AdminReply::AutoCreated(all) => match &all[0].result {
            Ok(made) => format!("made {}", made.partitions),
            Err(why) => format!("{why:?}"),
        },
        AdminReply::Deleted(all) => match &all[0].result {
            Ok(()) => "deleted".to_owned(),
            Err(why) => format!("{why:?}"),
        },
        AdminReply::ProducerIds(Ok(block)) => format!("from {}", block.first),
        AdminReply::ProducerIds(Err(why)) => format!("{why:?}"),
        AdminReply::Grown(all) => match &all[0].result {
            Ok(()) => "grown".to_owned(),
            Err(why) => format!("{why:?}"),
        },
        AdminReply::Altered(all) => match &all[0].result {
            Ok(()) => "altered".to_owned(),
            Err(why) => format!("{why:?}"),
        },
    };
    format!("{} {what}", token.0)
}

#[test]
fn questions_of_a_turn_are_answered_in_order_with_one_append() {
    let mut world = world(None, true);
    let answers = turn(
        &mut world,
        vec![
            create("a", false),
            create("a", false),
            AdminRequest::AllocateProducerIds,
            delete("a"),
            create("a", false),
            AdminRequest::AllocateProducerIds,
        ],
    );
    assert_eq!(
        answers,
        [
            "0 made 2",
            "1 Exists(\"a\")",
            "2 from 0",
            "3 deleted",
            "4 made 2",
            "5 from 1000"
        ]
    );
    assert_eq!(*world.notes.appends.lock().unwrap(), [(1, 9)]);
    assert_eq!(world.woken.load(Ordering::Relaxed), 1);
    let image = world.cell.load();
    assert_eq!(image.version(), 10);
    assert_eq!(image.topic("a").unwrap().partitions.len(), 2);
    assert_eq!(ProducerId(image.producer_ids_next()), ProducerId(2000));
}

#[test]
fn a_dry_run_changes_nothing_and_wakes_nobody() {
    let mut world = world(None, true);
    assert_eq!(
        turn(&mut world, vec![create("a", true), create("a", true)]),
        ["0 made 2", "1 made 2"]
    );
    assert_eq!(turn(&mut world, Vec::new()), Vec::<String>::new());
    assert!(world.notes.appends.lock().unwrap().is_empty());
    assert_eq!(
        (world.cell.version(), world.woken.load(Ordering::Relaxed)),
        (1, 0)
    );
}

#[test]
fn nothing_is_published_that_did_not_become_durable() {
    let mut world = world(None, true);
    let full = LogFault::Full(io::Error::from(io::ErrorKind::StorageFull));
    *world.notes.faults.lock().unwrap() = vec![LogFault::Dead, full];
    let asked = vec![
        create("a", false),
        create("a", true),
        delete("a"),
        AdminRequest::AllocateProducerIds,
    ];
    for _ in 0..2 {
        let answers = turn(&mut world, asked.clone());
        assert_eq!(
            answers,
            ["0 Storage", "1 Storage", "2 Storage", "3 Storage"]
        );
        assert_eq!(
            (world.cell.version(), world.woken.load(Ordering::Relaxed)),
            (1, 0)
        );
    }
    assert_eq!(turn(&mut world, vec![create("a", false)]), ["0 made 2"]);
    assert!(world.cell.load().topic("a").is_some());
}

#[test]
fn what_is_too_large_together_is_done_one_by_one() {
    let mut world = world(Some(3), true);
    let auto = AdminRequest::AutoCreate {
        names: vec!["c".into(), "d".into()],
    };
    let answers = turn(
        &mut world,
        vec![create("a", false), create("b", false), auto],
    );
    assert_eq!(answers, ["0 made 2", "1 made 2", "2 TooLarge"]);
    assert_eq!(*world.notes.appends.lock().unwrap(), [(1, 3), (4, 3)]);
}

#[test]
fn deletion_can_be_turned_off() {
    let mut world = world(None, false);
    assert_eq!(
        turn(&mut world, vec![create("a", false), delete("a")]),
        ["0 made 2", "1 DeletionDisabled"]
    );
}

#[test]
fn it_answers_before_it_stops() {
    let mut world = world(None, true);
    let mut effects = Vec::new();
    let stop = Event::Message {
        from: PeerId(1),
        message: ControlMessage::Stop,
    };
    world.control.handle(Now::default(), stop, &mut effects);
    let ask = ControlMessage::Ask {
        token: Token(7),
        request: AdminRequest::AllocateProducerIds,
    };
    let event = Event::Message {
        from: PeerId(0),
        message: ask,
    };
    world.control.handle(Now::default(), event, &mut effects);
    world.control.end_turn(Now::default(), &mut effects);
    assert!(matches!(effects.pop(), Some(Effect::Stop)));
    assert_eq!(
        effects.into_iter().map(line).collect::<Vec<_>>(),
        ["7 from 0"]
    );
}

#[test]
fn ids_that_are_taken_reserved_or_begin_with_a_dash_are_passed_over() {
    let image = MetadataImage::empty();
    let mut given = vec![[7u8; 16], [0xff; 16], 1u128.to_be_bytes(), [0; 16]];
    let mut new_id: NewId = Box::new(move || given.pop().unwrap());
    // 0xfc.. prints as `_`, 0xf8 to 0xfb as `-`.
    assert_eq!(fresh_topic_id(&image, &mut new_id), TopicId([0xff; 16]));
    let mut dashes = vec![[9u8; 16], [0xf9; 16]];
    let mut new_id: NewId = Box::new(move || dashes.pop().unwrap());
    assert_eq!(fresh_topic_id(&image, &mut new_id), TopicId([9; 16]));
}

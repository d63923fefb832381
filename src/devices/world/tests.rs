//! The world keeps its promises: one seed, one history; what was flushed survives.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;
use crate::devices::{BufferPool, Disk, Effects, FaultKind, FileHandle, OpId, Open};
use crate::words::limits::LINGER_MS;

/// A machine for tests: every received byte becomes one block of its file, is told to the next
/// machine, and is answered with itself once it is durable.
struct Diary {
    me: PeerId,
    tells: Option<PeerId>,
    file: FileHandle,
    flush: bool,
    pool: Arc<BufferPool>,
    pages: u64,
    next_op: u64,
    waiting: BTreeMap<OpId, (ConnectionId, u8)>,
    seen: Arc<Mutex<Seen>>,
    tick_at: Option<Deadline>,
}

#[derive(Default)]
struct Seen {
    heard: Vec<u32>,
    closed: Vec<ConnectionId>,
    ticks: Vec<u64>,
    failed: u32,
    woken: u32,
    jobs: u32,
}

impl Machine<u32> for Diary {
    fn handle(&mut self, now: Now, event: Event<u32>, effects: &mut Effects<u32>) {
        let mut seen = self.seen.lock().unwrap();
        match event {
            Event::Received { connection, data } => {
                for byte in data {
                    self.next_op += 1;
                    let op = OpId(self.next_op);
                    self.waiting.insert(op, (connection, byte));
                    let mut page = self.pool.take(4096);
                    page.as_mut_slice().fill(byte);
                    effects.push(Effect::Write {
                        op,
                        file: self.file.clone(),
                        position: self.pages * 4096,
                        parts: vec![page.freeze(0..4096)],
                        flush: self.flush,
                    });
                    self.pages += 1;
                    if let Some(to) = self.tells {
                        let message = u32::try_from(self.pages).unwrap();
                        effects.push(Effect::Post { to, message });
                    }
                }
            }
            Event::Done { op, result } => match (result, self.waiting.remove(&op)) {
                (Ok(_), Some((connection, byte))) => effects.push(Effect::Send {
                    connection,
                    parts: vec![bytes::Bytes::from(vec![byte])],
                }),
                (Ok(_), None) => seen.jobs += 1,
                (Err(_), _) => seen.failed += 1,
            },
            Event::Message { message, .. } => seen.heard.push(message),
            Event::Closed { connection } => seen.closed.push(connection),
            Event::Woken => {
                seen.woken += 1;
                self.next_op += 1;
                effects.push(Effect::Job {
                    op: OpId(self.next_op),
                    job: Box::new(|disk| {
                        disk.write_atomic(Path::new("/job"), b"done")?;
                        Ok(Box::new(()))
                    }),
                });
            }
            Event::Tick => {
                seen.ticks.push(now.mono_ns);
                self.tick_at = None;
            }
            Event::Accepted { .. } | Event::Sent { .. } => {}
        }
    }

    fn end_turn(&mut self, _now: Now, _effects: &mut Effects<u32>) {
        let _ = self.me;
    }

    fn next_deadline(&self) -> Option<Deadline> {
        self.tick_at
    }
}

struct Scene {
    world: World<u32>,
    seen: Vec<Arc<Mutex<Seen>>>,
}

fn scene(settings: WorldSettings, machines: u16) -> Scene {
    let mut world = World::new(settings, MemoryDisk::new());
    world.disk().create_dir_all(Path::new("/")).unwrap();
    let mut seen = Vec::new();
    for number in 0..machines {
        let told = Arc::new(Mutex::new(Seen::default()));
        seen.push(Arc::clone(&told));
        let diary = diary(&world, number, machines, told);
        world.add(Box::new(diary));
    }
    Scene { world, seen }
}

fn diary(world: &World<u32>, number: u16, machines: u16, seen: Arc<Mutex<Seen>>) -> Diary {
    let path = format!("/{number}");
    let file = world.disk().open(Path::new(&path), Open::Direct).unwrap();
    world.disk().sync_dir(Path::new("/")).unwrap();
    Diary {
        me: PeerId(number),
        tells: (machines > 1).then_some(PeerId((number + 1) % machines)),
        file,
        flush: true,
        pool: BufferPool::new(1 << 20),
        pages: 0,
        next_op: 0,
        waiting: BTreeMap::new(),
        seen,
        tick_at: (number == 0).then_some(Deadline(START_NS + 7_000_000)),
    }
}

/// A run with two machines, three clients and a reset; gives everything that can be compared.
fn play(seed: u64) -> (Digest, Vec<Vec<u8>>) {
    let mut scene = scene(WorldSettings::new(seed), 2);
    let world = &mut scene.world;
    let ends: Vec<ClientEnd> = (0..3).map(|at| world.connect(PeerId(at % 2))).collect();
    for (at, end) in (1u8..).zip(&ends) {
        let data: Vec<u8> = (0..40).map(|byte| byte * at).collect();
        world.send(*end, &data);
    }
    world.run_for_ms(1);
    world.reset(ends[2]);
    world.run_for_ms(1000);
    let got = ends
        .iter()
        .map(|end| world.take_received(*end).to_vec())
        .collect();
    (world.digest(), got)
}

#[test]
fn one_seed_is_one_history() {
    for seed in 0..10 {
        assert_eq!(play(seed), play(seed), "seed {seed}");
        assert_ne!(play(seed).0, play(seed + 1000).0, "seed {seed}");
    }
}

#[test]
fn every_operation_is_answered_once_and_messages_keep_their_order() {
    for seed in 0..20 {
        let mut scene = scene(WorldSettings::new(seed), 2);
        let world = &mut scene.world;
        let end = world.connect(PeerId(0));
        let data: Vec<u8> = (0..200).collect();
        world.send(end, &data);
        let mut got = Vec::new();
        let all = world.run_until(1000, |world| {
            got.extend_from_slice(&world.take_received(end));
            got.len() >= 200
        });
        assert!(all, "seed {seed}");
        assert_ne!(got, data, "completions change places");
        got.sort_unstable();
        assert_eq!(got, data, "each byte is answered once");
        world.run_for_ms(100);
        let heard = scene.seen[1].lock().unwrap().heard.clone();
        assert_eq!(heard, (1..=200).collect::<Vec<u32>>());
    }
}

#[test]
fn what_was_flushed_survives_the_power_and_what_was_written_survives_the_process() {
    for flush in [true, false] {
        let mut lost = 0;
        for seed in 0..30 {
            let mut world: World<u32> = World::new(WorldSettings::new(seed), MemoryDisk::new());
            let mut diary = diary(&world, 0, 1, Arc::default());
            diary.flush = flush;
            world.add(Box::new(diary));
            let end = world.connect(PeerId(0));
            world.send(end, &[9; 30]);
            world.run_until(1000, |world| world.pipes[&end.0].received.len() > 9);
            let told = world.take_received(end).len();
            match flush {
                true => world.crash(seed),
                false => world.kill(),
            }
            assert_eq!(world.client_state(end), ClientState::Reset);
            let bytes = world.disk().read(Path::new("/0")).unwrap();
            let whole = bytes
                .chunks(4096)
                .filter(|page| page.iter().all(|byte| *byte == 9));
            let whole = whole.count();
            assert!(whole >= told, "seed {seed}: {whole} of {told}");
            lost += usize::from(whole < 30);
        }
        assert!(lost > 0, "what was not asked for may be lost");
    }
}

#[test]
fn a_cut_is_felt_by_the_whole_world_at_once() {
    let mut scene = scene(WorldSettings::new(5), 1);
    let world = &mut scene.world;
    let end = world.connect(PeerId(0));
    world.send(end, &[1; 20]);
    world.disk().cut_power_after(9);
    assert!(!world.run_for_ms(1000), "the power is off");
    assert!(!world.step());
    world.crash(1);
    assert_eq!(world.running(), 0);
    assert!(world.run_for_ms(1), "a world without machines is still one");
}

#[test]
fn time_stands_still_while_there_is_something_to_do() {
    let mut settings = WorldSettings::new(3);
    settings.pace = Pace {
        write_ns: 0..1,
        flush_ns: 0..1,
        network_ns: 0..1,
        post_ns: 0..1,
        turn_ns: 0..1,
        slow_once_in: 0,
        ..Pace::default()
    };
    let mut scene = scene(settings, 2);
    let before = scene.world.now();
    let end = scene.world.connect(PeerId(0));
    scene.world.send(end, b"abc");
    while scene.world.now() == before {
        assert!(scene.world.step());
    }
    assert_eq!(scene.world.now().mono_ns, START_NS + 7_000_000);
    assert_eq!(scene.world.take_received(end).len(), 3);
    scene.world.run_for_ms(1);
    let ticks = scene.seen[0].lock().unwrap().ticks.clone();
    assert_eq!(ticks, [START_NS + 7_000_000], "one tick, at its time");
}

#[test]
fn connections_end_once_whoever_ends_them() {
    for seed in 0..10 {
        let mut scene = scene(WorldSettings::new(seed), 1);
        let world = &mut scene.world;
        let ends: Vec<ClientEnd> = (0..4).map(|_| world.connect(PeerId(0))).collect();
        world.run_for_ms(10);
        world.close(ends[0]);
        world.reset(ends[1]);
        world.carry_out(
            PeerId(0),
            Effect::Close {
                connection: ends[2].0,
            },
        );
        world.carry_out(
            PeerId(0),
            Effect::Send {
                connection: ends[3].0,
                parts: vec![bytes::Bytes::from_static(b"bye")],
            },
        );
        world.carry_out(
            PeerId(0),
            Effect::CloseAfterSend {
                connection: ends[3].0,
            },
        );
        world.run_for_ms(LINGER_MS + 1000);
        assert_eq!(&world.take_received(ends[3])[..], b"bye");
        assert_eq!(world.client_state(ends[3]), ClientState::Ended);
        assert_eq!(world.client_state(ends[2]), ClientState::Reset);
        let mut closed = scene.seen[0].lock().unwrap().closed.clone();
        closed.sort_unstable();
        let mut all: Vec<ConnectionId> = ends.iter().map(|end| end.0).collect();
        all.sort_unstable();
        assert_eq!(closed, all, "seed {seed}");
    }
}

#[test]
fn a_machine_that_does_not_receive_pushes_back_and_so_does_a_client() {
    let mut scene = scene(WorldSettings::new(1), 1);
    let world = &mut scene.world;
    let end = world.connect(PeerId(0));
    world.run_for_ms(10);
    world.carry_out(PeerId(0), Effect::PauseReceive { connection: end.0 });
    world.send(end, &[1; 100]);
    world.run_for_ms(100);
    assert!(world.take_received(end).is_empty());
    world.carry_out(PeerId(0), Effect::ResumeReceive { connection: end.0 });
    world.run_for_ms(100);
    assert_eq!(world.take_received(end).len(), 100);

    world.hold_reading(end, true);
    let parts = vec![bytes::Bytes::from(vec![7; 1 << 20])];
    world.carry_out(
        PeerId(0),
        Effect::Send {
            connection: end.0,
            parts,
        },
    );
    world.run_for_ms(100);
    assert_eq!(world.pipes[&end.0].received.len(), 128 * 1024);
    world.hold_reading(end, false);
    world.run_for_ms(100);
    assert_eq!(world.take_received(end).len(), 1 << 20);
}

#[test]
fn faults_come_when_asked_for_and_only_then() {
    let mut scene = scene(WorldSettings::new(1), 1);
    let mut flushes = 0;
    scene.world.judge(Some(Box::new(move |operation| {
        assert_eq!(operation.path, Some(Path::new("/0")));
        flushes += 1;
        (flushes == 3).then_some(Trouble::FlushFails(FaultKind::Dead))
    })));
    let end = scene.world.connect(PeerId(0));
    scene.world.send(end, &[1; 10]);
    scene.world.run_for_ms(100);
    assert_eq!(scene.world.take_received(end).len(), 9);
    assert_eq!(scene.seen[0].lock().unwrap().failed, 1);

    scene.world.judge(None);
    scene.world.settings().faults.write_once_in = 1;
    scene.world.send(end, &[1; 10]);
    scene.world.run_for_ms(100);
    assert!(scene.world.take_received(end).is_empty());
    assert_eq!(scene.seen[0].lock().unwrap().failed, 11);
}

#[test]
fn a_bell_wakes_and_jobs_run_on_the_same_disk() {
    let mut scene = scene(WorldSettings::new(1), 1);
    scene.world.bell().wake(PeerId(0));
    scene.world.run_for_ms(200);
    assert_eq!(scene.seen[0].lock().unwrap().woken, 1);
    assert_eq!(scene.seen[0].lock().unwrap().jobs, 1);
    assert_eq!(scene.world.disk().read(Path::new("/job")).unwrap(), b"done");
    assert!(scene.world.is_quiet());
}

//! Goal: the loop keeps the seam's promises on the real kernel. Method: small machines under
//! `run_shard`, real sockets and files against them, and channels to wait on.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

use bytes::Bytes;

use super::*;
use crate::devices::{
    ConnectionId, FaultKind, FileHandle, Job, KernelDisk, OpId, Open, Output, mesh, net,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// A machine made of one closure, called with every event and at the end of every turn (`None`).
struct Script<F>(F, Option<Deadline>);

type Step<'a, M> = (
    Now,
    Option<Event<M>>,
    &'a mut Effects<M>,
    &'a mut Option<Deadline>,
);

impl<M, F: FnMut(Step<'_, M>)> Machine<M> for Script<F> {
    fn handle(&mut self, now: Now, event: Event<M>, effects: &mut Effects<M>) {
        if matches!(event, Event::Tick) {
            self.1 = None;
        }
        (self.0)((now, Some(event), effects, &mut self.1));
    }
    fn end_turn(&mut self, now: Now, effects: &mut Effects<M>) {
        (self.0)((now, None, effects, &mut self.1));
    }
    fn next_deadline(&self) -> Option<Deadline> {
        self.1
    }
}

struct Running {
    address: Option<SocketAddr>,
    waker: Waker,
    thread: JoinHandle<io::Result<()>>,
}

impl Running {
    /// For machines that stop when woken.
    fn stop(self) {
        self.waker.wake();
        self.thread.join().unwrap().unwrap();
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address.unwrap()).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        stream
    }
}

fn devices<M: Send>(endpoint: Endpoint<M>, door: bool) -> MachineDevices<M> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    MachineDevices {
        name: "test-shard".to_owned(),
        core: None,
        listener: door.then(|| net::listen(anywhere).unwrap()),
        endpoint,
        disk: Arc::new(KernelDisk::new()),
        offload: Offload::start(2, 1).unwrap(),
        buffer_bytes: 64 << 20,
    }
}

fn run_on<M, F>(endpoint: Endpoint<M>, door: bool, script: F) -> Running
where
    M: Send + 'static,
    F: FnMut(Step<'_, M>) + Send + 'static,
{
    let devices = devices(endpoint, door);
    let address = devices.listener.as_ref().map(|l| l.local_addr().unwrap());
    let waker = devices.endpoint.waker();
    let thread = run_shard(devices, move |_| Script(script, None)).unwrap();
    Running {
        address,
        waker,
        thread,
    }
}

fn run<F: FnMut(Step<'_, ()>) + Send + 'static>(door: bool, script: F) -> Running {
    run_on(mesh(1).unwrap().pop().unwrap(), door, script)
}

/// Sends back what it receives, stops when woken, and tells of comings and goings.
fn echo(told: Sender<(&'static str, ConnectionId)>) -> Running {
    run(true, move |(_, event, effects, _)| match event {
        Some(Event::Accepted { connection, .. }) => told.send(("open", connection)).unwrap(),
        Some(Event::Received { connection, data }) => effects.push(Effect::Send {
            connection,
            parts: vec![data],
        }),
        Some(Event::Closed { connection }) => told.send(("gone", connection)).unwrap(),
        Some(Event::Woken) => effects.push(Effect::Stop),
        _ => {}
    })
}

fn next<T>(told: &Receiver<T>) -> T {
    told.recv_timeout(PATIENCE).unwrap()
}

/// Bytes that differ from place to place.
fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|n| (n.wrapping_mul(31) ^ (n >> 11)) as u8)
        .collect()
}

/// Writes `data` from a thread of its own while reading as much back.
fn exchange(stream: &TcpStream, data: &[u8]) -> Vec<u8> {
    std::thread::scope(|scope| {
        scope.spawn(|| (&mut &*stream).write_all(data).unwrap());
        let mut back = vec![0; data.len()];
        (&mut &*stream).read_exact(&mut back).unwrap();
        back
    })
}

#[test]
fn one_connection_gets_back_what_it_sent() {
    let (tell, told) = channel();
    let shard = echo(tell);
    let stream = shard.connect();
    for round in 0..100usize {
        let data = pattern(1 + round * 37);
        assert_eq!(exchange(&stream, &data), data);
    }
    let (what, id) = next(&told);
    assert_eq!(what, "open");
    drop(stream);
    assert_eq!(next(&told), ("gone", id));
    shard.stop();
}

#[test]
fn a_hundred_connections_at_once_do_not_mix() {
    let (tell, _told) = channel();
    let shard = echo(tell);
    std::thread::scope(|scope| {
        for number in 0..100usize {
            let stream = shard.connect();
            scope.spawn(move || {
                for round in 0..20usize {
                    let data: Vec<u8> = pattern(3000 + round)
                        .iter()
                        .map(|b| b ^ number as u8)
                        .collect();
                    assert!(exchange(&stream, &data) == data, "connection {number}");
                }
            });
        }
    });
    shard.stop();
}

#[test]
fn eight_mebibytes_pass_whole_in_both_directions() {
    let (tell, _told) = channel();
    let shard = echo(tell);
    let data = pattern(8 << 20);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!(exchange(&shard.connect(), &data) == data));
        }
    });
    shard.stop();
}

#[test]
fn many_small_parts_leave_in_order() {
    // More parts than one vectored send takes, and empty ones among them.
    let parts: Vec<Bytes> = pattern(5000)
        .chunks(3)
        .map(Bytes::copy_from_slice)
        .collect();
    let want = pattern(5000);
    let shard = run(true, move |(_, event, effects, _)| match event {
        Some(Event::Accepted { connection, .. }) => {
            let mut with_gaps = vec![Bytes::new()];
            with_gaps.extend(parts.iter().cloned());
            effects.push(Effect::Send {
                connection,
                parts: with_gaps,
            });
            effects.push(Effect::CloseAfterSend { connection });
        }
        Some(Event::Woken) => effects.push(Effect::Stop),
        _ => {}
    });
    let mut got = Vec::new();
    shard.connect().read_to_end(&mut got).unwrap();
    assert_eq!(got, want);
    shard.stop();
}

#[test]
fn last_words_arrive_though_the_peer_talks_on() {
    let words = pattern(4 << 20);
    let last = Bytes::from(words.clone());
    let shard = run(true, move |(_, event, effects, _)| match event {
        Some(Event::Received { connection, .. }) => {
            let parts = vec![last.clone()];
            effects.push(Effect::Send { connection, parts });
            effects.push(Effect::CloseAfterSend { connection });
        }
        Some(Event::Woken) => effects.push(Effect::Stop),
        _ => {}
    });
    let stream = shard.connect();
    (&stream).write_all(&pattern(2 << 20)).unwrap();
    let mut got = Vec::new();
    (&stream).read_to_end(&mut got).unwrap();
    assert!(got == words);
    shard.stop();
}

#[test]
fn a_slow_reader_is_pushed_back_and_loses_nothing() {
    const FULL: usize = 256 * 1024;
    let (tell, told) = channel();
    let (tell_most, most) = channel();
    let mut owed: usize = 0;
    let mut highest = 0;
    let mut paused = false;
    let shard = run(true, move |(_, event, effects, _)| match event {
        Some(Event::Received { connection, data }) => {
            owed += data.len();
            highest = highest.max(owed);
            effects.push(Effect::Send {
                connection,
                parts: vec![data],
            });
            if owed > FULL && !std::mem::replace(&mut paused, true) {
                effects.push(Effect::PauseReceive { connection });
                let _ = tell.send(());
            }
        }
        Some(Event::Sent { connection, bytes }) => {
            owed -= bytes;
            if owed < FULL / 2 && std::mem::replace(&mut paused, false) {
                effects.push(Effect::ResumeReceive { connection });
            }
        }
        Some(Event::Woken) => {
            tell_most.send((highest, owed)).unwrap();
            effects.push(Effect::Stop);
        }
        _ => {}
    });
    let stream = shard.connect();
    let data = pattern(32 << 20);
    std::thread::scope(|scope| {
        scope.spawn(|| (&mut &stream).write_all(&data).unwrap());
        // Nothing is read before the shard has pushed back.
        next(&told);
        let mut back = vec![0; data.len()];
        (&mut &stream).read_exact(&mut back).unwrap();
        assert!(back == data);
    });
    shard.stop();
    let (highest, owed) = next(&most);
    assert_eq!(owed, 0, "every byte queued was reported as sent");
    let lent = usize::from(crate::words::limits::RECEIVE_BUFFERS)
        * crate::words::limits::RECEIVE_BUFFER_BYTES as usize;
    assert!(
        highest <= FULL + 2 * lent,
        "{highest} bytes were owed at once"
    );
}

#[test]
fn a_reset_closes_once_also_with_bytes_queued() {
    let (tell, told) = channel();
    let shard = run(true, move |(_, event, effects, _)| match event {
        Some(Event::Received { connection, .. }) => {
            // More than the sockets hold, so that a send is in flight when the reset comes.
            for _ in 0..64 {
                let parts = vec![Bytes::from(vec![1; 1 << 20])];
                effects.push(Effect::Send { connection, parts });
            }
        }
        Some(Event::Sent { .. }) => tell.send("sent").unwrap(),
        Some(Event::Closed { .. }) => tell.send("closed").unwrap(),
        Some(Event::Woken) => effects.push(Effect::Stop),
        _ => {}
    });
    let stream = shard.connect();
    (&stream).write_all(b"go").unwrap();
    assert_eq!(next(&told), "sent");
    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
    drop(stream);
    while next(&told) != "closed" {}
    shard.stop();
    assert!(
        told.recv().is_err(),
        "nothing of a connection after its end"
    );
}

#[test]
fn thousands_of_connections_come_and_go_under_ids_of_their_own() {
    const COUNT: usize = 3000;
    let (tell, told) = channel();
    let shard = echo(tell);
    for number in 0..COUNT {
        let stream = shard.connect();
        if number % 3 == 0 {
            assert_eq!(exchange(&stream, b"hello"), b"hello");
        } else if number % 3 == 1 {
            stream.shutdown(Shutdown::Both).unwrap();
        }
    }
    let mut open = HashSet::new();
    let mut seen = HashSet::new();
    while seen.len() < COUNT || !open.is_empty() {
        match next(&told) {
            ("open", id) => assert!(seen.insert(id) && open.insert(id), "an id came twice"),
            (_, id) => assert!(open.remove(&id), "closed without being open"),
        }
    }
    shard.stop();
    assert!(told.recv().is_err(), "nothing more came");
}

#[test]
fn after_stop_accepting_old_connections_go_on_and_new_ones_are_refused() {
    let (tell, told) = channel();
    let mut stopping = false;
    let shard = run(true, move |(_, event, effects, _)| match event {
        Some(Event::Received { connection, data }) => {
            let parts = vec![data];
            effects.push(Effect::Send { connection, parts });
        }
        Some(Event::Woken) if !stopping => {
            stopping = true;
            effects.push(Effect::StopAccepting);
        }
        Some(Event::Woken) => effects.push(Effect::Stop),
        None if stopping => tell.send(()).unwrap(),
        _ => {}
    });
    let old = shard.connect();
    exchange(&old, b"before");
    shard.waker.wake();
    next(&told);
    // Every answer passes one more turn: the listener is gone after a few.
    for _ in 0..10 {
        assert_eq!(exchange(&old, b"after"), b"after");
    }
    assert!(TcpStream::connect(shard.address.unwrap()).is_err());
    shard.stop();
}

/// Writes, flushes and reads through the ring; returns what the machine saw as `Done`s.
fn file_round(file: FileHandle, pool_bytes: usize) -> Vec<(u64, Result<Option<Bytes>, FaultKind>)> {
    let (tell, told) = channel();
    let mut asked = false;
    let mut done = 0;
    let endpoint = mesh::<()>(1).unwrap().pop().unwrap();
    let devices = devices(endpoint, false);
    let thread = run_control(devices, move |handle| {
        let pool = handle.buffers.clone();
        Script(
            move |(_, event, effects, _): Step<'_, ()>| match event {
                None if !std::mem::replace(&mut asked, true) => {
                    ask(&file, &pool, pool_bytes, effects);
                }
                Some(Event::Done { op, result }) => {
                    let result = match result {
                        Ok(Output::Read(bytes)) => Ok(Some(bytes)),
                        Ok(_) => Ok(None),
                        Err(fault) => Err(fault.kind),
                    };
                    tell.send((op.0, result)).unwrap();
                    done += 1;
                    match done {
                        3 => ask_reads(&file, effects),
                        8 => effects.push(Effect::Stop),
                        _ => {}
                    }
                }
                _ => {}
            },
            None,
        )
    })
    .unwrap();
    thread.join().unwrap().unwrap();
    told.iter().collect()
}

/// Two writes of pooled memory (one of many parts, one flushed), then a flush of both.
fn ask(file: &FileHandle, pool: &Arc<BufferPool>, len: usize, effects: &mut Effects<()>) {
    let mut buffer = pool.take(len);
    buffer.as_mut_slice().copy_from_slice(&pattern(len));
    let whole = buffer.freeze(0..len);
    let parts = (0..len / 4096)
        .map(|n| whole.slice(n * 4096..(n + 1) * 4096))
        .collect();
    effects.push(Effect::Write {
        op: OpId(1),
        file: file.clone(),
        position: 0,
        parts,
        flush: false,
    });
    effects.push(Effect::Write {
        op: OpId(2),
        file: file.clone(),
        position: len as u64,
        parts: vec![whole],
        flush: true,
    });
    effects.push(Effect::Flush {
        op: OpId(3),
        file: file.clone(),
    });
}

fn ask_reads(file: &FileHandle, effects: &mut Effects<()>) {
    // Position and length of ops 10 to 14, all arbitrary, the last two past the end.
    let ranges = [
        (0, 16),
        (4095, 2),
        (123_457, 3_000_000),
        (10_485_759, 99),
        (99_999_999, 5),
    ];
    for (op, (position, len)) in (10..).zip(ranges) {
        effects.push(Effect::Read {
            op: OpId(op),
            file: file.clone(),
            position,
            len,
        });
    }
}

fn files_keep_what_was_written(directory: &Path, how: Open, direct: bool) {
    let disk = KernelDisk::new();
    let half = 5 << 20;
    let file = disk.open(&directory.join("data"), how).unwrap();
    assert_eq!(file.alignment > 1, direct, "alignment {}", file.alignment);
    let done = file_round(file.clone(), half);
    let mut want = pattern(half);
    want.extend(pattern(half));
    assert_eq!(disk.read(&directory.join("data")).unwrap(), want);
    let ops: HashSet<u64> = done.iter().map(|(op, _)| *op).collect();
    assert_eq!((ops.len(), done.len()), (8, 8), "one answer to each");
    for (op, result) in done {
        let (from, to) = match op {
            10 => (0, 16),
            11 => (4095, 4097),
            12 => (123_457, 3_123_457),
            13 => (10_485_759, 10_485_760),
            14 => (0, 0),
            _ => {
                assert_eq!(result, Ok(None), "write {op}");
                continue;
            }
        };
        assert!(
            result == Ok(Some(Bytes::copy_from_slice(&want[from..to]))),
            "read {op}"
        );
    }
    assert_eq!(file.holders(), 1, "the loop let go of the file");
}

#[test]
fn direct_files_keep_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    let probe = KernelDisk::new()
        .open(&directory.path().join("probe"), Open::Direct)
        .unwrap();
    files_keep_what_was_written(directory.path(), Open::Direct, probe.alignment > 1);
}

#[test]
fn buffered_files_keep_what_was_written() {
    let directory = tempfile::tempdir().unwrap();
    files_keep_what_was_written(directory.path(), Open::Buffered, false);
}

#[test]
fn a_file_system_without_direct_access_serves_direct_files_buffered() {
    let directory = tempfile::tempdir_in("/dev/shm").unwrap();
    files_keep_what_was_written(directory.path(), Open::Direct, false);
}

#[test]
fn faults_are_told_and_classed() {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("read-only"), b"x").unwrap();
    let disk = KernelDisk::new();
    let read_only = disk
        .open(&directory.path().join("read-only"), Open::Read)
        .unwrap();
    let mut files = vec![(1, read_only, FaultKind::Dead)];
    if let Ok(full) = disk.open(Path::new("/dev/full"), Open::Buffered) {
        files.push((2, full, FaultKind::Full));
    }
    let want: Vec<_> = files.iter().map(|(op, _, kind)| (*op, *kind)).collect();
    let (tell, told) = channel();
    let mut left = files.len();
    let shard = run(false, move |(_, event, effects, _)| match event {
        None => effects.extend(files.drain(..).map(|(op, file, _)| Effect::Write {
            op: OpId(op),
            file,
            position: 0,
            parts: vec![Bytes::from_static(b"data")],
            flush: true,
        })),
        Some(Event::Done { op, result }) => {
            tell.send((op.0, result.err().unwrap().kind)).unwrap();
            left -= 1;
            if left == 0 {
                effects.push(Effect::Stop);
            }
        }
        _ => {}
    });
    shard.thread.join().unwrap().unwrap();
    let mut got: Vec<_> = told.iter().collect();
    got.sort_by_key(|(op, _)| *op);
    assert_eq!(got, want);
}

#[test]
fn a_job_that_blocks_never_waits_for_those_that_compute() {
    const COMPUTING: u64 = 4;
    let (tell, told) = channel();
    let (holds, held): (Vec<_>, Vec<_>) = (0..COMPUTING).map(|_| channel::<()>()).unzip();
    let mut holds = Some(holds);
    let mut held = Some(held);
    let mut left = COMPUTING;
    let shard = run(false, move |(_, event, effects, _)| match event {
        None => {
            let Some(held) = held.take() else {
                return;
            };
            for (op, held) in (1..).zip(held) {
                // Ends when the job that blocks has ended.
                let job: Job = Box::new(move |_| {
                    let _ = held.recv();
                    Ok(Box::new(()))
                });
                effects.push(Effect::Compute { op: OpId(op), job });
            }
            let job: Job = Box::new(|_| Ok(Box::new(())));
            effects.push(Effect::Job { op: OpId(0), job });
        }
        Some(Event::Done { op: OpId(0), .. }) => {
            tell.send(0).unwrap();
            drop(holds.take());
        }
        Some(Event::Done { op, .. }) => {
            tell.send(op.0).unwrap();
            left -= 1;
            if left == 0 {
                effects.push(Effect::Stop);
            }
        }
        _ => {}
    });
    let first = told.recv_timeout(Duration::from_secs(20));
    assert_eq!(first, Ok(0), "the job waits for those that compute");
    shard.thread.join().unwrap().unwrap();
    assert_eq!(told.iter().count() as u64, COMPUTING);
}

#[test]
fn every_job_is_answered_once_a_panicking_one_too() {
    let count = 3 * crate::words::limits::JOBS_IN_FLIGHT_MAX as u64;
    let (tell, told) = channel();
    let mut asked = false;
    let mut left = count;
    let shard = run(false, move |(_, event, effects, _)| match event {
        None if !std::mem::replace(&mut asked, true) => {
            effects.extend((0..count).map(|n| {
                let job: Job = Box::new(move |_| match n % 50 {
                    7 => panic!("a job of the test panics"),
                    8 => Err(io::Error::from_raw_os_error(libc::ENOSPC)),
                    _ => Ok(Box::new(n * 2)),
                });
                match n % 2 {
                    0 => Effect::Job { op: OpId(n), job },
                    _ => Effect::Compute { op: OpId(n), job },
                }
            }));
        }
        Some(Event::Done { op, result }) => {
            let answer = match result {
                Ok(Output::Job(any)) => Ok(*any.downcast::<u64>().unwrap()),
                Ok(_) => panic!("not a job's output"),
                Err(fault) => Err(fault.kind),
            };
            tell.send((op.0, answer)).unwrap();
            left -= 1;
            if left == 0 {
                effects.push(Effect::Stop);
            }
        }
        _ => {}
    });
    shard.thread.join().unwrap().unwrap();
    let mut got: Vec<_> = told.iter().collect();
    got.sort_by_key(|(op, _)| *op);
    let want = (0..count).map(|n| match n % 50 {
        7 => (n, Err(FaultKind::Dead)),
        8 => (n, Err(FaultKind::Full)),
        _ => (n, Ok(n * 2)),
    });
    assert!(got.into_iter().eq(want));
}

#[test]
fn shards_exchange_messages_in_order_past_full_mailboxes() {
    const COUNT: u32 = 20_000;
    let (tell, told) = channel();
    let threads: Vec<_> = mesh::<u32>(2)
        .unwrap()
        .into_iter()
        .map(|endpoint| {
            let other = PeerId(1 - endpoint.id().0);
            let tell = tell.clone();
            let (mut sent, mut expected) = (0, 0);
            let script = move |(_, event, effects, _): Step<'_, u32>| match event {
                None => {
                    // Three hundred more a turn than a mailbox takes.
                    let until = COUNT.min(sent + 428);
                    effects
                        .extend((sent..until).map(|message| Effect::Post { to: other, message }));
                    sent = until;
                    if expected == COUNT && sent == COUNT {
                        expected += 1;
                        tell.send(()).unwrap();
                    }
                }
                Some(Event::Message { from, message }) => {
                    assert_eq!((from, message), (other, expected));
                    expected += 1;
                }
                Some(Event::Woken) => effects.push(Effect::Stop),
                _ => {}
            };
            run_on(endpoint, false, script)
        })
        .collect();
    next(&told);
    next(&told);
    for shard in threads {
        shard.stop();
    }
}

#[test]
fn ticks_come_in_the_order_of_deadlines_and_never_early() {
    let (tell, told) = channel();
    // A far deadline first, then nearer ones, then far again: the one timer has to move.
    let mut waits_ms = vec![20, 1, 40, 0, 5, 30];
    let mut woken = false;
    let shard = run(false, move |(now, event, effects, deadline)| match event {
        Some(Event::Tick) => {
            match waits_ms.pop() {
                Some(wait) => *deadline = Some(now.after_ms(wait)),
                None => effects.push(Effect::Stop),
            }
            tell.send(("tick", now.mono_ns, deadline.map(|d| d.0)))
                .unwrap();
        }
        Some(Event::Woken) => {
            woken = true;
            *deadline = Some(now.after_ms(10));
            tell.send(("woken", now.mono_ns, deadline.map(|d| d.0)))
                .unwrap();
        }
        None if !woken => *deadline = Some(now.after_ms(3_600_000)),
        _ => {}
    });
    shard.waker.wake();
    let mut due = None;
    let mut ticks = 0;
    for (what, at, next_due) in &told {
        if let Some(due) = due {
            assert!(at >= due, "{what} {} ns early", due - at);
        }
        due = next_due;
        ticks += usize::from(what == "tick");
    }
    assert_eq!(ticks, 7);
    shard.thread.join().unwrap().unwrap();
}

#[test]
fn a_panicking_machine_ends_its_thread_and_closes_its_connections() {
    let shard = run(true, |(_, event, effects, _)| {
        if let Some(Event::Received { connection, .. }) = event {
            let parts = vec![Bytes::from(vec![0; 16 << 20])];
            effects.push(Effect::Send { connection, parts });
        }
        assert!(
            !matches!(event, Some(Event::Woken)),
            "a machine of the test panics"
        );
    });
    let stream = shard.connect();
    (&stream).write_all(b"go").unwrap();
    (&stream).read_exact(&mut [0; 1000]).unwrap();
    shard.waker.wake();
    assert!(shard.thread.join().is_err());
    let mut rest = Vec::new();
    let _ = (&stream).read_to_end(&mut rest);
    assert!(rest.len() < 16 << 20);
}

#[test]
fn a_stop_in_the_first_turn_still_writes_what_was_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("last");
    let file = KernelDisk::new().open(&path, Open::Buffered).unwrap();
    let shard = run(true, move |(_, event, effects, _)| {
        if event.is_none() {
            effects.push(Effect::Write {
                op: OpId(0),
                file: file.clone(),
                position: 2,
                parts: vec![Bytes::from_static(b"last"), Bytes::from_static(b" words")],
                flush: true,
            });
            effects.push(Effect::Stop);
        }
    });
    shard.thread.join().unwrap().unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"\0\0last words");
}

//! The door of the broker: from settings to running shards, and out again.
//!
//! Runs on the main thread; owns the order of a start (settings, preflight, metadata, recovery,
//! shards, one `ready` line) and of an end (signal, drain, exit). Never touches a record.

mod directory;
mod places;
mod sockets;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::{TcpListener, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Instant;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tracing_subscriber::EnvFilter;

use crate::cli::ServeArgs;
use crate::control::{self, Control, ControlMessage, FileLog};
use crate::devices::preflight::{Finding, Needs, Severity};
use crate::devices::{
    Disk, Endpoint, KernelDisk, MachineDevices, Offload, Waker, buffer, mesh, preflight,
    run_control, run_shard,
};
use crate::log::journal_ring::{JournalFile, JournalRing, RingLimits};
use crate::log::names;
use crate::log::partition::{LogStart, Segment};
use crate::metadata::{ImageCell, MetadataImage, Resource};
use crate::settings::listeners::{self, Listener};
use crate::settings::load::{self, Given, Origin};
use crate::settings::topic::TopicSettings;
use crate::settings::{BrokerSettings, Durability, Layers, ProduceValidation};
use crate::shard::connection_counts::ConnectionCounts;
use crate::shard::journal::Journal;
use crate::shard::ownership::{flush_given, log_settings};
use crate::shard::recovery::{self, LiveTopic, RecoveredPartition, RecoveryInput};
use crate::shard::{Shard, ShardNumbers, ShardStart, control_peer, jobs};
use crate::words::limits::{
    DESCRIPTORS_ADVISED, DESCRIPTORS_BASE, DISK_FULL_RETRY_MS, FILL_IDLE_MS, JOURNAL_FILES_MIN,
    LOOK_THREADS_MAX, LOOK_THREADS_MIN, OFFLOAD_THREADS, PRODUCERS_PER_PARTITION_MAX,
    READ_FILES_MAX, RECOVERY_THREADS, RESCAN_BYTES_MAX, SHARD_BUFFER_BYTES,
};
use crate::words::{NodeId, ShardId, TimestampMs, TopicId, TopicPartition};

/// Kafka's own port.
const DEFAULT_PORT: u16 = 9092;

/// Why the broker does not start: what was found, what is needed, what to do.
#[derive(Debug)]
pub struct StartFailure(pub String);

impl fmt::Display for StartFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<io::Error> for StartFailure {
    fn from(error: io::Error) -> StartFailure {
        StartFailure(error.to_string())
    }
}

fn because(what: impl fmt::Display) -> impl FnOnce(io::Error) -> StartFailure {
    move |error| StartFailure(format!("{what}: {error}"))
}

/// What `ottla serve` does. Exit codes: 0 ended in order, 1 did not start or a shard failed, 2 the
/// settings were not understood.
pub fn main(args: &ServeArgs) -> ExitCode {
    let filter = EnvFilter::try_from_env("OTTLA_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Lines are handed to a thread of their own: a slow terminal must not stall a shard.
    let (writer, _flush_at_the_end) = tracing_appender::non_blocking(io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(writer)
        .init();
    let settings = match settings_of(args) {
        Ok(settings) => settings,
        Err(refusals) => {
            for refusal in refusals {
                tracing::error!("{refusal}");
            }
            return ExitCode::from(2);
        }
    };
    match serve(settings) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            tracing::error!("{failure}");
            ExitCode::FAILURE
        }
    }
}

/// Settles file, flags and overrides; warnings are logged, refusals returned.
fn settings_of(args: &ServeArgs) -> Result<BrokerSettings, Vec<String>> {
    let mut given = Vec::new();
    if let Some(path) = &args.config {
        let text = std::fs::read_to_string(path)
            .map_err(|error| vec![format!("--config {}: {error}", path.display())])?;
        given.extend(load::from_file(&text).map_err(|error| vec![error.to_string()])?);
    }
    let flags = flags(args, &given);
    given.extend(flags);
    given.extend(args.overrides.iter().map(|(key, value)| Given {
        key: key.clone(),
        value: value.clone(),
        origin: Origin::Override,
    }));
    let (settings, warnings) = load::load(&given)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// Flags as the settings they stand for. `--host` or `--port` alone leaves the other as the file has
/// it: a port must not open what the file keeps on one address.
fn flags(args: &ServeArgs, file: &[Given]) -> Vec<Given> {
    let flag = |key: &str, value: String| Given {
        key: key.to_owned(),
        value,
        origin: Origin::Flag,
    };
    let mut given = Vec::new();
    if let Some(data) = &args.data {
        given.push(flag("log.dirs", data.display().to_string()));
    }
    if args.host.is_some() || args.port.is_some() {
        let of_file = first_listener(file);
        let host = args
            .host
            .clone()
            .or(of_file.as_ref().map(|of| of.host.clone()));
        let host = host.unwrap_or_default();
        let host = match host.contains(':') {
            true => format!("[{host}]"),
            false => host,
        };
        let port = args
            .port
            .or(of_file.map(|of| of.port))
            .unwrap_or(DEFAULT_PORT);
        given.push(flag("listeners", format!("PLAINTEXT://{host}:{port}")));
    }
    if let Some(shards) = args.shards {
        given.push(flag("ottla.shards", shards.to_string()));
    }
    given
}

/// The first listener that the file names.
fn first_listener(file: &[Given]) -> Option<Listener> {
    let given = file.iter().rfind(|given| given.key == "listeners")?;
    let first = given.value.split(',').next()?.to_owned();
    listeners::parse(&[first]).ok()?.pop()
}

/// Serves until a signal ends it.
pub fn serve(mut settings: BrokerSettings) -> Result<(), StartFailure> {
    let started = Instant::now();
    // From here on signals are ours: one that comes during the start ends it in order.
    let signals = Signals::new([SIGTERM, SIGINT]).map_err(because("signals"))?;
    sockets::resolve_overrides(&mut settings)?;
    let data_dir = data_dir(&settings)?;
    let cores = places::cores(&settings)?;
    let shards = u16::try_from(cores.len()).unwrap_or(u16::MAX);
    preflight(&settings, &data_dir, shards)?;
    buffer::refuse_huge_pages();
    let _lock = preflight::lock(&data_dir).map_err(|held| StartFailure(told(&held)))?;
    directory::ours_or_empty(&settings, &data_dir)?;
    let disk: Arc<dyn Disk> = Arc::new(KernelDisk::new());

    let listeners = places::listeners(&settings, shards)?;
    let bound = places::ports(&listeners)?;
    let host = advertised_host(&settings);
    let mut endpoints = mesh::<ControlMessage>(shards + 1).map_err(because("the mesh"))?;
    let wakers: Vec<Waker> = endpoints.iter().map(Endpoint::waker).collect();

    let nodes = control::start::nodes(&settings, &host, &bound)
        .ok_or_else(|| StartFailure("a node id leaves its range".to_owned()))?;
    let node_ids: Vec<NodeId> = nodes.iter().map(|node| node.id).collect();
    let wake_all = wakers.clone();
    let control = control::start(
        &disk,
        &settings,
        nodes,
        Box::new(|| *uuid::Uuid::new_v4().as_bytes()),
        Box::new(move || wake_all.iter().for_each(Waker::wake)),
    )
    .map_err(|error| StartFailure(error.to_string()))?;

    let image = control.cell.load();
    let start = StartFacts::now(shards);
    let recovered = recover(&disk, &data_dir, &image, &settings, start)?;
    let computing = usize::from(shards).clamp(LOOK_THREADS_MIN, LOOK_THREADS_MAX);
    let offload = Offload::start(OFFLOAD_THREADS, computing).map_err(because("offload threads"))?;
    let stop = Arc::new(AtomicBool::new(false));

    start_control(control.control, endpoints.pop(), &disk, &offload)?;
    let plan = ShardPlan {
        settings: Arc::new(settings),
        disk: Arc::clone(&disk),
        cell: control.cell,
        incarnation: recovered.incarnation,
        logs: recovered.logs,
        connection_counts: Arc::default(),
        data_dir,
        offload,
        stop: Arc::clone(&stop),
        shards,
    };
    let doors = listeners.into_iter().zip(endpoints);
    let seats = node_ids.iter().copied().zip(cores);
    let threads = doors.zip(seats).zip(0u16..).map(|((door, seat), shard)| {
        let (listener, endpoint) = door;
        plan.start_shard(ShardId(shard), seat, listener, endpoint)
    });
    let threads = threads.collect::<Result<Vec<_>, _>>()?;
    announce(&plan, &host, &bound, &node_ids, started)?;
    directory::remove_deleted(&disk, &plan.data_dir)?;
    wait_for_end(signals, &stop, &wakers, threads)
}

/// Starts the metadata writer on the last place of the mesh.
fn start_control(
    machine: Control<FileLog>,
    endpoint: Option<Endpoint<ControlMessage>>,
    disk: &Arc<dyn Disk>,
    offload: &Offload,
) -> Result<(), StartFailure> {
    let endpoint = endpoint
        .ok_or_else(|| StartFailure("the mesh has no place for the control writer".to_owned()))?;
    let devices = MachineDevices {
        name: "control".to_owned(),
        core: None,
        listener: None,
        endpoint,
        disk: Arc::clone(disk),
        offload: offload.clone(),
        buffer_bytes: 0,
    };
    run_control(devices, move |_| machine)
        .map(drop)
        .map_err(because("the control thread"))
}

/// The first data directory, created if it is not there.
fn data_dir(settings: &BrokerSettings) -> Result<PathBuf, StartFailure> {
    if let [first, others @ ..] = settings.data_dirs.as_slice()
        && !others.is_empty()
    {
        tracing::warn!("log.dirs names several directories: only {first} is used, not {others:?}");
    }
    let dir = settings
        .data_dirs
        .first()
        .map_or_else(|| PathBuf::from("ottla-data"), PathBuf::from);
    // And its name is made durable: what is in it is acknowledged soon.
    KernelDisk::new().create_dir_all(&dir).map_err(|error| {
        let dir = dir.display();
        StartFailure(format!(
            "the data directory {dir} cannot be created: {error}; needed: a directory that this user may write. \
             To mend it: sudo install -d -o \"$(id -un)\" {dir}, or choose another with --data"
        ))
    })?;
    std::fs::canonicalize(&dir).map_err(because(dir.display()))
}

/// Everything that must be true of the machine; warnings are logged, the rest ends the start.
fn preflight(settings: &BrokerSettings, data_dir: &Path, shards: u16) -> Result<(), StartFailure> {
    let (descriptors, descriptors_by) = descriptors(settings, shards);
    let findings = preflight::check(&Needs {
        shards: usize::from(shards),
        descriptors: descriptors as u64,
        descriptors_by,
        data_directories: vec![data_dir.to_path_buf()],
        // Binding tells more: see `places`.
        addresses: Vec::new(),
    });
    let mut fatal = Vec::new();
    for finding in findings {
        match finding.severity {
            Severity::Warning => tracing::warn!("{}", told(&finding)),
            Severity::Fatal => fatal.push(told(&finding)),
        }
    }
    match fatal.is_empty() {
        true => Ok(()),
        false => Err(StartFailure(fatal.join("\n"))),
    }
}

/// How many descriptors to be prepared for: what `max.connections` and our files need; without it
/// nobody knows how many clients come, so what Kafka advises, all in all.
fn descriptors(settings: &BrokerSettings, shards: u16) -> (usize, &'static str) {
    if settings.given("max.connections").is_none() {
        return (
            DESCRIPTORS_ADVISED,
            "Kafka's advice; max.connections is not set",
        );
    }
    let files = READ_FILES_MAX.saturating_mul(usize::from(shards));
    let own = files.saturating_add(DESCRIPTORS_BASE);
    (
        settings.connections_max.saturating_add(own),
        "max.connections",
    )
}

/// A finding as a person reads it: what was found, what is needed, what mends it.
fn told(finding: &Finding) -> String {
    let Finding {
        found,
        needed,
        mend,
        ..
    } = finding;
    format!("{found}; needed: {needed}. To mend it: {mend}")
}

/// The host that clients are told when no listener says another.
fn advertised_host(settings: &BrokerSettings) -> String {
    settings
        .listeners
        .first()
        .map(|listener| listener.host.clone())
        .filter(|host| !["", "0.0.0.0", "::"].contains(&host.as_str()))
        .unwrap_or_else(local_host)
}

/// What clients are told when the broker listens everywhere and nothing is advertised.
fn local_host() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy().into_owned();
    match (name.as_str(), 0u16).to_socket_addrs() {
        Ok(found) if found.len() > 0 => name,
        _ => "127.0.0.1".to_owned(),
    }
}

/// Recovered logs and the incarnation of this start's journals.
pub struct Ground {
    pub incarnation: u64,
    pub logs: crate::shard::Recovered,
    pub summary: recovery::Summary,
}

/// What one start brings to recovery.
#[derive(Clone, Copy, Debug)]
pub struct StartFacts {
    /// Tells this start's journals from all others.
    pub salt: u32,
    /// When recovered segments count as made.
    pub now: TimestampMs,
    /// Shards of this start: journals of others are removed once they are empty.
    pub shards: u16,
    /// Partitions that are recovered at a time.
    pub threads: usize,
}

impl StartFacts {
    /// Of a start that happens now.
    fn now(shards: u16) -> StartFacts {
        let [a, b, c, d, ..] = *uuid::Uuid::new_v4().as_bytes();
        StartFacts {
            salt: u32::from_be_bytes([a, b, c, d]),
            now: TimestampMs(jiff::Timestamp::now().as_millisecond()),
            shards,
            threads: RECOVERY_THREADS,
        }
    }
}

/// Brings the data directory into order before any shard starts.
pub fn recover(
    disk: &Arc<dyn Disk>,
    data_dir: &Path,
    image: &MetadataImage,
    settings: &BrokerSettings,
    start: StartFacts,
) -> Result<Ground, StartFailure> {
    let StartFacts {
        salt,
        now,
        shards,
        threads,
    } = start;
    let started = Instant::now();
    let topics = live_topics(image, settings);
    let input = RecoveryInput {
        data_dir,
        topics: &topics,
        salt,
        producers_max: PRODUCERS_PER_PARTITION_MAX,
        shards,
        threads,
    };
    let mut told = Instant::now();
    let found = recovery::recover(&**disk, &input, &mut |progress| {
        if told.elapsed().as_secs() >= 1 {
            told = Instant::now();
            tracing::info!(?progress, "recovering");
        }
    })
    .map_err(|error| StartFailure(error.to_string()))?;
    for note in &found.notes {
        tracing::warn!(verdict = note.letter, path = %note.path.display(), position = note.position, "{}", note.text);
    }
    for offline in &found.offline {
        tracing::error!(verdict = offline.letter, path = %offline.path.display(), position = offline.position, "partition {} stays offline: {}", offline.partition, offline.message);
    }
    for stray in &found.strays {
        directory::tell_of_stray(stray);
    }
    tracing::info!(
        partitions = found.partitions.len(),
        journals = found.summary.journals,
        entries = found.summary.entries,
        batches_replayed = found.summary.batches_replayed,
        bytes_scanned = found.summary.bytes_scanned,
        ms = started.elapsed().as_millis(),
        "recovered"
    );
    let mut logs: HashMap<TopicPartition, LogStart> = found
        .partitions
        .into_iter()
        .map(|(id, partition)| (id, log_start(partition, now)))
        .collect();
    for offline in &found.offline {
        logs.insert(
            offline.partition,
            LogStart {
                offline: true,
                ..LogStart::empty(PRODUCERS_PER_PARTITION_MAX)
            },
        );
    }
    Ok(Ground {
        incarnation: found.incarnation,
        summary: found.summary,
        logs: Arc::new(Mutex::new(logs)),
    })
}

fn live_topics(image: &MetadataImage, settings: &BrokerSettings) -> BTreeMap<TopicId, LiveTopic> {
    let none = BTreeMap::new();
    let layers = Layers {
        node: &none,
        cluster: image.configs(&Resource::BrokerDefault),
        fixed: settings,
    };
    image
        .topics()
        .map(|topic| {
            let resolved = TopicSettings::resolve(&topic.configs, &layers);
            let live = LiveTopic {
                name: topic.name.to_string(),
                partitions: i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
                settings: log_settings(
                    &resolved,
                    flush_given(topic, settings),
                    settings.producer_id_expiration_ms,
                ),
            };
            (topic.id, live)
        })
        .collect()
}

/// What recovery found, as a log starts with it: everything is in flushed segments.
fn log_start(found: RecoveredPartition, now: TimestampMs) -> LogStart {
    let last = found.segments.len().saturating_sub(1);
    let ends: Vec<_> = found
        .segments
        .iter()
        .skip(1)
        .map(|segment| segment.base_offset)
        .chain(std::iter::once(found.next_offset))
        .collect();
    let mut indexes = Some(Box::new(found.indexes));
    let segments = found
        .segments
        .iter()
        .zip(ends)
        .enumerate()
        .map(|(at, (segment, next_offset))| Segment {
            base_offset: segment.base_offset,
            next_offset,
            size_bytes: segment.size_bytes,
            filled_bytes: segment.size_bytes,
            first_timestamp: segment.first_batch_timestamp,
            largest: segment.max_timestamp,
            created: now,
            building: if at == last { indexes.take() } else { None },
        })
        .collect();
    LogStart {
        log_start: found.log_start,
        next_offset: found.next_offset,
        segments,
        epochs: found.epochs,
        producers: found.producers,
        offline: false,
    }
}

/// What every shard is started from.
struct ShardPlan {
    settings: Arc<BrokerSettings>,
    disk: Arc<dyn Disk>,
    cell: Arc<ImageCell>,
    incarnation: u64,
    logs: crate::shard::Recovered,
    connection_counts: Arc<ConnectionCounts>,
    data_dir: PathBuf,
    offload: Offload,
    stop: Arc<AtomicBool>,
    shards: u16,
}

impl ShardPlan {
    fn start_shard(
        &self,
        shard: ShardId,
        (node, core): (NodeId, Option<usize>),
        listener: TcpListener,
        endpoint: Endpoint<ControlMessage>,
    ) -> Result<JoinHandle<io::Result<()>>, StartFailure> {
        let limits = RingLimits {
            files_max: self.settings.journal_files_max,
            ..RingLimits::default()
        };
        let journal = open_journal(&*self.disk, &self.data_dir, shard, self.incarnation, limits)
            .map_err(because(format_args!("the journal of shard {shard}")))?;
        let numbers = numbers(&self.settings);
        let settings = Arc::clone(&self.settings);
        let image = Arc::clone(&self.cell);
        let recovered = Arc::clone(&self.logs);
        let connection_counts = Arc::clone(&self.connection_counts);
        let data_dir = self.data_dir.clone();
        let stop = Arc::clone(&self.stop);
        let control = control_peer(self.shards);
        let [a, b, c, d, e, f, g, h, ..] = *uuid::Uuid::new_v4().as_bytes();
        let seed = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        let devices = MachineDevices {
            name: format!("shard-{shard}"),
            core,
            listener: Some(listener),
            endpoint,
            disk: Arc::clone(&self.disk),
            offload: self.offload.clone(),
            buffer_bytes: SHARD_BUFFER_BYTES,
        };
        run_shard(devices, move |handle| {
            Shard::new(ShardStart {
                shard,
                node,
                control,
                numbers,
                settings,
                image,
                pool: Arc::clone(&handle.buffers),
                journal,
                recovered,
                connection_counts,
                data_dir,
                stop,
                seed,
                now: handle.now,
            })
        })
        .map_err(because(format_args!("shard {shard}")))
    }
}

/// Opens (and on the first start writes) the journal files of a shard.
pub fn open_journal(
    disk: &dyn Disk,
    data_dir: &Path,
    shard: ShardId,
    incarnation: u64,
    limits: RingLimits,
) -> io::Result<Journal> {
    let directory = data_dir.join(names::journal_dir_name(shard));
    let files = (0..u32::try_from(JOURNAL_FILES_MIN).unwrap_or(u32::MAX))
        .map(|number| {
            let number = JournalFile(number);
            let file = jobs::create_journal_file(disk, &directory, number, limits.file_bytes)?;
            Ok((number, file))
        })
        .collect::<io::Result<Vec<_>>>()?;
    let numbers: Vec<JournalFile> = files.iter().map(|(number, _)| *number).collect();
    let ring = JournalRing::new(limits, incarnation, &numbers);
    Ok(Journal::new(ring, incarnation, files, directory))
}

/// The hot path's numbers out of the settings.
pub fn numbers(settings: &BrokerSettings) -> ShardNumbers {
    let number = |name: &str| settings.number(name).unwrap_or(0);
    ShardNumbers {
        retention_check_ms: settings.retention_check_interval_ms,
        producer_expiry_check_ms: number("producer.id.expiration.check.interval.ms"),
        producer_expiration_ms: settings.producer_id_expiration_ms,
        fill_idle_ms: FILL_IDLE_MS,
        disk_full_retry_ms: DISK_FULL_RETRY_MS,
        rescan_bytes_max: RESCAN_BYTES_MAX,
        tail_cache_bytes: settings.tail_cache_bytes,
        frame_bytes_max: settings.socket_request_bytes_max,
        request_memory_bytes: settings.request_memory_bytes,
        connections_max: settings.connections_max,
        connections_per_ip_max: settings.connections_per_ip_max,
        connection_idle_ms: settings.connection_idle_ms_max,
        fetch_bytes_max: settings.fetch_bytes_max,
        fetch_sessions_max: settings.fetch_sessions_max,
        strict_validation: settings.produce_validation == ProduceValidation::Strict,
    }
}

/// The one line on standard output.
fn announce(
    plan: &ShardPlan,
    host: &str,
    bound: &[u16],
    node_ids: &[NodeId],
    started: Instant,
) -> Result<(), StartFailure> {
    let ends = |numbers: &[String]| match numbers {
        [] => String::new(),
        [one] => format!("{one}-{one}"),
        [first, .., last] => format!("{first}-{last}"),
    };
    let ports: Vec<String> = bound.iter().map(u16::to_string).collect();
    let ids: Vec<String> = node_ids.iter().map(NodeId::to_string).collect();
    let durability = match plan.settings.durability {
        Durability::Fsync => "fsync",
        Durability::Write => "write",
    };
    let host = match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    };
    let line = format!(
        "ready {host}:{} shards={} node.ids={} data={} durability={durability}",
        ends(&ports),
        plan.shards,
        ends(&ids),
        plan.data_dir.display(),
    );
    tracing::info!(ms = started.elapsed().as_millis(), "{line}");
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(because("standard output"))
}

/// The first signal drains; a second one ends at once.
fn wait_for_end(
    mut signals: Signals,
    stop: &AtomicBool,
    wakers: &[Waker],
    threads: Vec<JoinHandle<io::Result<()>>>,
) -> Result<(), StartFailure> {
    let handle = signals.handle();
    let first = signals.forever().next();
    tracing::info!(signal = first, "draining: a second signal ends at once");
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            std::process::exit(130);
        }
    });
    stop.store(true, Ordering::Release);
    wakers.iter().for_each(Waker::wake);
    let mut failure = None;
    for thread in threads {
        match thread.join() {
            Ok(Ok(())) => {}
            Ok(Err(error)) => failure = Some(format!("a shard ended with: {error}")),
            Err(_) => failure = Some("a shard panicked".to_owned()),
        }
    }
    handle.close();
    failure.map_or(Ok(()), |what| Err(StartFailure(what)))
}

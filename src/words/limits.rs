//! Every bound of the house, with its relation to its neighbours asserted at compile time.
//!
//! A limit that a Kafka setting can move is the default of that setting.

/// Unit of alignment for direct I/O buffers and journal entries, in bytes. At least every
/// alignment a drive asks for; the true one comes from statx.
pub const BLOCK_BYTES: usize = 4096;

/// Node ids of one machine are `machine * SHARDS_PER_MACHINE_MAX + shard`.
pub const SHARDS_PER_MACHINE_MAX: u16 = 1000;

/// Longest run of one partition inside a commit group that still goes through the journal;
/// a longer one is written straight to its segment (see FORMAT.md, "bypass").
pub const JOURNAL_RUN_BYTES_MAX: usize = 256 * 1024;

/// Bytes of one journal file: entries never span files.
pub const JOURNAL_FILE_BYTES: usize = 4 * 1024 * 1024;
/// Files of a shard's journal ring when it is created.
pub const JOURNAL_FILES_MIN: usize = 2;
/// Files to which a shard's journal ring may grow (256 MiB): bounds recovery time.
pub const JOURNAL_FILES_MAX: usize = 64;
/// Most bytes of batches in one journal entry; a larger commit group becomes several entries.
pub const JOURNAL_ENTRY_BYTES_MAX: usize = 1024 * 1024;
/// Commit groups between submission and completion.
pub const COMMIT_GROUPS_IN_FLIGHT_MAX: usize = 4;

/// Bytes of tail (recent batches, as they are on the wire) that a shard keeps in memory.
pub const TAIL_CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest topic name, in bytes (Kafka `Topic.MAX_NAME_LENGTH`).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Batches that a producer's idempotence window keeps (Kafka `ProducerStateEntry`).
pub const PRODUCER_BATCHES_KEPT: usize = 5;
/// Fetch sessions a shard keeps (Kafka `max.incremental.fetch.session.cache.slots`).
pub const FETCH_SESSIONS_MAX: usize = 1000;
/// A fetch session unused for longer, in milliseconds, may be evicted by any other (Kafka
/// `KafkaBroker.MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS`).
pub const FETCH_SESSION_IDLE_MS_MAX: u64 = 120_000;
/// Partitions of one fetch session; a fetch of more gets no session.
pub const FETCH_SESSION_PARTITIONS_MAX: usize = 100_000;
/// Memory that the fetch sessions of a shard may take, estimated, in bytes.
pub const FETCH_SESSIONS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Requests of a shard that wait for an offset or a deadline.
pub const PARKED_REQUESTS_MAX: usize = 256 * 1024;
/// Partitions watched by the parked fetches of a shard, all fetches together.
pub const WATCHED_PARTITIONS_MAX: usize = 1024 * 1024;
/// Armed timers of a shard: one for each parked request, and as many for everything else.
pub const TIMERS_MAX: usize = 2 * PARKED_REQUESTS_MAX;
/// Requests of one connection between decoding and reply.
pub const CONNECTION_PIPELINE_MAX: usize = 1024;

// devices

/// Entries of a shard's submission queue; more wait in memory for the next submission.
pub const RING_SUBMISSIONS: u32 = 1024;
/// Entries of a shard's completion queue; past it the kernel keeps completions aside.
pub const RING_COMPLETIONS: u32 = 8192;
/// Receive buffers that a shard lends to the kernel.
pub const RECEIVE_BUFFERS: u16 = 256;
/// Bytes of one receive buffer: the longest piece a connection receives at a time.
pub const RECEIVE_BUFFER_BYTES: u32 = 16 * 1024;
/// Parts of one send; the kernel refuses more than 1024 (`IOV_MAX`).
pub const SEND_PARTS_MAX: usize = 256;
/// Parts of one file write; more make several writes.
pub const WRITE_PARTS_MAX: usize = 1024;
/// Longest read of a file through the ring, in bytes.
pub const READ_BYTES_MAX: usize = 256 * 1024 * 1024;
/// Connections of one shard; one more is closed as soon as it is accepted.
pub const CONNECTIONS_PER_SHARD_MAX: usize = 1 << 17;
/// Connections that wait to be accepted (the kernel clips it to `net.core.somaxconn`).
pub const ACCEPT_BACKLOG: i32 = 4096;
/// Milliseconds without accepting after the process ran out of descriptors or memory.
pub const ACCEPT_RETRY_MS: i64 = 100;
/// Milliseconds that a peer has to hang up after everything was sent to it.
pub const LINGER_MS: i64 = 1000;
/// Messages between two machines on their way; more wait at the sender.
pub const MAILBOX_MESSAGES: usize = 128;
/// Jobs of one machine that the offload threads know of; more wait at the machine.
pub const JOBS_IN_FLIGHT_MAX: usize = 64;
/// Offload threads of the process.
pub const OFFLOAD_THREADS: usize = 2;
/// How far offload threads that compute stand back, as `nice` counts it.
pub const COMPUTE_NICENESS: i32 = 10;
/// A turn longer than this, in milliseconds, is a stall.
pub const STALL_MS: u64 = 5;
/// Longest pooled buffer, in bytes; a longer one is allocated for its one use.
pub const BUFFER_CLASS_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Free buffers of one size class that a pool keeps.
pub const BUFFERS_KEPT_PER_CLASS_MAX: usize = 64;
/// Milliseconds after which buffers that nobody needed meanwhile are given back.
pub const BUFFER_TRIM_MS: i64 = 1000;
/// Attempts at an operation that the kernel interrupts without progress.
pub const INTERRUPTS_MAX: u32 = 64;

const _: () = assert!(RING_COMPLETIONS >= 2 * RING_SUBMISSIONS);
const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS <= 32768);
const _: () = assert!((RECEIVE_BUFFER_BYTES as usize).is_multiple_of(BLOCK_BYTES));
const _: () = assert!(SEND_PARTS_MAX <= 1024 && WRITE_PARTS_MAX <= 1024);
const _: () = assert!(READ_BYTES_MAX + 2 * BLOCK_BYTES <= i32::MAX as usize);
const _: () = assert!(BUFFER_CLASS_BYTES_MAX >= JOURNAL_FILE_BYTES);
const _: () = assert!(JOBS_IN_FLIGHT_MAX >= OFFLOAD_THREADS);

const _: () = assert!(JOURNAL_ENTRY_BYTES_MAX + BLOCK_BYTES * 2 <= JOURNAL_FILE_BYTES);
const _: () = assert!(JOURNAL_RUN_BYTES_MAX <= JOURNAL_ENTRY_BYTES_MAX);
// What is in flight fits the ring even before it grows.
const _: () = assert!(
    COMMIT_GROUPS_IN_FLIGHT_MAX * JOURNAL_ENTRY_BYTES_MAX < JOURNAL_FILES_MIN * JOURNAL_FILE_BYTES
);
const _: () = assert!(JOURNAL_FILES_MIN <= JOURNAL_FILES_MAX);
const _: () = assert!(BLOCK_BYTES.is_power_of_two());

/// Most bytes of one commit group; what waits beyond goes into the next.
pub const COMMIT_GROUP_BYTES_MAX: usize = 4 * 1024 * 1024;
/// A partition with this many unfilled bytes is filled without waiting for pressure.
pub const FILL_RUN_BYTES: usize = 1024 * 1024;
/// Most bytes of one fill write.
pub const FILL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Lazy fills of a shard in flight.
pub const FILLS_IN_FLIGHT_MAX: usize = 8;
/// And while the journal has room: each of them makes the file system commit, and a commit group
/// that flushes meanwhile waits for it.
pub const FILLS_IN_FLIGHT_CALM: usize = 1;
/// Idle data is filled after this long.
pub const FILL_IDLE_MS: i64 = 5_000;
/// Longest that an acknowledged record of a topic with relaxed durability stays unflushed.
pub const RELAXED_FLUSH_MS: i64 = 1_000;
/// A checkpoint follows the first complete fill of a partition after so long.
pub const CHECKPOINT_AFTER_FILL_MS: i64 = 5_000;
/// Fills wait so long after the disk was full.
pub const DISK_FULL_RETRY_MS: i64 = 1_000;
/// Free chunk memory that a shard keeps, and what a bounded take may use.
pub const SHARD_BUFFER_BYTES: usize = 256 * 1024 * 1024;
/// Filled bytes that recovery of one shard may have to read again, over all its partitions.
pub const RESCAN_BYTES_MAX: u64 = 256 * 1024 * 1024;
/// Partitions that recovery works on at a time: it waits for flushes, which the drive takes
/// together.
pub const RECOVERY_THREADS: usize = 16;
/// Quarters of [`RESCAN_BYTES_MAX`]: a checkpoint brings what is unmarked down to one, begins at
/// [`CHECKPOINT_STEPS`], and fills wait for its end at [`FILLS_STOP_STEPS`].
pub const RESCAN_STEPS: u64 = 4;
pub const CHECKPOINT_STEPS: u64 = 2;
pub const FILLS_STOP_STEPS: u64 = 3;
/// An active segment's file is trimmed when so long after a fill nothing was appended.
pub const TRIM_AFTER_FILL_MS: i64 = 5_000;
/// Trims of a shard in flight: other jobs matter more.
pub const TRIMS_IN_FLIGHT_MAX: usize = 2;
// What is in flight when fills stop stays below the bound.
const _: () = assert!(
    RESCAN_BYTES_MAX / RESCAN_STEPS * FILLS_STOP_STEPS
        + (FILLS_IN_FLIGHT_MAX * FILL_BYTES_MAX) as u64
        + (COMMIT_GROUPS_IN_FLIGHT_MAX * COMMIT_GROUP_BYTES_MAX) as u64
        <= RESCAN_BYTES_MAX
);

/// Bytes of one read of older data.
pub const READ_EXTENT_BYTES: usize = 1024 * 1024;
/// Bytes of older data that a shard keeps in memory, apart from the tail.
pub const READ_CACHE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Reads of older data of a shard in flight.
pub const READS_IN_FLIGHT_MAX: usize = 16;
/// Sealed segments that a shard keeps open for reading.
pub const READ_FILES_MAX: usize = 64;

const _: () = assert!(FILL_RUN_BYTES <= FILL_BYTES_MAX);
const _: () = assert!(COMMIT_GROUP_BYTES_MAX < JOURNAL_FILES_MAX * JOURNAL_FILE_BYTES / 4);
const _: () = assert!(READ_EXTENT_BYTES * READS_IN_FLIGHT_MAX <= READ_CACHE_BYTES_MAX);

/// Bytes queued on a socket beyond which no further request of that connection starts.
pub const CONNECTION_UNSENT_BYTES_MAX: usize = 1024 * 1024;
/// How often idle connections are looked for.
pub const IDLE_CHECK_MS: i64 = 10_000;
/// And how often at most, however short `connections.max.idle.ms` is.
pub const IDLE_CHECK_MS_MIN: i64 = 100;
/// A connection with no more of an unfinished request is read even when the shard holds all the
/// request bytes it may (`ottla.request.memory.bytes`): small requests go on.
pub const UNFINISHED_BYTES_FREE: usize = 64 * 1024;
/// When memory for requests is short, a client that stops in the middle of one for so long goes.
pub const UNFINISHED_STALL_MS: i64 = 10_000;
/// How long the way out waits for clients to take their last answers.
pub const DRAIN_PATIENCE_MS: i64 = 10_000;
/// Most bytes that the records of one batch may take when decompressed to be looked at.
pub const DECOMPRESSED_BYTES_MAX: usize = 256 * 1024 * 1024;
/// What the shard itself may decompress in one turn, in bytes of output (with a price for each batch
/// and for packing anew, see `wire/record/allowance.rs`); an offload thread does the rest.
pub const INLINE_UNPACKED_BYTES_MAX: usize = 256 * 1024;
/// Records that the shard itself may walk in one turn, compressed or not.
pub const INLINE_RECORDS_MAX: usize = 64 * 1024;
/// After so many bytes a look on an offload thread ends with the batch it is at, and what is left of
/// its request goes to the end of the line.
pub const LOOK_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Looks of one shard that the offload threads know of; more wait at the shard.
pub const LOOKS_IN_FLIGHT_MAX: usize = 4;
/// Requests of one connection that are looked at, or were, before the first of them is appended.
pub const LOOKS_AHEAD_MAX: usize = 4;
/// Bytes of produce requests that wait to be appended although their clients have left.
pub const ABANDONED_BYTES_MAX: usize = 16 * 1024 * 1024;
/// A request counts as so many of those bytes at least.
pub const ABANDONED_REQUEST_BYTES_MIN: usize = 64 * 1024;
/// Threads of the process that look into batches: as many as shards, but no more, and two at least.
/// Each may hold [`DECOMPRESSED_BYTES_MAX`].
pub const LOOK_THREADS_MAX: usize = 16;
/// And no fewer.
pub const LOOK_THREADS_MIN: usize = 2;
const _: () = assert!(INLINE_UNPACKED_BYTES_MAX < LOOK_BYTES_MAX);
const _: () = assert!(LOOK_BYTES_MAX <= DECOMPRESSED_BYTES_MAX);
const _: () = assert!(LOOKS_IN_FLIGHT_MAX < JOBS_IN_FLIGHT_MAX);
const _: () = assert!(LOOK_THREADS_MIN <= LOOK_THREADS_MAX);
/// Runs of batches that one search by time looks at before it gives up.
pub const LOOKUP_BATCHES_MAX: usize = 4096;
/// Idempotent producers that a partition remembers.
pub const PRODUCERS_PER_PARTITION_MAX: usize = 16_384;
// The largest session fits with room to spare, at a quarter of a kilobyte a partition.
const _: () = assert!(FETCH_SESSION_PARTITIONS_MAX * 256 <= FETCH_SESSIONS_BYTES_MAX);
const _: () = assert!(FETCH_SESSIONS_MAX <= PARKED_REQUESTS_MAX);
const _: () = assert!(PARKED_REQUESTS_MAX <= WATCHED_PARTITIONS_MAX);
const _: () = assert!(PARKED_REQUESTS_MAX < TIMERS_MAX);
/// Produce answers that one partition may owe at a time.
pub const OWED_PER_PARTITION_MAX: usize = 64 * 1024;
/// Descriptors of the whole process that are prepared for when `max.connections` is not set: what
/// Kafka's documentation advises (Operations, "File descriptor limits").
pub const DESCRIPTORS_ADVISED: usize = 100_000;
/// Runs of ports that a start on port 0 tries before it gives up.
pub const PORT_RUNS_TRIED_MAX: usize = 64;
/// Descriptors beside connections and the files that are open for reading: active segments,
/// journals, the ring.
pub const DESCRIPTORS_BASE: usize = 1024;

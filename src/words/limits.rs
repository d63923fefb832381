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
pub const COMMIT_GROUPS_IN_FLIGHT_MAX: usize = 2;

/// Bytes of tail (recent batches, as they are on the wire) that a shard keeps in memory.
pub const TAIL_CACHE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Longest topic name, in bytes (Kafka `Topic.MAX_NAME_LENGTH`).
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// Batches that a producer's idempotence window keeps (Kafka `ProducerStateEntry`).
pub const PRODUCER_BATCHES_KEPT: usize = 5;
/// Fetch sessions a shard keeps (Kafka `max.incremental.fetch.session.cache.slots`).
pub const FETCH_SESSIONS_MAX: usize = 1000;
/// Requests of one connection between decoding and reply.
pub const CONNECTION_PIPELINE_MAX: usize = 64;

const _: () = assert!(JOURNAL_ENTRY_BYTES_MAX + BLOCK_BYTES * 2 <= JOURNAL_FILE_BYTES);
const _: () = assert!(JOURNAL_RUN_BYTES_MAX <= JOURNAL_ENTRY_BYTES_MAX);
const _: () = assert!(JOURNAL_FILES_MIN >= COMMIT_GROUPS_IN_FLIGHT_MAX);
const _: () = assert!(JOURNAL_FILES_MIN <= JOURNAL_FILES_MAX);
const _: () = assert!(BLOCK_BYTES.is_power_of_two());

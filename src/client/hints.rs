//! What to do next, by what went wrong. Owns sentences, decides nothing.

use crate::wire::ErrorCode;

pub const UNREACHABLE: &str = "Is the broker running, and is the address right? --bootstrap HOST:PORT or OTTLA_BOOTSTRAP names another.";
pub const TIMED_OUT: &str = "Is the broker overloaded, or something else than a Kafka broker on that port? --timeout-ms waits longer.";
pub const CLOSED: &str = "The broker may have restarted, or the port belongs to a listener with TLS or SASL, which this client does not speak.";
pub const PROTOCOL: &str =
    "Is that port a Kafka listener without TLS? Another protocol looks like this.";
pub const NO_VERSION: &str = "The broker is too old or too new, or does not serve this API.";
pub const NO_LEADER: &str =
    "Its replicas may be down: `ottla topic describe` shows them, `ottla cluster` the nodes.";
pub const NO_PARTITION: &str = "Partitions count from 0.";
pub const BUILD: &str = "Smaller records, or fewer in a batch, will do.";
pub const UNREADABLE: &str = "Read on from a later offset, and look for a failing disk: the broker stored or sent damaged bytes.";

/// The hint for a broker's refusal; none where the code says all there is to say.
pub fn of_code(code: ErrorCode) -> Option<&'static str> {
    Some(match code {
        ErrorCode::UNKNOWN_TOPIC_OR_PARTITION | ErrorCode::UNKNOWN_TOPIC_ID => {
            "`ottla topic list` shows what there is; `ottla topic create NAME` makes a topic."
        }
        ErrorCode::TOPIC_ALREADY_EXISTS => {
            "Nothing was changed. --if-not-exists takes that for success."
        }
        ErrorCode::INVALID_TOPIC_EXCEPTION => {
            "Names have 1 to 249 of the characters a-z A-Z 0-9 . _ - and are not `.` or `..`."
        }
        ErrorCode::INVALID_REPLICATION_FACTOR => {
            "Apache Kafka keeps as many copies as there are brokers (`ottla cluster` counts them) and Ottla one."
        }
        ErrorCode::INVALID_PARTITIONS => "A topic has 1 partition or more.",
        ErrorCode::INVALID_CONFIG => "Keys are Kafka's topic settings, as retention.ms=86400000.",
        ErrorCode::OFFSET_OUT_OF_RANGE => {
            "`ottla topic describe` shows which offsets each partition holds."
        }
        ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE => {
            "Lower --batch-bytes, or raise the topic's max.message.bytes if a single record is that large."
        }
        ErrorCode::NOT_ENOUGH_REPLICAS | ErrorCode::NOT_ENOUGH_REPLICAS_AFTER_APPEND => {
            "Fewer replicas are in sync than min.insync.replicas: `ottla topic describe` shows which."
        }
        ErrorCode::LEADER_NOT_AVAILABLE
        | ErrorCode::NOT_LEADER_OR_FOLLOWER
        | ErrorCode::FENCED_LEADER_EPOCH
        | ErrorCode::UNKNOWN_LEADER_EPOCH => {
            "Leaders are moving; it was tried until the time ran out. Try again."
        }
        ErrorCode::REQUEST_TIMED_OUT => {
            "The broker gave up waiting, perhaps for its replicas. It may still have done what was asked."
        }
        ErrorCode::INVALID_TIMESTAMP => {
            "The topic bounds timestamps (message.timestamp.before.max.ms, .after.max.ms): is this machine's clock right?"
        }
        ErrorCode::INVALID_RECORD => "A compacted topic takes only records with a key.",
        ErrorCode::OUT_OF_ORDER_SEQUENCE_NUMBER
        | ErrorCode::UNKNOWN_PRODUCER_ID
        | ErrorCode::INVALID_PRODUCER_EPOCH => {
            "The broker's memory of this producer does not fit. Start again after the last record that was stored."
        }
        ErrorCode::TOPIC_AUTHORIZATION_FAILED
        | ErrorCode::CLUSTER_AUTHORIZATION_FAILED
        | ErrorCode::GROUP_AUTHORIZATION_FAILED => "The cluster's ACLs do not allow it.",
        ErrorCode::TOPIC_DELETION_DISABLED => "The broker runs with delete.topic.enable=false.",
        ErrorCode::UNSUPPORTED_VERSION => NO_VERSION,
        ErrorCode::KAFKA_STORAGE_ERROR | ErrorCode::UNKNOWN_SERVER_ERROR => {
            "The broker's log says more."
        }
        _ => return None,
    })
}

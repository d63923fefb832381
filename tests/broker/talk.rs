//! Talking to brokers: one connection, a cluster of shards, and record batches.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ottla::client::fetched::{Flow, walk_records};
use ottla::client::{Address, ClientError, Connection};
use ottla::wire::codec::Reader;
use ottla::wire::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData};
use ottla::wire::frame::RequestFrame;
use ottla::wire::header::ResponseHeader;
use ottla::wire::messages::k02_list_offsets::{ListOffsetsPartition, ListOffsetsTopic};
use ottla::wire::messages::k03_metadata::MetadataRequestTopic;
use ottla::wire::messages::k19_create_topics::{CreatableTopic, CreatableTopicConfig};
use ottla::wire::messages::k20_delete_topics::DeleteTopicState;
use ottla::wire::messages::k44_incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
use ottla::wire::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest,
    InitProducerIdRequest, ListOffsetsRequest, MetadataRequest, MetadataResponse,
};
use ottla::wire::produce::{
    PartitionProduceData, PartitionProduceResponse, ProduceRequest, TopicProduceData,
};
use ottla::wire::record::builder::{BatchBuilder, NewRecord};
use ottla::wire::record::header::Codec;
use ottla::wire::{ErrorCode, KStr, Message, Request};
use ottla::words::{
    NodeId, Offset, PartitionIndex, ProducerEpoch, ProducerId, Sequence, TimestampMs, TopicId,
};

use crate::process::{Broker, PATIENCE};

/// Versions by topic name, before ids took over.
pub const PRODUCE: i16 = 12;
pub const FETCH: i16 = 12;

/// One connection to one shard.
pub struct Peer {
    pub connection: Connection,
}

/// What a fetch is to return at most, and how long it may wait.
#[derive(Clone, Copy)]
pub struct Ask {
    pub offset: i64,
    pub wait_ms: i32,
    pub min_bytes: i32,
    /// Of the answer, and of its one partition.
    pub max_bytes: i32,
}

/// Waits for more than there is.
pub const LONG_POLL: Ask = Ask {
    offset: 0,
    wait_ms: 600_000,
    min_bytes: 1,
    max_bytes: 1 << 20,
};

impl Ask {
    pub fn up_to(self, max_bytes: i32) -> Ask {
        Ask { max_bytes, ..self }
    }

    pub fn at(self, offset: i64) -> Ask {
        Ask { offset, ..self }
    }
}

/// Reads what is there.
pub fn from(offset: i64) -> Ask {
    Ask {
        offset,
        wait_ms: 0,
        min_bytes: 1,
        max_bytes: 1 << 20,
    }
}

impl Peer {
    /// To shard 0 of a broker.
    pub fn of(broker: &Broker) -> Peer {
        Peer::to(&broker.address())
    }

    pub fn to(address: &str) -> Peer {
        Peer::try_to(address).unwrap()
    }

    pub fn try_to(address: &str) -> Result<Peer, ClientError> {
        let address: Address = address.parse().unwrap();
        let connection = Connection::open(&address, "test", PATIENCE)?;
        Ok(Peer { connection })
    }

    pub fn call<Q: Request>(&mut self, body: &Q) -> Q::Response {
        self.connection.call(body).unwrap()
    }

    pub fn call_at<Q: Request>(&mut self, version: i16, body: &Q) -> Q::Response {
        self.connection.call_at(version, body).unwrap()
    }

    pub fn create(&mut self, name: &str, partitions: i32, configs: &[(&str, &str)]) -> TopicId {
        let (id, error_code, message) = self.try_create(name, partitions, configs);
        assert_eq!(error_code, ErrorCode::NONE, "{name}: {message:?}");
        id
    }

    pub fn try_create(
        &mut self,
        name: &str,
        partitions: i32,
        configs: &[(&str, &str)],
    ) -> (TopicId, ErrorCode, Option<KStr>) {
        let configs = configs.iter().map(|(name, value)| CreatableTopicConfig {
            name: KStr::from(*name),
            value: Some(KStr::from(*value)),
        });
        let mut answer = self.call(&CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: KStr::from(name),
                num_partitions: partitions,
                replication_factor: -1,
                configs: configs.collect(),
                ..CreatableTopic::default()
            }],
            ..CreateTopicsRequest::default()
        });
        let topic = answer.topics.pop().unwrap();
        (topic.topic_id, topic.error_code, topic.error_message)
    }

    pub fn delete(&mut self, name: &str) -> ErrorCode {
        let mut answer = self.call(&DeleteTopicsRequest {
            topics: vec![DeleteTopicState {
                name: Some(KStr::from(name)),
                ..DeleteTopicState::default()
            }],
            timeout_ms: 30_000,
            ..DeleteTopicsRequest::default()
        });
        answer.responses.pop().unwrap().error_code
    }

    /// Metadata of one topic, or of all.
    pub fn metadata(&mut self, topic: Option<&str>) -> MetadataResponse {
        let named = |name: &str| {
            vec![MetadataRequestTopic {
                name: Some(KStr::from(name)),
                ..MetadataRequestTopic::default()
            }]
        };
        self.call(&MetadataRequest {
            topics: topic.map(named),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        })
    }

    pub fn produce(
        &mut self,
        topic: &str,
        partition: i32,
        records: Bytes,
    ) -> PartitionProduceResponse {
        let request = produce_request(topic, partition, records, -1);
        let mut answer = self.call_at(PRODUCE, &request);
        answer
            .responses
            .pop()
            .unwrap()
            .partition_responses
            .pop()
            .unwrap()
    }

    /// Stores records and returns the first one's offset.
    pub fn store(&mut self, topic: &str, partition: i32, values: &[&str]) -> i64 {
        let answer = self.produce(topic, partition, batch(values));
        assert_eq!(
            answer.error_code,
            ErrorCode::NONE,
            "{:?}",
            answer.error_message
        );
        answer.base_offset.0
    }

    pub fn fetch(&mut self, topic: &str, partition: i32, ask: Ask) -> PartitionData {
        let mut answer = self.call_at(FETCH, &fetch_request(topic, partition, ask));
        assert_eq!(answer.error_code, ErrorCode::NONE);
        answer.responses.pop().unwrap().partitions.pop().unwrap()
    }

    /// Sends a fetch without waiting for its answer: see [`Peer::heard`].
    pub fn ask(&mut self, topic: &str, partition: i32, ask: Ask) {
        self.connection
            .send(FETCH, &fetch_request(topic, partition, ask))
            .unwrap();
    }

    /// The answer to the oldest question of [`Peer::ask`].
    pub fn heard(&mut self) -> PartitionData {
        let answer = self
            .connection
            .receive_as::<FetchResponse>(Instant::now() + PATIENCE);
        let mut answer = answer.unwrap();
        assert_eq!(answer.error_code, ErrorCode::NONE);
        answer.responses.pop().unwrap().partitions.pop().unwrap()
    }

    /// All values from an offset to the high watermark.
    pub fn read(&mut self, topic: &str, partition: i32, from_offset: i64) -> Vec<String> {
        let mut values = Vec::new();
        let mut next = from_offset;
        loop {
            let data = self.fetch(topic, partition, from(next));
            assert_eq!(
                data.error_code,
                ErrorCode::NONE,
                "{topic}-{partition} at {next}"
            );
            if next >= data.high_watermark.0 {
                return values;
            }
            let bytes = data.records.unwrap().into_bytes();
            assert!(
                !bytes.is_empty(),
                "nothing at {next} of {:?}",
                data.high_watermark
            );
            next = walk(&bytes, next, &mut values);
        }
    }

    /// The offset for a timestamp, or -2 for the first and -1 for the next one.
    pub fn offset(
        &mut self,
        topic: &str,
        partition: i32,
        timestamp: i64,
    ) -> Result<i64, ErrorCode> {
        let mut answer = self.call(&ListOffsetsRequest {
            replica_id: NodeId(-1),
            topics: vec![ListOffsetsTopic {
                name: KStr::from(topic),
                partitions: vec![ListOffsetsPartition {
                    partition_index: PartitionIndex(partition),
                    timestamp: TimestampMs(timestamp),
                    ..ListOffsetsPartition::default()
                }],
            }],
            ..ListOffsetsRequest::default()
        });
        let partition = answer.topics.pop().unwrap().partitions.pop().unwrap();
        match partition.error_code.is_none() {
            true => Ok(partition.offset.0),
            false => Err(partition.error_code),
        }
    }

    /// Sets one setting of a topic.
    pub fn alter(&mut self, topic: &str, name: &str, value: &str) {
        let answer = self.call(&IncrementalAlterConfigsRequest {
            resources: vec![AlterConfigsResource {
                resource_type: 2,
                resource_name: KStr::from(topic),
                configs: vec![AlterableConfig {
                    name: KStr::from(name),
                    config_operation: 0,
                    value: Some(KStr::from(value)),
                }],
            }],
            validate_only: false,
        });
        assert_eq!(answer.responses[0].error_code, ErrorCode::NONE);
    }

    /// Asks for the first offset until it is there; the last answer.
    pub fn wait_for_start(&mut self, topic: &str, partition: i32, wanted: i64) -> i64 {
        let until = Instant::now() + PATIENCE;
        loop {
            let start = self.offset(topic, partition, -2).unwrap();
            if start >= wanted || Instant::now() > until {
                return start;
            }
        }
    }

    /// A new idempotent producer.
    pub fn producer(&mut self) -> Producer {
        let answer = self.call(&InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        });
        assert_eq!(answer.error_code, ErrorCode::NONE);
        Producer {
            id: answer.producer_id,
            epoch: answer.producer_epoch,
        }
    }
}

/// An idempotent producer's identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Producer {
    pub id: ProducerId,
    pub epoch: ProducerEpoch,
}

impl Producer {
    pub fn batch(self, base_sequence: i32, values: &[&str]) -> Bytes {
        let builder = BatchBuilder::new(Codec::NONE);
        let builder = builder.producer(self.id, self.epoch, Sequence(base_sequence));
        fill(builder, now_ms(), values)
    }
}

/// Connections to all shards of a broker.
pub struct Cluster {
    pub peers: BTreeMap<i32, Peer>,
}

impl Cluster {
    pub fn of(broker: &Broker) -> Cluster {
        let nodes = Peer::of(broker).metadata(None).brokers;
        let peers = nodes.into_iter().map(|node| {
            let address = format!("{}:{}", node.host, node.port);
            (node.node_id.0, Peer::to(&address))
        });
        Cluster {
            peers: peers.collect(),
        }
    }

    pub fn any(&mut self) -> &mut Peer {
        self.peers.values_mut().next().unwrap()
    }

    /// Leaders of a topic's partitions, by partition.
    pub fn leaders(&mut self, topic: &str) -> Vec<i32> {
        let answer = self.any().metadata(Some(topic));
        let topic = answer.topics.into_iter().next().unwrap();
        assert_eq!(topic.error_code, ErrorCode::NONE);
        let mut partitions = topic.partitions;
        partitions.sort_by_key(|partition| partition.partition_index);
        partitions
            .iter()
            .map(|partition| partition.leader_id.0)
            .collect()
    }

    /// The shard that leads a partition.
    pub fn leader(&mut self, topic: &str, partition: i32) -> &mut Peer {
        let leader = self.leaders(topic)[partition as usize];
        self.peers.get_mut(&leader).unwrap()
    }
}

pub fn produce_request(topic: &str, partition: i32, records: Bytes, acks: i16) -> ProduceRequest {
    let mut data = TopicProduceData {
        name: KStr::from(topic),
        ..TopicProduceData::default()
    };
    data.partition_data.push(PartitionProduceData {
        index: PartitionIndex(partition),
        records: Some(records),
    });
    let mut request = ProduceRequest {
        acks,
        timeout_ms: 30_000,
        ..ProduceRequest::default()
    };
    request.topic_data.push(data);
    request
}

pub fn fetch_request(topic: &str, partition: i32, ask: Ask) -> FetchRequest {
    let mut wanted = FetchTopic {
        topic: KStr::from(topic),
        ..FetchTopic::default()
    };
    wanted.partitions.push(FetchPartition {
        partition: PartitionIndex(partition),
        fetch_offset: Offset(ask.offset),
        partition_max_bytes: ask.max_bytes,
        ..FetchPartition::default()
    });
    let mut request = FetchRequest {
        max_wait_ms: ask.wait_ms,
        min_bytes: ask.min_bytes,
        max_bytes: ask.max_bytes,
        ..FetchRequest::default()
    };
    request.topics.push(wanted);
    request
}

/// A request as it goes over the wire, with correlation id 7.
pub fn frame_of<Q: Request>(version: i16, body: &Q) -> Vec<u8> {
    RequestFrame::of(version, 7, Some("test"), body).concat()
}

/// Adds the values of whole batches from an offset; returns the offset after them.
pub fn walk(bytes: &[u8], from: i64, values: &mut Vec<String>) -> i64 {
    let mut sink = |record: &ottla::client::FetchedRecord<'_>| {
        let value = record.value.unwrap_or_default();
        values.push(String::from_utf8(value.to_vec()).unwrap());
        Flow::Go
    };
    let walked = walk_records(PartitionIndex(0), bytes, Offset(from), &mut sink);
    walked.unwrap().next.0
}

pub fn now_ms() -> i64 {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

/// A batch of values, of this moment.
pub fn batch(values: &[&str]) -> Bytes {
    batch_at(now_ms(), values)
}

/// A batch of values with one timestamp.
pub fn batch_at(timestamp: i64, values: &[&str]) -> Bytes {
    fill(BatchBuilder::new(Codec::NONE), timestamp, values)
}

pub fn fill(mut builder: BatchBuilder, timestamp: i64, values: &[&str]) -> Bytes {
    for value in values {
        let record = NewRecord::of(TimestampMs(timestamp), None, Some(value.as_bytes()));
        builder.push(&record).unwrap();
    }
    builder.build().unwrap()
}

/// A socket without any manners.
pub struct Raw {
    pub stream: TcpStream,
}

impl Raw {
    pub fn to(address: &str) -> Raw {
        Raw::over(TcpStream::connect(address).unwrap())
    }

    /// Sends what the broker will take; it may hang up at any byte.
    pub fn say(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    /// From another address of this machine.
    pub fn between(local: [u8; 4], address: &str) -> Raw {
        use rustix::net::{AddressFamily, SocketType, bind, connect, socket};
        let to: SocketAddr = address.parse().unwrap();
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&socket, &SocketAddr::from((local, 0))).unwrap();
        connect(&socket, &to).unwrap();
        Raw::over(TcpStream::from(socket))
    }

    fn over(stream: TcpStream) -> Raw {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Raw { stream }
    }

    /// The next frame, without its size.
    pub fn hear_frame(&mut self) -> Bytes {
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).unwrap();
        let size = usize::try_from(i32::from_be_bytes(size)).unwrap();
        let mut frame = vec![0; size];
        self.stream.read_exact(&mut frame).unwrap();
        frame.into()
    }

    /// The next answer, to a request of `version`.
    pub fn hear<M: Message>(&mut self, version: i16) -> M {
        let frame = self.hear_frame();
        let mut reader = Reader::new(&frame);
        ResponseHeader::read(&mut reader, M::API, version).unwrap();
        M::read(&mut reader, version).unwrap()
    }

    /// Everything until the broker hangs up.
    pub fn hear_out(&mut self) -> Vec<u8> {
        let mut heard = Vec::new();
        match self.stream.read_to_end(&mut heard) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the broker did not hang up: {error}"),
        }
        heard
    }

    /// Whether nothing came for so long.
    pub fn is_silent(&mut self, wait: Duration) -> bool {
        self.stream.set_read_timeout(Some(wait)).unwrap();
        let read = self.stream.read(&mut [0]);
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        read.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

//! The client proper: bootstrap, metadata, and calls to any node, to one node, to the controller.
//!
//! Owns the connections for short questions and the metadata cache. Producers and consumers open
//! connections of their own, so that a question never waits behind a long poll.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use super::cluster::{Cluster, Node, Topic};
use super::connection::Connection;
use super::exchange::ExchangeFault;
use super::retry::Backoff;
use super::{Address, ClientError, Refusal};
use crate::wire::messages::MetadataRequest;
use crate::wire::messages::k03_metadata::MetadataRequestTopic;
use crate::wire::{ApiKey, ErrorCode, KStr, Request};
use crate::words::NodeId;

/// How long a topic that nobody knows is asked for again: metadata of one that was made just now
/// may not have reached every node.
const UNKNOWN_TOPIC_PATIENCE: Duration = Duration::from_millis(1000);

/// What a client needs to know of the world.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClientOptions {
    /// Tried in order; one that answers is enough.
    pub bootstrap: Vec<Address>,
    pub client_id: String,
    /// How long one request may take (Kafka `request.timeout.ms`).
    pub timeout: Duration,
    /// How long what may pass is tried again (Kafka `delivery.timeout.ms`).
    pub retry_for: Duration,
}

/// Topics that metadata is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Asked<'a> {
    /// Only the nodes.
    Nothing,
    All,
    Topic(&'a str),
}

/// See the head of the file.
#[derive(Debug)]
pub struct Client {
    options: ClientOptions,
    /// To whichever node answered first.
    any: Option<Connection>,
    by_node: BTreeMap<NodeId, Connection>,
    cluster: Cluster,
}

impl Client {
    /// Connects to the first bootstrap address that answers, and learns the nodes.
    ///
    /// # Errors
    /// [`ClientError::Unreachable`] if none answers, at once: a first connection is not retried.
    pub fn connect(options: ClientOptions) -> Result<Client, ClientError> {
        let mut client = Client {
            options,
            any: None,
            by_node: BTreeMap::new(),
            cluster: Cluster::default(),
        };
        client.refresh(Asked::Nothing)?;
        Ok(client)
    }

    pub fn options(&self) -> &ClientOptions {
        &self.options
    }

    /// What is known of the cluster, as of the last answer.
    pub fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// Asks for metadata. Never makes a topic (KIP-204's flag is off).
    ///
    /// # Errors
    /// For [`Asked::Topic`] also the refusal of that topic.
    pub fn refresh(&mut self, asked: Asked<'_>) -> Result<(), ClientError> {
        let topics = match asked {
            Asked::All => None,
            Asked::Nothing => Some(Vec::new()),
            Asked::Topic(name) => Some(vec![MetadataRequestTopic {
                name: Some(KStr::from(name)),
                ..MetadataRequestTopic::default()
            }]),
        };
        let answer = self.call_any(&MetadataRequest {
            topics,
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        })?;
        if !answer.error_code.is_none() {
            let refusal = Refusal::of(answer.error_code, "the cluster's metadata", None);
            return Err(ClientError::Refused(refusal));
        }
        if asked == Asked::All {
            self.cluster.topics.clear();
        }
        self.cluster.apply(&answer);
        let Asked::Topic(name) = asked else {
            return Ok(());
        };
        let told = answer
            .topics
            .iter()
            .find(|topic| topic.name.as_deref() == Some(name));
        let error_code = told.map_or(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION, |t| t.error_code);
        if error_code.is_none() {
            return Ok(());
        }
        let refusal = Refusal::of(error_code, format!("topic {name}"), None);
        Err(ClientError::Refused(refusal))
    }

    /// A topic as it is now; asks again for a moment when nobody knows it, and for longer when its
    /// leaders are only being chosen.
    pub fn topic(&mut self, name: &str) -> Result<Topic, ClientError> {
        let started = Instant::now();
        let mut backoff = Backoff::default();
        loop {
            let error = match self.refresh(Asked::Topic(name)) {
                Ok(()) => match self.cluster.topics.get(name) {
                    Some(topic) => return Ok(topic.clone()),
                    None => return Err(unknown_topic(name)),
                },
                Err(error) => error,
            };
            let patience = match error.code() {
                Some(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION) => UNKNOWN_TOPIC_PATIENCE,
                _ => self.options.retry_for,
            };
            if !error.is_retriable() || started.elapsed() >= patience {
                return Err(error);
            }
            thread::sleep(backoff.next_wait());
        }
    }

    /// Waits until every partition of a topic has a leader.
    ///
    /// # Errors
    /// What the last question ran into when the time is over.
    pub fn await_leaders(&mut self, name: &str) -> Result<Topic, ClientError> {
        let deadline = Instant::now() + self.options.retry_for;
        let mut backoff = Backoff::default();
        loop {
            let topic = self.topic(name);
            match topic {
                Ok(topic) if topic.is_led() => return Ok(topic),
                Err(error) if !error.is_retriable() => return Err(error),
                other if Instant::now() >= deadline => return other,
                _ => thread::sleep(backoff.next_wait()),
            }
        }
    }

    /// Asks whichever node is connected, or the first that can be.
    pub fn call_any<Q: Request>(&mut self, body: &Q) -> Result<Q::Response, ClientError> {
        let mut connection = match self.any.take() {
            Some(connection) => connection,
            None => self.open_any()?,
        };
        // A connection that failed is not put back.
        let answer = connection.call(body)?;
        self.any = Some(connection);
        Ok(answer)
    }

    /// Asks the node that metadata calls the controller; with KRaft any broker passes it on.
    pub fn call_controller<Q: Request>(&mut self, body: &Q) -> Result<Q::Response, ClientError> {
        match self.cluster.nodes.get(&self.cluster.controller).cloned() {
            Some(node) => self.call_node(&node, body),
            None => self.call_any(body),
        }
    }

    /// Asks one node.
    pub fn call_node<Q: Request>(
        &mut self,
        node: &Node,
        body: &Q,
    ) -> Result<Q::Response, ClientError> {
        let known = self.by_node.remove(&node.id);
        let mut connection = match known.filter(|known| *known.address() == node.address) {
            Some(connection) => connection,
            None => self.open(&node.address)?,
        };
        let answer = connection.call(body)?;
        self.by_node.insert(node.id, connection);
        Ok(answer)
    }

    /// Whether the node asked first speaks an API.
    pub fn offers(&mut self, key: ApiKey) -> Result<bool, ClientError> {
        let connection = match self.any.take() {
            Some(connection) => connection,
            None => self.open_any()?,
        };
        let offers = connection.offers(key);
        self.any = Some(connection);
        Ok(offers)
    }

    /// An answer that leaves out what was asked for.
    pub(super) fn incomplete<Q: Request>(&self) -> ClientError {
        let address = self.any.as_ref().map(|any| any.address().clone());
        let address = address.or_else(|| self.options.bootstrap.first().cloned());
        let address = address.unwrap_or_else(|| Address {
            host: String::new(),
            port: 0,
        });
        ClientError::Protocol {
            address,
            fault: ExchangeFault::Incomplete(Q::API.name),
        }
    }

    /// A connection for the caller alone.
    pub fn open(&self, address: &Address) -> Result<Connection, ClientError> {
        Connection::open(address, &self.options.client_id, self.options.timeout)
    }

    /// Runs `attempt` until it succeeds, fails for good, or `retry_for` is over. What it knows of
    /// `topic` is refreshed in between.
    pub fn retrying<T>(
        &mut self,
        topic: &str,
        mut attempt: impl FnMut(&mut Client) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let deadline = Instant::now() + self.options.retry_for;
        let mut backoff = Backoff::default();
        loop {
            match attempt(self) {
                Err(error) if error.is_retriable() && Instant::now() < deadline => {
                    thread::sleep(backoff.next_wait());
                    // If this fails too, the next attempt says so.
                    let _ = self.refresh(Asked::Topic(topic));
                }
                outcome => return outcome,
            }
        }
    }

    /// Bootstrap addresses first, then every node known.
    fn open_any(&self) -> Result<Connection, ClientError> {
        let mut tried: Vec<Address> = Vec::new();
        let mut cause = "no address to try".to_owned();
        let nodes = self.cluster.nodes.values().map(|node| &node.address);
        for address in self.options.bootstrap.iter().chain(nodes) {
            if tried.contains(address) {
                continue;
            }
            match self.open(address) {
                Ok(connection) => return Ok(connection),
                Err(ClientError::Unreachable { cause: why, .. }) => cause = why,
                // Somebody answers there, in another way than a broker: worth saying.
                Err(error) => return Err(error),
            }
            tried.push(address.clone());
        }
        Err(ClientError::Unreachable {
            addresses: tried,
            cause,
        })
    }
}

fn unknown_topic(name: &str) -> ClientError {
    let code = ErrorCode::UNKNOWN_TOPIC_OR_PARTITION;
    ClientError::Refused(Refusal::of(code, format!("topic {name}"), None))
}

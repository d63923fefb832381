//! Settings of sockets and of addresses, as the kernel and the shards take them.

use std::collections::BTreeMap;
use std::io;
use std::net::{TcpListener, ToSocketAddrs as _};

use rustix::net::sockopt;

use super::StartFailure;
use crate::settings::BrokerSettings;

/// Names in `max.connections.per.ip.overrides` become the addresses they have at the start (Kafka
/// `ConnectionQuotas`), so that a shard can look them up.
pub(super) fn resolve_overrides(settings: &mut BrokerSettings) -> Result<(), StartFailure> {
    let key = "max.connections.per.ip.overrides";
    let mut by_address = BTreeMap::new();
    for (host, limit) in &settings.connections_per_ip_overrides {
        let addresses = (host.as_str(), 0)
            .to_socket_addrs()
            .map_err(|error| {
                StartFailure(format!(
                    "host {host} of configuration {key} does not resolve: {error}; needed: an address, or a \
                     name for one. To mend it: write the address in its place"
                ))
            })?;
        for address in addresses {
            by_address.insert(address.ip().to_canonical().to_string(), *limit);
        }
    }
    settings.connections_per_ip_overrides = by_address;
    Ok(())
}

/// Buffers and backlog, where they were given: accepted sockets inherit the listener's. Kafka's
/// own defaults are from before the kernel found better sizes by itself.
pub(super) fn with_settings(
    listener: TcpListener,
    settings: &BrokerSettings,
) -> io::Result<TcpListener> {
    let bytes = |name: &str, bytes: i32| {
        let given = settings.given(name).is_some();
        usize::try_from(bytes).ok().filter(|_| given)
    };
    let receive = settings.socket_receive_buffer_bytes;
    if let Some(bytes) = bytes("socket.receive.buffer.bytes", receive) {
        sockopt::set_socket_recv_buffer_size(&listener, bytes)?;
    }
    let send = settings.socket_send_buffer_bytes;
    if let Some(bytes) = bytes("socket.send.buffer.bytes", send) {
        sockopt::set_socket_send_buffer_size(&listener, bytes)?;
    }
    if settings.given("socket.listen.backlog.size").is_some() {
        rustix::net::listen(&listener, settings.listen_backlog)?;
    }
    Ok(listener)
}

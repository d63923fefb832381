//! Where the shards run and where they listen: a core and a port for each.
//!
//! Runs on the main thread before anything is recovered, so that what cannot be had ends the start
//! early. Owns the search for ports; never accepts a connection.

use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs as _};
use std::time::{Duration, Instant};

use super::{StartFailure, because, sockets};
use crate::devices::net;
use crate::devices::placement::Placement;
use crate::settings::BrokerSettings;
use crate::settings::listeners::Listener;
use crate::words::limits::{PORT_RUNS_TRIED_MAX, SHARDS_PER_MACHINE_MAX};

/// How long a port in use is waited for, and how often it is tried.
const LISTEN_PATIENCE: Duration = Duration::from_secs(5);
const LISTEN_RETRY: Duration = Duration::from_millis(20);

/// A core for every shard; `None` where the shards outnumber the cores.
pub(super) fn cores(settings: &BrokerSettings) -> Result<Vec<Option<usize>>, StartFailure> {
    let placement = Placement::detect();
    let chosen = &settings.shard_cores;
    judge_cores(chosen, &placement.cores)?;
    let shards = match (settings.shards, chosen.len()) {
        (Some(shards), _) => usize::from(shards),
        (None, 0) => placement.shards,
        (None, chosen) => chosen,
    }
    .clamp(1, usize::from(SHARDS_PER_MACHINE_MAX));
    let core = |shard| match chosen.is_empty() {
        true => placement.core_of(shard, shards),
        false => chosen.get(shard).copied(),
    };
    Ok((0..shards).map(core).collect())
}

/// Whether the process may run on the cores that were chosen. A machine that does not name its cores
/// (`allowed` is empty) is not asked.
fn judge_cores(chosen: &[usize], allowed: &[usize]) -> Result<(), StartFailure> {
    let wrong = chosen.iter().find(|core| !allowed.contains(core));
    let Some(wrong) = wrong.filter(|_| !allowed.is_empty()) else {
        return Ok(());
    };
    let mut allowed = allowed.to_vec();
    allowed.sort_unstable();
    let (chosen, allowed) = (joined(chosen), joined(&allowed));
    Err(StartFailure(format!(
        "Invalid value {chosen} for configuration ottla.shard.cores: this process may not run on core \
         {wrong}; needed: cores among {allowed}. To mend it: -o ottla.shard.cores={allowed}, or leave it out \
         and let the broker choose"
    )))
}

fn joined(cores: &[usize]) -> String {
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    cores.join(",")
}

/// One listener for every shard, on ports that follow each other; for port 0 wherever there is room.
pub(super) fn listeners(
    settings: &BrokerSettings,
    shards: u16,
) -> Result<Vec<TcpListener>, StartFailure> {
    let first = settings
        .listeners
        .first()
        .ok_or_else(|| StartFailure("listeners names no place to listen".to_owned()))?;
    judge_ports("listeners", first, shards)?;
    if let Some(advertised) = settings.advertised.first() {
        judge_ports("advertised.listeners", advertised, shards)?;
    }
    let address = resolve(&first.host)?;
    let at = |port| SocketAddr::new(address.ip(), port);
    let bound = match first.port {
        0 => any_run(shards, |port| {
            let listener = net::listen(at(port))?;
            Ok((listener.local_addr()?.port(), listener))
        })
        .map_err(|error| cannot_listen(&error, at(0), 0))?,
        base => (0..shards)
            .map(|shard| {
                // Cannot leave its range: that was judged.
                let address = at(base.saturating_add(shard));
                listen_patiently(address).map_err(|error| cannot_listen(&error, address, shard))
            })
            .collect::<Result<Vec<_>, _>>()?,
    };
    bound
        .into_iter()
        .map(|listener| {
            sockets::with_settings(listener, settings).map_err(because("settings of sockets"))
        })
        .collect()
}

/// The ports of listeners, in their order.
pub(super) fn ports(listeners: &[TcpListener]) -> io::Result<Vec<u16>> {
    let addresses = listeners.iter().map(TcpListener::local_addr);
    addresses.map(|address| Ok(address?.port())).collect()
}

/// Shard `k` listens `k` above the port: the last must still be a port.
fn judge_ports(key: &str, place: &Listener, shards: u16) -> Result<(), StartFailure> {
    let highest = u16::MAX - shards.saturating_sub(1);
    if place.port <= highest {
        return Ok(());
    }
    let Listener { name, host, port } = place;
    Err(StartFailure(format!(
        "Invalid value {name}://{host}:{port} for configuration {key}: shard k has the port k above it, and \
         {shards} shards would go beyond 65535; needed: a port of at most {highest}. To mend it: --port \
         {highest} or lower, or fewer --shards"
    )))
}

/// Listeners on so many ports in a row, the first of them chosen by the system. What was bound for a
/// run that did not do is kept until one does, so that the system names another port each time.
fn any_run<L>(
    count: u16,
    mut listen: impl FnMut(u16) -> io::Result<(u16, L)>,
) -> io::Result<Vec<L>> {
    let mut given_up = Vec::new();
    for _ in 0..PORT_RUNS_TRIED_MAX {
        let (first, listener) = listen(0)?;
        let mut run = vec![listener];
        for place in 1..count {
            let Some(port) = first.checked_add(place) else {
                break;
            };
            match listen(port) {
                Ok((_, listener)) => run.push(listener),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => break,
                Err(error) => return Err(error),
            }
        }
        if run.len() == usize::from(count) {
            return Ok(run);
        }
        given_up.extend(run.into_iter().take(1));
    }
    Err(io::ErrorKind::AddrInUse.into())
}

fn cannot_listen(error: &io::Error, address: SocketAddr, shard: u16) -> StartFailure {
    let port = address.port();
    let mend = match error.kind() {
        io::ErrorKind::AddrNotAvailable => "needed: an address of this machine (ip address shows \
                                            them). To mend it: choose one with --host"
            .to_owned(),
        _ if port == 0 => "needed: as many free ports in a row as there are shards. To mend it: \
                           choose the first with --port, or fewer --shards"
            .to_owned(),
        _ => format!(
            "Free the port (see who has it: ss -ltnp 'sport = :{port}') or choose another with --port"
        ),
    };
    StartFailure(format!(
        "cannot listen on {address} (shard {shard}): {error}. {mend}"
    ))
}

/// A broker that was killed holds its ports until the kernel has taken its ring apart, which may
/// outlast the process; so a port in use is asked for again for a while.
fn listen_patiently(address: SocketAddr) -> io::Result<TcpListener> {
    let until = Instant::now() + LISTEN_PATIENCE;
    loop {
        match net::listen(address) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && Instant::now() < until => {
                std::thread::park_timeout(LISTEN_RETRY);
            }
            done => return done,
        }
    }
}

/// The address that a host of `listeners` stands for; none is every address.
fn resolve(host: &str) -> Result<SocketAddr, StartFailure> {
    let host = if host.is_empty() { "0.0.0.0" } else { host };
    let found = (host, 0).to_socket_addrs().and_then(|mut found| {
        let none = || io::Error::new(io::ErrorKind::NotFound, "it has no address");
        found.next().ok_or_else(none)
    });
    found.map_err(|error| {
        StartFailure(format!(
            "host {host} of configuration listeners does not resolve: {error}; needed: an address of this \
             machine, a name for one, or 0.0.0.0 for all. To mend it: --host 127.0.0.1, or a line for {host} \
             in /etc/hosts"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Asks for a run where the system offers `offered`, one after the other, and `taken` are in use.
    fn run(count: u16, offered: &[u16], taken: &[u16]) -> Option<Vec<u16>> {
        let mut offered = offered.iter();
        any_run(count, |port| {
            let port = match port {
                0 => *offered.next().ok_or(io::ErrorKind::AddrInUse)?,
                port => port,
            };
            match taken.contains(&port) {
                true => Err(io::ErrorKind::AddrInUse.into()),
                false => Ok((port, port)),
            }
        })
        .ok()
    }

    #[test]
    fn ports_of_one_start_follow_each_other() {
        assert_eq!(run(1, &[7], &[]), Some(vec![7]));
        assert_eq!(run(3, &[7, 40], &[]), Some(vec![7, 8, 9]));
        assert_eq!(run(3, &[7, 40], &[9]), Some(vec![40, 41, 42]));
        assert_eq!(run(2, &[u16::MAX, 5], &[]), Some(vec![5, 6]));
        assert_eq!(run(2, &[7, 40], &[8, 41]), None);
        assert_eq!(run(2, &vec![7; 10_000], &[8]), None, "bounded");
    }

    #[test]
    fn the_last_shard_has_a_port_too() {
        let place = |port| Listener {
            name: "PLAINTEXT".to_owned(),
            host: "h".to_owned(),
            port,
        };
        for (port, shards, good) in [
            (0, 1000, true),
            (65535, 1, true),
            (65534, 2, true),
            (65535, 2, false),
        ] {
            let judged = judge_ports("listeners", &place(port), shards);
            assert_eq!(judged.is_ok(), good, "{port} {shards}");
        }
        let told = judge_ports("listeners", &place(65535), 2).unwrap_err().0;
        for part in ["PLAINTEXT://h:65535", "listeners", "65534", "--shards"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }

    #[test]
    fn a_core_that_the_process_may_not_use_is_named_with_those_that_it_may() {
        assert!(judge_cores(&[], &[0, 1]).is_ok());
        assert!(judge_cores(&[1, 0], &[0, 1]).is_ok());
        assert!(judge_cores(&[7], &[]).is_ok(), "nobody knows");
        let told = judge_cores(&[1, 7], &[1, 0]).unwrap_err().0;
        for part in ["ottla.shard.cores", "1,7", "core 7", "0,1"] {
            assert!(told.contains(part), "{part}: {told}");
        }
    }
}

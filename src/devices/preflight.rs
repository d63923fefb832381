//! What must be true of the machine before a shard starts.
//!
//! Each check is a fact about the kernel, a limit, the data directory or a port. A fact that will
//! not do becomes a [`Finding`] with the command that mends it; nothing is printed here and nobody
//! is stopped. Limits of this process are raised as far as the system allows.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use io_uring::{IoUring, Probe, opcode};
use rustix::fs::FlockOperation;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::kernel_disk::direct_alignment;
use super::net::listen;

/// The oldest kernel whose ring can do what [`super::run_shard`] asks (deferred task work).
const KERNEL_MIN: (u32, u32) = (6, 1);
/// Memory that one shard locks for its rings, in bytes, with room to spare.
const MEMLOCK_PER_SHARD: u64 = 2 * 1024 * 1024;
/// Below this the executor refuses to start.
const MEMLOCK_MIN: u64 = 512 * 1024;

/// Whether the broker can start all the same.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Severity {
    /// It runs, worse than it could.
    Warning,
    /// It cannot run.
    Fatal,
}

/// One thing that is not as it should be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    pub severity: Severity,
    pub found: String,
    pub needed: String,
    /// A command, or a step in words where there is none.
    pub mend: String,
}

/// What the broker is going to ask of the machine.
#[derive(Clone, Debug)]
pub struct Needs {
    pub shards: usize,
    /// Descriptors of the whole process to be prepared for.
    pub descriptors: u64,
    /// Who decides that number: the setting that changes it.
    pub descriptors_by: &'static str,
    /// Existing directories.
    pub data_directories: Vec<PathBuf>,
    /// Where the shards will listen.
    pub addresses: Vec<SocketAddr>,
}

/// Runs every check but the lock. Fatal findings come first.
pub fn check(needs: &Needs) -> Vec<Finding> {
    let mut findings: Vec<Finding> = [
        kernel(),
        io_uring(),
        memlock(needs.shards),
        nofile(raise(Resource::Nofile), needs),
    ]
    .into_iter()
    .flatten()
    .collect();
    findings.extend(needs.data_directories.iter().filter_map(|at| direct_io(at)));
    findings.extend(needs.addresses.iter().filter_map(|at| port(*at)));
    findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    findings
}

impl Finding {
    fn new(
        severity: Severity,
        found: impl Into<String>,
        needed: impl Into<String>,
        mend: impl Into<String>,
    ) -> Finding {
        Finding {
            severity,
            found: found.into(),
            needed: needed.into(),
            mend: mend.into(),
        }
    }
}

fn kernel() -> Option<Finding> {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let version = parse_release(&release)?;
    (version < KERNEL_MIN).then(|| {
        Finding::new(
            Severity::Fatal,
            format!("Linux {release}"),
            format!("Linux {}.{} or newer", KERNEL_MIN.0, KERNEL_MIN.1),
            "install a newer kernel and restart the machine",
        )
    })
}

/// Major and minor of a release such as `6.1.0-13-amd64`.
fn parse_release(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn io_uring() -> Option<Finding> {
    let ring = match IoUring::new(8) {
        Ok(ring) => ring,
        Err(error) => return Some(no_ring(&error, disabled_setting())),
    };
    let wanted = [
        ("accept", opcode::Accept::CODE),
        ("recv", opcode::Recv::CODE),
        ("sendmsg", opcode::SendMsg::CODE),
        ("writev", opcode::Writev::CODE),
        ("fsync", opcode::Fsync::CODE),
        ("read", opcode::Read::CODE),
        ("timeout", opcode::Timeout::CODE),
        ("cancel", opcode::AsyncCancel::CODE),
    ];
    let mut probe = Probe::new();
    if ring.submitter().register_probe(&mut probe).is_err() {
        return None;
    }
    let missing: Vec<&str> = wanted
        .iter()
        .filter(|(_, code)| !probe.is_supported(*code))
        .map(|(name, _)| *name)
        .collect();
    (!missing.is_empty()).then(|| {
        Finding::new(
            Severity::Fatal,
            format!("io_uring without {}", missing.join(", ")),
            "an io_uring with all operations",
            "install a newer kernel and restart the machine",
        )
    })
}

fn disabled_setting() -> Option<u32> {
    let text = std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").ok()?;
    text.trim().parse().ok()
}

/// Why there is no ring, and what to do: the error says who refused.
fn no_ring(error: &io::Error, disabled: Option<u32>) -> Finding {
    let needed = "io_uring for this process";
    let (found, mend) = match (error.raw_os_error(), disabled) {
        (Some(libc::EPERM), Some(1 | 2)) => (
            "io_uring is switched off (kernel.io_uring_disabled)".to_owned(),
            "sysctl -w kernel.io_uring_disabled=0",
        ),
        (Some(libc::EPERM | libc::EACCES), _) => (
            "io_uring is forbidden to this process, as by a container's seccomp profile".to_owned(),
            "docker run --security-opt seccomp=unconfined (or a profile that allows io_uring_setup, \
             io_uring_enter, io_uring_register)",
        ),
        (Some(libc::ENOSYS), _) => (
            "this kernel, or the sandbox around it, has no io_uring".to_owned(),
            "run on a Linux kernel built with CONFIG_IO_URING, outside gVisor and the like",
        ),
        (Some(libc::ENOMEM), _) => (
            "io_uring may not lock the memory it needs".to_owned(),
            "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity)",
        ),
        _ => (format!("io_uring does not start: {error}"), "see the error"),
    };
    Finding::new(Severity::Fatal, found, needed, mend)
}

/// Raises the soft limit to the hard one, then looks whether that is enough.
fn memlock(shards: usize) -> Option<Finding> {
    let have = raise(Resource::Memlock);
    let shards = u64::try_from(shards).unwrap_or(u64::MAX);
    let need = MEMLOCK_PER_SHARD.saturating_mul(shards).max(MEMLOCK_MIN);
    if have.is_none_or(|have| have >= need) {
        return None;
    }
    let have = have.unwrap_or(0);
    // With CAP_IPC_LOCK the kernel does not count, but the executor looks at the number.
    let severity = if have < MEMLOCK_MIN {
        Severity::Fatal
    } else {
        Severity::Warning
    };
    Some(Finding::new(
        severity,
        format!("{} KiB may be locked (RLIMIT_MEMLOCK)", have / 1024),
        format!("{} KiB for {shards} shards", need / 1024),
        "ulimit -l unlimited (systemd: LimitMEMLOCK=infinity, docker: --ulimit memlock=-1)",
    ))
}

/// `have` is the limit after raising: the hard one, so a low soft limit alone is no finding.
fn nofile(have: Option<u64>, needs: &Needs) -> Option<Finding> {
    let (have, need, by) = (have?, needs.descriptors, needs.descriptors_by);
    (have < need).then(|| {
        Finding::new(
            Severity::Warning,
            format!("{have} descriptors at most (hard limit of RLIMIT_NOFILE)"),
            format!("{need} for connections and files ({by})"),
            "ulimit -Hn 1048576 (systemd: LimitNOFILE=1048576, docker: --ulimit \
             nofile=1048576), or a max.connections that fits",
        )
    })
}

/// The limit in force after raising it as far as this process may; `None` is "no limit".
fn raise(resource: Resource) -> Option<u64> {
    let Rlimit { current, maximum } = getrlimit(resource);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    if setrlimit(resource, raised).is_ok() {
        maximum
    } else {
        current
    }
}

/// Tries what the journal does: open past the page cache.
fn direct_io(directory: &Path) -> Option<Finding> {
    let path = directory.join(".direct-io-probe");
    let opened = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .custom_flags(libc::O_DIRECT)
        .open(&path);
    let verdict = opened.and_then(|file| direct_alignment(&file));
    // With EINVAL the file was created all the same.
    let _ = std::fs::remove_file(&path);
    let place = directory.display();
    match verdict {
        Ok(Some(_)) => None,
        Err(error) if error.raw_os_error() != Some(libc::EINVAL) => Some(Finding::new(
            Severity::Fatal,
            format!("{place} cannot be written: {error}"),
            "a data directory that this user may write",
            format!("chown \"$(id -u)\" {place}"),
        )),
        _ => Some(Finding::new(
            Severity::Warning,
            format!("{place} is on a file system without direct I/O"),
            "XFS or ext4; data goes through the page cache here",
            "move the data directory to XFS or ext4 on a local drive",
        )),
    }
}

fn port(address: SocketAddr) -> Option<Finding> {
    let error = match listen(address) {
        Ok(listener) => {
            drop::<TcpListener>(listener);
            return None;
        }
        Err(error) => error,
    };
    let mend = match error.raw_os_error() {
        Some(libc::EADDRINUSE) => format!("ss -ltnp sport = :{} (shows who)", address.port()),
        Some(libc::EACCES) => "choose ports from 1024 on".to_owned(),
        Some(libc::EADDRNOTAVAIL) => "ip address (shows the addresses of this machine)".to_owned(),
        _ => "see the error".to_owned(),
    };
    Some(Finding::new(
        Severity::Fatal,
        format!("cannot listen on {address}: {error}"),
        format!("{address} free"),
        mend,
    ))
}

/// A data directory that is ours alone as long as this value lives, and not longer than the
/// process. The file stays; the lock does not.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

/// Locks `directory` (existing) by its `.lock` (`flock`), and leaves our process id in it.
pub fn lock(directory: &Path) -> Result<DirectoryLock, Finding> {
    let path = directory.join(".lock");
    let place = directory.display();
    let failed = |error: io::Error| {
        Finding::new(
            Severity::Fatal,
            format!("{} cannot be opened: {error}", path.display()),
            "a data directory that this user may write",
            format!("chown -R \"$(id -u)\" {place}"),
        )
    };
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    let mut file = options.open(&path).map_err(failed)?;
    if let Err(error) = rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        if error != rustix::io::Errno::WOULDBLOCK {
            return Err(failed(error.into()));
        }
        let holder = holder(&mut file);
        return Err(Finding::new(
            Severity::Fatal,
            format!("{place} is in use by {holder}"),
            "a data directory that no other broker uses",
            "stop the other broker, or choose another data directory",
        ));
    }
    let pid = format!("{}\n", std::process::id());
    file.set_len(0)
        .and_then(|()| file.write_all(pid.as_bytes()))
        .map_err(failed)?;
    Ok(DirectoryLock { _file: file })
}

/// Who wrote the lock file; a starting process may not have written it yet.
fn holder(file: &mut File) -> String {
    let mut text = String::new();
    // A process id is short; what else may be in there is of no interest.
    let _ = file.take(32).read_to_string(&mut text);
    match text.trim().parse::<u32>() {
        Ok(pid) => format!("process {pid}"),
        Err(_) => "another process".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_is_told_who_holds_the_first() {
        let directory = tempfile::tempdir().unwrap();
        let first = lock(directory.path()).unwrap();
        let refused = lock(directory.path()).unwrap_err();
        let us = format!("process {}", std::process::id());
        assert!(refused.found.ends_with(&us), "{refused:?}");
        assert_eq!(refused.severity, Severity::Fatal);
        drop(first);
        lock(directory.path()).unwrap();
        assert!(lock(&directory.path().join("missing")).is_err());
    }

    #[test]
    fn a_port_in_use_is_found_and_a_free_one_is_not() {
        let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let held = listen(anywhere).unwrap();
        let address = held.local_addr().unwrap();
        assert!(port(address).unwrap().mend.starts_with("ss -ltnp"));
        drop(held);
        assert_eq!(port(address), None);
    }

    #[test]
    fn direct_io_is_missed_where_it_is_missing_and_leaves_no_trace() {
        let memory = tempfile::tempdir_in("/dev/shm").unwrap();
        let finding = direct_io(memory.path()).unwrap();
        assert_eq!(finding.severity, Severity::Warning);
        assert_eq!(std::fs::read_dir(memory.path()).unwrap().count(), 0);
        let missing = direct_io(&memory.path().join("missing")).unwrap();
        assert_eq!(missing.severity, Severity::Fatal);
    }

    #[test]
    fn every_refusal_of_a_ring_has_its_own_remedy() {
        let refused = |errno, disabled| no_ring(&io::Error::from_raw_os_error(errno), disabled);
        let mends: std::collections::BTreeSet<String> = [
            refused(libc::EPERM, Some(2)),
            refused(libc::EPERM, Some(0)),
            refused(libc::ENOSYS, None),
            refused(libc::ENOMEM, Some(0)),
            refused(libc::EMFILE, Some(0)),
        ]
        .into_iter()
        .map(|finding| finding.mend)
        .collect();
        assert_eq!(mends.len(), 5);
    }

    #[test]
    fn releases_are_read_by_their_numbers() {
        assert_eq!(parse_release("6.1.0-13-amd64"), Some((6, 1)));
        assert_eq!(parse_release("6.18.44"), Some((6, 18)));
        assert_eq!(parse_release("5.15-rc1"), Some((5, 15)));
        assert_eq!(parse_release("unknown"), None);
        assert!((5, 19) < KERNEL_MIN && (6, 2) > KERNEL_MIN);
    }

    #[test]
    fn descriptors_are_a_finding_only_when_the_hard_limit_is_too_small() {
        let needs = Needs {
            shards: 1,
            descriptors: 500,
            descriptors_by: "max.connections=10",
            data_directories: Vec::new(),
            addresses: Vec::new(),
        };
        for enough in [None, Some(500), Some(501)] {
            assert_eq!(nofile(enough, &needs), None);
        }
        let finding = nofile(Some(499), &needs).unwrap();
        assert_eq!(finding.severity, Severity::Warning);
        assert!(finding.needed.contains("500") && finding.needed.contains("max.connections=10"));
    }

    #[test]
    fn a_machine_that_runs_these_tests_passes() {
        let directory = tempfile::tempdir().unwrap();
        let needs = Needs {
            shards: 1,
            descriptors: 100,
            descriptors_by: "this test",
            data_directories: vec![directory.path().to_owned()],
            addresses: Vec::new(),
        };
        let fatal: Vec<_> = check(&needs)
            .into_iter()
            .filter(|finding| finding.severity == Severity::Fatal)
            .collect();
        assert!(fatal.is_empty(), "{fatal:#?}");
    }
}

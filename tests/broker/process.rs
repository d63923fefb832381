//! Broker processes: starting them, hearing what they say, ending them.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Longer than anything takes on a busy machine; reaching it is a failure.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// The program under test.
pub fn program() -> PathBuf {
    let given = std::env::var_os("OTTLA_BIN").map(PathBuf::from);
    given.unwrap_or_else(|| PathBuf::from(env!("CARGO_BIN_EXE_ottla")))
}

/// `ottla serve` with arguments, without a place for data or a port.
pub fn serve(args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.arg("serve").args(args);
    command
}

/// `ottla serve` on `data`, on any free port of the loopback interface.
pub fn serve_on(data: &Path, args: &[&str]) -> Command {
    let mut command = serve(&["--host", "127.0.0.1", "--port", "0"]);
    command.arg("--data").arg(data).args(args);
    command
}

/// What the ready line says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ready {
    pub host: String,
    pub first_port: u16,
    pub last_port: u16,
    pub shards: u16,
    pub first_node: i32,
    pub last_node: i32,
    pub data: PathBuf,
    pub durability: String,
}

impl Ready {
    /// Reads `ready <host>:<first>-<last> shards=<n> node.ids=<a>-<b> data=<dir> durability=<how>`.
    fn parse(line: &str) -> Option<Ready> {
        let words: Vec<&str> = line.split(' ').collect();
        let [ready, place, shards, nodes, data, durability] = words[..] else {
            return None;
        };
        let (host, ports) = place.rsplit_once(':')?;
        let (first_port, last_port) = ports.split_once('-')?;
        let (first_node, last_node) = nodes.strip_prefix("node.ids=")?.split_once('-')?;
        (ready == "ready").then_some(())?;
        Some(Ready {
            host: host.to_owned(),
            first_port: first_port.parse().ok()?,
            last_port: last_port.parse().ok()?,
            shards: shards.strip_prefix("shards=")?.parse().ok()?,
            first_node: first_node.parse().ok()?,
            last_node: last_node.parse().ok()?,
            data: PathBuf::from(data.strip_prefix("data=")?),
            durability: durability.strip_prefix("durability=")?.to_owned(),
        })
    }
}

/// Everything a stream said so far, and whether it ended.
#[derive(Default)]
struct Heard {
    text: String,
    ended: bool,
}

/// A stream that a thread listens to.
#[derive(Clone, Default)]
struct Ear(Arc<(Mutex<Heard>, Condvar)>);

impl Ear {
    fn listen(stream: impl std::io::Read + Send + 'static) -> Ear {
        let ear = Ear::default();
        let heard = ear.clone();
        thread::spawn(move || {
            let mut lines = BufReader::new(stream).lines();
            while let Some(Ok(line)) = lines.next() {
                heard.add(&line);
            }
            heard.0.0.lock().unwrap().ended = true;
            heard.0.1.notify_all();
        });
        ear
    }

    fn add(&self, line: &str) {
        let mut heard = self.0.0.lock().unwrap();
        heard.text.push_str(line);
        heard.text.push('\n');
        self.0.1.notify_all();
    }

    /// Waits until `done` finds something in the text, or the stream ends without.
    fn wait<T>(&self, done: impl Fn(&str) -> Option<T>) -> Option<T> {
        let until = Instant::now() + PATIENCE;
        let mut heard = self.0.0.lock().unwrap();
        loop {
            if let Some(found) = done(&heard.text) {
                return Some(found);
            }
            let left = until.saturating_duration_since(Instant::now());
            if heard.ended || left.is_zero() {
                return None;
            }
            heard = self.0.1.wait_timeout(heard, left).unwrap().0;
        }
    }

    fn wait_for_end(&self) -> String {
        let until = Instant::now() + PATIENCE;
        let mut heard = self.0.0.lock().unwrap();
        while !heard.ended && Instant::now() < until {
            heard = self.0.1.wait_timeout(heard, PATIENCE).unwrap().0;
        }
        heard.text.clone()
    }
}

/// A running broker; dropped, it is killed.
pub struct Broker {
    pid: Pid,
    end: mpsc::Receiver<ExitStatus>,
    ended: Option<ExitStatus>,
    out: Ear,
    err: Ear,
    pub ready: Ready,
}

/// A broker that ended before it was ready.
#[derive(Debug)]
pub struct Refused {
    pub code: Option<i32>,
    pub log: String,
}

impl Broker {
    /// Starts one shard on `data` and waits until it is ready.
    pub fn start(data: &Path, args: &[&str]) -> Broker {
        Broker::start_shards(1, data, args)
    }

    pub fn start_shards(shards: u16, data: &Path, args: &[&str]) -> Broker {
        let shards = shards.to_string();
        let args = [&["--shards", shards.as_str()], args].concat();
        Broker::run(serve_on(data, &args)).unwrap_or_else(|refused| panic!("{refused:#?}"))
    }

    /// Runs a command until it is ready or has ended.
    pub fn run(mut command: Command) -> Result<Broker, Refused> {
        command.env_remove("OTTLA_LOG").stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let out = Ear::listen(child.stdout.take().unwrap());
        let err = Ear::listen(child.stderr.take().unwrap());
        let pid = Pid::from_child(&child);
        let end = wait_elsewhere(child);
        let ready = out.wait(|text| text.lines().find_map(Ready::parse));
        let Some(ready) = ready else {
            let _ = kill_process(pid, Signal::KILL);
            let status = end.recv_timeout(PATIENCE).unwrap();
            let log = err.wait_for_end();
            let code = status.code();
            return Err(Refused { code, log });
        };
        Ok(Broker {
            pid,
            end,
            ended: None,
            out,
            err,
            ready,
        })
    }

    /// Where shard 0 listens.
    pub fn address(&self) -> String {
        format!("{}:{}", self.ready.host, self.ready.first_port)
    }

    pub fn pid(&self) -> i32 {
        self.pid.as_raw_nonzero().get()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).unwrap();
    }

    /// Waits for the end of the process.
    pub fn wait(&mut self) -> ExitStatus {
        let status = match self.ended {
            Some(status) => status,
            None => self.end.recv_timeout(PATIENCE).expect("the broker ends"),
        };
        self.ended = Some(status);
        status
    }

    /// Whether the process has ended by now.
    pub fn has_ended(&mut self) -> bool {
        if self.ended.is_none() {
            self.ended = self.end.try_recv().ok();
        }
        self.ended.is_some()
    }

    /// Ends it in order; what it logged.
    pub fn stop(mut self) -> String {
        self.signal(Signal::TERM);
        let status = self.wait();
        let log = self.err.wait_for_end();
        assert_eq!(status.code(), Some(0), "{log}");
        log
    }

    /// `kill -9`, and waits until it is gone.
    pub fn kill(mut self) {
        self.signal(Signal::KILL);
        assert_eq!(self.wait().signal(), Some(9));
    }

    /// Waits until the log has a line with all of `words`, and returns it.
    pub fn logged(&self, words: &[&str]) -> String {
        let with_all = |line: &&str| words.iter().all(|word| line.contains(word));
        let found = self
            .err
            .wait(|text| text.lines().find(with_all).map(str::to_owned));
        found.unwrap_or_else(|| panic!("no line with {words:?} in:\n{}", self.log()))
    }

    /// The log so far.
    pub fn log(&self) -> String {
        self.err.0.0.lock().unwrap().text.clone()
    }

    /// Standard output so far.
    pub fn output(&self) -> String {
        self.out.0.0.lock().unwrap().text.clone()
    }

    /// A field of `/proc/<pid>/status` in KiB, such as `VmRSS`.
    pub fn memory_kib(&self, field: &str) -> u64 {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if self.ended.is_none() {
            let _ = kill_process(self.pid, Signal::KILL);
            let _ = self.end.recv_timeout(PATIENCE);
        }
        if thread::panicking() {
            eprintln!("the broker's log:\n{}", self.log());
        }
    }
}

/// Waits on a thread, so that the test can wait with a limit.
fn wait_elsewhere(mut child: Child) -> mpsc::Receiver<ExitStatus> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let _ = sender.send(child.wait().unwrap());
    });
    receiver
}

/// A start that must fail.
pub fn refused(command: Command) -> Refused {
    match Broker::run(command) {
        Err(refused) => refused,
        Ok(broker) => panic!("it started: {:?}\n{}", broker.ready, broker.log()),
    }
}

/// A run of free ports below those that the system gives out by itself.
pub fn free_ports(count: u16) -> u16 {
    use std::net::TcpListener;
    use std::sync::atomic::{AtomicU16, Ordering};
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 900).unwrap() * 10;
    for _ in 0..500 {
        let base = 20_000 + (start + NEXT.fetch_add(count, Ordering::Relaxed)) % 10_000;
        let free = |port| TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (base..base + count).all(free) {
            return base;
        }
    }
    panic!("no {count} free ports in a row");
}

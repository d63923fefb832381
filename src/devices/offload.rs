//! Offload threads: work that would stall a core.
//!
//! Owns a few unpinned threads shared by all machines of the process, some for what blocks and some
//! for what computes, so that neither waits for the other; and for each machine a lane that bounds
//! its jobs in flight and brings the results home. A job runs once, sees only the disk, and its
//! end, a panic included, is reported once.

use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender, unbounded};
use crossbeam::queue::ArrayQueue;
use rustix::process::setpriority_process;

use super::doorbell::Doorbell;
use super::{Disk, Event, Fault, Job, OpId, Output};
use crate::words::limits::{COMPUTE_NICENESS, JOBS_IN_FLIGHT_MAX};

struct Work {
    op: OpId,
    job: Job,
    disk: Arc<dyn Disk>,
    home: Arc<Home>,
}

struct Home {
    done: ArrayQueue<(OpId, Result<Output, Fault>)>,
    bell: Arc<Doorbell>,
}

/// What a job does with its thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Trade {
    Blocks,
    Computes,
}

/// The ways in, one for each trade.
#[derive(Clone)]
struct Queues {
    // Unbounded by themselves: each lane puts in at most JOBS_IN_FLIGHT_MAX jobs.
    blocking: Sender<Work>,
    computing: Sender<Work>,
}

/// The offload threads. Clones share them; they end with the last clone, after the last job.
#[derive(Clone)]
pub struct Offload {
    queues: Queues,
}

impl Offload {
    /// Starts threads for jobs that block and for jobs that compute (at least one of each). They
    /// sleep until there is a job.
    pub fn start(blocking: usize, computing: usize) -> io::Result<Offload> {
        let queues = Queues {
            blocking: crew("offload", blocking, work)?,
            computing: crew("compute", computing, compute)?,
        };
        Ok(Offload { queues })
    }

    pub(super) fn lane(&self, disk: Arc<dyn Disk>, bell: Arc<Doorbell>) -> Lane {
        Lane {
            queues: self.queues.clone(),
            disk,
            home: Arc::new(Home {
                done: ArrayQueue::new(JOBS_IN_FLIGHT_MAX),
                bell,
            }),
            waiting: VecDeque::new(),
            in_flight: 0,
        }
    }
}

fn crew(name: &str, threads: usize, labour: fn(&Receiver<Work>)) -> io::Result<Sender<Work>> {
    let (queue, jobs) = unbounded();
    for number in 0..threads.max(1) {
        let jobs = jobs.clone();
        std::thread::Builder::new()
            .name(format!("{name}-{number}"))
            .spawn(move || labour(&jobs))?;
    }
    Ok(queue)
}

/// As [`work`], behind the shards where both want the same core.
fn compute(jobs: &Receiver<Work>) {
    // On Linux this is of the calling thread alone.
    if let Err(error) = setpriority_process(None, COMPUTE_NICENESS) {
        tracing::warn!(%error, "threads that compute run beside the shards, not behind them");
    }
    work(jobs);
}

fn work(jobs: &Receiver<Work>) {
    while let Ok(work) = jobs.recv() {
        let Work {
            op,
            job,
            disk,
            home,
        } = work;
        // A job owns what it touches and is consumed by its run, so a panic leaves nothing that
        // anybody else will look at.
        let result = match catch_unwind(AssertUnwindSafe(|| job(&*disk))) {
            Ok(Ok(output)) => Ok(Output::Job(output)),
            Ok(Err(error)) => Err(Fault::from_error(error)),
            Err(_) => Err(Fault::from_error(io::Error::other("the job panicked"))),
        };
        // Never full: a lane has no more jobs in flight than the queue has places.
        let _ = home.done.push((op, result));
        home.bell.ring();
    }
}

/// One machine's access to the offload threads.
pub(super) struct Lane {
    queues: Queues,
    disk: Arc<dyn Disk>,
    home: Arc<Home>,
    waiting: VecDeque<(OpId, Job, Trade)>,
    in_flight: usize,
}

impl Lane {
    pub(super) fn submit(&mut self, op: OpId, job: Job, trade: Trade) {
        self.waiting.push_back((op, job, trade));
        self.feed();
    }

    fn feed(&mut self) {
        while self.in_flight < JOBS_IN_FLIGHT_MAX {
            let Some((op, job, trade)) = self.waiting.pop_front() else {
                return;
            };
            let work = Work {
                op,
                job,
                disk: self.disk.clone(),
                home: self.home.clone(),
            };
            self.in_flight += 1;
            let queue = match trade {
                Trade::Blocks => &self.queues.blocking,
                Trade::Computes => &self.queues.computing,
            };
            if queue.send(work).is_err() {
                // The threads live as long as any sender; should they be gone all the same, the
                // operation still gets its one answer.
                let error = io::Error::other("no offload thread left");
                let _ = self.home.done.push((op, Err(Fault::from_error(error))));
            }
        }
    }

    pub(super) fn has_done(&self) -> bool {
        !self.home.done.is_empty()
    }

    pub(super) fn collect<M>(&mut self, events: &mut Vec<Event<M>>) {
        while let Some((op, result)) = self.home.done.pop() {
            self.in_flight = self.in_flight.saturating_sub(1);
            events.push(Event::Done { op, result });
        }
        self.feed();
    }
}

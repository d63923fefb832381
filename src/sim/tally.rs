//! What a run did and met, in figures.

use std::fmt;

/// What was done and met, for the report.
#[derive(Clone, Copy, Default, Debug)]
pub struct Tally {
    pub ticks: u64,
    pub answers: u64,
    pub acknowledged: u64,
    pub batches_read: u64,
    pub starts: u64,
    pub stops: u64,
    pub kills: u64,
    pub power_cuts: u64,
    pub recoveries_cut: u64,
    pub trouble_spells: u64,
    pub full_spells: u64,
    pub clock_steps: u64,
    pub cut_connections: u64,
    pub rotten_sectors: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Tally) {
        self.ticks += other.ticks;
        self.answers += other.answers;
        self.acknowledged += other.acknowledged;
        self.batches_read += other.batches_read;
        self.starts += other.starts;
        self.stops += other.stops;
        self.kills += other.kills;
        self.power_cuts += other.power_cuts;
        self.recoveries_cut += other.recoveries_cut;
        self.trouble_spells += other.trouble_spells;
        self.full_spells += other.full_spells;
        self.clock_steps += other.clock_steps;
        self.cut_connections += other.cut_connections;
        self.rotten_sectors += other.rotten_sectors;
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ticks {}, answers {}, acknowledged batches {}, reads {}, starts {}; faults: stops {}, \
             kills {}, power cuts {}, starts cut {}, failing disk {}, full disk {}, clock steps {}, \
             connections cut {}, rotten sectors {}",
            self.ticks,
            self.answers,
            self.acknowledged,
            self.batches_read,
            self.starts,
            self.stops,
            self.kills,
            self.power_cuts,
            self.recoveries_cut,
            self.trouble_spells,
            self.full_spells,
            self.clock_steps,
            self.cut_connections,
            self.rotten_sectors,
        )
    }
}

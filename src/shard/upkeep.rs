//! What a shard does in the background of its life: retention, expiry, idle connections, and the
//! way out (draining).

use crate::devices::{ConnectionId, Effect, Effects};
use crate::shard::partition::Slot;
use crate::shard::{Life, Message, Shard, Timer};
use crate::words::Now;
use crate::words::limits::{DRAIN_PATIENCE_MS, LINGER_MS};

impl Shard {
    pub(super) fn start_timers(&mut self, now: Now) {
        let every = [
            (Timer::Retention, self.config.retention_check_ms),
            (Timer::Expiry, self.config.producer_expiry_check_ms),
            (Timer::IdleConnections, self.idle_check_ms()),
        ];
        for (timer, ms) in every {
            self.arm(now, ms, timer);
        }
    }

    /// Arms one of the shard's own timers, for which the wheel always has room.
    pub(super) fn arm(&mut self, now: Now, ms: i64, timer: Timer) {
        let armed = self.wheel.insert(now.after_ms(ms), timer);
        debug_assert!(
            armed.is_ok(),
            "the wheel has room for the shard's own timers"
        );
    }

    /// `log.retention.check.interval.ms`: whole segments that are too old, or too much.
    pub(super) fn apply_retention(&mut self, now: Now, effects: &mut Effects<Message>) {
        self.arm(now, self.config.retention_check_ms, Timer::Retention);
        for slot in self.partitions.slots() {
            self.apply_retention_to(now, slot, effects);
        }
    }

    fn apply_retention_to(&mut self, now: Now, slot: Slot, effects: &mut Effects<Message>) {
        let Some(partition) = self.partitions.get_mut(slot) else {
            return;
        };
        if partition.files.is_busy() {
            return;
        }
        let verdict = partition.log.judge_retention(now);
        if verdict.delete() == 0 {
            return;
        }
        if verdict.roll_first {
            partition.log.roll(now);
        }
        partition.log.move_log_start(verdict.log_start);
        self.release_segments(slot, "segments past retention", effects);
        self.checkpoint_due.get_or_insert(now.after_ms(0));
    }

    /// `producer.id.expiration.check.interval.ms`: idempotent producers that went quiet.
    pub(super) fn expire_producers(&mut self, now: Now) {
        let expiration_ms = self.config.producer_expiration_ms;
        for (_, partition) in self.partitions.iter_mut() {
            partition.log.expire_producers(now, expiration_ms);
        }
        self.arm(now, self.config.producer_expiry_check_ms, Timer::Expiry);
    }

    /// Begins the way out: no new connections; what is owed is answered.
    pub fn drain(&mut self, now: Now, effects: &mut Effects<Message>) {
        if self.life != Life::Serving {
            return;
        }
        self.life = Life::Draining;
        self.fills.draining = true;
        effects.push(Effect::StopAccepting);
        self.end_fetches(now, effects);
        // In the order of their ids, so that a simulated run can be repeated.
        let mut ids: Vec<ConnectionId> = self.connections.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let Some(connection) = self.connections.get_mut(&id) else {
                continue;
            };
            connection.closing = true;
            self.touched.push(id);
            // Nothing of ours is on its way to a client that was silent for so long.
            let silent = now.reached(connection.last_active.after_ms(LINGER_MS));
            if silent && connection.open_requests() == 0 && connection.unsent_bytes == 0 {
                effects.push(Effect::Close { connection: id });
            }
        }
        self.arm(now, DRAIN_PATIENCE_MS, Timer::DrainPatience);
    }

    /// Goes on with the way out, at the end of a turn: once appends are durable and everything is
    /// in its segments, seals, writes a last checkpoint and stops when the clients are gone.
    pub(super) fn drain_on(&mut self, now: Now, effects: &mut Effects<Message>) {
        if self.life != Life::Draining || !self.lines.is_empty() || !self.commit.is_idle() {
            return;
        }
        for slot in self.partitions.slots() {
            let unfilled = self
                .partitions
                .get(slot)
                .is_some_and(|partition| partition.log.unfilled_bytes() > 0 && !partition.offline);
            if unfilled {
                self.wants_fill(now, slot);
            }
        }
        self.schedule_fills(now, effects);
        let busy = self.fills.in_flight > 0
            || !self.ops.is_empty()
            || self
                .partitions
                .iter()
                .any(|(_, partition)| partition.log.unfilled_bytes() > 0 && !partition.offline);
        if busy && !self.fills_are_stuck() {
            return;
        }
        if !self.drained_checkpoint {
            self.drained_checkpoint = true;
            self.start_closing_checkpoint(effects);
            return;
        }
        if self.ops.is_empty() && self.connections.is_empty() {
            self.life = Life::Stopped;
            super::stop(effects);
        }
    }

    /// The disk is full: what is not in segments stays in the journal, which recovery replays.
    fn fills_are_stuck(&self) -> bool {
        self.fills.full_until.is_some() && self.fills.in_flight == 0
    }
}

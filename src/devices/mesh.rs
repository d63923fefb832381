//! The mesh: a bounded mailbox for every ordered pair of machines in this process.
//!
//! Owns the mailboxes and what waits at a sender for room. Messages of one pair keep their order
//! and none is lost; a full mailbox holds messages back at the sender until the receiver made room.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

use crossbeam::queue::ArrayQueue;

use super::doorbell::{Doorbell, Waker};
use super::{Event, PeerId};
use crate::words::limits::MAILBOX_MESSAGES;

struct Mailbox<M> {
    queue: ArrayQueue<M>,
    /// The sender found the mailbox full and wants a ring when there is room.
    sender_waits: AtomicBool,
}

struct Peer<M> {
    /// From us to the peer, and from the peer to us.
    outbound: Arc<Mailbox<M>>,
    inbound: Arc<Mailbox<M>>,
    bell: Arc<Doorbell>,
    /// Sent by us, without room so far.
    held_back: VecDeque<M>,
    /// Something was put into `outbound` in this turn.
    ring: bool,
}

/// One machine's place in the mesh.
pub struct Endpoint<M> {
    id: PeerId,
    bell: Arc<Doorbell>,
    peers: Vec<Peer<M>>,
}

/// Endpoints of `machines` machines, in the order of their [`PeerId`]s. A machine may post to
/// itself. Fails when the process has no descriptors left.
pub fn mesh<M: Send>(machines: u16) -> io::Result<Vec<Endpoint<M>>> {
    let bells = (0..machines)
        .map(|_| Doorbell::new().map(Arc::new))
        .collect::<io::Result<Vec<_>>>()?;
    // boxes[from][to]
    let boxes: Vec<Vec<Arc<Mailbox<M>>>> = (0..machines)
        .map(|_| (0..machines).map(|_| Arc::new(Mailbox::new())).collect())
        .collect();
    let mut endpoints = Vec::with_capacity(usize::from(machines));
    for (id, (bell, outbound)) in (0..machines).zip(bells.iter().zip(boxes.iter())) {
        let inbound = boxes.iter().filter_map(|row| row.get(usize::from(id)));
        let peers = outbound
            .iter()
            .zip(inbound)
            .zip(bells.iter())
            .map(|((outbound, inbound), bell)| Peer {
                outbound: outbound.clone(),
                inbound: inbound.clone(),
                bell: bell.clone(),
                held_back: VecDeque::new(),
                ring: false,
            })
            .collect();
        endpoints.push(Endpoint {
            id: PeerId(id),
            bell: bell.clone(),
            peers,
        });
    }
    Ok(endpoints)
}

impl<M> Mailbox<M> {
    fn new() -> Mailbox<M> {
        Mailbox {
            queue: ArrayQueue::new(MAILBOX_MESSAGES),
            sender_waits: AtomicBool::new(false),
        }
    }
}

impl<M> Endpoint<M> {
    pub fn id(&self) -> PeerId {
        self.id
    }

    /// Wakes the machine that will run on this endpoint.
    pub fn waker(&self) -> Waker {
        Waker(self.bell.clone())
    }

    pub(super) fn bell(&self) -> &Arc<Doorbell> {
        &self.bell
    }

    /// Queues a message; [`Endpoint::deliver`] hands it over. False when there is no such peer.
    pub(super) fn post(&mut self, to: PeerId, message: M) -> bool {
        match self.peers.get_mut(usize::from(to.0)) {
            Some(peer) => {
                peer.held_back.push_back(message);
                true
            }
            None => false,
        }
    }

    /// Moves queued messages into the mailboxes and rings, once, each peer that got any.
    pub(super) fn deliver(&mut self) {
        for peer in &mut self.peers {
            peer.deliver();
            if std::mem::take(&mut peer.ring) {
                peer.bell.ring();
            }
        }
    }

    /// Takes what has arrived: at most one mailbox full from each peer.
    pub(super) fn receive(&mut self, events: &mut Vec<Event<M>>) {
        for (from, peer) in (0u16..).zip(self.peers.iter()) {
            if peer.inbound.queue.is_empty() {
                continue;
            }
            for _ in 0..MAILBOX_MESSAGES {
                let Some(message) = peer.inbound.queue.pop() else {
                    break;
                };
                events.push(Event::Message {
                    from: PeerId(from),
                    message,
                });
            }
            fence(Ordering::SeqCst);
            if peer.inbound.sender_waits.swap(false, Ordering::SeqCst) {
                peer.bell.ring();
            }
        }
    }

    /// True when [`Endpoint::receive`] or [`Endpoint::deliver`] would move something.
    pub(super) fn has_work(&self) -> bool {
        self.peers.iter().any(|peer| {
            !peer.inbound.queue.is_empty()
                || (!peer.held_back.is_empty() && !peer.outbound.queue.is_full())
        })
    }
}

impl<M> Peer<M> {
    fn deliver(&mut self) {
        while let Some(message) = self.held_back.pop_front() {
            let Err(message) = self.outbound.queue.push(message) else {
                self.ring = true;
                continue;
            };
            // Full. Say that we wait, then try again: the receiver makes room first and asks
            // afterwards whether anybody waits, so one of the two notices.
            self.outbound.sender_waits.store(true, Ordering::SeqCst);
            fence(Ordering::SeqCst);
            match self.outbound.queue.push(message) {
                Ok(()) => self.ring = true,
                Err(message) => {
                    self.held_back.push_front(message);
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn received(endpoint: &mut Endpoint<u32>) -> Vec<(u16, u32)> {
        let mut events = Vec::new();
        endpoint.receive(&mut events);
        let unpack = |event| match event {
            Event::Message { from, message } => (from.0, message),
            _ => panic!("not a message"),
        };
        events.into_iter().map(unpack).collect()
    }

    #[test]
    fn messages_of_a_pair_keep_their_order_past_a_full_mailbox() {
        let mut ends = mesh::<u32>(2).unwrap();
        let mut b = ends.pop().unwrap();
        let mut a = ends.pop().unwrap();
        let count = u32::try_from(MAILBOX_MESSAGES).unwrap() * 2 + 7;
        for n in 0..count {
            assert!(a.post(PeerId(1), n));
        }
        let mut all = Vec::new();
        while all.len() < count as usize {
            a.deliver();
            let got = received(&mut b);
            assert!(!got.is_empty(), "the mesh got stuck at {}", all.len());
            all.extend(got);
        }
        assert!(all.iter().copied().eq((0..count).map(|n| (0, n))));
        assert!(!a.post(PeerId(2), 0), "there is no third machine");
    }

    #[test]
    fn a_machine_can_post_to_itself() {
        let mut ends = mesh::<u32>(1).unwrap();
        let a = ends.first_mut().unwrap();
        a.post(PeerId(0), 5);
        a.deliver();
        assert_eq!(received(a), [(0, 5)]);
        assert!(!a.has_work());
    }
}

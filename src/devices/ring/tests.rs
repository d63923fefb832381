//! Goal: no completion is lost at the edges of the queues. Method: small rings, plain operations.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::*;
use crate::devices::doorbell::Doorbell;

fn nop(number: u32) -> Entry {
    opcode::Nop::new().build().user_data(Tag::Read.with(number))
}

#[test]
fn every_completion_comes_past_full_queues() {
    const COUNT: u32 = 1000;
    let bell = Doorbell::new().unwrap();
    // Four times as many operations as completions fit, sixty times as many as submissions.
    let mut ring = Ring::new(16, 256, bell.fd()).unwrap();
    for number in 0..COUNT {
        // SAFETY: a nop points to no memory.
        unsafe { ring.push(nop(number)) };
        if number % 100 == 99 {
            ring.submit().unwrap();
        }
    }
    let mut completions = Vec::new();
    while ring.has_unsubmitted() || ring.has_completions() {
        ring.submit().unwrap();
        ring.take(&mut completions);
    }
    assert_eq!(ring.in_flight(), 0);
    assert!(
        completions.iter().map(|done| done.slot).eq(0..COUNT),
        "all, in order"
    );
    assert!(
        completions
            .iter()
            .all(|done| done.tag == Tag::Read && done.result == 0)
    );
}

#[test]
fn a_linked_pair_stays_together_where_the_queue_ends() {
    let bell = Doorbell::new().unwrap();
    let mut ring = Ring::new(4, 64, bell.fd()).unwrap();
    for number in 0..3 {
        // SAFETY: a nop points to no memory.
        unsafe { ring.push(nop(number)) };
    }
    // One place is left: a pair that was torn would let its second half run.
    let broken = opcode::Fsync::new(types::Fd(-1))
        .build()
        .user_data(Tag::Write.with(7));
    // SAFETY: neither points to memory.
    unsafe { ring.push_linked(broken, nop(8)) };
    let mut completions = Vec::new();
    while ring.in_flight() > 0 {
        ring.wait(Duration::from_secs(10)).unwrap();
        ring.take(&mut completions);
    }
    let of = |slot| {
        completions
            .iter()
            .find(|done| done.slot == slot)
            .unwrap()
            .result
    };
    assert_eq!((of(7), of(8)), (-libc::EBADF, -libc::ECANCELED));
}

#[test]
fn settling_leaves_no_deferred_completion_behind() {
    let bell = Doorbell::new().unwrap();
    let mut ring = Ring::new(64, 256, bell.fd()).unwrap();
    ring.lend_receive_buffers().unwrap();
    let mut pairs: Vec<_> = (0..60).map(|_| UnixStream::pair().unwrap()).collect();
    for (number, (ours, _)) in (0..).zip(&pairs) {
        let entry = opcode::RecvMulti::new(types::Fd(ours.as_raw_fd()), RECEIVE_GROUP).build();
        // SAFETY: the buffers are the ring's own.
        unsafe { ring.push(entry.user_data(Tag::Receive.with(number))) };
    }
    ring.submit().unwrap();
    // Sixty deferred items: fifty-nine for bytes that are gone again, the last for one that stays.
    for (_, theirs) in &mut pairs {
        theirs.write_all(b"x").unwrap();
    }
    for (ours, _) in pairs.iter_mut().rev().skip(1).rev() {
        ours.read_exact(&mut [0]).unwrap();
    }
    let mut completions = Vec::new();
    ring.settle().unwrap();
    ring.take(&mut completions);
    let got: Vec<_> = completions
        .iter()
        .map(|done| (done.slot, done.result))
        .collect();
    assert_eq!(got, [(59, 1)]);
    ring.cancel_everything();
    while ring.in_flight() > 0 {
        ring.wait(Duration::from_secs(10)).unwrap();
        ring.take(&mut completions);
    }
}

#[test]
fn receive_buffers_come_round_again() {
    let bell = Doorbell::new().unwrap();
    let mut ring = Ring::new(16, 2048, bell.fd()).unwrap();
    ring.lend_receive_buffers().unwrap();
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let rounds = usize::from(RECEIVE_BUFFERS) * 3;
    let mut got = Vec::new();
    let mut armed = false;
    let mut completions = Vec::new();
    while got.len() < rounds {
        let number = u8::try_from(got.len() % 251).unwrap();
        theirs.write_all(&[number]).unwrap();
        if !std::mem::replace(&mut armed, true) {
            let entry = opcode::RecvMulti::new(types::Fd(ours.as_raw_fd()), RECEIVE_GROUP).build();
            // SAFETY: the buffers are the ring's own.
            unsafe { ring.push(entry.user_data(Tag::Receive.with(0))) };
        }
        ring.wait(Duration::from_secs(10)).unwrap();
        ring.take(&mut completions);
        for done in completions.drain(..) {
            armed = done.more;
            let buffer = done.buffer.unwrap();
            got.extend_from_slice(ring.received(buffer, done.outcome().unwrap()));
            ring.recycle(buffer);
        }
        ring.publish_recycled();
    }
    let want = (0..rounds).map(|n| u8::try_from(n % 251).unwrap());
    assert!(got.into_iter().eq(want));
    drop(theirs);
    while ring.in_flight() > 0 {
        ring.wait(Duration::from_secs(10)).unwrap();
        ring.take(&mut completions);
    }
}

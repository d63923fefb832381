//! The wheel against a sorted map of deadlines, and its edges one by one.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MS: u64 = TICK_NS;

fn at(ns: u64) -> Now {
    Now {
        mono_ns: ns,
        ..Now::default()
    }
}

fn fired(wheel: &mut Wheel<u32>, ns: u64) -> Vec<u32> {
    let mut out = Vec::new();
    wheel.advance(at(ns), |ticket| out.push(ticket));
    out
}

#[test]
fn a_timer_never_fires_before_its_deadline_and_at_most_a_millisecond_after() {
    let mut wheel = Wheel::new(10, at(0));
    wheel.insert(Deadline(5 * MS + 1), 1).unwrap();
    assert_eq!(fired(&mut wheel, 5 * MS + 1), [0; 0]);
    assert_eq!(wheel.next_deadline(), Some(Deadline(6 * MS)));
    assert_eq!(fired(&mut wheel, 6 * MS), [1]);
    assert_eq!(wheel.next_deadline(), None);
}

#[test]
fn a_deadline_in_the_past_fires_at_the_next_call_even_if_no_time_has_passed() {
    let mut wheel = Wheel::new(10, at(50 * MS));
    wheel.insert(Deadline(60 * MS), 1).unwrap();
    wheel.insert(Deadline(50 * MS), 2).unwrap();
    wheel.insert(Deadline(0), 3).unwrap();
    assert!(wheel.next_deadline() <= Some(Deadline(50 * MS)));
    assert_eq!(fired(&mut wheel, 50 * MS), [2, 3]);
}

#[test]
fn a_clock_that_stands_or_goes_back_fires_nothing_early() {
    let mut wheel = Wheel::new(10, at(50 * MS));
    wheel.insert(Deadline(51 * MS), 1).unwrap();
    assert_eq!(fired(&mut wheel, 10 * MS), [0; 0]);
    assert_eq!(fired(&mut wheel, 50 * MS), [0; 0]);
    assert_eq!(fired(&mut wheel, 51 * MS), [1]);
}

#[test]
fn the_last_deadline_of_all_has_a_place() {
    let mut wheel = Wheel::new(10, at(0));
    wheel.insert(Deadline(u64::MAX), 1).unwrap();
    assert_eq!(fired(&mut wheel, u64::MAX - MS), [0; 0]);
    assert_eq!(wheel.len(), 1);
    // Its tick, rounded up, is past the end of the clock.
    assert_eq!(fired(&mut wheel, u64::MAX), [0; 0]);
    assert_eq!(wheel.len(), 1);
}

#[test]
fn a_handle_names_nothing_once_its_timer_is_gone() {
    let mut wheel = Wheel::new(1, at(0));
    let first = wheel.insert(Deadline(MS), 1).unwrap();
    assert_eq!(wheel.insert(Deadline(MS), 2), Err(Full));
    assert_eq!(wheel.cancel(first), Some(1));
    let second = wheel.insert(Deadline(MS), 2).unwrap();
    assert_eq!(wheel.cancel(first), None);
    assert_eq!(fired(&mut wheel, MS), [2]);
    assert_eq!(wheel.cancel(second), None);
}

#[test]
fn waiting_for_a_far_timer_takes_few_calls() {
    let mut wheel = Wheel::new(1, at(0));
    let week = 7 * 24 * 3600 * 1000 * MS;
    wheel.insert(Deadline(week), 1).unwrap();
    let mut calls = 0;
    while let Some(Deadline(next)) = wheel.next_deadline() {
        assert!(next <= week);
        calls += 1;
        let out = fired(&mut wheel, next);
        assert_eq!(out.is_empty(), next < week);
    }
    assert!(calls <= LEVELS, "{calls} calls");
}

#[test]
fn equal_deadlines_fire_in_order_even_when_some_came_down_from_a_higher_level() {
    let mut wheel = Wheel::new(10, at(0));
    wheel.insert(Deadline(4200 * MS), 1).unwrap();
    wheel.insert(Deadline(4200 * MS), 2).unwrap();
    fired(&mut wheel, 4100 * MS);
    wheel.insert(Deadline(4200 * MS), 3).unwrap();
    fired(&mut wheel, 4199 * MS);
    wheel.insert(Deadline(4200 * MS), 4).unwrap();
    assert_eq!(fired(&mut wheel, 9000 * MS), [1, 2, 3, 4]);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u64),
    Cancel(prop::sample::Index),
    /// Forward by so many nanoseconds.
    Pass(u64),
    /// Forward to what the wheel asks for.
    PassToNext,
}

/// Spans from nanoseconds to days, every magnitude as likely.
fn span() -> impl Strategy<Value = u64> {
    (0u32..50, any::<u64>()).prop_map(|(bits, any)| any & ((1u64 << bits) - 1))
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => span().prop_map(Step::Insert),
        2 => any::<prop::sample::Index>().prop_map(Step::Cancel),
        2 => span().prop_map(Step::Pass),
        3 => Just(Step::PassToNext),
    ]
}

proptest! {
    /// The oracle: armed timers by (tick at which they can fire, order of insertion).
    #[test]
    fn agrees_with_a_sorted_map(
        start in 0u64..1 << 50,
        steps in prop::collection::vec(step(), 0..300),
    ) {
        const MAX: usize = 40;
        let mut now = start;
        let mut wheel = Wheel::new(MAX, at(now));
        let mut oracle: BTreeMap<(u64, u32), TimerHandle> = BTreeMap::new();
        let mut gone: Vec<TimerHandle> = Vec::new();
        for (ticket, step) in (0u32..).zip(steps) {
            match step {
                Step::Insert(span) => match wheel.insert(Deadline(now + span), ticket) {
                    Ok(handle) => {
                        // A deadline within the present tick is due at the next one at the latest.
                        let tick = (now + span).div_ceil(MS).max(now / MS);
                        oracle.insert((tick, ticket), handle);
                    }
                    Err(Full) => prop_assert_eq!(oracle.len(), MAX),
                },
                Step::Cancel(which) if !oracle.is_empty() => {
                    let key = *which.get(&oracle.keys().copied().collect::<Vec<_>>());
                    let handle = oracle.remove(&key).unwrap();
                    prop_assert_eq!(wheel.cancel(handle), Some(key.1));
                    gone.push(handle);
                }
                Step::Cancel(_) => {}
                Step::Pass(_) | Step::PassToNext => {
                    now = match (step, wheel.next_deadline()) {
                        (Step::Pass(span), _) => now + span,
                        (_, Some(next)) => now.max(next.0),
                        (_, None) => now,
                    };
                    let rest = oracle.split_off(&(now / MS + 1, 0));
                    let due: Vec<u32> = oracle.keys().map(|key| key.1).collect();
                    gone.extend(oracle.into_values());
                    oracle = rest;
                    prop_assert_eq!(fired(&mut wheel, now), due);
                }
            }
            prop_assert_eq!(wheel.len(), oracle.len());
            let first = oracle.keys().next().map(|key| key.0 * MS);
            match (wheel.next_deadline(), first) {
                (Some(next), Some(first)) => prop_assert!(next.0 <= first),
                (next, first) => prop_assert_eq!(next.is_some(), first.is_some()),
            }
            for handle in gone.drain(..) {
                prop_assert_eq!(wheel.cancel(handle), None);
            }
        }
    }
}

//! Every combination of facts has a verdict, every row is reached, and the law holds.

use std::collections::BTreeSet;

use super::*;

const BOOLS: [bool; 2] = [false, true];

fn tails() -> Vec<TailFacts> {
    let mut all = Vec::new();
    for end in [
        TailEnd::Clean,
        TailEnd::Zeros,
        TailEnd::Damaged,
        TailEnd::DamagedThenGood,
    ] {
        for bits in 0..8 {
            all.push(TailFacts {
                end,
                proven_beyond: bits & 1 != 0,
                journal_continues: bits & 2 != 0,
                later_data_apart: bits & 4 != 0,
            });
        }
    }
    all
}

fn entries() -> Vec<EntryFacts> {
    let bits = |n: u8, bit: u8| n & (1 << bit) != 0;
    (0..16)
        .map(|n| EntryFacts {
            present: bits(n, 0),
            filled: bits(n, 1),
            completed: bits(n, 2),
            suspects_named: bits(n, 3),
        })
        .collect()
}

fn batches() -> Vec<BatchFacts> {
    let mut all = Vec::new();
    for place in [Place::Held, Place::Next, Place::Overlap, Place::Beyond] {
        for n in 0u8..16 {
            all.push(BatchFacts {
                live: n & 1 != 0,
                offline: n & 2 != 0,
                place,
                completed: n & 4 != 0,
                sound: n & 8 != 0,
            });
        }
    }
    all
}

fn indexes() -> Vec<IndexFacts> {
    let mut all = Vec::new();
    for sealed in BOOLS {
        for long_enough in BOOLS {
            for sane in BOOLS {
                all.push(IndexFacts {
                    sealed,
                    long_enough,
                    sane,
                });
            }
        }
    }
    all
}

fn directories() -> Vec<DirectoryFacts> {
    let mut all = Vec::new();
    for id in [
        DirectoryId::Same,
        DirectoryId::Other,
        DirectoryId::None,
        DirectoryId::Unknown,
    ] {
        for name_live in BOOLS {
            for (swap_files, quarantined) in
                [(false, false), (false, true), (true, false), (true, true)]
            {
                for foreign in BOOLS {
                    all.push(DirectoryFacts {
                        name_live,
                        id,
                        swap_files,
                        quarantined,
                        foreign,
                    });
                }
            }
        }
    }
    all
}

fn every_row_is_reached<F, V: Copy>(
    table: &[Row<F, V>],
    facts: &[F],
    ask: impl Fn(&F) -> Judged<V>,
) {
    let reached: BTreeSet<&str> = facts.iter().map(|facts| ask(facts).letter).collect();
    let rows: BTreeSet<&str> = table.iter().map(|row| row.letter).collect();
    assert_eq!(
        reached, rows,
        "a row that no facts reach, or facts without a row"
    );
    assert_eq!(rows.len(), table.len(), "a letter twice");
}

#[test]
fn every_combination_of_facts_has_a_row_and_every_row_is_reached() {
    every_row_is_reached(TAIL, &tails(), |f| tail(*f));
    every_row_is_reached(ENTRY, &entries(), |f| entry(*f));
    every_row_is_reached(BATCH, &batches(), |f| batch(*f));
    every_row_is_reached(INDEX, &indexes(), |f| index(*f));
    every_row_is_reached(DIRECTORY, &directories(), |f| directory(*f));
}

#[test]
fn every_row_tells_its_story() {
    for letter in ["T1", "T7", "E3", "B8", "I1", "D6"] {
        assert!(
            story(letter).is_some_and(|story| story.len() > 15),
            "{letter}"
        );
    }
    assert_eq!(story("Z9"), None);
}

/// The law: proof of an acknowledgement past the good part leads to restoring or to quarantine.
#[test]
fn what_was_proven_durable_is_restored_or_quarantined_and_never_cut() {
    for facts in tails()
        .into_iter()
        .filter(|f| f.proven_beyond || f.later_data_apart)
    {
        let wanted = if facts.journal_continues {
            TailVerdict::RestoreFromJournal
        } else {
            TailVerdict::QuarantineRot
        };
        assert_eq!(tail(facts).verdict, wanted, "{facts:?}");
    }
    for facts in entries()
        .into_iter()
        .filter(|f| f.completed && !f.filled && !f.present)
    {
        assert!(
            entry(facts).verdict >= EntryVerdict::QuarantineSuspects,
            "{facts:?}"
        );
    }
    for facts in batches()
        .into_iter()
        .filter(|f| f.live && f.completed && !f.offline)
    {
        let dropped = BatchVerdict::StopAtGap;
        assert_ne!(batch(facts).verdict, dropped, "{facts:?}");
    }
}

/// An ordinary power cut must never take a partition offline: without proof, nothing is rot.
#[test]
fn an_unacknowledged_tail_never_takes_a_partition_offline() {
    for facts in tails()
        .into_iter()
        .filter(|f| !f.proven_beyond && !f.later_data_apart)
    {
        assert_ne!(tail(facts).verdict, TailVerdict::QuarantineRot, "{facts:?}");
    }
    for facts in entries().into_iter().filter(|f| !f.completed) {
        assert!(entry(facts).verdict <= EntryVerdict::StopAtGap, "{facts:?}");
    }
    let torn = |f: &BatchFacts| f.sound && !f.completed && f.place != Place::Overlap;
    for facts in batches().into_iter().filter(torn) {
        assert_ne!(
            batch(facts).verdict,
            BatchVerdict::QuarantineRot,
            "{facts:?}"
        );
    }
}

const QUIET: TailFacts = TailFacts {
    end: TailEnd::Clean,
    proven_beyond: false,
    journal_continues: false,
    later_data_apart: false,
};

#[test]
fn tails_walk_the_table() {
    let damaged = TailFacts {
        end: TailEnd::Damaged,
        ..QUIET
    };
    let then_good = TailFacts {
        end: TailEnd::DamagedThenGood,
        ..QUIET
    };
    let rows = [
        (
            "T1",
            TailFacts {
                proven_beyond: true,
                journal_continues: true,
                ..damaged
            },
        ),
        (
            "T2",
            TailFacts {
                proven_beyond: true,
                ..QUIET
            },
        ),
        (
            "T3",
            TailFacts {
                later_data_apart: true,
                ..damaged
            },
        ),
        ("T4", QUIET),
        (
            "T4",
            TailFacts {
                journal_continues: true,
                ..QUIET
            },
        ),
        (
            "T5",
            TailFacts {
                end: TailEnd::Zeros,
                ..QUIET
            },
        ),
        ("T6", then_good),
        (
            "T7",
            TailFacts {
                journal_continues: true,
                ..then_good
            },
        ),
        ("T7", damaged),
    ];
    for (letter, facts) in rows {
        assert_eq!(tail(facts).letter, letter, "{facts:?}");
    }
}

#[test]
fn journal_batches_walk_the_table() {
    let next = BatchFacts {
        live: true,
        offline: false,
        place: Place::Next,
        completed: true,
        sound: true,
    };
    let beyond = BatchFacts {
        place: Place::Beyond,
        ..next
    };
    let rows = [
        (
            "B1",
            BatchFacts {
                live: false,
                ..next
            },
        ),
        (
            "B2",
            BatchFacts {
                offline: true,
                ..next
            },
        ),
        (
            "B3",
            BatchFacts {
                place: Place::Held,
                sound: false,
                ..next
            },
        ),
        (
            "B4",
            BatchFacts {
                sound: false,
                ..next
            },
        ),
        ("B5", next),
        (
            "B5",
            BatchFacts {
                completed: false,
                ..next
            },
        ),
        (
            "B6",
            BatchFacts {
                place: Place::Overlap,
                ..next
            },
        ),
        ("B7", beyond),
        (
            "B8",
            BatchFacts {
                completed: false,
                ..beyond
            },
        ),
    ];
    for (letter, facts) in rows {
        assert_eq!(batch(facts).letter, letter, "{facts:?}");
    }
}

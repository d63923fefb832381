//! What a disk holds, what it has only promised, and what a power cut leaves of it.
//!
//! Every file has two contents: what is seen now, and what is durable; between them lie the writes
//! since the last flush. Names are alike: a change of a directory is durable when that directory was
//! synced. A cut chooses, from dice, what survives: as much as POSIX allows and no drive forbids.
//! Pure: no clock, no I/O.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::sync::Arc;

use crate::content::{Content, SECTOR};
use crate::dice::Dice;

pub const ROOT: u64 = 1;
/// Changes of names that may wait for a sync; more than that and the oldest become durable, as a
/// journalling file system commits them by and by.
const NAMES_WAITING_MAX: usize = 10_000;

pub type Names = BTreeMap<OsString, u64>;

#[derive(Clone)]
enum Change {
    Write { at: u64, data: Arc<[u8]> },
    Len(u64),
}

#[derive(Clone, Default)]
struct File {
    now: Content,
    durable: Content,
    /// Since the last flush, in order.
    waiting: Vec<Change>,
}

#[derive(Clone, Default)]
struct Dir {
    now: Names,
    durable: Names,
}

#[derive(Clone)]
enum Node {
    File(File),
    Dir(Dir),
}

/// `ino` gets the name `to`, loses the name `from`, or both at once.
#[derive(Clone)]
struct NameChange {
    ino: u64,
    from: Option<(u64, OsString)>,
    to: Option<(u64, OsString)>,
}

/// What a cut did, in numbers.
#[derive(Clone, Default, Debug, PartialEq, Eq)]
pub struct Losses {
    /// Files that had unflushed writes, and what became of those.
    pub files: u64,
    pub kept: u64,
    pub dropped: u64,
    pub torn: u64,
    pub reordered: u64,
    /// Sectors of unflushed writes.
    pub sectors: u64,
    pub sectors_lost: u64,
    /// Changes of names that no sync covered.
    pub names: u64,
    pub names_lost: u64,
}

#[derive(Clone)]
pub struct Store {
    nodes: HashMap<u64, Node>,
    waiting: Vec<NameChange>,
    next: u64,
}

pub enum Kind {
    File { len: u64 },
    Dir,
}

impl Store {
    pub fn new() -> Store {
        Store {
            nodes: HashMap::from([(ROOT, Node::Dir(Dir::default()))]),
            waiting: Vec::new(),
            next: ROOT + 1,
        }
    }

    pub fn kind(&self, ino: u64) -> Option<Kind> {
        Some(match self.nodes.get(&ino)? {
            Node::File(file) => Kind::File {
                len: file.now.len(),
            },
            Node::Dir(_) => Kind::Dir,
        })
    }

    pub fn names(&self, ino: u64) -> Option<&Names> {
        match self.nodes.get(&ino)? {
            Node::Dir(dir) => Some(&dir.now),
            Node::File(_) => None,
        }
    }

    pub fn lookup(&self, dir: u64, name: &OsStr) -> Option<u64> {
        self.names(dir)?.get(name).copied()
    }

    pub fn read(&self, ino: u64, at: u64, len: usize) -> Option<Vec<u8>> {
        match self.nodes.get(&ino)? {
            Node::File(file) => Some(file.now.read(at, len)),
            Node::Dir(_) => None,
        }
    }

    fn file(&mut self, ino: u64) -> Option<&mut File> {
        match self.nodes.get_mut(&ino)? {
            Node::File(file) => Some(file),
            Node::Dir(_) => None,
        }
    }

    pub fn write(&mut self, ino: u64, at: u64, data: &[u8]) -> Option<()> {
        let file = self.file(ino)?;
        file.now.write(at, data);
        let data = Arc::from(data);
        file.waiting.push(Change::Write { at, data });
        Some(())
    }

    pub fn set_len(&mut self, ino: u64, len: u64) -> Option<()> {
        let file = self.file(ino)?;
        file.now.set_len(len);
        file.waiting.push(Change::Len(len));
        Some(())
    }

    /// fsync and fdatasync: content and length. A name is not promised by that.
    pub fn sync(&mut self, ino: u64) -> Option<()> {
        let file = self.file(ino)?;
        for change in file.waiting.drain(..) {
            file.durable.apply(&change);
        }
        Some(())
    }

    pub fn create(&mut self, dir: u64, name: &OsStr, is_dir: bool) -> u64 {
        let ino = self.next;
        self.next += 1;
        let node = if is_dir {
            Node::Dir(Dir::default())
        } else {
            Node::File(File::default())
        };
        self.nodes.insert(ino, node);
        self.change(NameChange {
            ino,
            from: None,
            to: Some((dir, name.to_owned())),
        });
        ino
    }

    pub fn remove(&mut self, dir: u64, name: &OsStr) -> Option<u64> {
        let ino = self.lookup(dir, name)?;
        self.change(NameChange {
            ino,
            from: Some((dir, name.to_owned())),
            to: None,
        });
        Some(ino)
    }

    pub fn rename(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) -> Option<()> {
        let ino = self.lookup(from.0, from.1)?;
        self.change(NameChange {
            ino,
            from: Some((from.0, from.1.to_owned())),
            to: Some((to.0, to.1.to_owned())),
        });
        Some(())
    }

    fn change(&mut self, change: NameChange) {
        self.apply(&change, |dir| &mut dir.now);
        self.waiting.push(change);
        if self.waiting.len() > NAMES_WAITING_MAX {
            let oldest = self.waiting.remove(0);
            self.apply(&oldest, |dir| &mut dir.durable);
        }
    }

    fn apply(&mut self, change: &NameChange, which: fn(&mut Dir) -> &mut Names) {
        if let Some((dir, name)) = &change.from
            && let Some(Node::Dir(dir)) = self.nodes.get_mut(dir)
            && which(dir).get(name) == Some(&change.ino)
        {
            which(dir).remove(name);
        }
        if let Some((dir, name)) = &change.to
            && let Some(Node::Dir(dir)) = self.nodes.get_mut(dir)
        {
            which(dir).insert(name.clone(), change.ino);
        }
    }

    /// fsync of a directory: its own changes, and what led to the things that were moved there.
    pub fn sync_dir(&mut self, dir: u64) {
        let mut inodes = HashSet::new();
        let mut synced: Vec<bool> = Vec::with_capacity(self.waiting.len());
        for change in self.waiting.iter().rev() {
            let touched = change.touches(dir) || inodes.contains(&change.ino);
            if touched {
                inodes.insert(change.ino);
            }
            synced.push(touched);
        }
        synced.reverse();
        let waiting = std::mem::take(&mut self.waiting);
        for (change, synced) in waiting.into_iter().zip(synced) {
            if synced {
                self.apply(&change, |dir| &mut dir.durable);
            } else {
                self.waiting.push(change);
            }
        }
    }

    /// The power fails: what is left, all of it durable.
    pub fn cut(&self, dice: &mut Dice) -> (Store, Losses) {
        let mut losses = Losses::default();
        let mut left = self.clone();
        left.cut_names(dice, &mut losses);
        let mut inodes: Vec<u64> = left.reachable().into_iter().collect();
        inodes.sort_unstable();
        let mut nodes = HashMap::new();
        // One temper for the whole drive most of the time: then cuts differ more from each other.
        let temper = dice.chance(70).then(|| Fate::drawn(dice));
        for ino in inodes {
            let Some(node) = left.nodes.remove(&ino) else {
                continue;
            };
            let node = match node {
                Node::Dir(dir) => Node::Dir(Dir {
                    now: dir.durable.clone(),
                    durable: dir.durable,
                }),
                Node::File(file) => {
                    let fate = temper.unwrap_or_else(|| Fate::drawn(dice));
                    Node::File(file.cut(fate, dice, &mut losses))
                }
            };
            nodes.insert(ino, node);
        }
        left.nodes = nodes;
        (left, losses)
    }

    /// Leaves in `durable` what survives of the directories.
    fn cut_names(&mut self, dice: &mut Dice, losses: &mut Losses) {
        let waiting = std::mem::take(&mut self.waiting);
        losses.names = waiting.len() as u64;
        // As a journalling file system does it, or each change for itself.
        let first_lost = dice.below(waiting.len() as u64 + 1);
        let (ordered, percent) = (dice.chance(60), dice.below(101));
        for (at, change) in waiting.iter().enumerate() {
            let survives = if ordered {
                (at as u64) < first_lost
            } else {
                dice.chance(percent)
            };
            if survives {
                self.apply(change, |dir| &mut dir.durable);
            } else {
                losses.names_lost += 1;
            }
        }
    }

    fn reachable(&self) -> HashSet<u64> {
        let (mut found, mut open) = (HashSet::from([ROOT]), vec![ROOT]);
        while let Some(ino) = open.pop() {
            if let Some(Node::Dir(dir)) = self.nodes.get(&ino) {
                open.extend(dir.durable.values().filter(|ino| found.insert(**ino)));
            }
        }
        found
    }
}

impl NameChange {
    fn touches(&self, dir: u64) -> bool {
        [&self.from, &self.to]
            .into_iter()
            .flatten()
            .any(|(at, _)| *at == dir)
    }
}

/// What becomes of one file's unflushed writes.
#[derive(Clone, Copy)]
enum Fate {
    Keep,
    Drop,
    /// Those up to one of them, of which some sectors.
    Tear,
    /// Some sectors of any, in any order.
    Reorder,
}

impl Fate {
    fn drawn(dice: &mut Dice) -> Fate {
        match dice.below(8) {
            0 => Fate::Keep,
            1 | 2 => Fate::Drop,
            3 | 4 => Fate::Tear,
            _ => Fate::Reorder,
        }
    }
}

impl Content {
    fn apply(&mut self, change: &Change) {
        match change {
            Change::Write { at, data } => self.write(*at, data),
            Change::Len(len) => self.set_len(*len),
        }
    }
}

impl File {
    fn cut(self, fate: Fate, dice: &mut Dice, losses: &mut Losses) -> File {
        if self.waiting.is_empty() {
            return File {
                now: self.durable.clone(),
                durable: self.durable,
                waiting: Vec::new(),
            };
        }
        losses.files += 1;
        losses.sectors += self.waiting.iter().map(Change::sectors).sum::<u64>();
        let left = match fate {
            Fate::Keep => {
                losses.kept += 1;
                self.now
            }
            Fate::Drop => {
                losses.dropped += 1;
                losses.sectors_lost += self.waiting.iter().map(Change::sectors).sum::<u64>();
                self.durable
            }
            Fate::Tear => {
                losses.torn += 1;
                torn(self.durable, &self.waiting, dice, losses)
            }
            Fate::Reorder => {
                losses.reordered += 1;
                reordered(self.durable, &self.waiting, dice, losses)
            }
        };
        File {
            now: left.clone(),
            durable: left,
            waiting: Vec::new(),
        }
    }
}

impl Change {
    fn sectors(&self) -> u64 {
        match self {
            Change::Write { at, data } => {
                let end = at + data.len() as u64;
                end.div_ceil(SECTOR) - at / SECTOR
            }
            Change::Len(_) => 0,
        }
    }

    /// Its parts, none of which crosses the border of a sector.
    fn parts(&self) -> Vec<(u64, &[u8])> {
        let Change::Write { at, data } = self else {
            return Vec::new();
        };
        let (mut at, mut rest, mut parts) = (*at, &data[..], Vec::new());
        while !rest.is_empty() {
            let len = ((SECTOR - at % SECTOR) as usize).min(rest.len());
            let (part, after) = rest.split_at(len);
            parts.push((at, part));
            at += len as u64;
            rest = after;
        }
        parts
    }
}

fn torn(mut left: Content, waiting: &[Change], dice: &mut Dice, losses: &mut Losses) -> Content {
    let whole = dice.below(waiting.len() as u64) as usize;
    let (before, after) = waiting.split_at(whole);
    for change in before {
        left.apply(change);
    }
    let Some((last, lost)) = after.split_first() else {
        return left;
    };
    losses.sectors_lost += lost.iter().map(Change::sectors).sum::<u64>();
    let parts = last.parts();
    let front = dice.below(parts.len() as u64 + 1);
    let scattered = dice.chance(50);
    let mut full = left.clone();
    full.apply(last);
    for (index, (at, part)) in parts.into_iter().enumerate() {
        let survives = if scattered {
            dice.chance(50)
        } else {
            (index as u64) < front
        };
        if survives {
            left.write(at, part);
        } else {
            losses.sectors_lost += 1;
        }
    }
    // The length may be there before the data.
    if dice.chance(50) {
        left.set_len(full.len());
    }
    left
}

fn reordered(
    mut left: Content,
    waiting: &[Change],
    dice: &mut Dice,
    losses: &mut Losses,
) -> Content {
    let (mut history, mut lens) = (left.clone(), vec![left.len()]);
    for change in waiting {
        history.apply(change);
        lens.push(history.len());
    }
    let (percent, whole) = (dice.below(101), dice.chance(40));
    // Between two changes of length writes may pass each other.
    for run in waiting.split_inclusive(|change| matches!(change, Change::Len(_))) {
        let mut parts: Vec<(u64, &[u8])> = Vec::new();
        for change in run {
            // Some writes survive whole, or some sectors of any.
            let all = dice.chance(percent);
            for part in change.parts() {
                if if whole { all } else { dice.chance(percent) } {
                    parts.push(part);
                } else {
                    losses.sectors_lost += 1;
                }
            }
        }
        dice.shuffle(&mut parts);
        for (at, part) in parts {
            left.write(at, part);
        }
        if let Some(Change::Len(len)) = run.last()
            && dice.chance(percent)
        {
            left.set_len(*len);
        }
    }
    let len = lens[dice.below(lens.len() as u64) as usize];
    left.set_len(len);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> &OsStr {
        OsStr::new(text)
    }

    fn content(store: &Store, path: &str) -> Option<Vec<u8>> {
        let ino = store.lookup(ROOT, name(path))?;
        store.read(ino, 0, 1 << 20)
    }

    /// Every outcome of many cuts.
    fn cuts(store: &Store) -> Vec<Store> {
        (0..400)
            .map(|seed| store.cut(&mut Dice::new(seed)).0)
            .collect()
    }

    #[test]
    fn what_was_flushed_and_named_survives_every_cut() {
        let mut store = Store::new();
        let ino = store.create(ROOT, name("a"), false);
        store.write(ino, 0, &[7; 5000]);
        store.sync(ino);
        store.sync_dir(ROOT);
        store.write(ino, 4096, &[8; 2000]);
        for left in cuts(&store) {
            let bytes = content(&left, "a").unwrap();
            assert!(bytes.len() >= 5000 && bytes[..4096] == [7; 4096]);
            assert!(bytes[4096..5000].iter().all(|byte| [7, 8].contains(byte)));
        }
    }

    #[test]
    fn unflushed_writes_are_kept_dropped_and_torn_at_sectors() {
        let mut store = Store::new();
        let ino = store.create(ROOT, name("a"), false);
        store.write(ino, 0, &[1; 4096]);
        store.sync(ino);
        store.sync_dir(ROOT);
        store.write(ino, 0, &[2; 4096]);
        let (mut old, mut new, mut mixed) = (0, 0, 0);
        for left in cuts(&store) {
            let bytes = content(&left, "a").unwrap();
            assert_eq!(bytes.len(), 4096);
            for sector in bytes.chunks(SECTOR as usize) {
                assert!(sector.iter().all(|byte| *byte == sector[0]));
            }
            match (bytes.contains(&1), bytes.contains(&2)) {
                (true, false) => old += 1,
                (false, true) => new += 1,
                _ => mixed += 1,
            }
        }
        assert!(old > 20 && new > 20 && mixed > 20, "{old} {new} {mixed}");
    }

    #[test]
    fn of_two_writes_to_one_place_either_may_be_the_last() {
        let mut store = Store::new();
        let ino = store.create(ROOT, name("a"), false);
        store.sync_dir(ROOT);
        store.write(ino, 0, &[1; 512]);
        store.write(ino, 0, &[2; 512]);
        let seen: HashSet<Vec<u8>> = cuts(&store)
            .iter()
            .filter_map(|left| content(left, "a"))
            .collect();
        let want = [vec![], vec![0; 512], vec![1; 512], vec![2; 512]];
        assert_eq!(seen, HashSet::from(want));
    }

    #[test]
    fn a_file_without_a_synced_name_may_be_gone_flushed_or_not() {
        let mut store = Store::new();
        let ino = store.create(ROOT, name("a"), false);
        store.write(ino, 0, b"x");
        store.sync(ino);
        let there = cuts(&store)
            .iter()
            .filter(|left| content(left, "a").is_some())
            .count();
        assert!((20..380).contains(&there), "{there}");
    }

    #[test]
    fn a_replaced_file_is_the_old_or_the_new_one_and_nothing_else() {
        let mut store = Store::new();
        let old = store.create(ROOT, name("a"), false);
        store.write(old, 0, b"old");
        store.sync(old);
        store.sync_dir(ROOT);
        let fresh = store.create(ROOT, name("a.tmp"), false);
        store.write(fresh, 0, b"new");
        store.sync(fresh);
        store.rename((ROOT, name("a.tmp")), (ROOT, name("a")));
        let seen: HashSet<Vec<u8>> = cuts(&store)
            .iter()
            .filter_map(|left| content(left, "a"))
            .collect();
        assert_eq!(seen, HashSet::from([b"old".to_vec(), b"new".to_vec()]));
    }

    #[test]
    fn a_removal_that_was_not_synced_may_come_back() {
        let mut store = Store::new();
        let ino = store.create(ROOT, name("a"), false);
        store.sync_dir(ROOT);
        store.write(ino, 0, b"x");
        store.sync(ino);
        store.remove(ROOT, name("a"));
        let back = cuts(&store)
            .iter()
            .filter(|left| content(left, "a").as_deref() == Some(b"x"))
            .count();
        assert!((20..380).contains(&back), "{back}");
        store.sync_dir(ROOT);
        assert!(cuts(&store).iter().all(|left| content(left, "a").is_none()));
    }

    #[test]
    fn the_same_seed_cuts_the_same_way() {
        let mut store = Store::new();
        for at in 0..20 {
            let ino = store.create(ROOT, name(&format!("f{at}")), false);
            store.write(ino, 0, &vec![at; 3000]);
        }
        let (left, losses) = store.cut(&mut Dice::new(9));
        let (again, same) = store.cut(&mut Dice::new(9));
        assert_eq!(losses, same);
        for at in 0..20 {
            let path = format!("f{at}");
            assert_eq!(content(&left, &path), content(&again, &path));
        }
    }
}

//! Mounts a file system in memory over a directory and obeys its standard input, a line at a time:
//!
//!   arm N OF    the power fails before the Nth operation from now; says `out OPERATION` then.
//!               OF: any, names, writes, flushes
//!   cut         the power fails now, if it has not yet; dice choose what survives; mounted anew
//!               over that, it says `cut NAME=NUMBER...`
//!   save DIR    writes what survived the last cut, as it was, into DIR (which must not exist)
//!   end         (or the end of its input) unmounts
//!
//! Usage: powercut MOUNTPOINT SEED. After the failure every change and flush is refused (EIO), so
//! that nothing later can be taken for stored.

mod content;
mod dice;
mod fs;
mod store;

use std::error::Error;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use dice::Dice;
use fs::{Mounted, Of, Power};
use fuser::{BackgroundSession, Config, MountOption, Session, SessionACL};
use store::{Kind, Losses, ROOT, Store};

type Failed = Box<dyn Error>;

struct Layer {
    place: PathBuf,
    dice: Dice,
    power: Arc<Mutex<Power>>,
    session: Option<BackgroundSession>,
    /// What the last cut left.
    left: Store,
}

fn main() -> Result<(), Failed> {
    let mut words = std::env::args_os().skip(1);
    let (Some(place), Some(seed)) = (words.next(), words.next()) else {
        return Err("usage: powercut MOUNTPOINT SEED".into());
    };
    let seed = seed.to_str().ok_or("a seed is a number")?.parse()?;
    let mut layer = Layer::new(place.into(), seed);
    layer.mount()?;
    say("mounted");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let (command, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match command {
            "arm" => {
                let (count, of) = rest.split_once(' ').ok_or("arm N OF")?;
                let of = Of::parse(of).ok_or("any, names, writes or flushes")?;
                layer
                    .power
                    .lock()
                    .expect("no panic")
                    .arm(count.parse()?, of);
            }
            "cut" => say(&told(&layer.cut()?)),
            "save" => {
                save(&layer.left, ROOT, Path::new(rest))?;
                say("saved");
            }
            "end" => break,
            _ => return Err(format!("not understood: {line}").into()),
        }
    }
    layer.unmount();
    Ok(())
}

/// A line for the one who gave the command; nobody there is no reason to stay.
pub fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

fn told(losses: &Losses) -> String {
    let Losses {
        files,
        kept,
        dropped,
        torn,
        reordered,
        sectors,
        sectors_lost,
        names,
        names_lost,
    } = losses;
    format!(
        "cut files={files} kept={kept} dropped={dropped} torn={torn} reordered={reordered} \
         sectors={sectors} sectors_lost={sectors_lost} names={names} names_lost={names_lost}"
    )
}

impl Layer {
    fn new(place: PathBuf, seed: u64) -> Layer {
        let left = Store::new();
        Layer {
            place,
            dice: Dice::new(seed),
            power: Arc::new(Mutex::new(Power::new(left.clone()))),
            session: None,
            left,
        }
    }

    fn mount(&mut self) -> Result<(), Failed> {
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("powercut".to_owned()),
            MountOption::DefaultPermissions,
        ];
        config.acl = SessionACL::All;
        let session = Session::new(Mounted::new(self.power.clone()), &self.place, &config)?;
        self.session = Some(session.spawn()?);
        Ok(())
    }

    /// Lazily: whoever still holds a file there, as a ring that the kernel has not yet taken
    /// apart, keeps the old one with its power cut and cannot touch the new one.
    fn unmount(&mut self) {
        let Some(session) = self.session.take() else {
            return;
        };
        let place = self.place.as_os_str().as_encoded_bytes();
        if let Ok(place) = std::ffi::CString::new(place) {
            // SAFETY: a good C string; no memory changes hands.
            unsafe { libc::umount2(place.as_ptr(), libc::MNT_DETACH) };
        }
        drop(session);
    }

    fn cut(&mut self) -> Result<Losses, Failed> {
        let (left, losses) = {
            let mut power = self.power.lock().expect("no panic");
            power.fail();
            power.store.cut(&mut self.dice)
        };
        self.unmount();
        self.left = left.clone();
        self.power = Arc::new(Mutex::new(Power::new(left)));
        self.mount()?;
        Ok(losses)
    }
}

fn save(store: &Store, ino: u64, to: &Path) -> Result<(), Failed> {
    match store.kind(ino) {
        Some(Kind::Dir) => {
            std::fs::create_dir(to)?;
            for (name, child) in store.names(ino).into_iter().flatten() {
                save(store, *child, &to.join(name))?;
            }
        }
        Some(Kind::File { len }) => {
            let bytes = store.read(ino, 0, usize::try_from(len)?);
            std::fs::write(to, bytes.unwrap_or_default())?;
        }
        None => {}
    }
    Ok(())
}

//! Trouble with the directory: told once of each kind, and counted.
//!
//! It is told by the store's own thread, since it is met with locks held.

use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use crate::error::{Error, ErrorKind, OnTrouble};
use crate::store::Store;
use crate::sync::Mutex;
use crate::sync::atomic::{AtomicU64, Ordering};

/// What does not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// The directory cannot be opened.
    Open,
    /// It was damaged, and its pages were set aside.
    Damaged,
    /// It was deleted or replaced while it was in use.
    Replaced,
    /// What processes share in memory is lost.
    Shared,
    /// Locks between processes.
    Locks,
    /// A page cannot be read.
    Read,
    /// A page was damaged.
    Page,
    /// A page cannot be written.
    Write,
    /// An invalidation cannot be written.
    LogWrite,
    /// Invalidations of other processes cannot be read.
    LogRead,
    /// Old pages cannot be cleaned up.
    Clean,
}

impl Trouble {
    fn text(self) -> &'static str {
        match self {
            Trouble::Open => "cannot be opened; memory goes on alone",
            Trouble::Damaged => "was damaged; its pages are set aside and it begins anew",
            Trouble::Replaced => {
                "was deleted or replaced while it was in use; memory goes on alone"
            }
            Trouble::Shared => "lost its shared file; memory goes on alone",
            Trouble::Locks => "cannot be locked",
            Trouble::Read => "has a page that cannot be read; it counts as missing",
            Trouble::Page => "has a damaged page; it counts as missing",
            Trouble::Write => "takes no page; it is kept in memory",
            Trouble::LogWrite => {
                "takes no invalidation; all that was stored before counts as removed"
            }
            Trouble::LogRead => {
                "has invalidations that cannot be read; all that was stored before counts as removed"
            }
            Trouble::Clean => "cannot be cleaned up",
        }
    }
}

/// Whom to tell, and what was told.
pub(crate) struct Troubles {
    directory: String,
    on_trouble: Option<OnTrouble>,
    told: Mutex<Vec<Trouble>>,
    untold: Mutex<Vec<Error>>,
    count: AtomicU64,
}

impl Troubles {
    pub(crate) fn new(directory: &Path, on_trouble: Option<OnTrouble>) -> Troubles {
        Troubles {
            directory: directory.display().to_string(),
            on_trouble,
            told: Mutex::new(Vec::new()),
            untold: Mutex::new(Vec::new()),
            count: AtomicU64::new(0),
        }
    }

    /// Notes trouble. Whether there is something to be delivered.
    pub(crate) fn tell(&self, trouble: Trouble, why: &dyn Display) -> bool {
        self.count.fetch_add(1, Ordering::Relaxed);
        let mut told = self.told.lock();
        if self.on_trouble.is_none() || told.contains(&trouble) {
            return false;
        }
        told.push(trouble);
        let text = format!("the directory \"{}\" {}: {why}", self.directory, trouble.text());
        self.untold.lock().push(Error::new(ErrorKind::Store, text));
        true
    }

    /// Tells what is to be told. Not to be called with a lock held.
    pub(crate) fn deliver(&self) {
        let untold = std::mem::take(&mut *self.untold.lock());
        for error in untold {
            if let Some(on_trouble) = &self.on_trouble {
                // Whatever the receiver does, the store goes on.
                let _ = catch_unwind(AssertUnwindSafe(|| (on_trouble.0)(&error)));
            }
        }
    }

    pub(crate) fn untold(&self) -> Vec<Error> {
        self.untold.lock().clone()
    }

    pub(crate) fn has_untold(&self) -> bool {
        !self.untold.lock().is_empty()
    }

    /// It works again: the next time it does not is told again.
    pub(crate) fn is_over(&self, trouble: Trouble) {
        if self.count() > 0 {
            self.told.lock().retain(|t| *t != trouble);
        }
    }

    pub(crate) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }
}

impl Store {
    pub(crate) fn trouble(&self, trouble: Trouble, why: impl Display) {
        if self.troubles.tell(trouble, &why) {
            self.keep_house();
            self.housekeeping.wake();
        }
    }
}

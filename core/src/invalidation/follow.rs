//! Reads the invalidations of other processes from the directory's log, and writes those of this one to it.

use std::io;
use std::sync::Arc;

use crate::invalidation::AHEAD;
use crate::invalidation::wire::Item;
use crate::store::log::{Broken, COMPACT_FROM, Commit, HEAD, Head, Log, push_frame, split_frame};
use crate::store::{MAX_EPOCH, Opened, Store, Trouble, mark};

/// A log that is being followed.
pub(crate) struct Follower {
    store: Arc<Store>,
    log: Log,
    /// Up to here it was read.
    at: u64,
    /// A snapshot that could not be written is tried again beyond.
    compact_after: u64,
    /// The words in memory are lost, and what others wrote before was read.
    alone: bool,
    /// This process has made the mark that something could not be written.
    marked: bool,
}

/// What the follower found.
pub(crate) trait Replay {
    fn replay(&self, item: Item<'_>);
    /// Something cannot be known: what began up to this epoch counts as removed.
    fn flush(&self, epoch: u64);
    /// All that is known, as frames.
    fn snapshot(&self) -> Vec<u8>;
}

/// The newest epoch in frames that were checked; none where one means nothing.
pub(crate) fn newest_epoch(frames: &[u8]) -> Option<u64> {
    let mut newest = 0;
    let mut rest = frames;
    while let Some((payload, next)) = split_frame(rest) {
        newest = newest.max(Item::parse(payload)?.newest());
        rest = next;
    }
    Some(newest)
}

impl Follower {
    /// Follows a log that was opened, after replaying what it holds.
    pub(crate) fn new(opened: Opened, replay: &impl Replay) -> Follower {
        let Opened { store, log, frames, .. } = opened;
        replay.flush(store.flushed());
        let mut follower = Follower {
            store,
            at: HEAD + frames.len() as u64,
            log,
            compact_after: 0,
            alone: false,
            marked: false,
        };
        follower.apply(&frames, replay);
        follower
    }

    /// Applies what other processes have written. `latest` is the newest invalidation that they have told of.
    pub(crate) fn catch_up(&mut self, latest: u64, replay: &impl Replay) {
        if let Err(broken) = self.try_catch_up(replay) {
            self.store.trouble(Trouble::LogRead, io::Error::from(broken));
            replay.flush(latest);
        }
        replay.flush(self.store.flushed());
    }

    fn try_catch_up(&mut self, replay: &impl Replay) -> Result<(), Broken> {
        loop {
            let own = self.log.head.generation;
            let end = self.store.shared().log_end(own);
            // Read after the end, whose place is used again only for a later one.
            let generation = self.store.shared().log_generation();
            if generation > own {
                let next = self.next_log()?;
                self.change_log(next, replay)?;
                continue;
            }
            // This log may be newer than what was told of: then all of that is in it.
            if generation == own && end > self.at {
                self.read_to(end, replay)?;
            }
            return Ok(());
        }
    }

    /// The log that took the place of this one.
    fn next_log(&self) -> Result<Log, Broken> {
        let next = Log::open(self.store.v1())?;
        if next.head.era != self.store.era() || next.head.generation <= self.log.head.generation {
            return Err(Broken::Damaged("it is another one than was told of"));
        }
        Ok(next)
    }

    /// Goes on with the log that took the place of this one.
    fn change_log(&mut self, next: Log, replay: &impl Replay) -> Result<(), Broken> {
        let is_next = next.head.generation == self.log.head.generation + 1;
        // Where some were missed, or the rest of this one cannot be read, the snapshot has all of it.
        let knows_rest = is_next && self.read_to(next.head.former_end, replay).is_ok();
        self.at = if knows_rest { next.head.snapshot_end } else { HEAD };
        let end = next.commit.end;
        self.log = next;
        self.read_to(end, replay)
    }

    fn read_to(&mut self, end: u64, replay: &impl Replay) -> Result<(), Broken> {
        let frames = self.log.frames(self.at, end)?;
        self.at = end;
        self.apply(&frames, replay);
        Ok(())
    }

    fn apply(&mut self, frames: &[u8], replay: &impl Replay) {
        let mut rest = frames;
        while let Some((payload, next)) = split_frame(rest) {
            match Item::parse(payload) {
                Some(item) => replay.replay(item),
                None => {
                    // For all, so that it is not lost when this process makes a snapshot.
                    self.store.flush(self.store.epoch());
                    replay.flush(self.store.flushed());
                }
            }
            rest = next;
        }
    }

    /// Writes a call and tells all processes of it. It is not applied here. `make` is given its epoch; if it is called again, the
    /// former call is as good as void.
    pub(crate) fn write(&mut self, replay: &impl Replay, mut make: impl FnMut(u64) -> Vec<u8>) {
        loop {
            let epoch = self.write_once(replay, &mut make);
            if self.store.reach(epoch) {
                return;
            }
        }
    }

    fn write_once(&mut self, replay: &impl Replay, make: &mut impl FnMut(u64) -> Vec<u8>) -> u64 {
        let store = self.store.clone();
        // Alone, this process writes for those who come later.
        store.has_lost_words(0);
        let writing = store.lock_log().inspect_err(|e| store.trouble(Trouble::Locks, e));
        let is_current = writing.is_ok() && self.prepare(replay);
        // Of one who died in the midst, the newest may be ahead.
        let told = if store.is_alone() { 0 } else { store.latest().min(MAX_EPOCH) };
        let epoch = store.epoch().max(told) + AHEAD;
        let mut frame = Vec::new();
        push_frame(&mut frame, &make(epoch));
        let written = if is_current {
            let commit = store.next_commit(self.log.commit, epoch);
            self.log.append(&frame, commit, store.is_durable())
        } else {
            Err(io::Error::other("the log cannot be followed"))
        };
        match written {
            Ok(()) => {
                self.clear_mark();
                self.at = self.log.commit.end;
                store.set_epoch_limit(self.log.commit.epoch_limit);
                store.shared().set_log(self.log.head.generation, self.log.commit.end);
                store.troubles.is_over(Trouble::LogWrite);
            }
            Err(e) => {
                store.trouble(Trouble::LogWrite, e);
                store.flush(epoch);
                replay.flush(epoch);
                if !self.commit_flush(is_current, epoch) {
                    // If that does not work either, running processes know.
                    self.marked |= mark::set(store.v1(), store.is_durable()).is_ok();
                }
            }
        }
        store.set_latest(epoch);
        epoch
    }

    /// Writes down that all that began before an epoch counts as removed. The slots are there already: this may work on a full disk.
    fn commit_flush(&mut self, is_current: bool, epoch: u64) -> bool {
        let former = self.store.next_commit(self.log.commit, epoch);
        let commit = Commit { flushed: epoch, ..former };
        is_current && self.commit(commit).is_ok()
    }

    fn commit(&mut self, commit: Commit) -> io::Result<()> {
        self.log.commit(commit, self.store.is_durable())?;
        self.clear_mark();
        Ok(())
    }

    /// What could not be written is written now, with what was flushed meanwhile; but not by one who is alone.
    fn clear_mark(&mut self) {
        if self.marked && !self.store.is_alone() {
            mark::clear(self.store.v1());
            self.marked = false;
        }
    }

    /// The words in memory are lost: what others wrote until then is applied.
    pub(crate) fn catch_up_alone(&mut self, replay: &impl Replay) {
        let store = self.store.clone();
        let writing = store.lock_log();
        if !self.alone && (writing.is_err() || !self.prepare(replay)) {
            self.alone = true;
            replay.flush(store.epoch());
        }
    }

    /// What could not be written and was only told of, to those who run, is written before the last of them goes.
    pub(crate) fn close(&mut self, replay: &impl Replay) {
        if !self.store.is_alone() && self.store.flushed() > self.log.commit.flushed {
            self.reserve(replay);
        }
    }

    /// Reserves more epochs.
    pub(crate) fn reserve(&mut self, replay: &impl Replay) {
        let store = self.store.clone();
        let Ok(_writing) = store.lock_log() else { return };
        if self.prepare(replay) {
            let commit = store.next_commit(self.log.commit, store.epoch());
            match self.commit(commit) {
                Ok(()) => store.set_epoch_limit(self.log.commit.epoch_limit),
                Err(e) => store.trouble(Trouble::LogWrite, e),
            }
        }
    }

    /// Comes to the end of what was committed, also by one who died before he told of it. Whether that went well. What is in
    /// the file counts, not what was told: the lock of the log is held.
    fn prepare(&mut self, replay: &impl Replay) -> bool {
        let store = self.store.clone();
        let mut prepared = || {
            if !self.log.is_in_place(store.v1())? {
                match self.next_log() {
                    // Its writer died before he told of it.
                    Ok(next) => self.change_log(next, replay)?,
                    Err(Broken::Io(e)) => return Err(Broken::Io(e)),
                    // Those who use this one still follow it.
                    Err(_) => store.is_replaced(),
                }
            }
            self.log.commit = self.log.newest_commit()?;
            if self.log.commit.end < self.at {
                return Err(Broken::Damaged("a commit is lost"));
            }
            if self.alone {
                // What others write from here on is of another order.
                self.at = self.log.commit.end;
                return Ok(());
            }
            self.alone = store.is_alone();
            if self.alone {
                // What is read here is older than what begins here from now on.
                store.reach(self.log.commit.epoch_limit);
            }
            self.read_to(self.log.commit.end, replay)?;
            if !self.alone && self.log.should_compact() && self.log.commit.end > self.compact_after
            {
                self.compact(replay);
            }
            store.shared().set_log(self.log.head.generation, self.log.commit.end);
            Ok(())
        };
        match prepared() {
            Ok(()) => true,
            Err(broken) => {
                store.trouble(Trouble::LogRead, io::Error::from(broken));
                replay.flush(store.epoch());
                false
            }
        }
    }

    /// Puts a snapshot of all that is known in the place of a log that has grown. If it cannot be, that does no harm.
    fn compact(&mut self, replay: &impl Replay) {
        let former = &self.log;
        let head = Head {
            generation: former.head.generation + 1,
            former_end: former.commit.end,
            ..former.head.clone()
        };
        // In this very moment the directory may hold another log: of a new era, after damage.
        if !former.is_in_place(self.store.v1()).unwrap_or(false) {
            return;
        }
        let frames = replay.snapshot();
        let commit = self.store.next_commit(former.commit, self.store.epoch());
        match Log::create(self.store.v1(), head, commit, &frames, self.store.is_durable()) {
            Ok(log) => {
                self.at = log.commit.end;
                self.log = log;
            }
            Err(e) => {
                self.compact_after = self.log.commit.end + COMPACT_FROM;
                self.store.trouble(Trouble::Clean, format_args!("the log: {e}"));
            }
        }
    }
}

#[cfg(test)]
mod tests;

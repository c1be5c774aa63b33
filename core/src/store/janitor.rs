//! Keeps the directory in bounds: one pass over all of it, by one process at a time, while others read and write.
//!
//! Removes what crashes left in `tmp/`, all of `trash/`, and deployments that no process uses; counts the bytes of the others,
//! and if they are too many, removes what was used again least recently. Memory does not grow with the number of files.

mod ages;
mod sweep;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;

use crate::clock::Time;
use crate::lifetime::Lifetime;
use crate::store::dirs::{is_dir, mtime_of, open_dir, remove_empty_dir, stat_at, unlink};
use crate::store::janitor::ages::Ages;
use crate::store::janitor::sweep::{Aim, Tally, buckets};
use crate::store::place::is_deployment_name;

/// What a pass asks and tells the rest of the store.
pub(crate) trait Ground {
    /// Whether to end soon; asked often.
    fn stopping(&self) -> bool;
    /// Called between directories: the place to leave the disk to others.
    fn pause(&self);
    /// Whether a process has this seat now; never remembered from an earlier pass.
    fn is_seat_alive(&self, seat: u32) -> bool;
    /// Whether a process has this deployment open now.
    fn is_deployment_live(&self, name: &str) -> bool;
    /// The bytes that all deployments are thought to take.
    fn disk_bytes(&self) -> u64;
    /// Puts that number right.
    fn set_disk_bytes(&self, bytes: u64);
    /// Less, by what was evicted.
    fn sub_disk_bytes(&self, bytes: u64);
    /// The wall clock.
    fn now(&self) -> Time;
}

/// What a pass did.
#[derive(Debug, Default)]
pub(crate) struct Passed {
    /// Whether it came to its end.
    pub(crate) finished: bool,
    /// Pages and data entries of live deployments, and their bytes, that it found and left.
    pub(crate) kept_files: u64,
    pub(crate) kept_bytes: u64,
    /// Those that it evicted.
    pub(crate) evicted_files: u64,
    /// Files and directories that nobody used: of crashes, of other deployments, of the trash.
    pub(crate) leftovers: u64,
    /// The first thing that it could not read or remove. It went on with the rest.
    pub(crate) trouble: Option<io::Error>,
}

/// Files in `tmp/` that no process is known to have made are kept this long.
const UNKNOWN_AGE: Lifetime = Lifetime::from_secs(3600);
/// So long no write takes, whoever has the seat now. More than the hour by which a new page is made to look older.
const WRITE_AGE: Lifetime = Lifetime::from_secs(24 * 3600);
/// Nothing of ours lies deeper in the trash.
const TRASH_DEPTH: usize = 16;

/// Makes one pass over `v1`.
///
/// # Errors
/// What no further step could get around: no file descriptors, no memory. All else is in [`Passed::trouble`].
pub(crate) fn pass(v1: impl AsFd, max_disk_bytes: u64, ground: &dyn Ground) -> io::Result<Passed> {
    let mut pass = Pass { ground, now: ground.now(), passed: Passed::default() };
    match pass.run(v1.as_fd(), max_disk_bytes) {
        Ok(()) => pass.passed.finished = true,
        Err(Halt::Stopping) => {}
        Err(Halt::Trouble(error)) => return Err(error),
    }
    Ok(pass.passed)
}

struct Pass<'a> {
    ground: &'a dyn Ground,
    /// When it began: ages are as of then.
    now: Time,
    passed: Passed,
}

/// Why a pass ends before its end.
enum Halt {
    Stopping,
    Trouble(io::Error),
}

impl From<io::Error> for Halt {
    fn from(error: io::Error) -> Halt {
        Halt::Trouble(error)
    }
}

impl Pass<'_> {
    fn run(&mut self, v1: BorrowedFd<'_>, max_bytes: u64) -> Result<(), Halt> {
        self.clean_tmp(v1)?;
        if let Some(trash) = self.note(open_dir(v1, b"trash"))? {
            self.remove_all(trash, TRASH_DEPTH)?;
        }
        let thought = self.ground.disk_bytes();
        let Some(pages) = self.note(open_dir(v1, b"pages"))? else {
            self.ground.set_disk_bytes(0);
            return Ok(());
        };
        let live = self.remove_unused(&pages)?;
        let mut ages = Ages::new(self.now);
        let counted = self.sweep(&pages, &live, &mut Aim::Count(&mut ages))?;
        self.passed.kept_files = counted.kept_files;
        self.passed.kept_bytes = counted.kept_bytes;
        // What was written meanwhile may be counted or not: rather twice than never, until the next pass.
        let grown = self.ground.disk_bytes().saturating_sub(thought);
        let total = counted.kept_bytes.saturating_add(grown);
        self.ground.set_disk_bytes(total);
        if total > max_bytes {
            // Of what was counted for sure: what is used must not go for what may not be there.
            let wanted = counted.kept_bytes.saturating_sub(max_bytes - max_bytes / 10);
            let cutoff = ages.cutoff(wanted);
            self.sweep(&pages, &live, &mut Aim::Evict { cutoff, wanted })?;
        }
        Ok(())
    }

    fn clean_tmp(&mut self, v1: BorrowedFd<'_>) -> Result<(), Halt> {
        let Some(tmp) = self.note(open_dir(v1, b"tmp"))? else { return Ok(()) };
        self.each(tmp, |pass, tmp, name| {
            let Some(stat) = pass.own_file(tmp, name)? else { return Ok(()) };
            let age = pass.now.since(mtime_of(&stat));
            let left = match seat_of(name) {
                // Asked after the file was seen: a seat's next owner may have made it.
                Some(seat) => age > WRITE_AGE || !pass.ground.is_seat_alive(seat),
                None => age > UNKNOWN_AGE,
            };
            if left && pass.note(unlink(tmp, name))? == Some(true) {
                pass.passed.leftovers += 1;
            }
            Ok(())
        })
    }

    /// Empties a directory of the trash. What lies deeper than `depth` directories stays.
    fn remove_all(&mut self, dir: OwnedFd, depth: usize) -> Result<(), Halt> {
        self.each(dir, |pass, dir, name| {
            let Some(stat) = pass.note(stat_at(dir, name))?.flatten() else { return Ok(()) };
            let removed = if !is_dir(&stat) {
                pass.note(unlink(dir, name))?
            } else {
                if depth > 1
                    && let Some(inner) = pass.note(open_dir(dir, name))?
                {
                    pass.remove_all(inner, depth - 1)?;
                }
                pass.note(remove_empty_dir(dir, name))?
            };
            pass.passed.leftovers += u64::from(removed == Some(true));
            Ok(())
        })?;
        self.ground.pause();
        Ok(())
    }

    /// Removes deployments that no process uses. The names of the others.
    fn remove_unused(&mut self, pages: &OwnedFd) -> Result<Vec<String>, Halt> {
        let mut live = Vec::new();
        self.each(open_dir(pages, b".")?, |pass, pages, name| {
            let Ok(name) = str::from_utf8(name) else { return Ok(()) };
            if is_deployment_name(name.as_bytes()) && !pass.remove_deployment(pages, name)? {
                live.push(name.to_owned());
            }
            Ok(())
        })?;
        Ok(live)
    }

    /// Removes a deployment unless, or until, a process uses it; whether nobody did.
    fn remove_deployment(&mut self, pages: BorrowedFd<'_>, name: &str) -> Result<bool, Halt> {
        if self.ground.is_deployment_live(name) {
            return Ok(false);
        }
        let Some(dir) = self.note(open_dir(pages, name.as_bytes()))? else { return Ok(true) };
        for bucket in buckets() {
            if self.ground.is_deployment_live(name) {
                return Ok(false);
            }
            let mut tally = Tally::default();
            let swept = self.sweep_bucket(&dir, &bucket, &mut Aim::RemoveAll, &mut tally);
            self.passed.leftovers += tally.removed_files;
            swept?;
            self.note(remove_empty_dir(&dir, bucket.as_bytes()))?;
        }
        // Who has opened it just now finds it gone at the first write, and makes it again.
        self.note(remove_empty_dir(pages, name.as_bytes()))?;
        Ok(true)
    }

    /// Looks at every file of the live deployments.
    fn sweep(
        &mut self,
        pages: &OwnedFd,
        live: &[String],
        aim: &mut Aim<'_>,
    ) -> Result<Tally, Halt> {
        let mut all = Tally::default();
        for name in live {
            let Some(dir) = self.note(open_dir(pages, name.as_bytes()))? else { continue };
            for bucket in buckets() {
                if aim.is_reached() {
                    return Ok(all);
                }
                let mut tally = Tally::default();
                let swept = self.sweep_bucket(&dir, &bucket, aim, &mut tally);
                if aim.evicts() {
                    self.evicted(&tally);
                }
                swept?;
                all.kept_files += tally.kept_files;
                all.kept_bytes += tally.kept_bytes;
            }
        }
        Ok(all)
    }

    fn evicted(&mut self, tally: &Tally) {
        self.ground.sub_disk_bytes(tally.removed_bytes);
        let passed = &mut self.passed;
        passed.evicted_files += tally.removed_files;
        passed.kept_files = passed.kept_files.saturating_sub(tally.removed_files);
        passed.kept_bytes = passed.kept_bytes.saturating_sub(tally.removed_bytes);
    }

    fn go_on(&self) -> Result<(), Halt> {
        if self.ground.stopping() { Err(Halt::Stopping) } else { Ok(()) }
    }

    /// What is gone, or not what stands there usually, is left alone. Other trouble is noted, or ends the pass.
    fn note<T>(&mut self, result: io::Result<T>) -> Result<Option<T>, Halt> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::ISDIR) => {}
            // They would stand for "empty" in every directory from here on.
            Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM) => return Err(Halt::Trouble(error)),
            _ => {
                self.passed.trouble.get_or_insert(error);
            }
        }
        Ok(None)
    }
}

/// The seat that a temporary file's name says.
fn seat_of(name: &[u8]) -> Option<u32> {
    let (seat, count) = str::from_utf8(name).ok()?.split_once('-')?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    (digits(seat) && digits(count)).then(|| seat.parse().ok())?
}

#[cfg(test)]
mod tests;

//! Locks between processes: byte ranges of one file, as open-file-description locks (fcntl(2)). The kernel frees them when
//! their process dies, whatever kills it, also across containers that share the directory.
//!
//! A forked child does not keep the file: else the locks of its parent would outlive that.
//!
//! They exclude other openings of the directory, not the threads of this one: each is taken with a lock of this process held.

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use crate::clock;
use crate::fork::ParentOnly;
use crate::lifetime::Lifetime;
use crate::sync::thread;

/// Held while the log is written and while a process opens.
pub(crate) const PUBLISH: u32 = 0;
/// Held by the one process that cleans up.
pub(crate) const JANITOR: u32 = 1;
/// One byte for each process that has the directory open.
const SEATS_FROM: u32 = 16;
/// Most processes at a time.
pub(crate) const SEATS: u32 = 1024;
const STRIPES_FROM: u32 = 4096;
/// Locks are held for microseconds, with `durable` for as long as the disk takes. Without a stripe's, a render is not shared;
/// without the log's, all pages go.
const PATIENCE: Lifetime = Lifetime::from_secs(2);
const PATIENCE_WITH_LOG: Lifetime = Lifetime::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_micros(5);
const LONGEST_PAUSE: Duration = Duration::from_micros(500);
/// Keys share this many locks of stores and leases.
pub(crate) const STRIPES: u32 = 64;

pub(crate) struct Locks {
    file: ParentOnly,
}

/// A lock; free again when dropped.
pub(crate) struct Held<'a> {
    locks: &'a Locks,
    byte: u32,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        // It cannot fail for a lock that is held; if it did, the kernel frees it with the process.
        let _ = self.locks.set(libc::F_OFD_SETLK, libc::F_UNLCK, self.byte, 1);
    }
}

impl Locks {
    /// # Errors
    /// Where too many directories are open.
    pub(crate) fn new(file: OwnedFd) -> io::Result<Locks> {
        match ParentOnly::new(file) {
            Ok(file) => Ok(Locks { file }),
            Err(_) => Err(io::Error::other("this process has too many directories open")),
        }
    }

    /// Waits for a lock; not for ever, for its holder may be stopped.
    ///
    /// # Errors
    /// `TimedOut`, and those of the system.
    pub(crate) fn lock(&self, byte: u32) -> io::Result<Held<'_>> {
        let patience = if byte == PUBLISH { PATIENCE_WITH_LOG } else { PATIENCE };
        let end = clock::machine_steady().plus(patience);
        let mut pause = FIRST_PAUSE;
        loop {
            if let Some(held) = self.try_lock(byte)? {
                return Ok(held);
            }
            if clock::machine_steady() > end {
                let why = "another process has held a lock for too long; is it stopped?";
                return Err(io::Error::new(io::ErrorKind::TimedOut, why));
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Takes a lock if nobody has it.
    pub(crate) fn try_lock(&self, byte: u32) -> io::Result<Option<Held<'_>>> {
        Ok(self.take(byte)?.then_some(Held { locks: self, byte }))
    }

    pub(crate) fn stripe(&self, stripe: u32) -> io::Result<Held<'_>> {
        self.lock(STRIPES_FROM + stripe)
    }

    /// Takes the first free seat, for as long as the file is open. None: all are taken.
    pub(crate) fn take_seat(&self) -> io::Result<Option<u32>> {
        for seat in 0..SEATS {
            if self.take(SEATS_FROM + seat)? {
                return Ok(Some(seat));
            }
        }
        Ok(None)
    }

    pub(crate) fn leave_seat(&self, seat: u32) {
        let _ = self.set(libc::F_OFD_SETLK, libc::F_UNLCK, SEATS_FROM + seat, 1);
    }

    /// Whether another process, alive, has this seat. Where that cannot be told, it has.
    pub(crate) fn is_seated(&self, seat: u32) -> bool {
        self.is_locked_elsewhere(SEATS_FROM + seat, 1)
    }

    /// Whether any other process has the directory open.
    pub(crate) fn others_are_seated(&self) -> bool {
        self.is_locked_elsewhere(SEATS_FROM, SEATS)
    }

    fn take(&self, byte: u32) -> io::Result<bool> {
        match self.set(libc::F_OFD_SETLK, libc::F_WRLCK, byte, 1) {
            Ok(_) => Ok(true),
            Err(e) if matches!(e.raw_os_error(), Some(libc::EAGAIN | libc::EACCES)) => Ok(false),
            Err(e) => Err(e),
        }
    }

    fn is_locked_elsewhere(&self, from: u32, len: u32) -> bool {
        self.set(libc::F_OFD_GETLK, libc::F_WRLCK, from, len)
            .map_or(true, |found| i32::from(found.l_type) != libc::F_UNLCK)
    }

    fn set(
        &self,
        command: libc::c_int,
        kind: libc::c_int,
        from: u32,
        len: u32,
    ) -> io::Result<libc::flock> {
        // SAFETY: all fields of `flock` are integers; OFD locks ask for a pid of 0.
        let mut range: libc::flock = unsafe { std::mem::zeroed() };
        range.l_type = kind as libc::c_short;
        range.l_whence = libc::SEEK_SET as libc::c_short;
        range.l_start = libc::off_t::from(from);
        range.l_len = libc::off_t::from(len);
        // SAFETY: the descriptor is open for as long as `self`, and `range` is a valid flock for the whole call.
        let result = unsafe { libc::fcntl(self.file.as_fd().as_raw_fd(), command, &raw mut range) };
        if result == -1 { Err(io::Error::last_os_error()) } else { Ok(range) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn two() -> (Locks, Locks) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = || {
            let file = File::options().read(true).write(true).open(file.path()).unwrap();
            Locks::new(file.into()).unwrap()
        };
        (open(), open())
    }

    #[test]
    fn one_opening_excludes_the_other_until_it_lets_go() {
        let (a, b) = two();
        let held = a.try_lock(JANITOR).unwrap().unwrap();
        assert!(b.try_lock(JANITOR).unwrap().is_none());
        assert!(b.try_lock(PUBLISH).unwrap().is_some(), "another byte");
        drop(held);
        assert!(b.try_lock(JANITOR).unwrap().is_some());
        let _stripe = a.stripe(3).unwrap();
        assert!(b.stripe(4).is_ok());
    }

    #[test]
    fn who_waits_goes_on_when_the_other_lets_go() {
        let (a, b) = two();
        let held = a.lock(PUBLISH).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| b.lock(PUBLISH).map(drop));
            drop(held);
            waiting.join().unwrap().unwrap();
        });
    }

    #[test]
    fn a_lock_that_is_held_for_too_long_is_an_error() {
        let (a, b) = two();
        let _held = a.stripe(0).unwrap();
        assert_eq!(b.stripe(0).err().map(|e| e.kind()), Some(io::ErrorKind::TimedOut));
    }

    #[test]
    fn seats_are_taken_in_order_seen_by_others_and_free_at_the_end() {
        let (a, b) = two();
        assert!(!a.others_are_seated());
        assert_eq!(a.take_seat().unwrap(), Some(0));
        assert!(!a.others_are_seated(), "its own does not count");
        assert!(b.others_are_seated() && b.is_seated(0) && !b.is_seated(1));
        assert_eq!(b.take_seat().unwrap(), Some(1));
        a.leave_seat(0);
        assert!(!b.others_are_seated());
        drop(b);
        assert!(!a.is_seated(1), "with the file");
    }
}

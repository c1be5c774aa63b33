//! Forks: a child has the memory of its parent but none of its other threads, and locks that nobody will release.
//!
//! So whatever has threads or locks is made anew in each process ([`PerProcess`]). What the parent had stays in the child's
//! memory, and is neither used nor dropped there.

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;

use crate::sync::atomic::{AtomicPtr, AtomicU32, Ordering};
use crate::sync::global;
use crate::sync::machine::{AtomicBool, AtomicI32};

global! {
    /// How many forks lie between this process and the one that loaded the library.
    static GENERATION: AtomicU32 = AtomicU32::new(0);
}

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// What a child does not inherit; -1 where there is nothing.
const FDS: usize = 512;
const NONE: i32 = -1;

static CLOSED_IN_CHILD: [AtomicI32; FDS] = [const { AtomicI32::new(NONE) }; FDS];

/// Tells this process from its parent and its children.
#[inline]
pub(crate) fn generation() -> u32 {
    // A fork changes it before there is a second thread.
    GENERATION.load(Ordering::Relaxed)
}

/// From here on every fork of this process is noticed.
///
/// # Errors
/// Where the system has no memory for that.
pub(crate) fn install() -> io::Result<()> {
    // Two at the same time do it twice, which is harmless; one that waited for the other could wait for ever in a child.
    if INSTALLED.load(Ordering::Acquire) {
        return Ok(());
    }
    #[cfg(not(feature = "shuttle"))]
    // SAFETY: a function of this library, for which the system lets go of it when the library is unloaded.
    let status = unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    #[cfg(feature = "shuttle")]
    let status = 0;
    if status != 0 {
        return Err(io::Error::from_raw_os_error(status));
    }
    INSTALLED.store(true, Ordering::Release);
    Ok(())
}

/// Runs in the child inside `fork`: only what a signal handler may do.
#[cfg(not(feature = "shuttle"))]
extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
    for slot in &CLOSED_IN_CHILD {
        let fd = slot.swap(NONE, Ordering::Relaxed);
        if fd != NONE {
            // SAFETY: its owner is the parent's `ParentOnly`, which is not dropped in the child.
            unsafe { libc::close(fd) };
        }
    }
}

/// What a fork does, for the model checker: the caller is the only thread of the child.
#[cfg(feature = "shuttle")]
#[allow(dead_code, reason = "tests/shuttle takes this file on its own")]
pub(crate) fn pretend() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// A file descriptor that is closed in a child. A child that inherits the open file of a lock keeps the lock held for as long
/// as it lives.
pub(crate) struct ParentOnly {
    fd: ManuallyDrop<OwnedFd>,
    slot: usize,
    born: u32,
}

impl ParentOnly {
    /// Takes a file in, before it holds a lock. Back if there are too many already.
    pub(crate) fn new(fd: OwnedFd) -> Result<ParentOnly, OwnedFd> {
        let number = fd.as_raw_fd();
        let free = CLOSED_IN_CHILD.iter().position(|slot| {
            slot.compare_exchange(NONE, number, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        });
        match free {
            Some(slot) => Ok(ParentOnly { fd: ManuallyDrop::new(fd), slot, born: generation() }),
            None => Err(fd),
        }
    }
}

impl AsFd for ParentOnly {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for ParentOnly {
    fn drop(&mut self) {
        if self.born != generation() {
            // Closed already, and the number may be another file's.
            return;
        }
        CLOSED_IN_CHILD[self.slot].store(NONE, Ordering::Relaxed);
        // SAFETY: the only drop; the file is not used after it.
        unsafe { ManuallyDrop::drop(&mut self.fd) };
    }
}

/// One value for each process of a family. A child makes its own at its first use; those of its ancestors stay untouched.
pub(crate) struct PerProcess<T> {
    born: u32,
    first: ManuallyDrop<T>,
    /// That of the newest process that is not the first; null where there is none.
    later: AtomicPtr<Later<T>>,
}

struct Later<T> {
    generation: u32,
    value: T,
}

impl<T> PerProcess<T> {
    /// With the value of a process of this generation: 0 for statics.
    pub(crate) const fn new(generation: u32, value: T) -> PerProcess<T> {
        PerProcess {
            born: generation,
            first: ManuallyDrop::new(value),
            later: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The value of this process, if there is one.
    #[inline]
    pub(crate) fn present(&self) -> Option<&T> {
        self.of(generation())
    }

    /// The value of this process, else that of its nearest ancestor, whose locks may be held for ever.
    pub(crate) fn nearest(&self) -> &T {
        // SAFETY: as in `of`.
        unsafe { self.later.load(Ordering::Acquire).as_ref() }.map_or(&self.first, |l| &l.value)
    }

    #[inline]
    fn of(&self, generation: u32) -> Option<&T> {
        if generation == self.born {
            return Some(&self.first);
        }
        // SAFETY: null, or from `make`; freed by `drop` alone.
        let later = unsafe { self.later.load(Ordering::Acquire).as_ref() };
        later.filter(|later| later.generation == generation).map(|later| &later.value)
    }
}

impl<T: Send + Sync> PerProcess<T> {
    /// The value of this process. `make` makes it from the one of the nearest ancestor that had one, whose locks may be held
    /// for ever; `made` is told of it when all get it. Where threads race, they get the same one.
    pub(crate) fn get(&self, make: impl FnOnce(&T) -> T, made: impl FnOnce(&T)) -> &T {
        let generation = generation();
        match self.of(generation) {
            Some(value) => value,
            None => self.make(generation, make, made),
        }
    }

    #[cold]
    fn make(&self, generation: u32, make: impl FnOnce(&T) -> T, made: impl FnOnce(&T)) -> &T {
        let newest = self.later.load(Ordering::Acquire);
        // SAFETY: as in `of`.
        let value = match unsafe { newest.as_ref() } {
            Some(later) if later.generation == generation => return &later.value,
            Some(later) => make(&later.value),
            None => make(&self.first),
        };
        let own = Box::into_raw(Box::new(Later { generation, value }));
        match self.later.compare_exchange(newest, own, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => {
                // SAFETY: from the box above; freed by `drop` alone.
                let value = unsafe { &(*own).value };
                made(value);
                value
            }
            Err(other) => {
                // SAFETY: from the box above, and nobody else has seen it.
                drop(unsafe { Box::from_raw(own) });
                // SAFETY: as in `of`. In a process it is exchanged once, so that this one is of its generation.
                unsafe { &(*other).value }
            }
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let generation = generation();
        let later = *self.later.get_mut();
        if generation == self.born {
            // SAFETY: the only drop; nobody uses it any more.
            unsafe { ManuallyDrop::drop(&mut self.first) };
        } else if !later.is_null() {
            // SAFETY: from `make`, and nobody uses it any more.
            let later = unsafe { Box::from_raw(later) };
            if later.generation != generation {
                // An ancestor's.
                std::mem::forget(later);
            }
        }
    }
}

/// A list that grows in this process and is read without a lock in its children.
pub(crate) struct ForChildren<T> {
    newest: AtomicPtr<Link<T>>,
}

struct Link<T> {
    value: T,
    before: *mut Link<T>,
}

impl<T> Default for ForChildren<T> {
    fn default() -> ForChildren<T> {
        ForChildren { newest: AtomicPtr::new(ptr::null_mut()) }
    }
}

impl<T> ForChildren<T> {
    /// Adds a value.
    pub(crate) fn push(&self, value: T) {
        let mut before = self.newest.load(Ordering::Acquire);
        let link = Box::into_raw(Box::new(Link { value, before }));
        while let Err(other) =
            self.newest.compare_exchange(before, link, Ordering::AcqRel, Ordering::Acquire)
        {
            before = other;
            // SAFETY: from the box above, and nobody else has seen it.
            unsafe { (*link).before = before };
        }
    }

    /// Takes all values out, in the order in which they were added.
    pub(crate) fn take(&self) -> Vec<T> {
        let mut values = Vec::new();
        let mut link = self.newest.swap(ptr::null_mut(), Ordering::AcqRel);
        while !link.is_null() {
            // SAFETY: from `push`; whoever swapped the newest one out owns it and all before it.
            let Link { value, before } = *unsafe { Box::from_raw(link) };
            values.push(value);
            link = before;
        }
        values.reverse();
        values
    }

    /// All values, in the order in which they were added.
    ///
    /// # Safety
    /// Nobody calls `take` meanwhile: as in a child, where the parent's list is left alone.
    pub(crate) unsafe fn all(&self) -> Vec<&T> {
        let mut values = Vec::new();
        // SAFETY: from `push`, and freed by `take` alone.
        let mut link = unsafe { self.newest.load(Ordering::Acquire).as_ref() };
        while let Some(Link { value, before }) = link {
            values.push(value);
            // SAFETY: as above.
            link = unsafe { before.as_ref() };
        }
        values.reverse();
        values
    }
}

impl<T> Drop for ForChildren<T> {
    fn drop(&mut self) {
        self.take();
    }
}

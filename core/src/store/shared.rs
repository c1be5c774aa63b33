//! The small file that all processes of a directory map: epochs, the end of the log, versions of pages, leases.
//!
//! It means nothing while no process has the directory open: whoever opens it alone makes it anew. It is never truncated, and
//! its blocks are allocated before, so that a full disk cannot take them away.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use memmap2::MmapRaw;
use rustix::fs::{self, FallocateFlags, Mode, OFlags};

use crate::store::locks::SEATS;
use crate::store::sigbus::Watched;
use crate::sync::machine::{AtomicI64, AtomicU32, AtomicU64, Ordering};

const NAME: &str = "shared";
const MAGIC: u64 = u64::from_le_bytes(*b"isrshare");
/// Grows with each change of the layout.
const VERSION: u32 = 2;
/// Keys share this many version slots.
pub(crate) const SLOTS: u32 = 65_536;
/// Leases, and with them renders on the machine, at a time.
pub(crate) const LEASES: usize = 4096;
/// Bytes of an error's text that other processes get.
pub(crate) const TEXT: usize = 160;

/// A value that others read often, on a cache line of its own.
#[repr(C, align(128))]
pub(crate) struct Line<T>(pub(crate) T);

#[repr(C)]
pub(crate) struct Layout {
    magic: AtomicU64,
    version: AtomicU32,
    size: AtomicU32,
    /// Of the log to which it belongs.
    era: AtomicU64,
    /// The newest invalidation.
    pub(crate) latest: Line<AtomicU64>,
    /// Orders renders, loads and invalidations of all processes.
    pub(crate) epoch: Line<AtomicU64>,
    /// Up to here epochs may be given out; a restart begins there.
    pub(crate) epoch_limit: Line<AtomicU64>,
    /// Which log is in use.
    log_generation: AtomicU64,
    /// Where the logs of even and of odd generations end.
    log_ends: [AtomicU64; 2],
    /// Whatever began before counts as removed: an invalidation could not be written.
    pub(crate) flushed: AtomicU64,
    /// Bytes of all page files, as far as counted.
    pub(crate) disk_bytes: Line<AtomicI64>,
    /// Grows with each lease that ends; those who wait for one sleep on it.
    pub(crate) released: Line<AtomicU32>,
    /// Those who sleep.
    pub(crate) sleepers: AtomicU32,
    /// The deployment of each seat, by hash.
    pub(crate) deployments: [AtomicU64; SEATS as usize],
    /// The key of each lease, by hash; zero where there is none.
    pub(crate) lease_keys: [AtomicU64; LEASES],
    pub(crate) leases: [Lease; LEASES],
    /// Grow when a page of a key is stored or removed.
    pub(crate) versions: [AtomicU32; SLOTS as usize],
}

/// A render or load in some process. Written with the lock of its stripe held.
#[repr(C, align(64))]
pub(crate) struct Lease {
    /// Which lease of this slot it is, and whose: `number << 16 | seat`. Zero where nobody has it.
    pub(crate) holder: AtomicU64,
    /// The epoch at which it began; zero while it waits for a thread.
    pub(crate) started: AtomicU64,
    /// On the machine's monotonic clock, in nanoseconds.
    pub(crate) deadline: AtomicU64,
    /// The key for which its callback waits in turn, by hash.
    pub(crate) waits_for: AtomicU64,
    /// The holder that ended it, and how.
    pub(crate) ended: AtomicU64,
    pub(crate) outcome: AtomicU32,
    pub(crate) text_len: AtomicU32,
    pub(crate) text: [AtomicU64; TEXT / 8],
}

pub(crate) struct Shared {
    // Before the mapping, so that it is dropped first.
    _watched: Watched,
    map: MmapRaw,
    file: OwnedFd,
}

impl std::ops::Deref for Shared {
    type Target = Layout;

    fn deref(&self) -> &Layout {
        // SAFETY: the mapping has the layout's size, is aligned to pages, lives as long as `self`, and is of atomics alone, so
        // that other processes may write it at any time. Truncation is answered by `sigbus`.
        unsafe { &*self.map.as_ptr().cast::<Layout>() }
    }
}

impl Shared {
    /// Makes a new one in place of what is there. Epochs begin after `epoch`.
    pub(crate) fn create(v1: impl AsFd, era: u64, epoch: u64) -> io::Result<Shared> {
        const NEW: &str = "shared.new";
        let v1 = v1.as_fd();
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        match fs::unlinkat(v1, NEW, fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let file = fs::openat(v1, NEW, flags, Mode::from_raw_mode(0o600))?;
        let size = size_of::<Layout>() as u64;
        match fs::fallocate(&file, FallocateFlags::empty(), 0, size) {
            Ok(()) => {}
            // The file system cannot: then holes are filled by writing.
            Err(rustix::io::Errno::OPNOTSUPP) => fill(&file, size)?,
            Err(e) => return Err(e.into()),
        }
        let shared = Shared::map(file)?;
        shared.version.store(VERSION, Ordering::SeqCst);
        shared.size.store(size as u32, Ordering::SeqCst);
        shared.era.store(era, Ordering::SeqCst);
        shared.epoch.0.store(epoch, Ordering::SeqCst);
        shared.magic.store(MAGIC, Ordering::SeqCst);
        fs::renameat(v1, NEW, v1, NAME)?;
        Ok(shared)
    }

    /// Joins the one that other processes use.
    pub(crate) fn join(v1: impl AsFd, era: u64) -> io::Result<Shared> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(v1, NAME, flags, Mode::empty())?;
        let wrong =
            |what: &str| io::Error::new(io::ErrorKind::InvalidData, format!("shared: {what}"));
        if fs::fstat(&file)?.st_size != size_of::<Layout>() as i64 {
            return Err(wrong("its size is wrong"));
        }
        let shared = Shared::map(file)?;
        if !shared.is_alive() || shared.version.load(Ordering::SeqCst) != VERSION {
            return Err(wrong("its head is wrong"));
        }
        if shared.era.load(Ordering::SeqCst) != era {
            return Err(wrong("it belongs to another log"));
        }
        Ok(shared)
    }

    fn map(file: OwnedFd) -> io::Result<Shared> {
        let map = MmapRaw::map_raw(&std::fs::File::from(file.try_clone()?))?;
        let watched = Watched::new(map.as_ptr().addr(), map.len())?;
        Ok(Shared { _watched: watched, map, file })
    }

    /// Whether it is still what was mapped: no zero pages in place of a truncated file.
    pub(crate) fn is_alive(&self) -> bool {
        self.magic.load(Ordering::SeqCst) == MAGIC
    }

    /// Says to all who have it mapped that it cannot be used.
    pub(crate) fn kill(&self) {
        self.magic.store(0, Ordering::SeqCst);
    }

    /// Which log is in use.
    pub(crate) fn log_generation(&self) -> u64 {
        self.log_generation.load(Ordering::SeqCst)
    }

    /// Where the log of a generation ends, while it is in use.
    pub(crate) fn log_end(&self, generation: u64) -> u64 {
        self.log_ends[generation as usize % 2].load(Ordering::SeqCst)
    }

    /// Tells all processes where the log ends. The end first: who sees that a log is in use must not take another's end.
    pub(crate) fn set_log(&self, generation: u64, end: u64) {
        self.log_ends[generation as usize % 2].store(end, Ordering::SeqCst);
        self.log_generation.store(generation, Ordering::SeqCst);
    }

    /// Whether the file is still the one at its place.
    pub(crate) fn is_in_place(&self, v1: impl AsFd) -> io::Result<bool> {
        let own = fs::fstat(&self.file)?;
        match fs::statat(v1, NAME, fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Ok((own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }
}

fn fill(file: &OwnedFd, size: u64) -> io::Result<()> {
    let zeros = vec![0u8; size as usize];
    let mut done = 0;
    while done < zeros.len() {
        done += rustix::io::pwrite(file, &zeros[done..], done as u64)?;
    }
    Ok(())
}

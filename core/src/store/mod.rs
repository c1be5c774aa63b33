//! The directory: what is kept over restarts and shared by the processes of a machine (semantics, section 11).
//!
//! `files` holds pages and data entries, `log` the invalidations, `shared` what all processes must see at once; `locks` are the
//! kernel's, so that they end with the process that has them; `lease` lets one process render for all; `janitor` keeps the bound.
//! Trouble with any of them is told once and counted, and memory goes on alone.

pub(crate) mod codec;
mod dirs;
mod files;
mod housekeeping;
mod janitor;
pub(crate) mod lease;
mod locks;
pub(crate) mod log;
pub(crate) mod mark;
mod open;
mod pages;
mod place;
mod shared;
mod sigbus;
mod trouble;

use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::clock::Clock;
use crate::page::Page;
use crate::store::files::Files;
use crate::store::housekeeping::Housekeeping;
use crate::store::locks::{Held, Locks, STRIPES};
use crate::store::log::Commit;
use crate::store::place::FilePlace;
use crate::store::shared::{SLOTS, Shared};
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard, machine};

pub(crate) use open::Opened;
pub(crate) use pages::Saved;
pub(crate) use trouble::{Trouble, Troubles};

/// So far ahead epochs are reserved: a restart goes on behind.
const RESERVE: u64 = 1 << 20;
/// So far ahead they go on where it is not known what was given out.
const GAP: u64 = 1 << 32;
/// No counter comes so far.
pub(crate) const MAX_EPOCH: u64 = 1 << 62;

/// An opened directory.
pub(crate) struct Store {
    /// Itself, for its thread.
    me: Weak<Store>,
    shared: Shared,
    locks: Locks,
    /// Locks between the threads of this process, beside those between processes.
    stripes: Box<[Mutex<()>]>,
    v1: OwnedFd,
    files: Files,
    seat: u32,
    era: u64,
    seed: u64,
    secret: [u8; 32],
    boot: u64,
    deployment: String,
    durable: bool,
    max_disk_bytes: u64,
    max_file_bytes: u64,
    clock: Clock,
    /// Whether pages are read and written, and leases taken.
    online: AtomicBool,
    /// Whether the disk was full at the last write: then the janitor makes room before the bound is reached.
    is_disk_full: AtomicBool,
    /// Whether the mapping was lost and this process has an order of its own.
    alone: AtomicBool,
    leaving: Mutex<()>,
    /// The newest epoch that is known to have been given out; alone, the counter itself.
    seen_epoch: AtomicU64,
    next_lease: AtomicU64,
    reads: AtomicU64,
    writes: AtomicU64,
    pub(crate) troubles: Troubles,
    housekeeping: Arc<Housekeeping>,
    uses: Mutex<Option<Weak<dyn Uses>>>,
}

/// Who knows what is used without its files being read.
pub(crate) trait Uses: Send + Sync {
    /// The entries that were used since the last call.
    fn take_used(&self) -> Vec<Page>;
}

/// A key's place in everything that is shared.
#[derive(Clone, Debug)]
pub(crate) struct StoreKey {
    pub(crate) place: FilePlace,
    pub(crate) hash: u64,
}

impl StoreKey {
    pub(crate) fn slot(&self) -> u32 {
        (self.hash % u64::from(SLOTS)) as u32
    }

    fn stripe(&self) -> u32 {
        StoreKey::stripe_of_hash(self.hash)
    }

    /// Keys of one slot have one stripe: under its lock a slot stands still.
    fn stripe_of_hash(hash: u64) -> u32 {
        (hash % u64::from(SLOTS)) as u32 % STRIPES
    }
}

/// The lock of a stripe, in this process and between processes.
struct LockedStripe<'a> {
    _machine: Held<'a>,
    _process: MutexGuard<'a, ()>,
}

impl Store {
    /// The place of a path and variant, or of a data entry's key.
    pub(crate) fn key(&self, path: &[u8], variant: &[u8]) -> StoreKey {
        let of_path =
            xxh3_64_with_seed(path, self.seed ^ xxh3_64_with_seed(self.deployment.as_bytes(), 0));
        // All variants of a path have one stripe, so that they can be counted. Zero means "none" where keys are kept by hash.
        let stripe = u64::from(STRIPES) - 1;
        let hash = (xxh3_64_with_seed(variant, of_path) & !stripe | of_path & stripe).max(1);
        StoreKey { place: FilePlace::new(self.seed, path, variant), hash }
    }

    /// The place of a stored entry.
    fn key_of(&self, page: &Page) -> StoreKey {
        let path_len = if page.path_len() > 0 { page.path_len() } else { page.key().len() };
        let (path, variant) = page.key().split_at(path_len);
        self.key(path, variant)
    }

    /// Whom to ask what is used.
    pub(crate) fn ask_for_uses(&self, uses: Weak<dyn Uses>) {
        *self.uses.lock() = Some(uses);
    }

    /// What hashes of names begin with, in all processes.
    pub(crate) fn seed(&self) -> u64 {
        self.seed
    }

    /// Signs draft tokens where the embedder gave no secret: the same in all processes and after a restart.
    pub(crate) fn draft_secret(&self) -> Vec<u8> {
        self.secret.to_vec()
    }

    pub(crate) fn is_online(&self) -> bool {
        self.online.load(Ordering::Acquire)
    }

    /// The newest invalidation of any process.
    pub(crate) fn latest(&self) -> u64 {
        self.shared.latest.0.load(machine::Ordering::Acquire)
    }

    /// The present epoch of the machine.
    pub(crate) fn epoch(&self) -> u64 {
        if !self.is_alone() {
            let seen = self.seen_epoch.load(Ordering::SeqCst);
            let epoch = self.shared.epoch.0.load(machine::Ordering::SeqCst);
            if self.shared.is_alive() && (seen..MAX_EPOCH).contains(&epoch) {
                return epoch;
            }
            self.go_alone();
        }
        self.seen_epoch.load(Ordering::SeqCst)
    }

    /// A new epoch, and whether more must be reserved.
    pub(crate) fn next_epoch(&self) -> (u64, bool) {
        if !self.is_alone() {
            let seen = self.seen_epoch.load(Ordering::SeqCst);
            let former = self.shared.epoch.0.fetch_add(1, machine::Ordering::SeqCst);
            if self.shared.is_alive() && (seen..MAX_EPOCH).contains(&former) {
                let epoch = former + 1;
                self.seen_epoch.fetch_max(epoch, Ordering::SeqCst);
                let limit = self.shared.epoch_limit.0.load(machine::Ordering::Relaxed);
                return (epoch, epoch + RESERVE / 2 > limit);
            }
            self.go_alone();
        }
        (self.seen_epoch.fetch_add(1, Ordering::SeqCst) + 1, false)
    }

    /// Whether what processes share in memory is lost, or cannot be: then this one goes on alone. `applied` is the newest
    /// invalidation that this process knows.
    pub(crate) fn has_lost_words(&self, applied: u64) -> bool {
        let (latest, flushed) = (self.latest(), self.flushed());
        // Read last: what the others are ahead is far below the gap.
        let most = self.epoch().saturating_add(GAP);
        if !self.is_alone() && (latest < applied || latest > most || flushed > most) {
            self.go_alone();
        }
        self.is_alone()
    }

    /// Goes on to an epoch that was announced. False: so many were given out meanwhile that it is past.
    pub(crate) fn reach(&self, epoch: u64) -> bool {
        if self.is_alone() {
            return self.seen_epoch.fetch_max(epoch, Ordering::SeqCst) < epoch;
        }
        let former = self.shared.epoch.0.fetch_max(epoch, machine::Ordering::SeqCst);
        self.seen_epoch.fetch_max(epoch, Ordering::SeqCst);
        former < epoch
    }

    /// Whether the version of a key is the one at which a page was read or stored.
    pub(crate) fn is_current(&self, slot: u32, seen: u32) -> bool {
        self.version(slot) == seen || !self.is_online()
    }

    pub(crate) fn version(&self, slot: u32) -> u32 {
        self.shared.versions[slot as usize % SLOTS as usize].load(machine::Ordering::Acquire)
    }

    /// Pages and data entries read.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }

    /// Pages and data entries written.
    pub(crate) fn writes(&self) -> u64 {
        self.writes.load(Ordering::Relaxed)
    }

    /// Troubles so far.
    pub(crate) fn errors(&self) -> u64 {
        self.troubles.count()
    }

    /// Bytes of all page files.
    pub(crate) fn disk_bytes(&self) -> u64 {
        u64::try_from(self.shared.disk_bytes.0.load(machine::Ordering::Relaxed)).unwrap_or(0)
    }

    pub(crate) fn is_alone(&self) -> bool {
        self.alone.load(Ordering::Acquire)
    }

    /// The mapping was lost or holds what cannot be: from here this process has an order of its own. Others may still see the
    /// mapping; they must not go on with it.
    fn go_alone(&self) {
        let _once = self.leaving.lock();
        if self.is_alone() {
            return;
        }
        self.shared.kill();
        self.go_offline();
        // Further than others have come since this process opened the directory.
        self.seen_epoch.fetch_add(GAP, Ordering::SeqCst);
        self.alone.store(true, Ordering::SeqCst);
        self.trouble(Trouble::Shared, "it was truncated or overwritten while it was in use");
    }

    /// The files at their places are not those that were opened. Those who have these go on with them, without pages.
    pub(crate) fn is_replaced(&self) {
        if self.online.swap(false, Ordering::SeqCst) {
            self.trouble(Trouble::Replaced, "the files that this process uses are no longer there");
        }
    }

    /// Pages are no longer read and written.
    pub(crate) fn go_offline(&self) {
        self.online.store(false, Ordering::SeqCst);
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    fn seat(&self) -> u32 {
        self.seat
    }

    fn is_seated(&self, seat: u32) -> bool {
        self.locks.is_seated(seat)
    }

    fn next_lease(&self) -> u64 {
        self.next_lease.fetch_add(1, Ordering::Relaxed)
    }

    fn lock_stripe(&self, key: &StoreKey) -> Option<LockedStripe<'_>> {
        let stripe = key.stripe();
        let process = self.stripes[stripe as usize].lock();
        match self.locks.stripe(stripe) {
            Ok(machine) => Some(LockedStripe { _machine: machine, _process: process }),
            Err(e) => {
                self.trouble(Trouble::Locks, e);
                None
            }
        }
    }

    /// Wakes those who wait for leases.
    fn wake(&self) {
        self.shared.released.0.fetch_add(1, machine::Ordering::SeqCst);
        if self.shared.sleepers.load(machine::Ordering::SeqCst) > 0 {
            let flags = rustix::thread::futex::Flags::empty();
            // Nobody is there, or they look again by themselves.
            let _ = rustix::thread::futex::wake(&self.shared.released.0, flags, i32::MAX as u32);
        }
    }

    /// What [`Store::sleep`] must be given so that no release after this call is missed.
    pub(crate) fn releases(&self) -> u32 {
        self.shared.released.0.load(machine::Ordering::SeqCst)
    }

    /// Sleeps until a lease ends in any process, or for this time.
    pub(crate) fn sleep(&self, releases: u32, most: Duration) {
        let timeout = rustix::fs::Timespec {
            tv_sec: most.as_secs().try_into().unwrap_or(i64::MAX),
            tv_nsec: most.subsec_nanos().into(),
        };
        self.shared.sleepers.fetch_add(1, machine::Ordering::SeqCst);
        let flags = rustix::thread::futex::Flags::empty();
        // Woken, timed out, interrupted or too late: all the same, the caller looks again.
        let _ =
            rustix::thread::futex::wait(&self.shared.released.0, flags, releases, Some(&timeout));
        self.shared.sleepers.fetch_sub(1, machine::Ordering::SeqCst);
    }

    // For the log, which `invalidation::follow` reads and writes.

    pub(crate) fn v1(&self) -> &OwnedFd {
        &self.v1
    }

    pub(crate) fn era(&self) -> u64 {
        self.era
    }

    pub(crate) fn is_durable(&self) -> bool {
        self.durable
    }

    /// Held while the log is written.
    pub(crate) fn lock_log(&self) -> std::io::Result<Held<'_>> {
        self.locks.lock(locks::PUBLISH)
    }

    /// Whatever began before this epoch counts as removed.
    pub(crate) fn flushed(&self) -> u64 {
        self.shared.flushed.load(machine::Ordering::SeqCst)
    }

    pub(crate) fn flush(&self, epoch: u64) {
        self.shared.flushed.fetch_max(epoch, machine::Ordering::SeqCst);
    }

    /// Tells all processes of a new invalidation, when all of it can be read.
    pub(crate) fn set_latest(&self, epoch: u64) {
        self.shared.latest.0.fetch_max(epoch, machine::Ordering::SeqCst);
    }

    /// What is to be committed beside the end of the log: epochs are reserved far ahead of this one.
    pub(crate) fn next_commit(&self, former: Commit, epoch: u64) -> Commit {
        let epoch_limit = if epoch + RESERVE / 2 > former.epoch_limit {
            epoch + RESERVE
        } else {
            former.epoch_limit
        };
        Commit {
            epoch_limit,
            flushed: if self.is_alone() {
                former.flushed
            } else {
                former.flushed.max(self.flushed())
            },
            boot: self.boot,
            ..former
        }
    }

    /// After a commit: epochs up to there may be given out.
    pub(crate) fn set_epoch_limit(&self, limit: u64) {
        self.shared.epoch_limit.0.fetch_max(limit, machine::Ordering::SeqCst);
    }
}

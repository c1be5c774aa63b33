//! Opening a directory: joining the processes that use it, or, alone, recovering what they left.

use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self, AtFlags, Mode, OFlags};
use rustix::io::Errno;
use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

use crate::draft;
use crate::invalidation::newest_epoch;
use crate::options::Options;
use crate::store::files::Files;
use crate::store::locks::{Locks, STRIPES};
use crate::store::log::{Broken, Commit, HEAD, Head, Log};
use crate::store::shared::Shared;
use crate::store::trouble::{Trouble, Troubles};
use crate::store::{GAP, MAX_EPOCH, Store, mark};
use crate::sync::atomic::{AtomicBool, AtomicU64};
use crate::sync::{Mutex, machine};

/// The format of everything in the directory: another one has another name and is left alone.
const V1: &str = "v1";
/// More than head, fields and tags of any page take beside its bodies.
const BESIDE_BODY: u64 = 1 << 20;

/// An opened directory, with the invalidations that it remembers.
pub(crate) struct Opened {
    pub(crate) store: Arc<Store>,
    pub(crate) log: Log,
    pub(crate) frames: Vec<u8>,
    /// The newest invalidation that they hold for sure.
    pub(crate) latest: u64,
}

impl Store {
    /// Opens the directory of these options.
    pub(crate) fn open(directory: &Path, options: &Options) -> io::Result<Opened> {
        let troubles = Troubles::new(directory, options.on_trouble.clone());
        let v1 = open_v1(directory)?;
        // What is wrong inside is trouble with the directory; it was right to name it.
        Store::open_in(v1, troubles, options).map_err(|e| io::Error::other(e.to_string()))
    }

    fn open_in(v1: OwnedFd, troubles: Troubles, options: &Options) -> io::Result<Opened> {
        let locks = Locks::new(open_locks(&v1)?)?;
        let boot = boot();
        let opening = locks.lock(crate::store::locks::PUBLISH)?;
        let is_first = !locks.others_are_seated();
        let (log, frames, shared) = match join_or_recover(&v1, is_first, boot) {
            Ok(found) => found,
            Err(Broken::Io(e)) => return Err(e),
            Err(broken) => {
                if let Broken::Damaged(what) = broken {
                    troubles.tell(Trouble::Damaged, &what);
                }
                begin_era(&v1, boot, options.durable)?
            }
        };
        let Some(seat) = locks.take_seat()? else {
            return Err(io::Error::other("as many processes as can be have it open"));
        };
        let latest = shared.latest.0.load(machine::Ordering::SeqCst);
        let seen_epoch = shared.epoch.0.load(machine::Ordering::SeqCst);
        let seed = u64::from_le_bytes(log.head.secret[..8].try_into().unwrap_or_default());
        let deployment = xxh3_64_with_seed(options.deployment.as_bytes(), seed);
        shared.deployments[seat as usize].store(deployment, machine::Ordering::SeqCst);
        drop(opening);
        let files = Files::open(&v1, &format!("{deployment:016x}"))?;
        let store = Arc::new_cyclic(|me| Store {
            me: me.clone(),
            files,
            seat,
            era: log.head.era,
            seed,
            secret: log.head.secret,
            boot,
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            deployment: options.deployment.clone(),
            durable: options.durable,
            max_disk_bytes: options.max_disk_bytes,
            max_file_bytes: options.max_entry_bytes.saturating_mul(4).saturating_add(BESIDE_BODY),
            clock: options.clock.clone(),
            online: AtomicBool::new(true),
            is_disk_full: AtomicBool::new(false),
            alone: AtomicBool::new(false),
            leaving: Mutex::new(()),
            seen_epoch: AtomicU64::new(seen_epoch),
            next_lease: AtomicU64::new(u64::from(fastrand::u32(1..)) << 16),
            reads: AtomicU64::new(0),
            writes: AtomicU64::new(0),
            troubles,
            housekeeping: Arc::default(),
            uses: Mutex::new(None),
            shared,
            locks,
            v1,
        });
        store.clear_leases_of_seat();
        // What stays is the janitor's.
        let _ = store.files.clear_leftovers(seat);
        if store.troubles.has_untold() {
            store.keep_house();
        }
        Ok(Opened { store, log, frames, latest })
    }
}

type Found = (Log, Vec<u8>, Shared);

fn join_or_recover(v1: &OwnedFd, is_first: bool, boot: u64) -> Result<Found, Broken> {
    let mut log = match Log::open(v1) {
        // Without its log, nobody knows what was invalidated.
        Err(Broken::Missing) if fs::statat(v1, "pages", AtFlags::SYMLINK_NOFOLLOW).is_ok() => {
            return Err(Broken::Damaged("the log is missing"));
        }
        other => other?,
    };
    if !is_first {
        let shared = Shared::join(v1, log.head.era).map_err(|e| match e.kind() {
            io::ErrorKind::InvalidData => Broken::Damaged("the shared file is wrong"),
            io::ErrorKind::NotFound => Broken::Damaged("the shared file is missing"),
            _ => Broken::Io(e),
        })?;
        // What was told of must be there. More may be, by one who died before he told of it: this one has the lock, and tells.
        let (generation, end) = (log.head.generation, log.commit.end);
        if shared.log_generation() > generation
            || (shared.log_generation() == generation && shared.log_end(generation) > end)
        {
            return Err(Broken::Damaged("a commit is lost"));
        }
        let frames = log.frames(HEAD, end)?;
        shared.set_log(generation, end);
        return Ok((log, frames, shared));
    }
    let frames = log.recover(boot)?;
    let newest = newest_epoch(&frames).ok_or(Broken::Damaged("a frame means nothing"))?;
    // Ahead of what may have been given out without being reserved, where the disk took nothing.
    let epoch = log.commit.epoch_limit.max(newest).saturating_add(GAP);
    if epoch >= MAX_EPOCH || log.commit.flushed > epoch {
        return Err(Broken::Damaged("an epoch cannot be"));
    }
    let is_marked = mark::is_set(v1)?;
    if is_marked {
        log.commit.flushed = epoch;
    }
    let shared = begin(v1, &mut log, epoch, newest, boot, false)?;
    if is_marked {
        mark::clear(v1);
    }
    Ok((log, frames, shared))
}

/// A new life of a directory that is empty or damaged: what is there is set aside.
fn begin_era(v1: &OwnedFd, boot: u64, durable: bool) -> io::Result<Found> {
    set_aside(v1, "pages")?;
    let secret = draft::random_secret();
    let mut head = Head {
        era: fastrand::u64(1..),
        secret: [0; 32],
        generation: 1,
        former_end: HEAD,
        snapshot_end: HEAD,
    };
    match <[u8; 32]>::try_from(secret) {
        Ok(secret) => head.secret = secret,
        Err(_) => return Err(io::Error::other("the system has no random numbers")),
    }
    let mut log =
        match Log::create(v1, head.clone(), Commit { boot, ..Commit::default() }, &[], durable) {
            // A directory in its place cannot be replaced by a file.
            Err(e) if e.kind() == io::ErrorKind::IsADirectory => {
                set_aside(v1, "log")?;
                Log::create(v1, head, Commit { boot, ..Commit::default() }, &[], durable)?
            }
            other => other?,
        };
    let shared = begin(v1, &mut log, 0, 0, boot, durable).or_else(|e| match e.kind() {
        io::ErrorKind::IsADirectory => {
            set_aside(v1, "shared")?;
            begin(v1, &mut log, 0, 0, boot, durable)
        }
        _ => Err(e),
    })?;
    Ok((log, Vec::new(), shared))
}

/// Makes what processes share in memory anew, and reserves epochs.
fn begin(
    v1: &OwnedFd,
    log: &mut Log,
    epoch: u64,
    latest: u64,
    boot: u64,
    durable: bool,
) -> io::Result<Shared> {
    let commit = Commit { epoch_limit: epoch + crate::store::RESERVE, boot, ..log.commit };
    log.commit(commit, durable)?;
    let shared = Shared::create(v1, log.head.era, epoch)?;
    shared.latest.0.store(latest.max(commit.flushed), machine::Ordering::SeqCst);
    shared.flushed.store(commit.flushed, machine::Ordering::SeqCst);
    shared.epoch_limit.0.store(commit.epoch_limit, machine::Ordering::SeqCst);
    shared.set_log(log.head.generation, log.commit.end);
    Ok(shared)
}

/// Moves something to the trash, which the janitor empties.
fn set_aside(v1: &OwnedFd, name: &str) -> io::Result<()> {
    make_dir(v1, "trash")?;
    let trash = open_dir(v1, "trash")?;
    match fs::renameat(v1, name, &trash, format!("{:016x}", fastrand::u64(..))) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn open_v1(directory: &Path) -> io::Result<OwnedFd> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base = fs::open(directory, flags, Mode::empty())?;
    let inside = |e: io::Error| io::Error::other(format!("{V1}: {e}"));
    make_dir(&base, V1).map_err(inside)?;
    let v1 = open_dir(&base, V1).map_err(inside)?;
    let stat = fs::fstat(&v1)?;
    let refused = |why: String| io::Error::new(io::ErrorKind::PermissionDenied, why);
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return Err(refused(format!("{V1} belongs to user {}, not to this one", stat.st_uid)));
    }
    if stat.st_mode & 0o022 != 0 {
        return Err(refused(format!("others may write to {V1} (mode {:o})", stat.st_mode & 0o777)));
    }
    Ok(v1)
}

fn open_locks(v1: &OwnedFd) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(v1, "locks", flags, Mode::from_raw_mode(0o600))?)
}

fn make_dir(at: impl AsFd, name: &str) -> io::Result<()> {
    match fs::mkdirat(at, name, Mode::from_raw_mode(0o700)) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

fn open_dir(at: impl AsFd, name: &str) -> io::Result<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(fs::openat(at, name, flags, Mode::empty())?)
}

/// Names this start of the machine; the same for all where the system does not tell.
fn boot() -> u64 {
    std::fs::read("/proc/sys/kernel/random/boot_id").map_or(0, |id| xxh3_64(&id))
}

//! Directories one step at a time: no symlink is followed anywhere, and what a directory holds can be told apart.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::{Errno, retry_on_intr};

use crate::clock::Time;

/// Directories are for their owner alone.
const DIR_MODE: Mode = Mode::RWXU;
const BLOCK: u64 = 4096;

/// What a directory of variants counts on the disk: its block.
pub(crate) const FOLDER_BYTES: u64 = BLOCK;

/// What a file of `len` bytes counts on the disk. Even an empty one is a block: inodes are bounded by the bound of bytes.
pub(crate) fn disk_bytes(len: u64) -> u64 {
    len.div_ceil(BLOCK).max(1).saturating_mul(BLOCK)
}

/// Opens a directory in another.
///
/// # Errors
/// Of `openat`; a symlink or anything else in its place is one.
pub(crate) fn open_dir(parent: impl AsFd, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| fs::openat(parent.as_fd(), name, flags, Mode::empty()))?)
}

/// Opens a directory in another, or makes it; `true` if it was made here.
///
/// # Errors
/// Of `openat` and `mkdirat`.
pub(crate) fn make_dir(parent: impl AsFd, name: &[u8]) -> io::Result<(OwnedFd, bool)> {
    match open_dir(&parent, name) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        opened => return opened.map(|fd| (fd, false)),
    }
    let made = match fs::mkdirat(parent.as_fd(), name, DIR_MODE) {
        Ok(()) => true,
        // Another was quicker.
        Err(Errno::EXIST) => false,
        Err(e) => return Err(e.into()),
    };
    Ok((open_dir(parent, name)?, made))
}

/// What stands in a directory under a name, not followed; none if nothing does.
///
/// # Errors
/// Of `fstatat`.
pub(crate) fn stat_at(dir: impl AsFd, name: &[u8]) -> io::Result<Option<Stat>> {
    match fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

/// Removes a file, or a symlink itself; `false` if it was gone.
///
/// # Errors
/// Of `unlinkat`; a directory in its place is one.
pub(crate) fn unlink(dir: impl AsFd, name: &[u8]) -> io::Result<bool> {
    gone(fs::unlinkat(dir, name, AtFlags::empty()))
}

/// Removes a directory if it is empty; `false` if it was gone or is not.
///
/// # Errors
/// Of `unlinkat` else.
pub(crate) fn remove_empty_dir(parent: impl AsFd, name: &[u8]) -> io::Result<bool> {
    match fs::unlinkat(parent, name, AtFlags::REMOVEDIR) {
        // Some file systems say the second for the first.
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        result => gone(result),
    }
}

fn gone(removed: rustix::io::Result<()>) -> io::Result<bool> {
    match removed {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(e) => Err(e.into()),
    }
}

/// Writes what the system holds of a file or directory to the disk.
///
/// # Errors
/// Of `fsync`.
pub(crate) fn sync(fd: impl AsFd) -> io::Result<()> {
    Ok(retry_on_intr(|| fs::fsync(fd.as_fd()))?)
}

/// The user whose files are ours. Asked for anew each time: a server may give up its rights after it has opened a cache.
pub(crate) fn own_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

pub(crate) fn is_file(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile
}

pub(crate) fn is_dir(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
}

pub(crate) fn len_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

/// The modification time; 1970 for what is earlier.
pub(crate) fn mtime_of(stat: &Stat) -> Time {
    #[allow(clippy::unnecessary_cast, reason = "32-bit machines have another type")]
    let nanos = stat.st_mtime_nsec as u64;
    u64::try_from(stat.st_mtime).map_or(Time::from_nanos(0), |secs| {
        Time::from_nanos(secs.saturating_mul(NANOS).saturating_add(nanos))
    })
}

/// Sets the modification time alone.
///
/// # Errors
/// Of `futimens`.
pub(crate) fn set_mtime(file: impl AsFd, time: Time) -> io::Result<()> {
    let nanos = time.nanos();
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        // Both fit: a time is less than 2^64 ns.
        last_modification: Timespec {
            tv_sec: (nanos / NANOS) as i64,
            tv_nsec: (nanos % NANOS) as _,
        },
    };
    Ok(fs::futimens(file, &times)?)
}

const NANOS: u64 = 1_000_000_000;

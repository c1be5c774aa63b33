//! A mark beside the log: an invalidation was told of that could not be written. Who opens the directory next, alone, knows then
//! that the log does not say all.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{self, Mode, OFlags};

use crate::store::dirs::{stat_at, sync, unlink};

const NAME: &str = "unwritten";

/// Makes the mark.
///
/// # Errors
/// Of the system.
pub(crate) fn set(v1: impl AsFd, durable: bool) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(&v1, NAME, flags, Mode::RUSR | Mode::WUSR)?;
    if durable {
        sync(&v1)?;
    }
    Ok(())
}

/// Whether there is one, whatever stands there.
///
/// # Errors
/// Of the system.
pub(crate) fn is_set(v1: impl AsFd) -> io::Result<bool> {
    Ok(stat_at(v1, NAME.as_bytes())?.is_some())
}

/// Removes it. One that stays costs a render of every page at the next start.
pub(crate) fn clear(v1: impl AsFd) {
    let _ = unlink(v1, NAME.as_bytes());
}

//! One look at every file of a deployment, bucket by bucket.
//!
//! Only regular files of our own with a page's name are counted or removed. Whatever else stands there is left alone.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{Dir, Stat};

use crate::clock::Time;
use crate::store::dirs::{
    FOLDER_BYTES, disk_bytes, is_file, len_of, mtime_of, open_dir, own_uid, remove_empty_dir,
    stat_at, unlink,
};
use crate::store::janitor::ages::{Ages, Cutoff};
use crate::store::janitor::{Halt, Pass};
use crate::store::place::{is_file_name, is_folder_name, is_variant_name};

/// Directories between which a deployment's files are spread.
const BUCKETS: u16 = 4096;

/// What a sweep does with a file.
pub(super) enum Aim<'a> {
    Count(&'a mut Ages),
    /// Removes until so many bytes are free.
    Evict {
        cutoff: Cutoff,
        wanted: u64,
    },
    RemoveAll,
}

impl Aim<'_> {
    fn removes(&mut self, used: Time, bytes: u64) -> bool {
        match self {
            Aim::Count(ages) => {
                ages.add(used, bytes);
                false
            }
            Aim::Evict { cutoff, .. } => cutoff.takes(used, bytes),
            Aim::RemoveAll => true,
        }
    }

    fn removed(&mut self, bytes: u64) {
        if let Aim::Evict { wanted, .. } = self {
            *wanted = wanted.saturating_sub(bytes);
        }
    }

    pub(super) fn evicts(&self) -> bool {
        matches!(self, Aim::Evict { .. })
    }

    pub(super) fn is_reached(&self) -> bool {
        matches!(self, Aim::Evict { wanted: 0, .. })
    }
}

/// What a sweep saw and did. Bytes are blocks, those of folders among them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) kept_files: u64,
    pub(super) kept_bytes: u64,
    pub(super) removed_files: u64,
    pub(super) removed_bytes: u64,
}

/// The names of the buckets.
pub(super) fn buckets() -> impl Iterator<Item = String> {
    (0..BUCKETS).map(|n| format!("{n:03x}"))
}

impl Pass<'_> {
    /// Looks at every file of a bucket, if there is one.
    pub(super) fn sweep_bucket(
        &mut self,
        deployment: &OwnedFd,
        bucket: &str,
        aim: &mut Aim<'_>,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        self.go_on()?;
        let Some(dir) = self.note(open_dir(deployment, bucket.as_bytes()))? else { return Ok(()) };
        self.each(dir, |pass, dir, name| {
            if is_file_name(name) {
                pass.sweep_file(dir, name, aim, tally)?;
            } else if is_folder_name(name) {
                pass.sweep_folder(dir, name, aim, tally)?;
            }
            Ok(())
        })?;
        self.ground.pause();
        Ok(())
    }

    fn sweep_folder(
        &mut self,
        bucket: BorrowedFd<'_>,
        name: &[u8],
        aim: &mut Aim<'_>,
        tally: &mut Tally,
    ) -> Result<(), Halt> {
        let Some(folder) = self.note(open_dir(bucket, name))? else { return Ok(()) };
        let before = tally.kept_files;
        let mut newest = None;
        self.each(folder, |pass, dir, name| {
            if is_variant_name(name) {
                newest = newest.max(pass.sweep_file(dir, name, aim, tally)?);
            }
            Ok(())
        })?;
        // Also one that a writer left empty when it was killed. A writer that is about to fill it makes it again.
        if tally.kept_files == before && self.note(remove_empty_dir(bucket, name))? == Some(true) {
            tally.removed_bytes += FOLDER_BYTES;
            aim.removed(FOLDER_BYTES);
        } else {
            tally.kept_bytes += FOLDER_BYTES;
            // Its block goes with the last of its files.
            if let (Aim::Count(ages), Some(newest)) = (aim, newest) {
                ages.add(newest, FOLDER_BYTES);
            }
        }
        Ok(())
    }

    /// When the file was used, if it is ours.
    fn sweep_file(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        aim: &mut Aim<'_>,
        tally: &mut Tally,
    ) -> Result<Option<Time>, Halt> {
        let Some(stat) = self.own_file(dir, name)? else { return Ok(None) };
        let (used, bytes) = (mtime_of(&stat), disk_bytes(len_of(&stat)));
        if aim.removes(used, bytes) && self.note(unlink(dir, name))? == Some(true) {
            tally.removed_files += 1;
            tally.removed_bytes += bytes;
            aim.removed(bytes);
        } else {
            tally.kept_files += 1;
            tally.kept_bytes += bytes;
        }
        Ok(Some(used))
    }

    /// What is known of a regular file that is ours; none for anything else.
    pub(super) fn own_file(
        &mut self,
        dir: BorrowedFd<'_>,
        name: &[u8],
    ) -> Result<Option<Stat>, Halt> {
        let stat = self.note(stat_at(dir, name))?.flatten();
        Ok(stat.filter(|s| is_file(s) && s.st_uid == own_uid()))
    }

    /// Calls `f` with every name in a directory but `.` and `..`; ends between two when the process does.
    pub(super) fn each(
        &mut self,
        dir: OwnedFd,
        mut f: impl FnMut(&mut Self, BorrowedFd<'_>, &[u8]) -> Result<(), Halt>,
    ) -> Result<(), Halt> {
        let mut dir = Dir::new(dir).map_err(io::Error::from)?;
        while let Some(entry) = dir.read() {
            let Some(entry) = self.note(entry.map_err(io::Error::from))? else { break };
            self.go_on()?;
            let name = entry.file_name().to_bytes();
            if !matches!(name, b"." | b"..") {
                f(self, dir.fd().map_err(io::Error::from)?, name)?;
            }
        }
        Ok(())
    }
}

//! The files of one deployment: read, written by rename, removed.
//!
//! Every directory is opened by a step of its own that follows no symlink. A page is written to `tmp/` and renamed to its place, so
//! that readers see all of it or nothing. The modification time says when a page was last used again, for the janitor.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{self, Dir, FallocateFlags, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};

use crate::clock::Time;
use crate::lifetime::Lifetime;
use crate::store::codec::{self, HEAD_LEN, Head};
use crate::store::dirs::{
    FOLDER_BYTES, disk_bytes, is_file, len_of, make_dir, mtime_of, open_dir, own_uid,
    remove_empty_dir, set_mtime, stat_at, sync, unlink,
};
use crate::store::place::{FilePlace, is_deployment_name};
use crate::sync::RwLock;
use crate::sync::atomic::{AtomicU64, Ordering};

/// A new file counts as used this long ago: what is never asked for again goes before what was.
const PROBATION_NANOS: u64 = 3_600_000_000_000;
/// A use is noted when the last noted one is further away than this.
const TOUCH_EVERY: Lifetime = Lifetime::from_secs(60);
/// How often a write begins anew when something was in its way.
const RETRIES: usize = 20;

/// The files of a deployment, for all threads of a process.
pub(crate) struct Files {
    v1: OwnedFd,
    deployment: String,
    /// Opened anew when a write finds them gone.
    dirs: RwLock<Arc<Dirs>>,
    /// Makes names in `tmp/`. Begins at random: a former owner of the same seat may have left files.
    next: AtomicU64,
}

struct Dirs {
    pages: OwnedFd,
    tmp: OwnedFd,
}

impl Dirs {
    fn open(v1: &OwnedFd, deployment: &str) -> io::Result<Dirs> {
        let pages = own_dir(v1, "pages")?;
        Ok(Dirs { pages: own_dir(&pages, deployment)?, tmp: own_dir(v1, "tmp")? })
    }
}

/// Opens or makes a directory that must be ours. One that was made is on the disk when this returns.
fn own_dir(parent: &OwnedFd, name: &str) -> io::Result<OwnedFd> {
    let (fd, made) = make_dir(parent, name.as_bytes())?;
    let owner = fs::fstat(&fd)?.st_uid;
    let own = own_uid();
    if owner != own {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("directory {name} must belong to user {own}; it belongs to user {owner}"),
        ));
    }
    if made {
        sync(parent)?;
    }
    Ok(fd)
}

impl Files {
    /// Opens `pages/<deployment>/` and `tmp/` in `v1`, or makes them. `deployment` has 16 lower-case hex digits.
    ///
    /// # Errors
    /// Of the system; `PermissionDenied` for a directory of another user, `InvalidInput` for another form of `deployment`.
    pub(crate) fn open(v1: impl AsFd, deployment: &str) -> io::Result<Files> {
        if !is_deployment_name(deployment.as_bytes()) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("a deployment's directory has 16 hex digits; got {deployment:?}"),
            ));
        }
        let v1 = v1.as_fd().try_clone_to_owned()?;
        Ok(Files {
            dirs: RwLock::new(Arc::new(Dirs::open(&v1, deployment)?)),
            v1,
            deployment: deployment.to_owned(),
            next: AtomicU64::new(fastrand::u64(..)),
        })
    }

    /// Removes what a former owner of this seat left in `tmp/` when it was killed in the middle of a write. The janitor cannot: it
    /// takes them for the new owner's.
    ///
    /// # Errors
    /// Of the system; what is left then goes when it is a day old.
    pub(crate) fn clear_leftovers(&self, seat: u32) -> io::Result<()> {
        let dirs = self.dirs.read().clone();
        let of_seat = format!("{seat}-");
        for entry in Dir::read_from(&dirs.tmp)? {
            let name = entry?.file_name().to_bytes().to_vec();
            if name.starts_with(of_seat.as_bytes()) {
                unlink(&dirs.tmp, &name)?;
            }
        }
        Ok(())
    }

    /// All bytes of a page's file, and notes the use; none if there is no file.
    ///
    /// # Errors
    /// Of the system; a symlink is one, as are what is no file, belongs to another user, or has more than `max` bytes.
    pub(crate) fn read(
        &self,
        place: &FilePlace,
        max: u64,
        now: Time,
    ) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file(place)? else { return Ok(None) };
        let len = file.len;
        if len > max {
            return Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!("page file {place} has {len} bytes; at most {max} are read"),
            ));
        }
        let mut bytes = Vec::new();
        let room = usize::try_from(len).map_err(|_| io::ErrorKind::OutOfMemory)?;
        bytes.try_reserve_exact(room)?;
        // The reader looks at the length: what was cut meanwhile is damaged, like what was cut before.
        (&file.file).take(len).read_to_end(&mut bytes)?;
        file.note_use(now);
        Ok(Some(bytes))
    }

    /// The head of a page's file; none if there is no file, or none of this format with the length that its head says.
    ///
    /// # Errors
    /// As of [`Files::read`].
    pub(crate) fn read_head(&self, place: &FilePlace) -> io::Result<Option<Head>> {
        let Some(file) = self.open_file(place)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(HEAD_LEN);
        (&file.file).take(HEAD_LEN as u64).read_to_end(&mut bytes)?;
        Ok(codec::head(&bytes).filter(|head| head.len == file.len))
    }

    /// Notes the use of a page that was answered without reading its file.
    ///
    /// # Errors
    /// As of [`Files::read`].
    pub(crate) fn touch(&self, place: &FilePlace, now: Time) -> io::Result<()> {
        if let Some(file) = self.open_file(place)? {
            file.note_use(now);
        }
        Ok(())
    }

    fn open_file(&self, place: &FilePlace) -> io::Result<Option<PageFile>> {
        let Some(folder) = self.folder_of(place)? else { return Ok(None) };
        // Without NONBLOCK, opening a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let fd = match retry_on_intr(|| fs::openat(&folder, place.file(), flags, Mode::empty())) {
            Err(Errno::NOENT) => return Ok(None),
            opened => opened?,
        };
        let stat = fs::fstat(&fd)?;
        if !is_file(&stat) {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("page file {place} must be a regular file"),
            ));
        }
        let own = own_uid();
        if stat.st_uid != own {
            let owner = stat.st_uid;
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("page file {place} must belong to user {own}; it belongs to user {owner}"),
            ));
        }
        let (len, used) = (len_of(&stat), mtime_of(&stat));
        Ok(Some(PageFile { file: File::from(fd), len, used }))
    }

    /// Writes a page's file, in place of an older one. The change of the bytes on the disk.
    ///
    /// `seat` is this process's: it names the file while it is written. With `durable`, the page is on the disk when this returns.
    ///
    /// # Errors
    /// Of the system; the page that was there is then there still, but for a `durable` write whose last step fails.
    pub(crate) fn write(
        &self,
        place: &FilePlace,
        bytes: &[u8],
        seat: u32,
        durable: bool,
        now: Time,
    ) -> io::Result<i64> {
        // Folders go when they are empty, deployments that no process has open too, and an operator may remove anything.
        for _ in 0..RETRIES {
            match self.try_write(place, bytes, seat, durable, now) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    let opened = Dirs::open(&self.v1, &self.deployment)?;
                    *self.dirs.write() = Arc::new(opened);
                }
                // The name in `tmp/` is taken; the next has another.
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                result => return result,
            }
        }
        self.try_write(place, bytes, seat, durable, now)
    }

    fn try_write(
        &self,
        place: &FilePlace,
        bytes: &[u8],
        seat: u32,
        durable: bool,
        now: Time,
    ) -> io::Result<i64> {
        let dirs = self.dirs.read().clone();
        let mut temp = Temp::create(&dirs.tmp, seat, &self.next)?;
        // With its blocks taken before it is written, ext4 does not write it out when it replaces another. If there is no room,
        // or the file system cannot, the write tells.
        let _ = fs::fallocate(&temp.file, FallocateFlags::empty(), 0, bytes.len() as u64);
        temp.file.write_all(bytes)?;
        let before = temp.put(&dirs.pages, place, durable, now)?;
        Ok(disk_bytes(bytes.len() as u64) as i64 - before)
    }

    /// Removes a page's file, and the folder of a variant with the last one. The bytes that this frees.
    ///
    /// # Errors
    /// Of the system.
    pub(crate) fn remove(&self, place: &FilePlace) -> io::Result<u64> {
        let dirs = self.dirs.read().clone();
        let Some(bucket) = there(open_dir(&dirs.pages, place.bucket()))? else { return Ok(0) };
        if !place.is_variant() {
            return remove_file(&bucket, place.file());
        }
        let Some(folder) = there(open_dir(&bucket, place.folder()))? else { return Ok(0) };
        let freed = remove_file(&folder, place.file())?;
        Ok(freed + remove_folder(&bucket, place.folder())?)
    }

    /// How many variants of a place's path have files; the path's own is none of them.
    ///
    /// # Errors
    /// Of the system.
    pub(crate) fn variants(&self, place: &FilePlace) -> io::Result<usize> {
        let mut count = 0;
        self.each_variant(place, |_| count += 1)?;
        Ok(count)
    }

    /// The places of all variants of a place's path that have files.
    ///
    /// # Errors
    /// Of the system.
    pub(crate) fn variant_places(&self, place: &FilePlace) -> io::Result<Vec<FilePlace>> {
        let mut places = Vec::new();
        self.each_variant(place, |sibling| places.push(sibling))?;
        Ok(places)
    }

    fn each_variant(&self, place: &FilePlace, mut f: impl FnMut(FilePlace)) -> io::Result<()> {
        let dirs = self.dirs.read().clone();
        let Some(bucket) = there(open_dir(&dirs.pages, place.bucket()))? else { return Ok(()) };
        let Some(folder) = there(open_dir(&bucket, place.folder()))? else { return Ok(()) };
        let mut folder = Dir::new(folder)?;
        while let Some(entry) = folder.read() {
            if let Some(sibling) = place.sibling(entry?.file_name().to_bytes()) {
                f(sibling);
            }
        }
        Ok(())
    }

    /// The directory in which a page's file lies, if there is one.
    fn folder_of(&self, place: &FilePlace) -> io::Result<Option<OwnedFd>> {
        let dirs = self.dirs.read().clone();
        let bucket = there(open_dir(&dirs.pages, place.bucket()))?;
        match bucket {
            Some(bucket) if place.is_variant() => there(open_dir(bucket, place.folder())),
            bucket => Ok(bucket),
        }
    }
}

/// A page's file that was looked at.
struct PageFile {
    file: File,
    len: u64,
    used: Time,
}

impl PageFile {
    /// Where this fails (a read-only disk), the page is as good as before. A noted use in the future is set right, too.
    fn note_use(&self, now: Time) {
        if now.since(self.used).max(self.used.since(now)) > TOUCH_EVERY {
            let _ = set_mtime(&self.file, now);
        }
    }
}

/// A file in `tmp/`, which goes away unless it was renamed.
struct Temp<'a> {
    tmp: &'a OwnedFd,
    name: String,
    file: File,
    renamed: bool,
}

impl<'a> Temp<'a> {
    fn create(tmp: &'a OwnedFd, seat: u32, next: &AtomicU64) -> io::Result<Temp<'a>> {
        let flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mode = Mode::RUSR | Mode::WUSR;
        let name = format!("{seat}-{}", next.fetch_add(1, Ordering::Relaxed));
        let fd = retry_on_intr(|| fs::openat(tmp, &*name, flags, mode))?;
        Ok(Temp { tmp, name, file: File::from(fd), renamed: false })
    }
}

impl Temp<'_> {
    /// Renames it to a page's place. The bytes that were there, less those of a folder that was made.
    fn put(
        &mut self,
        pages: &OwnedFd,
        place: &FilePlace,
        durable: bool,
        now: Time,
    ) -> io::Result<i64> {
        let (folder, made) = make_folder(pages, place, durable)?;
        let replaced = stat_at(&folder, place.file())?.filter(is_file);
        let probation = Time::from_nanos(now.nanos().saturating_sub(PROBATION_NANOS));
        // A use in the future was noted by a clock that was wrong.
        let used = replaced.as_ref().map_or(probation, |old| mtime_of(old).min(now).max(probation));
        set_mtime(&self.file, used)?;
        if durable {
            sync(&self.file)?;
        }
        fs::renameat(self.tmp, &*self.name, &folder, place.file())?;
        self.renamed = true;
        if durable {
            sync(&folder)?;
        }
        Ok(replaced.map_or(0, |old| disk_bytes(len_of(&old)) as i64) - made as i64)
    }
}

impl Drop for Temp<'_> {
    fn drop(&mut self) {
        if !self.renamed {
            // What stays is the janitor's.
            let _ = unlink(self.tmp, self.name.as_bytes());
        }
    }
}

/// Opens or makes the directory in which a page's file lies; the bytes that this takes.
fn make_folder(pages: &OwnedFd, place: &FilePlace, durable: bool) -> io::Result<(OwnedFd, u64)> {
    let (bucket, made) = make_dir(pages, place.bucket())?;
    if made && durable {
        sync(pages)?;
    }
    if !place.is_variant() {
        return Ok((bucket, 0));
    }
    let (folder, made) = make_dir(&bucket, place.folder())?;
    if made && durable {
        sync(&bucket)?;
    }
    Ok((folder, if made { FOLDER_BYTES } else { 0 }))
}

fn remove_file(dir: impl AsFd, name: &[u8]) -> io::Result<u64> {
    let Some(stat) = stat_at(&dir, name)? else { return Ok(0) };
    let removed = unlink(dir, name)?;
    Ok(if removed && is_file(&stat) { disk_bytes(len_of(&stat)) } else { 0 })
}

fn remove_folder(bucket: impl AsFd, name: &[u8]) -> io::Result<u64> {
    Ok(if remove_empty_dir(bucket, name)? { FOLDER_BYTES } else { 0 })
}

/// What is not there is no error.
fn there<T>(opened: io::Result<T>) -> io::Result<Option<T>> {
    match opened {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        opened => opened.map(Some),
    }
}

#[cfg(test)]
mod tests;

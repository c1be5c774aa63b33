//! The log of invalidations: a file of checksummed frames behind a head with two commit slots.
//!
//! A frame counts from the moment its commit slot is written, so that a writer may die at any instant. The slots also carry how
//! far epochs may have been given out. What is found damaged is never guessed at: then a new era begins, and no page of the old
//! one is served.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{self, Mode, OFlags};
use xxhash_rust::xxh3::xxh3_64;

const NAME: &str = "log";
const NEW: &str = "log.new";
const MAGIC: &[u8; 8] = b"isr\0log\x01";
/// Where the frames begin.
pub(crate) const HEAD: u64 = 4096;
/// Where the commit slots lie: on disk sectors of their own.
const SLOTS: [u64; 2] = [1024, 2048];
const SLOT: usize = 48;
const FIXED: usize = 8 + 8 + 32 + 8 + 8 + 8;
/// With its check.
const HEAD_BYTES: usize = FIXED + 8;
const FRAME_HEAD: usize = 12;
/// Room is taken in steps of this size, so that a full disk is noticed before a call needs the room.
const ROOM: u64 = 256 << 10;
/// A log is rewritten as a snapshot when it has grown by this much, and to twice its snapshot.
pub(crate) const COMPACT_FROM: u64 = 4 << 20;
/// How often a slot is read that is being written.
const RETRIES: usize = 8;

/// What does not change while a log is the log.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// Names the life of the directory since it was last found damaged.
    pub(crate) era: u64,
    pub(crate) secret: [u8; 32],
    /// How many logs of this era came before.
    pub(crate) generation: u64,
    /// Where the one before ended.
    pub(crate) former_end: u64,
    /// Where the snapshot of the one before ends.
    pub(crate) snapshot_end: u64,
}

/// What is committed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Commit {
    /// Grows with each commit.
    pub(crate) number: u64,
    pub(crate) end: u64,
    /// Epochs up to here may have been given out.
    pub(crate) epoch_limit: u64,
    /// Whatever began before counts as removed.
    pub(crate) flushed: u64,
    /// The boot of the machine in which it was written.
    pub(crate) boot: u64,
}

#[derive(Debug)]
pub(crate) struct Log {
    file: OwnedFd,
    pub(crate) head: Head,
    pub(crate) commit: Commit,
    /// Allocated up to here.
    room: u64,
}

/// Why a log cannot be used.
#[derive(Debug)]
pub(crate) enum Broken {
    /// There is none.
    Missing,
    Damaged(&'static str),
    Io(io::Error),
}

impl From<io::Error> for Broken {
    fn from(e: io::Error) -> Broken {
        match e.kind() {
            io::ErrorKind::UnexpectedEof => Broken::Damaged("it is too short"),
            _ => Broken::Io(e),
        }
    }
}

impl From<rustix::io::Errno> for Broken {
    fn from(e: rustix::io::Errno) -> Broken {
        Broken::Io(e.into())
    }
}

impl From<Broken> for io::Error {
    fn from(b: Broken) -> io::Error {
        match b {
            Broken::Missing => io::Error::new(io::ErrorKind::NotFound, "the log is missing"),
            Broken::Damaged(what) => {
                io::Error::new(io::ErrorKind::InvalidData, format!("the log: {what}"))
            }
            Broken::Io(e) => e,
        }
    }
}

impl Log {
    /// Makes a log in place of what is there: `frames` is its snapshot.
    pub(crate) fn create(
        v1: impl AsFd,
        head: Head,
        commit: Commit,
        frames: &[u8],
        durable: bool,
    ) -> io::Result<Log> {
        let v1 = v1.as_fd();
        match fs::unlinkat(v1, NEW, fs::AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => {}
            Err(e) => return Err(e.into()),
        }
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = fs::openat(v1, NEW, flags, Mode::from_raw_mode(0o600))?;
        let head = Head { snapshot_end: HEAD + frames.len() as u64, ..head };
        let mut log = Log { file, head, commit: Commit::default(), room: 0 };
        let made = log.write_all(&log.head.bytes(), 0).and_then(|()| {
            fs::ftruncate(&log.file, HEAD)?;
            log.write_all(frames, HEAD)?;
            log.commit(Commit { end: log.head.snapshot_end, ..commit }, durable)?;
            fs::renameat(v1, NEW, v1, NAME)?;
            if durable {
                fs::fsync(v1)?;
            }
            Ok(())
        });
        if let Err(e) = made {
            // What is left of it goes with the next attempt, too.
            let _ = fs::unlinkat(v1, NEW, fs::AtFlags::empty());
            return Err(e);
        }
        Ok(log)
    }

    /// Opens the log that is there. Its frames were not looked at.
    pub(crate) fn open(v1: impl AsFd) -> Result<Log, Broken> {
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = match fs::openat(v1, NAME, flags, Mode::empty()) {
            Ok(file) => file,
            Err(rustix::io::Errno::NOENT) => return Err(Broken::Missing),
            Err(rustix::io::Errno::LOOP | rustix::io::Errno::ISDIR) => {
                return Err(Broken::Damaged("it is no file"));
            }
            Err(e) => return Err(e.into()),
        };
        let stat = fs::fstat(&file)?;
        if !fs::FileType::from_raw_mode(stat.st_mode).is_file() {
            return Err(Broken::Damaged("it is no file"));
        }
        if stat.st_uid != rustix::process::geteuid().as_raw() {
            return Err(Broken::Damaged("it belongs to another user"));
        }
        let mut bytes = vec![0; HEAD_BYTES];
        read_exact(&file, &mut bytes, 0)?;
        let head = Head::parse(&bytes)?;
        let mut log = Log { file, head, commit: Commit::default(), room: stat.st_size as u64 };
        log.commit = log.newest_commit()?;
        Ok(log)
    }

    /// Reads all frames and checks them: those that are committed, and those behind whose commit was not written or is lost.
    /// Where the machine was started anew since, a last commit whose frames did not reach the disk counts as not made.
    pub(crate) fn recover(&mut self, boot: u64) -> Result<Vec<u8>, Broken> {
        let mut frames = match self.frames(HEAD, self.commit.end) {
            Err(Broken::Damaged(_)) if self.commit.boot != boot => {
                let other = self.slots()?.into_iter().flatten().min_by_key(|c| c.number);
                let former = other.filter(|c| c.number + 1 == self.commit.number);
                self.commit = former.ok_or(Broken::Damaged("a frame is wrong"))?;
                return self.frames(HEAD, self.commit.end);
            }
            other => other?,
        };
        while let Some(payload) = self.frame_at(self.commit.end)? {
            let before = frames.len();
            push_frame(&mut frames, &payload);
            self.commit.end += (frames.len() - before) as u64;
        }
        Ok(frames)
    }

    /// The payload of a whole frame at this place, if there is one.
    fn frame_at(&self, at: u64) -> io::Result<Option<Vec<u8>>> {
        let left = self.room.saturating_sub(at);
        if left < FRAME_HEAD as u64 {
            return Ok(None);
        }
        let mut head = [0; FRAME_HEAD];
        read_exact(&self.file, &mut head, at)?;
        let len = le(&head[..4]);
        let mut payload = Vec::new();
        if len > left - FRAME_HEAD as u64 || payload.try_reserve_exact(len as usize).is_err() {
            return Ok(None);
        }
        payload.resize(len as usize, 0);
        read_exact(&self.file, &mut payload, at + FRAME_HEAD as u64)?;
        Ok((xxh3_64(&payload) == le(&head[4..])).then_some(payload))
    }

    /// The frames from one place to another, checked.
    pub(crate) fn frames(&self, from: u64, to: u64) -> Result<Vec<u8>, Broken> {
        if from < HEAD || to < from || to - from > isize::MAX as u64 {
            return Err(Broken::Damaged("its end is wrong"));
        }
        if to > fs::fstat(&self.file)?.st_size as u64 {
            return Err(Broken::Damaged("it is too short"));
        }
        let mut bytes = vec![0; (to - from) as usize];
        read_exact(&self.file, &mut bytes, from)?;
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            rest = split_frame(rest).ok_or(Broken::Damaged("a frame is wrong"))?.1;
        }
        Ok(bytes)
    }

    /// What was committed last. Both slots are there: what one of them said may not be lost.
    pub(crate) fn newest_commit(&self) -> Result<Commit, Broken> {
        // Without the lock a slot may be read while it is written.
        for _ in 0..RETRIES {
            match self.slots()? {
                [None, Some(only)] if only.number == 1 => return Ok(only),
                [Some(a), Some(b)] if a.number.abs_diff(b.number) == 1 => {
                    return Ok(if a.number > b.number { a } else { b });
                }
                _ => {}
            }
        }
        Err(Broken::Damaged("a commit slot is wrong"))
    }

    /// Whether the file at its place is this one.
    pub(crate) fn is_in_place(&self, v1: impl AsFd) -> io::Result<bool> {
        let own = fs::fstat(&self.file)?;
        match fs::statat(v1, NAME, fs::AtFlags::SYMLINK_NOFOLLOW) {
            Ok(there) => Ok((own.st_dev, own.st_ino) == (there.st_dev, there.st_ino)),
            Err(rustix::io::Errno::NOENT) => Ok(false),
            Err(e) => Err(e.into()),
        }
    }

    /// Writes frames behind the end, and the commit that makes them count.
    pub(crate) fn append(
        &mut self,
        frames: &[u8],
        commit: Commit,
        durable: bool,
    ) -> io::Result<()> {
        let end = self.commit.end + frames.len() as u64;
        if end > self.room {
            let room = end.next_multiple_of(ROOM);
            match fs::fallocate(&self.file, fs::FallocateFlags::empty(), 0, room) {
                Ok(()) => self.room = room,
                // Without it, the write itself tells whether there is room.
                Err(rustix::io::Errno::OPNOTSUPP) => {}
                // Smaller steps may still fit.
                Err(rustix::io::Errno::NOSPC | rustix::io::Errno::DQUOT) => {}
                Err(e) => return Err(e.into()),
            }
        }
        self.write_all(frames, self.commit.end)?;
        self.commit(Commit { end, ..commit }, durable)
    }

    /// Commits without new frames.
    pub(crate) fn commit(&mut self, commit: Commit, durable: bool) -> io::Result<()> {
        let commit = Commit { number: self.commit.number + 1, ..commit };
        self.write_all(&commit.bytes(self.head.era), SLOTS[commit.number as usize % 2])?;
        if durable {
            fs::fdatasync(&self.file)?;
        }
        self.commit = commit;
        Ok(())
    }

    pub(crate) fn should_compact(&self) -> bool {
        let grown = self.commit.end.saturating_sub(self.head.snapshot_end);
        grown > COMPACT_FROM && grown > self.head.snapshot_end
    }

    fn slots(&self) -> io::Result<[Option<Commit>; 2]> {
        let mut found = [None; 2];
        for (slot, at) in found.iter_mut().zip(SLOTS) {
            let mut bytes = [0; SLOT];
            read_exact(&self.file, &mut bytes, at).or_else(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => Ok(()),
                _ => Err(e),
            })?;
            *slot = Commit::parse(&bytes, self.head.era);
        }
        Ok(found)
    }

    fn write_all(&self, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
        while !bytes.is_empty() {
            match rustix::io::pwrite(&self.file, bytes, at) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => {
                    bytes = &bytes[n..];
                    at += n as u64;
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }
}

impl Head {
    fn bytes(&self) -> Vec<u8> {
        let mut b = Vec::with_capacity(HEAD_BYTES);
        b.extend_from_slice(MAGIC);
        b.extend_from_slice(&self.era.to_le_bytes());
        b.extend_from_slice(&self.secret);
        for n in [self.generation, self.former_end, self.snapshot_end] {
            b.extend_from_slice(&n.to_le_bytes());
        }
        let check = xxh3_64(&b);
        b.extend_from_slice(&check.to_le_bytes());
        b
    }

    fn parse(bytes: &[u8]) -> Result<Head, Broken> {
        let number = |at: usize| le(&bytes[at..]);
        if bytes.get(..8) != Some(MAGIC.as_slice()) {
            return Err(Broken::Damaged("its head is wrong"));
        }
        if bytes.len() != HEAD_BYTES || xxh3_64(&bytes[..FIXED]) != number(FIXED) {
            return Err(Broken::Damaged("its head is wrong"));
        }
        let mut secret = [0; 32];
        secret.copy_from_slice(&bytes[16..48]);
        Ok(Head {
            era: number(8),
            secret,
            generation: number(48),
            former_end: number(56),
            snapshot_end: number(64),
        })
    }
}

impl Commit {
    fn bytes(self, era: u64) -> Vec<u8> {
        let mut b = Vec::with_capacity(SLOT);
        for n in [self.number, self.end, self.epoch_limit, self.flushed, self.boot] {
            b.extend_from_slice(&n.to_le_bytes());
        }
        let check = xxh3_64(&b) ^ era;
        b.extend_from_slice(&check.to_le_bytes());
        b
    }

    fn parse(bytes: &[u8; SLOT], era: u64) -> Option<Commit> {
        let number = |at: usize| le(&bytes[at..]);
        (xxh3_64(&bytes[..40]) ^ era == number(40)).then(|| Commit {
            number: number(0),
            end: number(8),
            epoch_limit: number(16),
            flushed: number(24),
            boot: number(32),
        })
    }
}

/// Puts a payload into a frame.
pub(crate) fn push_frame(out: &mut Vec<u8>, payload: &[u8]) {
    out.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    out.extend_from_slice(&xxh3_64(payload).to_le_bytes());
    out.extend_from_slice(payload);
}

/// The payload of the first frame, and what follows.
pub(crate) fn split_frame(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let len = u32::from_le_bytes(bytes.get(..4)?.try_into().ok()?) as usize;
    let payload = bytes.get(FRAME_HEAD..FRAME_HEAD.checked_add(len)?)?;
    (xxh3_64(payload) == le(&bytes[4..])).then(|| (payload, &bytes[FRAME_HEAD + len..]))
}

fn le(bytes: &[u8]) -> u64 {
    let mut n = [0; 8];
    let len = bytes.len().min(8);
    n[..len].copy_from_slice(&bytes[..len]);
    u64::from_le_bytes(n)
}

fn read_exact(file: &OwnedFd, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::pread(file, &mut *bytes, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                bytes = &mut bytes[n..];
                at += n as u64;
            }
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;

//! Pages and data entries in the directory.

use std::io::{self, ErrorKind};

use crate::page::Page;
use crate::store::codec::{self, Entry, Unusable};
use crate::store::trouble::Trouble;
use crate::store::{Store, StoreKey};
use crate::sync::atomic::Ordering;
use crate::sync::machine;

/// What became of a page that was to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Saved {
    Stored,
    /// One whose render began later is there.
    Older,
    /// The path has `max_variants` other variants.
    TooManyVariants,
    /// There is no directory, or it does not take the page.
    No,
}

impl Store {
    /// The stored entry of a key, checked in every byte.
    pub(crate) fn load(&self, key: &StoreKey, full_key: &[u8]) -> Option<Entry> {
        if !self.is_online() {
            return None;
        }
        let bytes = match self.files.read(&key.place, self.max_file_bytes, self.clock.now()) {
            Ok(bytes) => bytes?,
            Err(e) => {
                self.trouble_read(key, &e);
                return None;
            }
        };
        match codec::decode(&bytes, self.era, &self.deployment, full_key) {
            // What is from the future outlived the epochs of its time: nobody knows what was invalidated since.
            Ok(entry) if entry.started <= self.epoch() => {
                // Notices that the directory is replaced, also where this process writes nothing.
                self.keep_house();
                self.reads.fetch_add(1, Ordering::Relaxed);
                Some(entry)
            }
            Ok(_) | Err(Unusable::Damaged) => {
                self.trouble(Trouble::Page, &key.place);
                self.remove_damaged(key, &bytes);
                None
            }
            Err(Unusable::Other) => None,
        }
    }

    pub(crate) fn trouble_read(&self, key: &StoreKey, why: &io::Error) {
        self.trouble(Trouble::Read, format_args!("{}: {why}", key.place));
    }

    /// The epoch at which the stored entry of a key began; none where there is none.
    ///
    /// # Errors
    /// Of the system: then nobody knows.
    pub(crate) fn started(&self, key: &StoreKey) -> io::Result<Option<u64>> {
        let head = self.files.read_head(&key.place)?;
        Ok(head.filter(|head| head.era == self.era).map(|head| head.started))
    }

    /// Stores a page unless a newer one is there. It has its version afterwards.
    pub(crate) fn save(&self, key: &StoreKey, page: &Page, max_variants: usize) -> Saved {
        let saved = self.try_save(key, page, max_variants);
        if saved != Saved::Stored {
            page.set_version(key.slot(), self.version(key.slot()));
        }
        saved
    }

    fn try_save(&self, key: &StoreKey, page: &Page, max_variants: usize) -> Saved {
        if !self.is_online() {
            return Saved::No;
        }
        self.keep_house();
        let bytes = codec::encode(page, self.era, &self.deployment);
        let fits = bytes.len() as u64 <= self.max_file_bytes.min(self.max_disk_bytes);
        let Some(_locked) = self.lock_stripe(key) else { return Saved::No };
        // What cannot be looked at can be replaced.
        let stored = self.started(key).ok().flatten();
        if stored.is_some_and(|started| started > page.started()) {
            return Saved::Older;
        }
        if stored.is_none()
            && page.variant_path().is_some()
            && self.files.variants(&key.place).is_ok_and(|n| n >= max_variants)
        {
            return Saved::TooManyVariants;
        }
        // In place of another one it takes little more room.
        if (self.is_full() && stored.is_none()) || !fits {
            return self.not_saved(key, stored);
        }
        match self.files.write(&key.place, &bytes, self.seat, self.durable, self.clock.now()) {
            Ok(growth) => {
                self.shared.disk_bytes.0.fetch_add(growth, machine::Ordering::Relaxed);
                self.writes.fetch_add(1, Ordering::Relaxed);
                self.troubles.is_over(Trouble::Write);
                page.set_version(key.slot(), self.bump(key));
                Saved::Stored
            }
            Err(e) => {
                self.trouble(Trouble::Write, format_args!("{}: {e}", key.place));
                let full = matches!(e.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
                self.is_disk_full.fetch_or(full, Ordering::Relaxed);
                self.housekeeping.wake();
                self.not_saved(key, stored)
            }
        }
    }

    /// Whoever does not have the newer page in memory is not to be served the older one from the disk.
    fn not_saved(&self, key: &StoreKey, stored: Option<u64>) -> Saved {
        if stored.is_some() {
            self.remove_file(key);
            self.bump(key);
        }
        Saved::No
    }

    /// Removes the files of a path and of its variants, as far as they began before `epoch`. They count as removed anyhow:
    /// this gives their room back.
    pub(crate) fn remove_path(&self, path: &[u8], epoch: u64) {
        if !self.is_online() {
            return;
        }
        let plain = self.key(path, b"");
        self.remove_older(&plain, epoch);
        for place in self.files.variant_places(&plain.place).unwrap_or_default() {
            let Some(_locked) = self.lock_stripe(&plain) else { return };
            let head = self.files.read_head(&place).ok().flatten();
            if head.is_some_and(|h| h.started < epoch) {
                self.remove_file(&StoreKey { place, hash: plain.hash });
            }
        }
    }

    fn remove_older(&self, key: &StoreKey, epoch: u64) {
        let Some(_locked) = self.lock_stripe(key) else { return };
        if self.started(key).is_ok_and(|started| started.is_some_and(|s| s < epoch)) {
            self.remove_file(key);
            self.bump(key);
        }
    }

    /// Removes a file unless it was replaced since it was read.
    fn remove_damaged(&self, key: &StoreKey, read: &[u8]) {
        let Some(_locked) = self.lock_stripe(key) else { return };
        let now = self.clock.now();
        if self
            .files
            .read(&key.place, self.max_file_bytes, now)
            .is_ok_and(|there| there.as_deref() == Some(read))
        {
            self.remove_file(key);
        }
    }

    fn remove_file(&self, key: &StoreKey) {
        match self.files.remove(&key.place) {
            Ok(freed) => {
                let freed = i64::try_from(freed).unwrap_or(0);
                self.shared.disk_bytes.0.fetch_sub(freed, machine::Ordering::Relaxed);
            }
            Err(e) => self.trouble(Trouble::Clean, format_args!("{}: {e}", key.place)),
        }
    }

    /// A new version of a key; with the lock of its stripe held.
    pub(crate) fn bump(&self, key: &StoreKey) -> u32 {
        let slot = &self.shared.versions[key.slot() as usize];
        slot.fetch_add(1, machine::Ordering::AcqRel).wrapping_add(1)
    }

    /// Whether the janitor is so far behind that nothing more fits.
    fn is_full(&self) -> bool {
        let (used, most) = (self.disk_bytes(), self.max_disk_bytes);
        if used > most {
            self.housekeeping.wake();
        }
        used > most.saturating_add(most / 20)
    }
}

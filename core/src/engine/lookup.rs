//! Looks up what is stored: in memory, and in the directory where another process may have stored something newer. Never with
//! a lock held, for it may read a file.

use crate::clock::Time;
use crate::engine::Engine;
use crate::engine::pages::Stored;
use crate::flight::{Target, What};
use crate::invalidation::{Tags, Verdict};
use crate::lanes::Lane;
use crate::memory::Inserted;
use crate::page::{Page, Parts};
use crate::policy;
use crate::store::codec::Entry;
use crate::store::{Saved, StoreKey};

/// What a look-up found.
pub(crate) struct Found {
    pub(crate) page: Option<Page>,
    /// The key's place in the directory, if there is one.
    pub(crate) key: Option<StoreKey>,
    /// The version of the key before it was looked up.
    pub(crate) version: u32,
}

impl Engine {
    /// What is stored under a key, newest of memory and directory. Removed entries and those of other routes included.
    pub(crate) fn look_up(&self, what: &What) -> Found {
        for (path, epoch) in self.inv.take_gone() {
            self.memory.remove_path(&path, epoch);
        }
        let own = self.memory.peek(Lane::mine(), what.key());
        let Some(store) = self.store.as_ref().filter(|s| s.is_online()) else {
            return Found { page: own, key: None, version: 0 };
        };
        let key = self.store_key(what);
        let Some(key) = key else { return Found { page: own, key, version: 0 } };
        let version = store.version(key.slot());
        let page = match own {
            Some(own) if own.version() == (key.slot(), version) => Some(own),
            // Another key of the slot was stored, or this one.
            Some(own) => match store.started(&key) {
                Ok(started) if started.is_none_or(|s| s <= own.started()) => {
                    own.set_version(key.slot(), version);
                    Some(own)
                }
                Ok(_) => self.load(what, &key, version).or(Some(own)),
                // Looked at again at the next request.
                Err(e) => {
                    store.trouble_read(&key, &e);
                    Some(own)
                }
            },
            None => self.load(what, &key, version),
        };
        Found { page, key: Some(key), version }
    }

    /// The key's place in the directory.
    pub(crate) fn store_key(&self, what: &What) -> Option<StoreKey> {
        let store = self.store.as_ref()?;
        Some(match what {
            What::Page(t) => {
                let (path, variant) = t.key.split_at(t.path.len());
                store.key(path, variant)
            }
            What::Data(t) => store.key(&t.key, b""),
        })
    }

    /// Reads an entry from the directory into memory.
    fn load(&self, what: &What, key: &StoreKey, version: u32) -> Option<Page> {
        let entry = self.store.as_ref()?.load(key, what.key())?;
        let page = self.page_of(what, entry)?;
        page.set_version(key.slot(), version);
        // Whether there is room for it in memory or not, it is what is stored.
        let _ = self.remember(what, &page);
        Some(page)
    }

    fn tags_of(&self, what: &What, names: &[String]) -> Tags {
        let tags = Tags::of(names.iter().map(|name| self.inv.tag(name)));
        match what {
            What::Page(t) => tags.or_equal(&t.route.tags),
            What::Data(_) => tags,
        }
    }

    fn page_of(&self, what: &What, entry: Entry) -> Option<Page> {
        let route = match what {
            // Made by another route, before this one was added: it is none.
            What::Page(t) if entry.identity.as_deref() != Some(t.route.pattern.identity()) => {
                return None;
            }
            What::Page(t) => Some(t.route.clone()),
            What::Data(_) => None,
        };
        Some(Page::new(Parts {
            key: entry.key,
            path_len: entry.path_len,
            route,
            status: entry.status,
            fields: entry.fields,
            body: entry.body,
            etag: entry.etag,
            encoded: entry.encoded,
            tags: self.tags_of(what, &entry.tags),
            revalidate: entry.revalidate,
            expire: entry.expire,
            started: entry.started,
            generated: entry.generated,
            render_micros: entry.render_micros,
            oldest: entry.oldest,
        }))
    }

    /// Puts an entry into memory, unless its path was removed after it began.
    pub(crate) fn remember(&self, what: &What, page: &Page) -> Inserted {
        match what {
            What::Page(t) => {
                page.set_routes_seen(t.routes_version);
                let removed = || self.inv.removed_after(&t.path, page.started());
                self.memory.insert(page.clone(), removed)
            }
            What::Data(_) => self.memory.insert(page.clone(), || false),
        }
    }

    /// Writes an entry to the directory, where there is one.
    pub(crate) fn save(&self, what: &What, page: &Page) -> Saved {
        let (Some(store), Some(key)) = (&self.store, self.store_key(what)) else {
            return Saved::No;
        };
        if let What::Page(t) = what
            && self.inv.removed_after(&t.path, page.started())
        {
            return Saved::No;
        }
        let max_variants = self.options.max_variants;
        let saved = store.save(&key, page, max_variants);
        if saved == Saved::TooManyVariants
            && let What::Page(t) = what
            && let removed @ 1.. = self.inv.removed(&t.path)
        {
            // Who removed the path may have died before he removed its files.
            store.remove_path(t.path.as_bytes(), removed);
            return store.save(&key, page, max_variants);
        }
        saved
    }

    /// Stores an entry in memory that was, or was not, written to the directory.
    pub(crate) fn insert(&self, what: &What, page: &Page, saved: Saved) -> Inserted {
        match saved {
            Saved::Older => Inserted::Older,
            Saved::TooManyVariants => Inserted::TooManyVariants,
            Saved::No => self.remember(what, page),
            Saved::Stored => match self.remember(what, page) {
                // It is in the directory all the same.
                Inserted::TooLarge | Inserted::TooManyVariants => Inserted::Stored,
                other => other,
            },
        }
    }

    /// The stored page of a target, of what a look-up found and what came into memory since. One that another route made,
    /// before this one was added, is none, nor is one that was removed.
    pub(crate) fn stored(&self, target: &Target, found: &Found, now: Time) -> Option<Stored> {
        let page = self.newest(&target.key, found)?;
        if !page.is_of(&target.route) {
            return None;
        }
        page.set_routes_seen(target.routes_version);
        self.judged(page, now)
    }

    /// The newest entry of a key, marked as used.
    pub(crate) fn newest(&self, key: &[u8], found: &Found) -> Option<Page> {
        match (self.memory.get(Lane::mine(), key), &found.page) {
            (Some(own), Some(other)) if other.started() > own.started() => Some(other.clone()),
            (own, other) => own.or_else(|| other.clone()),
        }
    }

    /// An entry with its state; none where it was removed.
    pub(crate) fn judged(&self, page: Page, now: Time) -> Option<Stored> {
        let verdict = self.verdict(&page, now);
        let judged = policy::judge(page.times(), verdict, now);
        (!verdict.removed).then_some(Stored { page, judged })
    }

    /// What has happened to an entry.
    pub(crate) fn verdict(&self, page: &Page, now: Time) -> Verdict {
        self.inv.verdict(page.names(), page.started(), now)
    }
}

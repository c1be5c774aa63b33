//! A stored response, and the result of a render from which it is made. Data entries are stored in the same form.

use std::sync::Arc;

use crate::answer::{Answer, CacheWord};
use crate::clock::Time;
use crate::http::{self, Conditions, Encoded, Facts, Fields, Head};
use crate::invalidation::{Names, Tag};
use crate::lifetime::Lifetime;
use crate::memory::Place;
use crate::policy::{self, Times};
use crate::site::Route;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// What a render gives: a page as the callback made it, unchecked.
#[derive(Clone, Debug)]
pub struct PageResult {
    /// The HTTP status. 500 and above is a failure.
    pub status: u16,
    /// Header fields; names in any case.
    pub headers: Vec<(String, String)>,
    /// The body; may be empty.
    pub body: Vec<u8>,
    /// Overrides the route's `revalidate`.
    pub revalidate: Option<Lifetime>,
    /// Overrides the route's `expire`.
    pub expire: Option<Lifetime>,
    /// Tags beside the route's.
    pub tags: Vec<String>,
    /// Answered, not stored; what is stored stays.
    pub no_store: bool,
    /// Answered, not stored, and what is stored of this path goes, all variants.
    pub remove: bool,
}

impl Default for PageResult {
    fn default() -> PageResult {
        PageResult {
            status: 200,
            headers: Vec::new(),
            body: Vec::new(),
            revalidate: None,
            expire: None,
            tags: Vec::new(),
            no_store: false,
            remove: false,
        }
    }
}

impl PageResult {
    /// Status 200 with this body.
    pub fn new(body: impl Into<Vec<u8>>) -> PageResult {
        PageResult { body: body.into(), ..PageResult::default() }
    }

    /// Status 404 with this body: stored like any other page (Next.js `notFound`).
    pub fn not_found(body: impl Into<Vec<u8>>) -> PageResult {
        PageResult { status: 404, body: body.into(), ..PageResult::default() }
    }

    /// A redirect with `location: to`.
    pub fn redirect(to: impl Into<String>, status: u16) -> PageResult {
        PageResult {
            status,
            headers: vec![("location".into(), to.into())],
            ..PageResult::default()
        }
    }

    /// Adds a header field.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> PageResult {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Adds a tag.
    pub fn tag(mut self, tag: impl Into<String>) -> PageResult {
        self.tags.push(tag.into());
        self
    }
}

/// All that is fixed of a page when it is made.
#[derive(Debug)]
pub(crate) struct Parts {
    pub(crate) key: Box<[u8]>,
    /// How much of the key is the path; 0 for data entries.
    pub(crate) path_len: usize,
    pub(crate) route: Option<Arc<Route>>,
    pub(crate) status: u16,
    pub(crate) fields: Fields,
    pub(crate) body: Box<[u8]>,
    pub(crate) etag: Box<str>,
    pub(crate) encoded: Vec<Encoded>,
    pub(crate) tags: Box<[Arc<Tag>]>,
    pub(crate) revalidate: Lifetime,
    pub(crate) expire: Lifetime,
    /// The epoch of its render's begin.
    pub(crate) started: u64,
    pub(crate) generated: Time,
    /// How long its render took, in microseconds; 0 where that is not known.
    pub(crate) render_micros: u32,
    /// For a data entry: its own begin or that of the oldest entry that its load read.
    pub(crate) oldest: u64,
}

/// A page: immutable, shared, readable from any thread.
#[derive(Debug)]
pub struct Page {
    parts: Parts,
    cost: u64,
    pub(crate) place: Place,
    /// Until then a hit needs no closer look at its age: until it is stale, or may be refreshed early.
    look_after: AtomicU64,
    /// The newest invalidation at which it was found clean.
    clean_at: AtomicU64,
    /// The version of the routes at which its path was last matched.
    routes_seen: AtomicU32,
    /// With a directory: the slot of its key there, and the version of that at which it was read or stored.
    slot: AtomicU32,
    version: AtomicU32,
}

/// The allocator's and the tables' cost of an entry, beside what is counted.
const ENTRY_COST: usize = 64;

impl Page {
    pub(crate) fn new(parts: Parts) -> Page {
        let fields: usize = parts.fields.iter().map(|(n, v)| n.len() + v.len() + 32).sum();
        let encoded: usize = parts.encoded.iter().map(|e| e.body.len() + e.etag.len() + 48).sum();
        let tags: usize = parts.tags.iter().map(Tag::cost).sum();
        let cost = size_of::<Page>()
            + ENTRY_COST
            + parts.key.len()
            + parts.body.len()
            + parts.etag.len()
            + tags
            + fields
            + encoded;
        let beta = parts.route.as_ref().map_or(0.0, |route| route.early_refresh);
        let stale_at = parts.generated.plus(parts.revalidate);
        let look_after = policy::Early::new(parts.render_micros, beta)
            .map_or(stale_at, |early| early.begins(parts.generated, stale_at));
        Page {
            cost: cost as u64,
            look_after: AtomicU64::new(look_after.nanos()),
            place: Place::default(),
            clean_at: AtomicU64::new(parts.started),
            routes_seen: AtomicU32::new(0),
            slot: AtomicU32::new(0),
            version: AtomicU32::new(0),
            parts,
        }
    }

    /// The canonical path; empty for a data entry.
    pub fn path(&self) -> &str {
        // The path is the head of the key, and was text when the key was made.
        std::str::from_utf8(&self.parts.key[..self.parts.path_len]).unwrap_or_default()
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.parts.status
    }

    /// The render's own header fields, names in lower case. What a client is sent is [`Answer::head`](crate::Answer::head).
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.parts.fields.iter().map(|(n, v)| (&**n, &**v))
    }

    /// The first header field of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The body; lives as long as the page.
    pub fn body(&self) -> &[u8] {
        &self.parts.body
    }

    /// The strong etag with its quotes; empty for a page that is not for the store.
    pub fn etag(&self) -> &str {
        &self.parts.etag
    }

    /// All tags: the route's, the result's, and those of the data entries read.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &str> {
        self.parts.tags.iter().map(|t| t.name())
    }

    /// Seconds until it is stale, after the min rule.
    pub fn revalidate(&self) -> Lifetime {
        self.parts.revalidate
    }

    /// Seconds until it is expired.
    pub fn expire(&self) -> Lifetime {
        self.parts.expire
    }

    /// When it was stored (or answered, for one that is not for the store).
    pub fn generated(&self) -> Time {
        self.parts.generated
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.parts.key
    }

    pub(crate) fn started(&self) -> u64 {
        self.parts.started
    }

    pub(crate) fn oldest(&self) -> u64 {
        self.parts.oldest
    }

    pub(crate) fn tag_nodes(&self) -> &[Arc<Tag>] {
        &self.parts.tags
    }

    /// Bytes it takes, the engine's own cost included.
    pub(crate) fn cost(&self) -> u64 {
        self.cost
    }

    /// The path, for an entry that is a variant of it.
    pub(crate) fn variant_path(&self) -> Option<&str> {
        (self.parts.path_len > 0 && self.parts.key.len() > self.parts.path_len).then(|| self.path())
    }

    /// Whether this route made it, or one with the same pattern.
    pub(crate) fn is_of(&self, route: &Route) -> bool {
        let own = self.parts.route.as_ref();
        own.is_some_and(|own| own.pattern.identity() == route.pattern.identity())
    }

    /// Whether its key is a path and nothing else.
    pub(crate) fn is_plain(&self) -> bool {
        self.parts.path_len == self.parts.key.len()
    }

    pub(crate) fn times(&self) -> Times {
        let Parts { generated, revalidate, expire, .. } = self.parts;
        Times { generated, revalidate, expire }
    }

    /// What can invalidate it.
    pub(crate) fn names(&self) -> Names<'_> {
        let place = self.parts.route.as_ref().map(|r| (self.path(), r.pattern.identity()));
        Names { place, tags: &self.parts.tags }
    }

    /// Until then a hit needs no closer look at its age. Not later than it is stale.
    pub(crate) fn look_after(&self) -> Time {
        Time::from_nanos(self.look_after.load(Ordering::Relaxed))
    }

    pub(crate) fn set_look_after(&self, time: Time) {
        self.look_after.store(time.nanos(), Ordering::Relaxed);
    }

    /// How long its render took, in microseconds; 0 where that is not known.
    pub(crate) fn render_micros(&self) -> u32 {
        self.parts.render_micros
    }

    /// How often it was used lately, on a scale that ends soon.
    pub(crate) fn heat(&self) -> u32 {
        self.place.heat()
    }

    pub(crate) fn is_clean_at(&self, latest: u64) -> bool {
        self.clean_at.load(Ordering::Relaxed) >= latest
    }

    pub(crate) fn set_clean_at(&self, latest: u64) {
        self.clean_at.store(latest, Ordering::Relaxed);
    }

    pub(crate) fn routes_seen(&self) -> u32 {
        self.routes_seen.load(Ordering::Relaxed)
    }

    pub(crate) fn set_routes_seen(&self, version: u32) {
        self.routes_seen.store(version, Ordering::Relaxed);
    }

    /// The slot of its key in the directory, and the version at which it was read or stored.
    pub(crate) fn version(&self) -> (u32, u32) {
        (self.slot.load(Ordering::Relaxed), self.version.load(Ordering::Relaxed))
    }

    pub(crate) fn set_version(&self, slot: u32, version: u32) {
        self.slot.store(slot, Ordering::Relaxed);
        self.version.store(version, Ordering::Relaxed);
    }

    /// Its parts, for the directory.
    pub(crate) fn parts(&self) -> &Parts {
        &self.parts
    }

    pub(crate) fn head<'a>(&'a self, answer: &Answer, conditions: &Conditions<'_>) -> Head<'a> {
        let facts = Facts {
            status: self.parts.status,
            fields: &self.parts.fields,
            body: &self.parts.body,
            etag: if answer.word == CacheWord::Bypass { "" } else { &self.parts.etag },
            encoded: &self.parts.encoded,
            vary: self.parts.route.as_ref().map_or(&[], |r| &r.vary),
            revalidate: self.parts.revalidate,
            expire: self.parts.expire,
            word: answer.word,
            stored: answer.stored,
            invalidated: answer.invalidated,
            age: answer.now.since(self.parts.generated),
        };
        http::head(&facts, conditions)
    }
}

//! A stored response. Data entries are stored in the same form.

mod parts;
mod rare;
mod result;

use std::ffi::c_void;
use std::ops::Range;
use std::sync::Arc;

use triomphe::ThinArc;

use crate::answer::{Answer, CacheWord};
use crate::clock::Time;
use crate::http::{self, Conditions, Encoded, Facts, Head, PackedFields};
use crate::invalidation::{Names, Tag, Tags};
use crate::lifetime::Lifetime;
use crate::memory::{self, Place};
use crate::page::rare::Rare;
use crate::policy::Times;
use crate::site::Route;
use crate::sync::atomic::{AtomicU32, AtomicU64, Ordering};

pub(crate) use crate::page::parts::Parts;
pub use crate::page::result::PageResult;

/// A page: immutable, shared, readable from any thread. Cheap to clone; it lives as long as a clone does.
#[derive(Clone)]
pub struct Page(ThinArc<Fixed, u8>);

/// What a page is, in one piece of memory with its bytes: key, [`Rare`], etag, header fields, body. A hit reads this and the
/// key, which lie in two cache lines with the counter that it changes.
#[repr(C)]
struct Fixed {
    place: Place,
    generated: Time,
    /// Until then a hit needs no closer look at its age: until it is stale, or may be refreshed early.
    look_after: AtomicU64,
    /// The newest invalidation at which it was found clean.
    clean_at: AtomicU64,
    /// The version of the routes at which its path was last matched.
    routes_seen: AtomicU32,
    /// With a directory: the version of its key's slot there at which it was read or stored.
    version: AtomicU32,
    key_len: u32,
    /// Where the body begins.
    head_len: u32,
    route: Option<Arc<Route>>,
    /// None where the tags are the route's, and there is no other encoding.
    more: Option<Box<More>>,
}

/// What few pages have.
struct More {
    tags: Tags,
    /// The body in other encodings.
    encoded: Vec<Encoded>,
}

/// The counter and the length that go with a page, and what the allocator adds on average.
const MEMORY_COST: usize = 2 * size_of::<usize>() + 16;

impl Page {
    /// As an address that counts as one clone until [`from_raw`](Page::from_raw) takes it back.
    pub(crate) fn into_raw(self) -> *mut c_void {
        ThinArc::into_raw(self.0).cast_mut()
    }

    /// The clone behind an address.
    ///
    /// # Safety
    /// From [`into_raw`](Page::into_raw), and taken back once.
    pub(crate) unsafe fn from_raw(raw: *mut c_void) -> Page {
        // SAFETY: as the caller says.
        Page(unsafe { ThinArc::from_raw(raw) })
    }

    #[inline]
    fn fixed(&self) -> &Fixed {
        &self.0.header.header
    }

    #[inline]
    fn rare(&self) -> Rare {
        let behind = self.0.slice.get(self.fixed().key_len as usize..);
        Rare::from_bytes(behind.and_then(<[u8]>::first_chunk).unwrap_or(&[0; Rare::LEN]))
    }

    /// Where its etag lies among its bytes.
    fn etag_range(&self) -> Range<usize> {
        let from = self.fixed().key_len as usize + Rare::LEN;
        from..from + self.rare().etag_len as usize
    }

    /// A part of its bytes; empty for one that is not there.
    #[inline]
    fn bytes(&self, range: Range<usize>) -> &[u8] {
        self.0.slice.get(range).unwrap_or_default()
    }

    /// The canonical path; empty for a data entry.
    pub fn path(&self) -> &str {
        // The path is the head of the key, and was text when the key was made.
        text(self.bytes(0..self.path_len()))
    }

    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.rare().status
    }

    /// The render's own header fields, names in lower case. What a client is sent is [`Answer::head`](crate::Answer::head).
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.fields().iter().collect::<Vec<_>>().into_iter()
    }

    /// The first header field of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.fields().iter().find(|(n, _)| *n == name).map(|(_, v)| v)
    }

    /// The body; lives as long as the page.
    #[inline]
    pub fn body(&self) -> &[u8] {
        self.0.slice.get(self.fixed().head_len as usize..).unwrap_or_default()
    }

    /// The strong etag with its quotes; empty for a page that is not for the store.
    pub fn etag(&self) -> &str {
        text(self.bytes(self.etag_range()))
    }

    /// All tags: the route's, the result's, and those of the data entries read.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &str> {
        self.tag_nodes().iter().map(|t| t.name())
    }

    /// Seconds until it is stale, after the min rule.
    pub fn revalidate(&self) -> Lifetime {
        self.rare().revalidate
    }

    /// Seconds until it is expired.
    pub fn expire(&self) -> Lifetime {
        self.rare().expire
    }

    /// When it was stored (or answered, for one that is not for the store).
    pub fn generated(&self) -> Time {
        self.fixed().generated
    }

    #[inline]
    pub(crate) fn key(&self) -> &[u8] {
        self.bytes(0..self.fixed().key_len as usize)
    }

    pub(crate) fn started(&self) -> u64 {
        self.rare().started
    }

    pub(crate) fn oldest(&self) -> u64 {
        self.rare().oldest
    }

    pub(crate) fn tag_nodes(&self) -> &[Arc<Tag>] {
        match &self.fixed() {
            Fixed { more: Some(more), .. } => &more.tags,
            Fixed { route: Some(route), .. } => &route.tags,
            _ => &[],
        }
    }

    /// Bytes it takes, the engine's own cost included.
    pub(crate) fn cost(&self) -> u64 {
        let own = MEMORY_COST + size_of::<Fixed>() + self.0.slice.len() + memory::ENTRY_COST;
        own as u64 + u64::from(self.rare().beside)
    }

    /// The path, for an entry that is a variant of it.
    pub(crate) fn variant_path(&self) -> Option<&str> {
        (self.path_len() > 0 && !self.is_plain()).then(|| self.path())
    }

    /// Whether this route made it, or one with the same pattern.
    pub(crate) fn is_of(&self, route: &Route) -> bool {
        let own = self.fixed().route.as_ref();
        own.is_some_and(|own| own.pattern.identity() == route.pattern.identity())
    }

    /// Whether its key is a path and nothing else.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.path_len() == self.fixed().key_len as usize
    }

    pub(crate) fn times(&self) -> Times {
        let Rare { revalidate, expire, .. } = self.rare();
        Times { generated: self.generated(), revalidate, expire }
    }

    /// Whether this is a time between its making and the closer look at its age.
    #[inline]
    pub(crate) fn is_in_time(&self, now: Time) -> bool {
        self.fixed().generated <= now && now <= self.look_after()
    }

    /// What can invalidate it.
    pub(crate) fn names(&self) -> Names<'_> {
        let place = self.fixed().route.as_ref().map(|r| (self.path(), r.pattern.identity()));
        Names { place, tags: self.tag_nodes() }
    }

    /// Until then a hit needs no closer look at its age. Not later than it is stale.
    #[inline]
    pub(crate) fn look_after(&self) -> Time {
        Time::from_nanos(self.fixed().look_after.load(Ordering::Relaxed))
    }

    pub(crate) fn set_look_after(&self, time: Time) {
        self.fixed().look_after.store(time.nanos(), Ordering::Relaxed);
    }

    /// How long its render took, in microseconds; 0 where that is not known.
    pub(crate) fn render_micros(&self) -> u32 {
        self.rare().render_micros
    }

    /// How often it was used lately, on a scale that ends soon.
    pub(crate) fn heat(&self) -> u32 {
        self.place().heat()
    }

    #[inline]
    pub(crate) fn is_clean_at(&self, latest: u64) -> bool {
        self.fixed().clean_at.load(Ordering::Relaxed) >= latest
    }

    #[inline]
    pub(crate) fn set_clean_at(&self, latest: u64) {
        self.fixed().clean_at.store(latest, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn routes_seen(&self) -> u32 {
        self.fixed().routes_seen.load(Ordering::Relaxed)
    }

    pub(crate) fn set_routes_seen(&self, version: u32) {
        self.fixed().routes_seen.store(version, Ordering::Relaxed);
    }

    /// The slot of its key in the directory, and the version at which it was read or stored.
    #[inline]
    pub(crate) fn version(&self) -> (u32, u32) {
        (u32::from(self.place().slot()), self.fixed().version.load(Ordering::Relaxed))
    }

    pub(crate) fn set_version(&self, slot: u32, version: u32) {
        self.place().set_slot(slot as u16);
        self.fixed().version.store(version, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn place(&self) -> &Place {
        &self.fixed().place
    }

    /// The header fields as they are kept.
    pub(crate) fn fields(&self) -> PackedFields<'_> {
        PackedFields(self.bytes(self.etag_range().end..self.fixed().head_len as usize))
    }

    /// The route that made it; none for a data entry.
    pub(crate) fn route(&self) -> Option<&Arc<Route>> {
        self.fixed().route.as_ref()
    }

    /// How much of the key is the path; 0 for data entries.
    #[inline]
    pub(crate) fn path_len(&self) -> usize {
        self.rare().path_len as usize
    }

    /// The body in other encodings.
    pub(crate) fn encoded(&self) -> &[Encoded] {
        self.fixed().more.as_ref().map_or(&[], |more| &more.encoded)
    }

    /// Whether both are the same one, not only equal.
    pub fn is_same(&self, other: &Page) -> bool {
        std::ptr::eq(self.0.as_ptr(), other.0.as_ptr())
    }

    /// Whether somebody else has a clone of it.
    #[cfg(test)]
    pub(crate) fn is_shared(&self) -> bool {
        ThinArc::strong_count(&self.0) > 1
    }

    /// Tells it from all others that live at the same time.
    pub fn address(&self) -> usize {
        self.0.as_ptr().addr()
    }

    pub(crate) fn head<'a>(&'a self, answer: &Answer, conditions: &Conditions<'_>) -> Head<'a> {
        let facts = Facts {
            status: self.status(),
            fields: self.fields(),
            body: self.body(),
            etag: if answer.word == CacheWord::Bypass { "" } else { self.etag() },
            encoded: self.encoded(),
            vary: self.route().map_or(&[], |r| &r.vary),
            revalidate: self.revalidate(),
            expire: self.expire(),
            word: answer.word,
            stored: answer.stored,
            invalidated: answer.invalidated,
            age: answer.now.since(self.generated()),
        };
        http::head(&facts, conditions)
    }
}

impl std::fmt::Debug for Page {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Page({:?}, {})", self.path(), self.status())
    }
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

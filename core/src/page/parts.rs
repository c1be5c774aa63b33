//! A page is made of its parts: they are laid out in one piece of memory.

use std::sync::Arc;

use triomphe::ThinArc;

use crate::clock::Time;
use crate::http::{Encoded, Fields, pack, packed_len};
use crate::invalidation::Tags;
use crate::lifetime::Lifetime;
use crate::memory::Place;
use crate::page::rare::Rare;
use crate::page::{Fixed, More, Page};
use crate::policy;
use crate::site::Route;
use crate::sync::atomic::{AtomicU32, AtomicU64};

/// All that a page is made of.
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
    pub(crate) tags: Tags,
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

impl Page {
    pub(crate) fn new(parts: Parts) -> Page {
        let Parts { key, path_len, route, fields, body, etag, encoded, tags, .. } = parts;
        let has_routes_tags = route.as_ref().map_or(tags.is_empty(), |r| r.tags.is_same(&tags));
        let of_encoded = |e: &Encoded| e.body.len() + e.etag.len() + size_of::<Encoded>();
        let more =
            (!has_routes_tags || !encoded.is_empty()).then(|| Box::new(More { tags, encoded }));
        let beside = more.as_ref().map_or(0, |more| {
            let encoded: usize = more.encoded.iter().map(of_encoded).sum();
            size_of::<More>() + encoded + more.tags.cost()
        });
        let rare = Rare {
            status: parts.status,
            path_len: short(path_len),
            etag_len: short(etag.len()),
            beside: short(beside),
            render_micros: parts.render_micros,
            revalidate: parts.revalidate,
            expire: parts.expire,
            started: parts.started,
            oldest: parts.oldest,
        };
        let head_len = key.len() + Rare::LEN + etag.len() + packed_len(&fields);
        let mut bytes = Vec::with_capacity(head_len + body.len());
        bytes.extend_from_slice(&key);
        bytes.extend_from_slice(&rare.to_bytes());
        bytes.extend_from_slice(etag.as_bytes());
        pack(&fields, &mut bytes);
        let head_len = short(bytes.len());
        bytes.extend_from_slice(&body);
        let beta = route.as_ref().map_or(0.0, |route| route.early_refresh);
        let stale_at = parts.generated.plus(parts.revalidate);
        let look_after = policy::Early::new(parts.render_micros, beta)
            .map_or(stale_at, |early| early.begins(parts.generated, stale_at));
        let fixed = Fixed {
            place: Place::default(),
            generated: parts.generated,
            look_after: AtomicU64::new(look_after.nanos()),
            clean_at: AtomicU64::new(parts.started),
            routes_seen: AtomicU32::new(0),
            version: AtomicU32::new(0),
            key_len: short(key.len()),
            head_len,
            route,
            more,
        };
        Page(ThinArc::from_header_and_slice(fixed, &bytes))
    }
}

/// A length that fits: keys, etags and fields are bounded far below 4 GiB, which only a body may have.
fn short(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

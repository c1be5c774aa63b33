//! Status and headers of an answer.

use std::borrow::Cow;

use crate::answer::CacheWord;
use crate::clock::Time;
use crate::http::encoding::{Encoded, choose};
use crate::http::etag::none_match_hits;
use crate::http::fields::members;
use crate::http::packed::PackedFields;
use crate::lifetime::Lifetime;

/// The parts of a request that choose among 200, 304 and the encodings.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'a> {
    /// Whether the method is HEAD: the body is left out.
    pub is_head: bool,
    /// The value of `if-none-match`.
    pub if_none_match: Option<&'a str>,
    /// The value of `accept-encoding`.
    pub accept_encoding: Option<&'a str>,
}

/// Status, headers and body to send.
#[derive(Debug)]
pub struct Head<'a> {
    /// The status: that of the page, or 304.
    pub status: u16,
    /// All headers but `content-length` and `date`, which the server sets. Names are in lower case.
    pub headers: Vec<(Cow<'a, str>, Cow<'a, str>)>,
    /// The body to send: empty for HEAD and 304.
    pub body: &'a [u8],
    /// For `content-length`: that of the body, also for HEAD (0 for 304).
    pub content_length: usize,
}

/// All that the headers of an answer follow from.
pub(crate) struct Facts<'a> {
    pub(crate) status: u16,
    pub(crate) fields: PackedFields<'a>,
    pub(crate) body: &'a [u8],
    /// The library's etag of the plain body; a field `etag` of the render's own wins.
    pub(crate) etag: &'a str,
    pub(crate) encoded: &'a [Encoded],
    /// Lower-case request headers that are the sources of variants.
    pub(crate) vary: &'a [Box<str>],
    pub(crate) revalidate: Lifetime,
    pub(crate) expire: Lifetime,
    pub(crate) word: CacheWord,
    /// Whether this result is in the store (`stored` in cache-status).
    pub(crate) stored: bool,
    /// Whether the page is stale or expired by an invalidation, or removed.
    pub(crate) invalidated: bool,
    /// Time since `generated`; zero for a page from the future.
    pub(crate) age: Lifetime,
}

const PRIVATE: &str = "private, no-cache, no-store, max-age=0, must-revalidate";
/// A CDN must not hold what was just invalidated, nor what could not be regenerated.
const BRIEFLY: &str = "s-maxage=1";
/// For pages that never go stale.
const YEAR: &str = "s-maxage=31536000";
const SECOND: u64 = 1_000_000_000;

/// Builds the head (semantics, section 10; RFC 9111, 5861, 9211, 9110 section 13).
pub(crate) fn head<'a>(facts: &Facts<'a>, conditions: &Conditions<'_>) -> Head<'a> {
    let own = Own::of(facts.fields);
    let is_bypass = facts.word == CacheWord::Bypass;
    let kept = if is_bypass || own.is_encoded { &[] } else { facts.encoded };
    let chosen = choose(conditions.accept_encoding, kept);
    let etag = match chosen {
        Some(encoded) => Some(&*encoded.etag),
        None if is_bypass => own.etag,
        None => own.etag.or(Some(facts.etag)),
    };
    let etag = etag.filter(|e| !e.is_empty());
    let is_not_modified = facts.status == 200
        && conditions
            .if_none_match
            .zip(etag)
            .is_some_and(|(header, etag)| none_match_hits(header, etag));

    let mut headers = Vec::with_capacity(facts.fields.iter().count() + 7);
    for (name, value) in facts.fields.iter() {
        let is_sent = match name {
            "cache-control" | "etag" | "vary" => false,
            // A cookie makes the answer personal; it must not be lost because the body has not changed.
            "date" | "expires" | "content-location" | "set-cookie" => true,
            _ => !is_not_modified,
        };
        if is_sent {
            headers.push((Cow::Borrowed(name), Cow::Borrowed(value)));
        }
    }
    let mut add =
        |name: &'static str, value: Cow<'a, str>| headers.push((Cow::Borrowed(name), value));
    add("cache-control", cache_control(facts, &own));
    if let Some(etag) = etag {
        add("etag", Cow::Borrowed(etag));
    }
    if !is_bypass {
        add("age", seconds(facts.age).to_string().into());
    }
    if let Some(vary) = vary(facts, &own, !kept.is_empty()) {
        add("vary", vary);
    }
    if let Some(encoded) = chosen.filter(|_| !is_not_modified) {
        add("content-encoding", Cow::Borrowed(encoded.encoding.name()));
    }
    add("cache-status", cache_status(facts));
    add("x-isr-cache", Cow::Borrowed(isr_cache(facts.word)));

    let status = if is_not_modified { 304 } else { facts.status };
    let body = match (status, chosen) {
        // HTTP knows no content in these, whatever the render gave.
        (204 | 205 | 304, _) => &[],
        (_, Some(encoded)) => &*encoded.body,
        (_, None) => facts.body,
    };
    Head {
        status,
        headers,
        body: if conditions.is_head { &[] } else { body },
        content_length: body.len(),
    }
}

/// What the render's own fields say about the headers that the library sets.
#[derive(Default)]
struct Own<'a> {
    etag: Option<&'a str>,
    cache_control: Option<Cow<'a, str>>,
    has_vary: bool,
    is_encoded: bool,
}

impl<'a> Own<'a> {
    fn of(fields: PackedFields<'a>) -> Own<'a> {
        let mut own = Own::default();
        for (name, value) in fields.iter().filter(|(_, value)| !value.is_empty()) {
            match name {
                "etag" => _ = own.etag.get_or_insert(value),
                "cache-control" => {
                    own.cache_control = Some(match own.cache_control {
                        None => Cow::Borrowed(value),
                        Some(before) => format!("{before}, {value}").into(),
                    });
                }
                "vary" => own.has_vary = true,
                "content-encoding" => own.is_encoded = true,
                _ => {}
            }
        }
        own
    }
}

fn cache_control<'a>(facts: &Facts<'a>, own: &Own<'a>) -> Cow<'a, str> {
    if facts.word == CacheWord::Bypass {
        return PRIVATE.into();
    }
    if facts.word == CacheWord::StaleError || facts.invalidated {
        return BRIEFLY.into();
    }
    if let Some(own) = &own.cache_control {
        return own.clone();
    }
    let Some(fresh) = facts.revalidate.ceil_secs() else {
        return YEAR.into();
    };
    match facts.expire.minus(facts.revalidate).ceil_secs() {
        Some(stale) if stale > 0 => {
            format!("s-maxage={fresh}, stale-while-revalidate={stale}").into()
        }
        _ => format!("s-maxage={fresh}").into(),
    }
}

fn cache_status<'a>(facts: &Facts<'a>) -> Cow<'a, str> {
    match (facts.word, ttl(facts)) {
        (CacheWord::Hit, Some(ttl)) => format!("libisr; hit; ttl={ttl}").into(),
        (CacheWord::Hit, None) => "libisr; hit".into(),
        (CacheWord::Stale, Some(ttl)) => format!("libisr; hit; ttl={ttl}; detail=stale").into(),
        (CacheWord::Stale, None) => "libisr; hit; detail=stale".into(),
        (CacheWord::StaleError, _) => "libisr; hit; detail=stale-error".into(),
        (CacheWord::Miss, _) if facts.stored => "libisr; fwd=uri-miss; stored".into(),
        (CacheWord::Miss, _) => "libisr; fwd=uri-miss".into(),
        (CacheWord::Revalidated, _) if facts.stored => "libisr; fwd=stale; stored".into(),
        (CacheWord::Revalidated, _) => "libisr; fwd=stale".into(),
        (CacheWord::Bypass, _) => "libisr; fwd=bypass".into(),
    }
}

/// Whole seconds until the page is stale, rounded down; not above 0 for one that is stale already. `None`: never.
fn ttl(facts: &Facts<'_>) -> Option<i128> {
    let left = i128::from(facts.revalidate.nanos()?) - i128::from(nanos(facts.age));
    let left = left.div_euclid(i128::from(SECOND));
    Some(if facts.word == CacheWord::Stale { left.min(0) } else { left })
}

/// The first time after `now` at which the head of a fresh page differs: its age or its ttl reaches another whole second.
pub(crate) fn same_head_until(generated: Time, revalidate: Lifetime, now: Time) -> Time {
    let age = nanos(now.since(generated));
    let next_age = (age / SECOND + 1).saturating_mul(SECOND);
    // The ttl is rounded down: it still holds when the rest is a whole number of seconds, and no longer a nanosecond later.
    let next_ttl =
        revalidate.nanos().map(|r| (r - r.saturating_sub(age) / SECOND * SECOND).saturating_add(1));
    let next = next_ttl.map_or(next_age, |ttl| ttl.min(next_age));
    generated.plus(Lifetime::from_nanos(next))
}

fn nanos(age: Lifetime) -> u64 {
    age.nanos().unwrap_or(u64::MAX)
}

fn seconds(age: Lifetime) -> u64 {
    nanos(age) / SECOND
}

/// The declared sources of variants and the render's own names, each once; `*` alone says all.
fn vary<'a>(facts: &Facts<'a>, own: &Own<'_>, by_encoding: bool) -> Option<Cow<'a, str>> {
    if let ([only], false, false) = (facts.vary, own.has_vary, by_encoding) {
        return Some(Cow::Borrowed(only));
    }
    let mut names: Vec<Cow<'a, str>> = Vec::new();
    let mut add = |name: &'a str| {
        if !names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            names.push(if name.bytes().any(|b| b.is_ascii_uppercase()) {
                name.to_ascii_lowercase().into()
            } else {
                name.into()
            });
        }
    };
    facts.vary.iter().for_each(|name| add(name));
    for (name, value) in facts.fields.iter() {
        if name == "vary" {
            members(value).for_each(&mut add);
        }
    }
    if by_encoding {
        add("accept-encoding");
    }
    if names.iter().any(|n| n == "*") {
        return Some("*".into());
    }
    (!names.is_empty()).then(|| names.join(", ").into())
}

const fn isr_cache(word: CacheWord) -> &'static str {
    match word {
        CacheWord::Hit => "HIT",
        CacheWord::Stale => "STALE",
        CacheWord::Miss => "MISS",
        CacheWord::Revalidated => "REVALIDATED",
        CacheWord::StaleError => "STALE-ERROR",
        CacheWord::Bypass => "BYPASS",
    }
}

#[cfg(test)]
mod tests;

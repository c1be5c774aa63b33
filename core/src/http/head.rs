//! Status and headers of an answer.

use std::borrow::Cow;

use crate::answer::CacheWord;
use crate::http::encoding::Encoded;
use crate::http::fields::Fields;
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
    pub(crate) fields: &'a Fields,
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

/// Builds the head (semantics, section 10; RFC 9111, 5861, 9211, 9110 section 13).
pub(crate) fn head<'a>(facts: &Facts<'a>, conditions: &Conditions<'_>) -> Head<'a> {
    let _ = (facts, conditions);
    todo!()
}

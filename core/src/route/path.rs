//! The canonical form of a path (semantics, section 2).

use std::borrow::Cow;

use crate::error::Error;

/// A request target in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical<'a> {
    /// The canonical path: the key.
    pub path: Cow<'a, str>,
    /// The raw query without `?`, if there was one; the fragment is dropped.
    pub query: Option<&'a str>,
}

/// Brings a request target (`/p/caf%C3%A9/?x=1#top`) into its canonical form (`/p/café`).
///
/// Borrows where nothing changes.
///
/// # Errors
/// `InvalidPath`; the text names the path and the rule.
pub fn canonical(target: &str) -> Result<Canonical<'_>, Error> {
    let _ = target;
    todo!()
}

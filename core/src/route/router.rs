//! Finds the most specific route of a path.

use crate::error::Error;
use crate::route::pattern::{Params, Pattern};

/// Routes by pattern. Matching walks a tree of segments: static, then `[name]`, then `[...name]`, then `[[...name]]`.
#[derive(Debug)]
pub(crate) struct Router<T> {
    _routes: Vec<(Pattern, T)>,
}

/// A match.
#[derive(Debug)]
pub(crate) struct Found<'r, T> {
    pub(crate) pattern: &'r Pattern,
    pub(crate) value: &'r T,
    pub(crate) params: Params,
}

impl<T> Router<T> {
    pub(crate) fn new() -> Router<T> {
        todo!()
    }

    /// `Conflict` where a pattern that matches the same paths is there; the text names both.
    pub(crate) fn insert(&mut self, pattern: Pattern, value: T) -> Result<(), Error> {
        let _ = (pattern, value);
        todo!()
    }

    /// The most specific route for a canonical path, with its params decoded.
    pub(crate) fn find(&self, canonical_path: &str) -> Option<Found<'_, T>> {
        let _ = canonical_path;
        todo!()
    }

    /// All routes, in the order in which they were added.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Pattern, &T)> {
        self._routes.iter().map(|(p, t)| (p, t))
    }

    /// Whether a route with this identity exists (`revalidate_path(pattern, page)`).
    pub(crate) fn has_identity(&self, identity: &str) -> bool {
        let _ = identity;
        todo!()
    }

    /// Whether any route's pattern is at or below this one (`revalidate_path(pattern, layout)`).
    pub(crate) fn any_below_pattern(&self, identity: &str) -> bool {
        let _ = identity;
        todo!()
    }

    /// Whether any route could match this canonical path or one below it (`revalidate_path(path, layout)`).
    pub(crate) fn any_below_path(&self, canonical_path: &str) -> bool {
        let _ = canonical_path;
        todo!()
    }
}

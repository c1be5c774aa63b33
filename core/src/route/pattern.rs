//! Route patterns: `/blog/[id]`, `/docs/[...rest]`, `/shop/[[...rest]]`, `/(group)/about`.

use std::collections::BTreeMap;

use crate::error::Error;

/// A parameter's decoded value: one text, or a list for a catch-all.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ParamValue {
    /// Of `[name]`.
    One(String),
    /// Of `[...name]` and `[[...name]]`.
    Many(Vec<String>),
}

/// Parameters by name.
pub type Params = BTreeMap<String, ParamValue>;

/// One segment of a pattern; static text is in canonical form.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Segment {
    Static(String),
    One(String),
    CatchAll(String),
    OptionalCatchAll(String),
}

/// A parsed pattern; groups are dropped.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    segments: Vec<Segment>,
    identity: String,
}

impl Pattern {
    /// Parses a pattern.
    ///
    /// # Errors
    /// `InvalidArgument`: not starting with `/`, a catch-all that is not last, a name used twice or empty, ...
    /// `InvalidPath`: a static segment that no path can have.
    pub fn parse(text: &str) -> Result<Pattern, Error> {
        let _ = text;
        todo!()
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it matches, with names and groups erased: equal for two patterns that match the same paths.
    /// Segments are joined by `/`, so that a layout's identity is a segment-wise prefix of those below it.
    pub(crate) fn identity(&self) -> &str {
        &self.identity
    }

    pub(crate) fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Whether it has no parameters, so that it is one path.
    pub fn is_static(&self) -> bool {
        todo!()
    }

    /// The canonical path for these params.
    ///
    /// # Errors
    /// `InvalidArgument` for a missing or unknown name, a wrong type, an empty value; `InvalidPath` where
    /// the result is no path.
    pub fn path_for(&self, params: &Params) -> Result<String, Error> {
        let _ = params;
        todo!()
    }

    /// Whether a text given to `revalidate_path` is a pattern: it has a whole segment in square brackets.
    pub fn looks_like_pattern(text: &str) -> bool {
        let _ = text;
        todo!()
    }
}

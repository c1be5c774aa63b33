//! What a render gives, before it is checked.

use crate::lifetime::Lifetime;

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

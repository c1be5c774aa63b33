//! A stored response, and the result of a render from which it is made.

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

/// A page: immutable, shared, readable from any thread.
#[derive(Debug)]
pub struct Page {
    _private: (),
}

impl Page {
    /// The canonical path.
    pub fn path(&self) -> &str {
        todo!()
    }
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        todo!()
    }
    /// The render's own header fields, names in lower case. What a client is sent is [`Answer::head`](crate::Answer::head).
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        let v: &[(String, String)] = todo!();
        #[allow(unreachable_code)]
        v.iter().map(|(a, b)| (a.as_str(), b.as_str()))
    }
    /// The first header field of this lower-case name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let _ = name;
        todo!()
    }
    /// The body; lives as long as the page.
    pub fn body(&self) -> &[u8] {
        todo!()
    }
    /// The strong etag with its quotes; empty for a page that is not for the store.
    pub fn etag(&self) -> &str {
        todo!()
    }
    /// All tags: the route's, the result's, and those of the data entries read.
    pub fn tags(&self) -> impl ExactSizeIterator<Item = &str> {
        let v: &[String] = todo!();
        #[allow(unreachable_code)]
        v.iter().map(String::as_str)
    }
    /// Seconds until it is stale, after the min rule.
    pub fn revalidate(&self) -> Lifetime {
        todo!()
    }
    /// Seconds until it is expired.
    pub fn expire(&self) -> Lifetime {
        todo!()
    }
    /// When it was stored (or answered, for one that is not for the store).
    pub fn generated(&self) -> crate::clock::Time {
        todo!()
    }

    pub(crate) fn head<'a>(
        &'a self,
        answer: &crate::answer::Answer,
        conditions: &crate::http::Conditions<'_>,
    ) -> crate::http::Head<'a> {
        let _ = (answer, conditions);
        todo!()
    }
}

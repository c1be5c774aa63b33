//! Answers, pages and values of data entries, held for JavaScript.

use isr_core::http::Conditions;
use isr_core::{Answer, DataAnswer, Page, Peek, Time};
use napi::Env;
use napi::bindgen_prelude::{BufferSlice, Result};
use napi_derive::napi;

use crate::convert::{Seconds, lifetime_to_js};

/// An answer to a request.
#[napi]
pub struct NativeAnswer {
    pub(crate) answer: Answer,
}

/// Status and headers to send.
#[napi(object, object_from_js = false)]
pub struct JsHead {
    pub status: u16,
    pub headers: Vec<Vec<String>>,
    /// Which body to send: 0 for none, 1 for the page's own, else the number of an encoded one.
    pub body: f64,
    pub content_length: f64,
}

/// A time, in numbers that hold it exactly.
#[napi(object, object_from_js = false)]
pub struct JsTime {
    pub secs: f64,
    pub nanos: f64,
}

impl JsTime {
    pub(crate) fn new(time: Time) -> JsTime {
        let nanos = time.nanos();
        JsTime { secs: (nanos / SECOND) as f64, nanos: (nanos % SECOND) as f64 }
    }
}

const SECOND: u64 = 1_000_000_000;

fn time(secs: f64, nanos: f64) -> Time {
    Time::from_nanos((secs as u64).saturating_mul(SECOND).saturating_add(nanos as u64))
}

impl NativeAnswer {
    pub(crate) fn new(answer: Answer) -> NativeAnswer {
        NativeAnswer { answer }
    }
}

#[napi]
impl NativeAnswer {
    /// How the answer came about.
    #[napi(catch_unwind)]
    pub fn cache(&self) -> &'static str {
        self.answer.cache().name()
    }

    /// When it was given.
    #[napi(catch_unwind)]
    pub fn given(&self) -> JsTime {
        JsTime::new(self.answer.given())
    }

    /// Whole seconds since the page was generated, for the answer given then.
    #[napi(catch_unwind)]
    pub fn age(&self, secs: f64, nanos: f64) -> f64 {
        self.answer.at(time(secs, nanos)).age_secs() as f64
    }

    /// Equal for two answers that hold the same page at the same time.
    #[napi(catch_unwind)]
    pub fn page_id(&self) -> f64 {
        page_id(self.answer.page())
    }

    /// The page.
    #[napi(catch_unwind)]
    pub fn page(&self) -> NativePage {
        NativePage::new(self.answer.page().clone())
    }

    /// Status and headers to send, for the answer given then.
    #[napi(catch_unwind)]
    pub fn head(
        &self,
        secs: f64,
        nanos: f64,
        is_head: bool,
        if_none_match: Option<String>,
        accept_encoding: Option<String>,
    ) -> JsHead {
        let answer = self.answer.at(time(secs, nanos));
        let head = answer.head(&conditions(is_head, &if_none_match, &accept_encoding));
        let own = self.answer.page().body();
        let body = if head.body.is_empty() {
            0.0
        } else if std::ptr::eq(head.body, own) {
            1.0
        } else {
            head.body.as_ptr().addr() as f64
        };
        JsHead {
            status: head.status,
            headers: head
                .headers
                .iter()
                .map(|(name, value)| vec![name.to_string(), value.to_string()])
                .collect(),
            body,
            content_length: head.content_length as f64,
        }
    }

    /// The encoded body that [`head`](NativeAnswer::head) chose for the same arguments.
    #[napi(catch_unwind)]
    pub fn head_body<'env>(
        &self,
        env: &'env Env,
        if_none_match: Option<String>,
        accept_encoding: Option<String>,
    ) -> Result<BufferSlice<'env>> {
        let head = self.answer.head(&conditions(false, &if_none_match, &accept_encoding));
        external(env, head.body, self.answer.page().clone())
    }
}

fn conditions<'a>(
    is_head: bool,
    if_none_match: &'a Option<String>,
    accept_encoding: &'a Option<String>,
) -> Conditions<'a> {
    Conditions {
        is_head,
        if_none_match: if_none_match.as_deref(),
        accept_encoding: accept_encoding.as_deref(),
    }
}

/// A page.
#[napi]
pub struct NativePage {
    page: Page,
}

impl NativePage {
    pub(crate) fn new(page: Page) -> NativePage {
        NativePage { page }
    }
}

#[napi]
impl NativePage {
    /// As [`NativeAnswer::page_id`].
    #[napi(catch_unwind)]
    pub fn id(&self) -> f64 {
        page_id(&self.page)
    }
    #[napi(catch_unwind)]
    pub fn path(&self) -> String {
        self.page.path().to_string()
    }
    #[napi(catch_unwind)]
    pub fn status(&self) -> u16 {
        self.page.status()
    }
    #[napi(catch_unwind)]
    pub fn headers(&self) -> Vec<Vec<String>> {
        self.page.headers().map(|(name, value)| vec![name.to_string(), value.to_string()]).collect()
    }
    /// The page's own memory, which lives as long as the buffer.
    #[napi(catch_unwind)]
    pub fn body<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        external(env, self.page.body(), self.page.clone())
    }
    #[napi(catch_unwind)]
    pub fn etag(&self) -> String {
        self.page.etag().to_string()
    }
    #[napi(catch_unwind)]
    pub fn tags(&self) -> Vec<String> {
        self.page.tags().map(str::to_string).collect()
    }
    #[napi(catch_unwind)]
    pub fn revalidate(&self) -> Seconds {
        lifetime_to_js(self.page.revalidate())
    }
    #[napi(catch_unwind)]
    pub fn expire(&self) -> Seconds {
        lifetime_to_js(self.page.expire())
    }
    /// Seconds since 1970.
    #[napi(catch_unwind)]
    pub fn generated(&self) -> f64 {
        self.page.generated().as_secs_f64()
    }
}

/// What is stored under a path.
#[napi(object, object_from_js = false)]
pub struct JsPeek {
    pub state: &'static str,
    pub age: f64,
    pub page: Option<NativePage>,
}

impl JsPeek {
    pub(crate) fn new(peek: &Peek) -> JsPeek {
        JsPeek {
            state: peek.state().name(),
            age: peek.age_secs() as f64,
            page: peek.page().cloned().map(NativePage::new),
        }
    }
}

/// The value of a data entry.
#[napi]
pub struct NativeData {
    data: DataAnswer,
}

impl NativeData {
    pub(crate) fn new(data: DataAnswer) -> NativeData {
        NativeData { data }
    }
}

#[napi]
impl NativeData {
    /// How it came about.
    #[napi(catch_unwind)]
    pub fn cache(&self) -> &'static str {
        self.data.cache().name()
    }

    /// The bytes, which live as long as the buffer.
    #[napi(catch_unwind)]
    pub fn bytes<'env>(&self, env: &'env Env) -> Result<BufferSlice<'env>> {
        external(env, self.data.value(), self.data.clone())
    }

    /// The bytes as text. What is not UTF-8 is replaced.
    #[napi(catch_unwind)]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.data.value()).into_owned()
    }
}

/// Bytes as a buffer without a copy; `owner` keeps them alive and where they are.
fn external<'env, T: 'static>(env: &'env Env, bytes: &[u8], owner: T) -> Result<BufferSlice<'env>> {
    if bytes.is_empty() {
        return BufferSlice::copy_from(env, b"");
    }
    // SAFETY: the bytes are immutable memory of `owner`, which the finalizer drops after the buffer is gone. That JavaScript
    // could write to them is documented as forbidden.
    unsafe {
        BufferSlice::from_external(
            env,
            bytes.as_ptr().cast_mut(),
            bytes.len(),
            owner,
            |_, owner| drop(owner),
        )
    }
}

fn page_id(page: &Page) -> f64 {
    page.address() as f64
}

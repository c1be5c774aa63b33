//! The one table of errors: every binding maps from it.

use std::any::Any;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

macro_rules! error_kinds {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// What went wrong. Codes and names are stable and never reused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        #[repr(i32)]
        pub enum ErrorKind { $($(#[$doc])* $name = $code,)* }

        impl ErrorKind {
            /// All kinds, in the order of their codes.
            pub const ALL: &'static [ErrorKind] = &[$(ErrorKind::$name,)*];

            /// The stable name, in snake case.
            pub const fn name(self) -> &'static str {
                match self { $(ErrorKind::$name => $text,)* }
            }
        }
    };
}

error_kinds! {
    /// The path cannot be a key (semantics, section 2).
    InvalidPath = 1, "invalid_path";
    /// No route matches the path.
    NoRoute = 2, "no_route";
    /// The callback failed, or gave a status of 500 or above, or an invalid page.
    Render = 3, "render";
    /// The callback took longer than the route's `timeout`.
    Timeout = 4, "timeout";
    /// `max_queue` renders wait for a thread already.
    Busy = 5, "busy";
    /// A tag is empty, longer than 256 bytes, has a control byte, or is one too many.
    InvalidTag = 6, "invalid_tag";
    /// An argument is wrong; the message names the value and the rule.
    InvalidArgument = 7, "invalid_argument";
    /// A route with another pattern matches the same paths, or an option is not as another owner of the cache gave it.
    Conflict = 8, "conflict";
    /// The cache is closed.
    Closed = 9, "closed";
    /// The job was finished before: by an earlier call, or by its timeout.
    Finished = 10, "finished";
    /// A fault inside the library; please report it.
    Internal = 11, "internal";
    /// The directory cannot be used; memory goes on alone. Told to `on_trouble`, returned by no call.
    Store = 12, "store";
}

/// Told of trouble with the directory.
#[derive(Clone)]
pub struct OnTrouble(pub Arc<dyn Fn(&Error) + Send + Sync>);

impl fmt::Debug for OnTrouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnTrouble")
    }
}

impl ErrorKind {
    /// The stable number, 1 and up.
    pub const fn code(self) -> i32 {
        self as i32
    }

    /// The HTTP status that fits an answer to a client.
    pub const fn http_status(self) -> u16 {
        match self {
            ErrorKind::InvalidPath => 400,
            ErrorKind::NoRoute => 404,
            ErrorKind::Timeout => 504,
            ErrorKind::Busy | ErrorKind::Closed => 503,
            _ => 500,
        }
    }
}

/// Bytes of an error's text that are remembered.
const MAX_KEPT_TEXT: usize = 1024;

/// An error: its kind, a text that names the value and the rule, and what the callback attached.
///
/// Cheap to clone: all who waited for one render get the same error.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    kind: ErrorKind,
    message: String,
    cause: Option<Arc<dyn Any + Send + Sync>>,
}

impl Error {
    /// An error without a cause.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { kind, message: message.into(), cause: None }))
    }

    /// A failed callback; `cause` is the host's own exception, handed on untouched.
    pub fn render(message: impl Into<String>, cause: Option<Arc<dyn Any + Send + Sync>>) -> Error {
        Error(Arc::new(Inner { kind: ErrorKind::Render, message: message.into(), cause }))
    }

    /// The error as it is remembered during a back-off: without its cause, which may be large, and with a bounded text.
    pub(crate) fn for_keeping(&self) -> Error {
        let end = self.message().floor_char_boundary(MAX_KEPT_TEXT);
        Error::new(self.kind(), &self.message()[..end])
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::InvalidArgument, message)
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The text, without the kind.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the failing callback attached (a Python exception, a JS error object).
    pub fn cause(&self) -> Option<&Arc<dyn Any + Send + Sync>> {
        self.0.cause.as_ref()
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Error({}: {})", self.0.kind.name(), self.0.message)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.name(), self.0.message)
    }
}

impl std::error::Error for Error {}

/// Text that comes from another language as bytes.
///
/// # Errors
/// `kind` where it is not UTF-8; the message names `what` and the position.
pub fn utf8<'a>(kind: ErrorKind, what: &str, bytes: &'a [u8]) -> Result<&'a str, Error> {
    std::str::from_utf8(bytes).map_err(|e| {
        Error::new(
            kind,
            format!(
                "{what} must be UTF-8; the byte at {} of \"{}\" is not",
                e.valid_up_to(),
                String::from_utf8_lossy(bytes)
            ),
        )
    })
}

/// A request target that comes as bytes: the path must be UTF-8; in the query, what is not is replaced (WHATWG), and in the
/// fragment it does not matter.
///
/// # Errors
/// `InvalidPath` as [`utf8`].
pub fn target_utf8(bytes: &[u8]) -> Result<Cow<'_, str>, Error> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return Ok(Cow::Borrowed(text));
    }
    let end = bytes.iter().position(|b| matches!(b, b'?' | b'#')).unwrap_or(bytes.len());
    utf8(ErrorKind::InvalidPath, "path", &bytes[..end])?;
    Ok(String::from_utf8_lossy(bytes))
}

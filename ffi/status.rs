//! Numbered statuses, and the text of the thread's last error.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char};

use isr_core::{Error, ErrorKind};

/// What a call came to. Zero is success, every failure is negative; numbers are stable and never reused.
///
/// `isr_status_name` gives the name, `isr_last_error` a text that names the value and the rule.
#[repr(i32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum isr_status {
    /// Success.
    #[default]
    Ok = 0,
    /// The path cannot be a key.
    InvalidPath = -1,
    /// No route matches the path.
    NoRoute = -2,
    /// The callback failed, or gave a status of 500 or above, or an invalid page.
    Render = -3,
    /// The callback took longer than the route's timeout.
    Timeout = -4,
    /// As many renders as `max_queue` allows wait for a thread already.
    Busy = -5,
    /// A tag is empty, longer than 256 bytes, has a control byte, or is one too many.
    InvalidTag = -6,
    /// An argument is wrong: NULL, freed, of a wrong length, not UTF-8, an unknown name, out of its range.
    InvalidArgument = -7,
    /// A route with another pattern matches the same paths, or an option is not as another owner of the cache gave it.
    Conflict = -8,
    /// The cache is closed.
    Closed = -9,
    /// The job was finished before: by an earlier call, or by its timeout.
    Finished = -10,
    /// A fault inside the library; please report it.
    Internal = -11,
    /// The directory cannot be used; memory goes on alone. Told to the callback of `isr_options_set_on_trouble`, returned by no function.
    Store = -12,
    /// The library panicked and was caught at its edge; the cache stays usable. Please report it.
    Panic = -100,
}

const TABLE: &[(isr_status, &CStr, u16)] = &[
    (isr_status::Ok, c"ok", 200),
    (isr_status::InvalidPath, c"invalid_path", 400),
    (isr_status::NoRoute, c"no_route", 404),
    (isr_status::Render, c"render", 500),
    (isr_status::Timeout, c"timeout", 504),
    (isr_status::Busy, c"busy", 503),
    (isr_status::InvalidTag, c"invalid_tag", 500),
    (isr_status::InvalidArgument, c"invalid_argument", 500),
    (isr_status::Conflict, c"conflict", 500),
    (isr_status::Closed, c"closed", 503),
    (isr_status::Finished, c"finished", 500),
    (isr_status::Internal, c"internal", 500),
    (isr_status::Store, c"store", 500),
    (isr_status::Panic, c"panic", 500),
];

impl isr_status {
    pub(crate) fn of(error: &Error) -> isr_status {
        let code = -error.kind().code();
        TABLE.iter().map(|row| row.0).find(|s| *s as i32 == code).unwrap_or(isr_status::Internal)
    }
}

#[derive(Default)]
struct Last {
    status: isr_status,
    text: Option<CString>,
}

thread_local! {
    static LAST: RefCell<Last> = RefCell::default();
}

/// Keeps the error for `isr_last_error` of this thread. Nothing is kept while the thread is being torn down.
pub(crate) fn record(status: isr_status, text: &str) -> isr_status {
    // A C text ends at a zero byte; a path in a message may have one.
    let text = CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default();
    let _ = LAST.try_with(|last| last.replace(Last { status, text: Some(text) }));
    status
}

/// Runs a callback of the program, and puts the thread's last error back after it: a call that succeeds changes neither status nor
/// text, whatever callbacks it ran.
pub(crate) fn aside(callback: impl FnOnce()) {
    let before = LAST.try_with(RefCell::take);
    callback();
    if let Ok(before) = before {
        let _ = LAST.try_with(|last| last.replace(before));
    }
}

/// Tells a completion callback its outcome; of a failure, `isr_last_error` has the text inside.
pub(crate) fn tell<T>(outcome: Result<*mut T, Error>, done: impl FnOnce(isr_status, *mut T)) {
    aside(|| match outcome {
        Ok(value) => done(isr_status::Ok, value),
        Err(error) => done(record_error(&error), std::ptr::null_mut()),
    });
}

/// Keeps a core error; see [`record`].
pub(crate) fn record_error(error: &Error) -> isr_status {
    record(isr_status::of(error), error.message())
}

/// An error about an argument, before the core is asked.
pub(crate) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidArgument, message)
}

/// The text of the last call that failed on this thread: it names the value and the rule. Empty if none has.
///
/// Inside a completion callback that got a failure: the text of that failure. Each callback has a last error of its own, which it does
/// not see at its start otherwise; after it the thread has again what it had before.
/// Ownership: borrowed; valid until the next call that fails on this thread, or the thread's end. NUL-terminated UTF-8.
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn isr_last_error() -> *const c_char {
    LAST.try_with(|last| last.borrow().text.as_deref().unwrap_or(c"").as_ptr())
        .unwrap_or(c"".as_ptr())
}

/// The status of the last call that failed on this thread, `ISR_STATUS_OK` if none has since `isr_clear_error`.
///
/// For accessors that give a value and no status. A call that succeeds does not change it.
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn isr_last_status() -> isr_status {
    LAST.try_with(|last| last.borrow().status).unwrap_or(isr_status::Ok)
}

/// Forgets the last error of this thread.
///
/// Threads: any; each has its own.
#[unsafe(no_mangle)]
pub extern "C" fn isr_clear_error() {
    let _ = LAST.try_with(RefCell::take);
}

/// The stable name of a status in snake case: `invalid_path`; `unknown` for a number that is none.
///
/// Ownership: static. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_status_name(status: i32) -> *const c_char {
    row(status).map_or(c"unknown".as_ptr(), |r| r.1.as_ptr())
}

/// The HTTP status that fits an answer to a client: 200, 400, 404, 500, 503 or 504.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_status_http(status: i32) -> u16 {
    row(status).map_or(500, |r| r.2)
}

fn row(status: i32) -> Option<&'static (isr_status, &'static CStr, u16)> {
    TABLE.iter().find(|r| r.0 as i32 == status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_the_core_has_its_status() {
        for kind in ErrorKind::ALL {
            let row = row(-kind.code()).unwrap_or_else(|| panic!("no status for {kind:?}"));
            assert_eq!(row.1.to_str(), Ok(kind.name()));
            assert_eq!(row.2, kind.http_status(), "{kind:?}");
            assert_eq!(isr_status::of(&Error::new(*kind, "x")), row.0);
        }
        assert_eq!(
            TABLE.len(),
            ErrorKind::ALL.len() + 2,
            "ok and panic are the only ones beside the core's"
        );
    }

    #[test]
    fn a_zero_byte_in_a_text_does_not_cut_it() {
        record(isr_status::InvalidPath, "a\0b");
        // SAFETY: a live NUL-terminated text of this thread.
        let text = unsafe { CStr::from_ptr(isr_last_error()) };
        assert_eq!(text.to_str(), Ok("a\u{fffd}b"));
        assert_eq!(isr_last_status(), isr_status::InvalidPath);
        isr_clear_error();
        assert_eq!(isr_last_status(), isr_status::Ok);
    }
}

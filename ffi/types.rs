//! Borrowed views that cross in both directions, and how they are checked on the way in.

use std::borrow::Cow;
use std::ffi::{CStr, c_char, c_void};

use isr_core::{Error, ErrorKind, Lifetime, target_utf8, utf8};

use crate::guard;
use crate::status::invalid;

/// A text: UTF-8 of a known length, not NUL-terminated.
///
/// Ownership: always borrowed. What you pass is copied before the call returns; what you get is valid as long as the object
/// that it came from. Print it with `printf("%.*s", (int)text.len, text.data)`.
/// `{NULL, 0}` is "no text" where a text is optional, and the empty text elsewhere.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct isr_str {
    /// The first byte.
    pub data: *const c_char,
    /// The number of bytes.
    pub len: usize,
}

/// Bytes. Borrowed as an `isr_str` is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct isr_bytes {
    /// The first byte.
    pub data: *const u8,
    /// The number of bytes.
    pub len: usize,
}

/// A name and its value: a header field, or a value of a variant.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct isr_field {
    /// The name.
    pub name: isr_str,
    /// The value.
    pub value: isr_str,
}

// SAFETY: a view is a pointer and a length; what it points to is immutable and may be read from any thread.
unsafe impl Send for isr_str {}
// SAFETY: as above.
unsafe impl Sync for isr_str {}
// SAFETY: as above.
unsafe impl Send for isr_bytes {}
// SAFETY: as above.
unsafe impl Sync for isr_bytes {}

impl isr_str {
    pub(crate) const NONE: isr_str = isr_str { data: std::ptr::null(), len: 0 };

    pub(crate) fn of(text: &str) -> isr_str {
        isr_str { data: text.as_ptr().cast(), len: text.len() }
    }
}

impl isr_bytes {
    pub(crate) const NONE: isr_bytes = isr_bytes { data: std::ptr::null(), len: 0 };

    pub(crate) fn of(bytes: &[u8]) -> isr_bytes {
        isr_bytes { data: bytes.as_ptr(), len: bytes.len() }
    }
}

impl isr_field {
    pub(crate) const NONE: isr_field = isr_field { name: isr_str::NONE, value: isr_str::NONE };

    pub(crate) fn of(name: &str, value: &str) -> isr_field {
        isr_field { name: isr_str::of(name), value: isr_str::of(value) }
    }
}

/// The view of a NUL-terminated text; `{NULL, 0}` for NULL.
///
/// Ownership: borrowed from the argument. Threads: any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn isr_cstr(text: *const c_char) -> isr_str {
    guard::value(isr_str::NONE, || {
        if text.is_null() {
            return Ok(isr_str::NONE);
        }
        // SAFETY: the header demands a NUL-terminated text.
        Ok(isr_str { data: text, len: unsafe { CStr::from_ptr(text) }.count_bytes() })
    })
}

/// No text or list that anybody means is longer; a larger length is a mistake and is not read.
const MAX_TEXT: usize = 1 << 30;
const MAX_LIST: usize = 1 << 24;
const MAX_STRUCT: usize = 1 << 16;

/// Bytes from C.
///
/// # Safety
/// `data` is NULL, or valid for reading `len` bytes for `'a`.
pub(crate) unsafe fn bytes<'a>(
    what: &str,
    data: *const c_void,
    len: usize,
) -> Result<&'a [u8], Error> {
    if data.is_null() {
        return if len == 0 {
            Ok(&[])
        } else {
            Err(invalid(format!("{what} is NULL, but {len} bytes long")))
        };
    }
    if len > isize::MAX as usize {
        return Err(invalid(format!("{what} cannot be {len} bytes long")));
    }
    // SAFETY: not NULL, a length that an object can have, and the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data.cast(), len) })
}

/// A copy of bytes from C. A length that no memory is left for is an error, not an abort.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn append(
    to: &mut Vec<u8>,
    what: &str,
    data: *const c_void,
    len: usize,
) -> Result<(), Error> {
    // SAFETY: the caller's promise.
    let from = unsafe { bytes(what, data, len) }?;
    to.try_reserve(len).map_err(|_| invalid(format!("no memory for {what} of {len} bytes")))?;
    to.extend_from_slice(from);
    Ok(())
}

/// A request target: path, with the query and the fragment as they came from a client.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn target<'a>(text: isr_str) -> Result<Cow<'a, str>, Error> {
    // SAFETY: the caller's promise.
    target_utf8(unsafe { target_bytes(text) }?)
}

/// As [`target`], not looked at.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn target_bytes<'a>(text: isr_str) -> Result<&'a [u8], Error> {
    check_length(ErrorKind::InvalidPath, "path", text)?;
    // SAFETY: the caller's promise.
    unsafe { bytes("path", text.data.cast(), text.len) }
}

fn check_length(kind: ErrorKind, what: &str, text: isr_str) -> Result<(), Error> {
    if text.len > MAX_TEXT {
        let rule = format!("{what} must be at most {MAX_TEXT} bytes; got {}", text.len);
        return Err(Error::new(kind, rule));
    }
    Ok(())
}

/// A text from C. `kind` is the error where it is not UTF-8.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn text<'a>(
    kind: ErrorKind,
    what: &str,
    text: isr_str,
) -> Result<&'a str, Error> {
    check_length(kind, what, text)?;
    // SAFETY: the caller's promise.
    utf8(kind, what, unsafe { bytes(what, text.data.cast(), text.len) }?)
}

/// The value of a request header that may be absent. A client may send any bytes: those that are not UTF-8 become replacement
/// characters, which match nothing.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn request_header<'a>(
    what: &str,
    value: isr_str,
) -> Result<Option<Cow<'a, str>>, Error> {
    if value.data.is_null() && value.len == 0 {
        return Ok(None);
    }
    // SAFETY: the caller's promise.
    let value = unsafe { bytes(what, value.data.cast(), value.len) }?;
    Ok(Some(String::from_utf8_lossy(value)))
}

/// A list from C.
///
/// # Safety
/// `items` is NULL, or valid for reading `len` items for `'a`.
pub(crate) unsafe fn list<'a, T>(
    what: &str,
    items: *const T,
    len: usize,
) -> Result<&'a [T], Error> {
    if len == 0 {
        return Ok(&[]);
    }
    if items.is_null() {
        return Err(invalid(format!("{what} is NULL, but said to have {len} items")));
    }
    if !items.is_aligned() {
        return Err(invalid(format!("{what} must point to an array; {items:p} is not aligned")));
    }
    if len > MAX_LIST {
        return Err(invalid(format!("{what} must have at most {MAX_LIST} items; got {len}")));
    }
    // SAFETY: not NULL, aligned, a length that an object can have, and the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(items, len) })
}

/// A list of texts from C.
///
/// # Safety
/// As for [`list`] and [`bytes`].
pub(crate) unsafe fn texts<'a>(
    kind: ErrorKind,
    what: &str,
    items: *const isr_str,
    len: usize,
) -> Result<Vec<&'a str>, Error> {
    // SAFETY: the caller's promise.
    let items = unsafe { list(what, items, len) }?;
    // SAFETY: the caller's promise.
    items.iter().map(|item| unsafe { text(kind, what, *item) }).collect()
}

/// A NUL-terminated name from C.
///
/// # Safety
/// `name` is NULL or a NUL-terminated text.
pub(crate) unsafe fn name<'a>(what: &str, name: *const c_char) -> Result<&'a str, Error> {
    if name.is_null() {
        return Err(invalid(format!("{what} must not be NULL")));
    }
    // SAFETY: not NULL, and the caller's promise.
    utf8(ErrorKind::InvalidArgument, what, unsafe { CStr::from_ptr(name) }.to_bytes())
}

/// Where a result is written.
pub(crate) struct Out<T>(*mut T);

impl<T> Out<T> {
    /// # Safety
    /// `to` is NULL, or valid for writing until the call returns.
    pub(crate) unsafe fn new(what: &str, to: *mut T) -> Result<Out<T>, Error> {
        if to.is_null() {
            return Err(invalid(format!("{what} is NULL; it must point to where the result goes")));
        }
        if !to.is_aligned() {
            return Err(invalid(format!(
                "{what} must point to where the result goes; {to:p} is not aligned"
            )));
        }
        Ok(Out(to))
    }

    /// # Safety
    /// As for [`Out::new`]; NULL is a result that nobody wants.
    pub(crate) unsafe fn maybe(what: &str, to: *mut T) -> Result<Option<Out<T>>, Error> {
        // SAFETY: the caller's promise.
        if to.is_null() { Ok(None) } else { unsafe { Out::new(what, to) }.map(Some) }
    }

    pub(crate) fn write(self, value: T) {
        // SAFETY: checked and promised in `new`.
        unsafe { self.0.write(value) };
    }
}

/// A struct that begins with its size, so that it can grow: a newer program's further members are left unread. Where one grows, the sizes
/// that it had before are to be taken here as well, with the new members as its _INIT macro sets them.
///
/// # Safety
/// `T` is `repr(C)` and begins with a `usize`; `given` is NULL, or valid for reading as many bytes as that says.
pub(crate) unsafe fn sized<T: Copy>(what: &str, given: *const T) -> Result<T, Error> {
    if given.is_null() {
        return Err(invalid(format!("the {what} is NULL")));
    }
    if !given.is_aligned() {
        return Err(invalid(format!("an {what} cannot be at {given:p}, which is not aligned")));
    }
    // SAFETY: not NULL, aligned, and by the contract the struct begins with its size.
    let size = unsafe { given.cast::<usize>().read() };
    if size < size_of::<T>() || size > MAX_STRUCT {
        return Err(invalid(format!(
            "struct_size of {what} must be at least {}, as its _INIT macro sets it; got {size}",
            size_of::<T>()
        )));
    }
    // SAFETY: at least this large, by its own word.
    Ok(unsafe { given.read() })
}

/// Seconds from C, where `ISR_NEVER` (infinity) is never.
pub(crate) fn lifetime(what: &str, secs: f64) -> Result<Lifetime, Error> {
    if secs == f64::INFINITY { Ok(Lifetime::NEVER) } else { Lifetime::from_secs_f64(what, secs) }
}

/// Seconds for C.
pub(crate) fn seconds(lifetime: Lifetime) -> f64 {
    lifetime.as_secs_f64().unwrap_or(f64::INFINITY)
}

/// The item at an index that came from C.
pub(crate) fn at<T>(
    what: &str,
    mut items: impl ExactSizeIterator<Item = T>,
    index: usize,
) -> Result<T, Error> {
    let count = items.len();
    items
        .nth(index)
        .ok_or_else(|| invalid(format!("there is no {what} at {index}; there are {count}")))
}

//! Header fields of a render's result: checked on the way in, names in lower case.

use crate::error::Error;

/// Header fields as they are stored: lower-case names, in the order given.
pub(crate) type Fields = Vec<(Box<str>, Box<str>)>;

/// Why a result may not be shared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Privacy {
    /// It may.
    Public,
    /// `set-cookie`, `private` or `no-store`, or an undeclared `vary`.
    Personal,
}

/// Checks and normalises fields: names are tokens (lower-cased), values have no control byte but TAB (surrounding white
/// space is cut), no hop-by-hop header. Dropped: `age`, `content-length`, `x-isr-cache`, `cache-status` (the library's own).
///
/// # Errors
/// `Render`; the text names the header and the rule.
pub(crate) fn check_fields(headers: Vec<(String, String)>) -> Result<Fields, Error> {
    let _ = headers;
    todo!()
}

/// Whether a result with these fields may be stored (section 7). `declared` are the lower-case request headers that are the
/// sources of variants.
pub(crate) fn privacy(fields: &Fields, declared: &[Box<str>]) -> Privacy {
    let _ = (fields, declared);
    todo!()
}

//! What HTTP sees of a page: headers, conditional requests, encodings (semantics, sections 7 and 10). Pure.

mod encoding;
mod etag;
mod fields;
mod head;
mod packed;

pub use encoding::Encoding;
pub use head::{Conditions, Head};

pub(crate) use encoding::{Encoded, precompress};
pub(crate) use etag::etag_of;
pub(crate) use fields::{Fields, Privacy, check_fields, encode_location, privacy};
pub(crate) use head::{Facts, head, same_head_until};
pub(crate) use packed::{PackedFields, pack, packed_len};

//! Precompressed bodies, and the choice among them by `accept-encoding` (RFC 9110, 12.5.3).

use crate::error::Error;

/// A content coding in which a page may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// Brotli.
    Br,
    /// gzip.
    Gzip,
    /// Zstandard.
    Zstd,
}

impl Encoding {
    /// The name in `content-encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Br => "br",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
        }
    }
}

impl std::str::FromStr for Encoding {
    type Err = Error;
    fn from_str(s: &str) -> Result<Encoding, Error> {
        match s {
            "br" => Ok(Encoding::Br),
            "gzip" => Ok(Encoding::Gzip),
            "zstd" => Ok(Encoding::Zstd),
            _ => Err(Error::invalid(format!("precompress knows br, gzip and zstd; got \"{s}\""))),
        }
    }
}

/// A body in one encoding, with its own etag.
#[derive(Debug)]
pub(crate) struct Encoded {
    pub(crate) encoding: Encoding,
    pub(crate) body: Box<[u8]>,
    pub(crate) etag: Box<str>,
}

/// Makes the encoded bodies of a page. Nothing for a body that has a `content-encoding` of its own, is too small to gain,
/// or does not shrink.
pub(crate) fn precompress(
    body: &[u8],
    headers: &[(Box<str>, Box<str>)],
    wanted: &[Encoding],
    plain_etag: &str,
) -> Vec<Encoded> {
    let _ = (body, headers, wanted, plain_etag);
    todo!()
}

/// The best of the kept encodings for an `accept-encoding` value; `None` is the plain body.
pub(crate) fn choose<'e>(accept: Option<&str>, kept: &'e [Encoded]) -> Option<&'e Encoded> {
    let _ = (accept, kept);
    todo!()
}

//! Precompressed bodies, and the choice among them by `accept-encoding` (RFC 9110, 12.5.3).

use std::io::Write;

use crate::error::Error;
use crate::http::etag::etag_of_encoding;
use crate::http::fields::{directives, trim};

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
    /// The best first: of two that a client likes equally, the earlier is sent.
    const BY_PREFERENCE: [Encoding; 3] = [Encoding::Br, Encoding::Zstd, Encoding::Gzip];

    /// The name in `content-encoding`.
    pub const fn name(self) -> &'static str {
        match self {
            Encoding::Br => "br",
            Encoding::Gzip => "gzip",
            Encoding::Zstd => "zstd",
        }
    }

    /// Levels are of the middle: a body is encoded once at a regeneration and sent often, but somebody may be waiting.
    fn encode(self, body: &[u8]) -> std::io::Result<Vec<u8>> {
        match self {
            Encoding::Br => {
                let params = brotli::enc::BrotliEncoderParams {
                    quality: 6,
                    size_hint: body.len(),
                    ..Default::default()
                };
                let mut out = Vec::new();
                brotli::BrotliCompress(&mut &*body, &mut out, &params)?;
                Ok(out)
            }
            Encoding::Gzip => {
                let mut encoder =
                    flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::new(6));
                encoder.write_all(body)?;
                encoder.finish()
            }
            // This level's window stays below the 8 MiB that browsers accept (RFC 9659).
            Encoding::Zstd => zstd::bulk::compress(body, 9),
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

/// Below this a body fits into one packet anyhow.
const SMALL: usize = 256;

/// Makes the encoded bodies of a page. Nothing for a body that has a `content-encoding` of its own, is too small to gain,
/// or does not shrink. An etag of the render's own takes the place of `plain_etag`.
pub(crate) fn precompress(
    body: &[u8],
    headers: &[(Box<str>, Box<str>)],
    wanted: &[Encoding],
    plain_etag: &str,
) -> Vec<Encoded> {
    if wanted.is_empty() || body.len() < SMALL || !gains(headers) {
        return Vec::new();
    }
    let own_etag = headers.iter().find(|(name, value)| &**name == "etag" && !value.is_empty());
    let etag = own_etag.map_or(plain_etag, |(_, value)| value);
    let wanted = Encoding::BY_PREFERENCE.into_iter().filter(|e| wanted.contains(e));
    wanted
        .filter_map(|encoding| {
            // An encoder that fails costs its encoding alone; the plain body is always there.
            let encoded = encoding.encode(body).ok().filter(|e| e.len() < body.len())?;
            Some(Encoded {
                encoding,
                body: encoded.into(),
                etag: etag_of_encoding(etag, encoding.name()),
            })
        })
        .collect()
}

/// Whether the headers let a body be encoded, and promise a gain.
fn gains(headers: &[(Box<str>, Box<str>)]) -> bool {
    headers.iter().all(|(name, value)| match &**name {
        "content-type" => is_compressible(value),
        // Encoded already, a part of something, or with a digest of the bytes as they are.
        "content-encoding" | "content-range" | "content-md5" | "content-digest" | "digest"
        | "repr-digest" => false,
        "cache-control" => !directives(value).any(|d| d.eq_ignore_ascii_case("no-transform")),
        _ => true,
    })
}

fn is_compressible(content_type: &str) -> bool {
    let kind = trim(content_type.split(';').next().unwrap_or("")).to_ascii_lowercase();
    let packed = ["image/", "video/", "audio/", "font/woff"].iter().any(|p| kind.starts_with(p))
        || ["application/zip", "application/gzip", "application/x-gzip", "application/zstd"]
            .contains(&kind.as_str());
    !packed || kind == "image/svg+xml"
}

/// The best of the kept encodings for an `accept-encoding` value; `None` is the plain body.
pub(crate) fn choose<'e>(accept: Option<&str>, kept: &'e [Encoded]) -> Option<&'e Encoded> {
    if kept.is_empty() {
        return None;
    }
    let accepted = Accepted::parse(accept?);
    let mut best = None;
    let mut best_weight = 0;
    for encoding in Encoding::BY_PREFERENCE {
        let weight = accepted.weight(encoding);
        if weight > best_weight
            && let Some(encoded) = kept.iter().find(|e| e.encoding == encoding)
        {
            best = Some(encoded);
            best_weight = weight;
        }
    }
    best.filter(|_| best_weight >= accepted.identity_weight())
}

/// The weights of an `accept-encoding` value in thousandths; `None` for what it does not name.
#[derive(Default)]
struct Accepted {
    br: Option<u16>,
    gzip: Option<u16>,
    zstd: Option<u16>,
    identity: Option<u16>,
    any: Option<u16>,
}

impl Accepted {
    fn parse(value: &str) -> Accepted {
        let mut accepted = Accepted::default();
        for member in value.split(',') {
            let mut parts = member.split(';').map(trim);
            let coding = parts.next().unwrap_or("");
            let place = if coding.eq_ignore_ascii_case("br") {
                &mut accepted.br
            } else if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") {
                &mut accepted.gzip
            } else if coding.eq_ignore_ascii_case("zstd") {
                &mut accepted.zstd
            } else if coding.eq_ignore_ascii_case("identity") {
                &mut accepted.identity
            } else if coding == "*" {
                &mut accepted.any
            } else {
                continue;
            };
            // What is said first counts.
            place.get_or_insert(weight_of(parts));
        }
        accepted
    }

    fn weight(&self, encoding: Encoding) -> u16 {
        let named = match encoding {
            Encoding::Br => self.br,
            Encoding::Gzip => self.gzip,
            Encoding::Zstd => self.zstd,
        };
        named.or(self.any).unwrap_or(0)
    }

    /// Not named, the plain body is acceptable but never preferred.
    fn identity_weight(&self) -> u16 {
        self.identity.or(self.any).unwrap_or(0)
    }
}

/// The weight among the parameters of a member: 1000 where there is none, 0 where it is malformed.
fn weight_of<'a>(parameters: impl Iterator<Item = &'a str>) -> u16 {
    for parameter in parameters {
        if let Some((name, value)) = parameter.split_once('=')
            && trim(name).eq_ignore_ascii_case("q")
        {
            return thousandths(trim(value)).unwrap_or(0);
        }
    }
    1000
}

/// `0.8` is 800. Digits beyond the third, which RFC 9110 does not allow, are cut off.
fn thousandths(value: &str) -> Option<u16> {
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    if !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let digits = fraction.bytes().chain(std::iter::repeat(b'0')).take(3);
    let fraction = digits.fold(0, |sum, digit| sum * 10 + u16::from(digit - b'0'));
    match whole {
        "0" => Some(fraction),
        "1" if fraction == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use proptest::prelude::*;

    use super::*;

    const ALL: [Encoding; 3] = [Encoding::Gzip, Encoding::Zstd, Encoding::Br];

    fn header(name: &str, value: &str) -> Vec<(Box<str>, Box<str>)> {
        vec![(name.into(), value.into())]
    }

    fn text() -> Vec<u8> {
        b"a page that says the same thing again and again. ".repeat(20)
    }

    fn decode(e: &Encoded) -> Vec<u8> {
        let mut out = Vec::new();
        match e.encoding {
            Encoding::Br => brotli::BrotliDecompress(&mut &*e.body, &mut out).unwrap(),
            Encoding::Gzip => {
                flate2::read::GzDecoder::new(&*e.body).read_to_end(&mut out).unwrap();
            }
            Encoding::Zstd => out = zstd::bulk::decompress(&e.body, 1 << 20).unwrap(),
        }
        out
    }

    fn kept(encodings: &[Encoding]) -> Vec<Encoded> {
        encodings
            .iter()
            .map(|&encoding| Encoded { encoding, body: Box::default(), etag: Box::default() })
            .collect()
    }

    #[test]
    fn names_are_read_back() {
        for e in ALL {
            assert_eq!(e.name().parse::<Encoding>().unwrap(), e);
        }
        assert!("deflate".parse::<Encoding>().unwrap_err().message().contains("\"deflate\""));
    }

    #[test]
    fn every_encoding_is_smaller_and_gives_the_body_back() {
        let made = precompress(&text(), &header("content-type", "text/html"), &ALL, "\"abc\"");
        let names: Vec<_> = made.iter().map(|e| (e.encoding.name(), &*e.etag)).collect();
        assert_eq!(
            names,
            [("br", "\"abc-br\""), ("zstd", "\"abc-zstd\""), ("gzip", "\"abc-gzip\"")]
        );
        for e in &made {
            assert!(e.body.len() < text().len() / 2);
            assert_eq!(decode(e), text());
        }
    }

    #[test]
    fn only_what_is_wanted_is_made_and_once() {
        let made = precompress(&text(), &[], &[Encoding::Gzip, Encoding::Gzip], "\"abc\"");
        assert_eq!(made.len(), 1);
        assert_eq!(made[0].encoding, Encoding::Gzip);
        assert!(precompress(&text(), &[], &[], "\"abc\"").is_empty());
    }

    #[test]
    fn the_renders_own_etag_is_kept_in_mind() {
        for (own, derived) in
            [("\"v1\"", "\"v1-br\""), ("W/\"v1\"", "W/\"v1-br\""), ("", "\"abc-br\"")]
        {
            let made = precompress(&text(), &header("etag", own), &[Encoding::Br], "\"abc\"");
            assert_eq!(&*made[0].etag, derived);
        }
    }

    #[test]
    fn what_cannot_gain_is_left_plain() {
        let noise: Vec<u8> = (0..4096u32)
            .flat_map(|n| crate::http::etag_of(&n.to_be_bytes()).as_bytes()[1..3].to_vec())
            .collect();
        let random: Vec<u8> = noise
            .chunks(2)
            .map(|hex| u8::from_str_radix(std::str::from_utf8(hex).unwrap(), 16).unwrap())
            .collect();
        assert!(precompress(&random, &[], &ALL, "\"abc\"").is_empty(), "does not shrink");
        assert!(precompress(&[b'a'; 255], &[], &ALL, "\"abc\"").is_empty(), "too small");
        assert_eq!(precompress(&[b'a'; 256], &[], &ALL, "\"abc\"").len(), 3);
    }

    #[test]
    fn headers_decide() {
        let table = [
            ("content-type", "text/html; charset=utf-8", true),
            ("content-type", "application/json", true),
            ("content-type", "", true),
            ("content-type", "image/svg+xml", true),
            ("content-type", "Image/SVG+xml ; charset=utf-8", true),
            ("content-type", "font/ttf", true),
            ("content-type", "image/png", false),
            ("content-type", "IMAGE/JPEG", false),
            ("content-type", "video/mp4", false),
            ("content-type", "audio/ogg", false),
            ("content-type", "font/woff", false),
            ("content-type", "font/woff2", false),
            ("content-type", "application/zip", false),
            ("content-type", "application/gzip;x=y", false),
            ("content-encoding", "br", false),
            ("content-range", "bytes 0-9/10", false),
            ("repr-digest", "sha-256=:AA==:", false),
            ("cache-control", "public, No-Transform", false),
            ("cache-control", "public", true),
            ("x-a", "image/png", true),
        ];
        for (name, value, made) in table {
            let got = precompress(&text(), &header(name, value), &[Encoding::Gzip], "\"abc\"");
            assert_eq!(!got.is_empty(), made, "{name}: {value}");
        }
    }

    #[test]
    fn the_client_chooses() {
        let table = [
            (None, None),
            (Some(""), None),
            (Some("identity"), None),
            (Some("deflate"), None),
            (Some("gzip"), Some("gzip")),
            (Some("GZip"), Some("gzip")),
            (Some("x-gzip"), Some("gzip")),
            (Some("gzip, deflate, br, zstd"), Some("br")),
            (Some("gzip, zstd"), Some("zstd")),
            (Some("zstd;q=0.5, gzip;q=0.8"), Some("gzip")),
            (Some("br;q=0.8,gzip;q=0.8"), Some("br")),
            (Some("br;q=0.799,gzip;q=0.8"), Some("gzip")),
            (Some("br;q=0, gzip"), Some("gzip")),
            (Some("br;q=0.000"), None),
            (Some("*"), Some("br")),
            (Some("*;q=0"), None),
            (Some("br;q=0, *"), Some("zstd")),
            (Some("gzip;q=0.5, *;q=0"), Some("gzip")),
            (Some("identity;q=0"), None),
            (Some("identity;q=0, gzip;q=0.001"), Some("gzip")),
            (Some("identity, gzip;q=0.5"), None),
            (Some("identity;q=0.5, gzip;q=0.5"), Some("gzip")),
            (Some("br ; Q = 1.000 "), Some("br")),
            (Some("br;level=5;q=0.1, gzip;q=0.2"), Some("gzip")),
            (Some("gzip, gzip;q=0"), Some("gzip")),
            // A malformed weight is no wish.
            (Some("br;q=2, gzip"), Some("gzip")),
            (Some("br;q=1.001, gzip"), Some("gzip")),
            (Some("br;q=-1, gzip"), Some("gzip")),
            (Some("br;q=, gzip"), Some("gzip")),
            (Some("br;q=0.x, gzip"), Some("gzip")),
            (Some("gzip;q=0.33333"), Some("gzip")),
            (Some(";;,,;q=1,*;"), Some("br")),
        ];
        for (accept, chosen) in table {
            let kept = kept(&ALL);
            assert_eq!(choose(accept, &kept).map(|e| e.encoding.name()), chosen, "{accept:?}");
        }
    }

    #[test]
    fn only_what_is_kept_is_chosen() {
        let gzip = kept(&[Encoding::Gzip]);
        assert_eq!(choose(Some("br, gzip;q=0.1"), &gzip).map(|e| e.encoding), Some(Encoding::Gzip));
        assert!(choose(Some("br"), &gzip).is_none());
        // Anything else, the plain body among it, is liked better.
        assert!(choose(Some("gzip;q=0.5, *"), &gzip).is_none());
        assert!(choose(Some("gzip"), &[]).is_none());
    }

    proptest! {
        #[test]
        fn any_text_is_survived(accept in "\\PC*") {
            choose(Some(&accept), &kept(&ALL));
        }

        #[test]
        fn odd_weights_are_survived(accept in "((br|gzip|zstd|identity|\\*)[;, ]?(q=)?[-0-9.]{0,6}[;, ]?){0,6}") {
            choose(Some(&accept), &kept(&ALL));
        }

        #[test]
        fn what_is_refused_is_never_sent(refused in prop::sample::subsequence(ALL.to_vec(), 0..=3)) {
            let mut accept: Vec<_> = refused.iter().map(|e| format!("{};q=0", e.name())).collect();
            accept.push("*".into());
            let kept = kept(&ALL);
            let chosen = choose(Some(&accept.join(",")), &kept).map(|e| e.encoding);
            prop_assert!(chosen.is_none_or(|e| !refused.contains(&e)));
            prop_assert_eq!(chosen.is_none(), refused.len() == 3);
        }

        #[test]
        fn what_is_kept_gives_the_body_back(body in "[a-d\u{e9}]{0,600}") {
            for e in precompress(body.as_bytes(), &[], &ALL, "\"abc\"") {
                prop_assert!(e.body.len() < body.len());
                prop_assert_eq!(decode(&e), body.as_bytes());
            }
        }
    }
}

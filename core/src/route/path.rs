//! The canonical form of a path (semantics, section 2).

use std::borrow::Cow;

use crate::error::{Error, ErrorKind};

/// Bytes that a canonical path may have.
pub(super) const MAX_BYTES: usize = 2048;

/// A request target in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Canonical<'a> {
    /// The canonical path: the key.
    pub path: Cow<'a, str>,
    /// The raw query without `?`, if there was one; the fragment is dropped.
    pub query: Option<&'a str>,
}

/// Brings a request target (`/p/caf%C3%A9/?x=1#top`) into its canonical form (`/p/café`).
///
/// Borrows where nothing changes.
///
/// # Errors
/// `InvalidPath`; the text names the path and the rule.
pub fn canonical(target: &str) -> Result<Canonical<'_>, Error> {
    if let Some(path) = as_it_is(target) {
        return Ok(Canonical { path: Cow::Borrowed(path), query: None });
    }
    let (path, query) = split(target);
    match canonical_path(path) {
        Ok(path) => Ok(Canonical { path, query }),
        Err(rule) => Err(Error::new(
            ErrorKind::InvalidPath,
            format!("path {} is refused: {rule}", shown(target)),
        )),
    }
}

/// The common case: a path without query that is canonical but for a slash at its end. `None` decides nothing.
///
/// Two passes without branches, which compilers make into vector code: every hit goes through here.
fn as_it_is(target: &str) -> Option<&str> {
    let bytes = target.as_bytes();
    if bytes.len() > MAX_BYTES || bytes.first() != Some(&b'/') {
        return None;
    }
    let marked = bytes
        .iter()
        .fold(false, |m, &b| m | is_control(b) | (b == b'%') | (b == b'?') | (b == b'#'));
    // A slash or a dot after a slash: an empty segment, or one that may be "." or "..".
    let dotted = bytes
        .iter()
        .zip(&bytes[1..])
        .fold(false, |d, (&a, &b)| d | ((a == b'/') & ((b == b'/') | (b == b'.'))));
    if marked | dotted {
        return None;
    }
    Some(target.strip_suffix('/').filter(|path| !path.is_empty()).unwrap_or(target))
}

/// The path, and the query that lies between the first `?` and the first `#`.
pub(super) fn split(target: &str) -> (&str, Option<&str>) {
    let Some(end) = target.bytes().position(|b| b == b'?' || b == b'#') else {
        return (target, None);
    };
    let query = target[end..].strip_prefix('?').map(|q| q.split_once('#').map_or(q, |(q, _)| q));
    (&target[..end], query)
}

/// The canonical form of a path without query and fragment, or the rule that it breaks.
pub(super) fn canonical_path(path: &str) -> Result<Cow<'_, str>, &'static str> {
    if !path.starts_with('/') {
        return Err("it must start with \"/\"");
    }
    // A canonical byte has at most three raw ones (`%41`), and one slash may be dropped: longer text is not looked at.
    if path.len() > 3 * MAX_BYTES + 1 {
        return Err(TOO_LONG);
    }
    // Dropped before decoding: no encoded byte becomes a slash.
    let path = match path.strip_suffix('/') {
        Some("") | None => path,
        Some("/") => return Err(EMPTY_SEGMENT),
        Some(rest) => rest,
    };
    let decoded = if plain(path)? { Cow::Borrowed(path) } else { decode(path)? };
    if decoded.len() > MAX_BYTES {
        return Err(TOO_LONG);
    }
    if decoded != "/" {
        decoded[1..].split('/').try_for_each(check_segment)?;
    }
    Ok(decoded)
}

const TOO_LONG: &str = "its canonical form may have at most 2048 bytes";
const EMPTY_SEGMENT: &str = "a segment may not be empty (\"//\")";
const CONTROL: &str = "it may have no control byte (0x00 to 0x1F, 0x7F), raw or encoded";
const MALFORMED: &str = "\"%\" must be followed by two hexadecimal digits";
const NOT_UTF8: &str = "it must be UTF-8 after percent-decoding";

fn check_segment(segment: &str) -> Result<(), &'static str> {
    match segment {
        "" => Err(EMPTY_SEGMENT),
        "." | ".." => Err("a segment may not be \".\" or \"..\", raw or encoded"),
        _ => Ok(()),
    }
}

fn is_control(byte: u8) -> bool {
    (byte < 0x20) | (byte == 0x7f)
}

/// Delimiters that mean something else when they stand for themselves, so that they stay encoded.
fn is_reserved(byte: u8) -> bool {
    matches!(byte, b'/' | b'?' | b'#' | b'%')
}

/// Whether there is nothing to decode.
fn plain(path: &str) -> Result<bool, &'static str> {
    let mut plain = true;
    for b in path.bytes() {
        if is_control(b) {
            return Err(CONTROL);
        }
        plain &= b != b'%';
    }
    Ok(plain)
}

/// Decodes once, all but the reserved delimiters, whose digits become upper-case.
fn decode(path: &str) -> Result<Cow<'_, str>, &'static str> {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        if first != b'%' {
            out.push(first);
            continue;
        }
        let [high, low, tail @ ..] = tail else { return Err(MALFORMED) };
        let byte = hex(*high).zip(hex(*low)).map(|(h, l)| h << 4 | l).ok_or(MALFORMED)?;
        rest = tail;
        if is_control(byte) {
            return Err(CONTROL);
        }
        if is_reserved(byte) {
            out.extend([b'%', high.to_ascii_uppercase(), low.to_ascii_uppercase()]);
        } else {
            out.push(byte);
        }
    }
    if out == bytes {
        return Ok(Cow::Borrowed(path));
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| NOT_UTF8)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|d| d as u8)
}

/// One segment's text as it stands in a canonical path.
pub(super) fn encode_segment(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '/' => out.push_str("%2F"),
            '?' => out.push_str("%3F"),
            '#' => out.push_str("%23"),
            '%' => out.push_str("%25"),
            c => out.push(c),
        }
    }
    out
}

/// The text of one segment of a canonical path: the opposite of [`encode_segment`].
pub(super) fn decode_segment(segment: &str) -> String {
    let mut parts = segment.split('%');
    let mut out = String::with_capacity(segment.len());
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        // In a canonical path only these four are encoded.
        let (code, rest) = part.split_at_checked(2).unwrap_or((part, ""));
        out.push(match code {
            "2F" => '/',
            "3F" => '?',
            "23" => '#',
            _ => '%',
        });
        out.push_str(rest);
    }
    out
}

/// A text for an error's message: quoted, escaped, and shortened if long.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 100;
    if text.len() <= LONGEST {
        return format!("{text:?}");
    }
    let start: String = text.chars().take(LONGEST / 2).collect();
    format!("{start:?}... ({} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn path(target: &str) -> String {
        canonical(target).unwrap().path.into_owned()
    }

    fn refused(target: &str, rule: &str) {
        let e = canonical(target).unwrap_err();
        assert_eq!(e.kind(), ErrorKind::InvalidPath, "{target}");
        assert!(e.message().contains(rule), "{target}: {e}");
    }

    #[test]
    fn folds_what_means_the_same() {
        for (from, to) in [
            ("/", "/"),
            ("/?a", "/"),
            ("/#a", "/"),
            ("/a", "/a"),
            ("/a/", "/a"),
            ("/a/?x#y", "/a"),
            ("/a/b/", "/a/b"),
            ("/caf%C3%A9", "/café"),
            ("/caf%c3%a9", "/café"),
            ("/café", "/café"),
            ("/%41%62", "/Ab"),
            ("/a%2fb", "/a%2Fb"),
            ("/a%2F", "/a%2F"),
            ("/%2F", "/%2F"),
            ("/a%3fb%23c%25d", "/a%3Fb%23c%25d"),
            ("/a%252e", "/a%252e"),
            ("/a%20b", "/a b"),
            ("/a b", "/a b"),
            ("/a+b", "/a+b"),
            ("/%5Bid%5D", "/[id]"),
            ("/a%5C..", "/a\\.."),
            ("/...", "/..."),
            ("/.a/b.", "/.a/b."),
            ("/%C2%85", "/\u{85}"),
        ] {
            assert_eq!(path(from), to, "{from}");
        }
    }

    #[test]
    fn borrows_what_is_canonical() {
        for p in ["/", "/a/b?x", "/a/", "/café", "/a%2Fb", "/%25"] {
            assert!(matches!(canonical(p).unwrap().path, Cow::Borrowed(_)), "{p}");
        }
    }

    #[test]
    fn query_is_between_the_marks() {
        for (target, query) in [
            ("/a", None),
            ("/a?", Some("")),
            ("/a?x=1", Some("x=1")),
            ("/a?x=1?y", Some("x=1?y")),
            ("/a?x=1#y?z", Some("x=1")),
            ("/a#y?z", None),
            ("/a?#", Some("")),
        ] {
            assert_eq!(canonical(target).unwrap().query, query, "{target}");
        }
    }

    #[test]
    fn refuses_by_rule() {
        for target in ["", "a", "?", "#", "?/a", "%2Fa", "*", "http://x/"] {
            refused(target, "must start");
        }
        for target in ["//", "/a//", "//a", "/a//b", "///"] {
            refused(target, "empty");
        }
        for target in ["/.", "/..", "/./", "/../a", "/a/..", "/a/%2e", "/%2E./a", "/a/.%2e/b"] {
            refused(target, "\"..\"");
        }
        for target in ["/a\0", "/\u{1f}", "/\u{7f}", "/%00", "/a%0a", "/%1F", "/%7f"] {
            refused(target, "control");
        }
        for target in ["/%", "/%4", "/%g1", "/%1g", "/a%", "/%%41", "/%é", "/%+1"] {
            refused(target, "two hexadecimal digits");
        }
        for target in ["/%FF", "/%C3", "/%C3/%A9", "/%A9", "/%C0%AF", "/%ED%A0%80", "/%C3é"] {
            refused(target, "UTF-8");
        }
    }

    #[test]
    fn length_is_that_of_the_canonical_form() {
        let longest = "a".repeat(MAX_BYTES - 1);
        assert_eq!(path(&format!("/{longest}")).len(), MAX_BYTES);
        assert_eq!(path(&format!("/{longest}/?{longest}#{longest}")).len(), MAX_BYTES);
        assert_eq!(path(&format!("/{}/", "%61".repeat(MAX_BYTES - 1))).len(), MAX_BYTES);
        refused(&format!("/{longest}a"), "2048");
        refused(&format!("/{}", "é".repeat(1024)), "2048");
        refused(&"/a".repeat(1 << 20), "2048");
    }

    #[test]
    fn messages_name_the_path() {
        let text = |t: &str| canonical(t).unwrap_err().message().to_string();
        assert!(text("/a\0b").contains("\"/a\\0b\""));
        let long = text(&format!("/{}", "é".repeat(4000)));
        assert!(
            long.contains("/éé") && long.contains("(8001 bytes)") && long.len() < 300,
            "{long}"
        );
    }

    #[test]
    fn segments_encode_and_decode() {
        for (text, segment) in
            [("x/y", "x%2Fy"), ("?#%", "%3F%23%25"), ("%2F", "%252F"), ("é", "é")]
        {
            assert_eq!(encode_segment(text), segment);
            assert_eq!(decode_segment(segment), text);
        }
    }

    /// Text in which the marks of paths are frequent.
    fn target() -> impl Strategy<Value = String> {
        let bit = prop_oneof![
            Just("/".to_string()),
            Just(".".to_string()),
            Just("%".to_string()),
            Just("%2e".to_string()),
            Just("%2f".to_string()),
            Just("%C3%A9".to_string()),
            Just("?".to_string()),
            Just("#".to_string()),
            "[a-z0-9é\\[\\]]{1,3}",
            "%[0-9a-fA-F]{2}",
        ];
        prop::collection::vec(bit, 0..12).prop_map(|bits| format!("/{}", bits.concat()))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn never_panics(text in any::<String>()) {
            let _ = canonical(&text);
            let _ = canonical(&format!("/{text}"));
        }

        #[test]
        fn the_short_way_agrees_with_the_long_one(target in target()) {
            if let Some(path) = as_it_is(&target) {
                let (long, query) = split(&target);
                prop_assert_eq!(canonical_path(long), Ok(Cow::Borrowed(path)));
                prop_assert!(query.is_none());
            }
        }

        #[test]
        fn is_idempotent(target in target()) {
            if let Ok(first) = canonical(&target) {
                let second = canonical(&first.path).unwrap();
                prop_assert_eq!(&first.path, &second.path);
                prop_assert!(second.query.is_none());
                prop_assert!(matches!(second.path, Cow::Borrowed(_)));
                prop_assert!(first.path.bytes().all(|b| !is_control(b)));
            }
        }

        #[test]
        fn any_text_survives_as_a_segment(text in any::<String>()) {
            prop_assert_eq!(decode_segment(&encode_segment(&text)), text);
        }
    }
}

//! Header fields of a render's result: checked on the way in, names in lower case.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use crate::error::Error;

/// What may not stand in a URI, beside what is not ASCII.
const NO_URI_BYTE: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'<')
    .add(b'>')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

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

/// They belong to a connection, not to a page.
const HOP_BY_HOP: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The library says these itself.
const OURS: &[&str] = &["age", "content-length", "x-isr-cache", "cache-status"];

/// No server takes as many; a page counts the length of its fields in 32 bits.
const MAX_FIELDS_BYTES: usize = 16 << 20;

/// Checks and normalises fields: names are tokens (lower-cased), values have no control byte but TAB (surrounding white
/// space is cut), no hop-by-hop header. Dropped: `age`, `content-length`, `x-isr-cache`, `cache-status` (the library's own).
///
/// # Errors
/// `Render`; the text names the header and the rule.
pub(crate) fn check_fields(headers: Vec<(String, String)>) -> Result<Fields, Error> {
    let mut fields = Fields::with_capacity(headers.len());
    let bytes: usize = headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > MAX_FIELDS_BYTES {
        let rule =
            format!("its headers may have at most {MAX_FIELDS_BYTES} bytes in all; got {bytes}");
        return Err(Error::render(format!("invalid page: {rule}"), None));
    }
    for (mut name, value) in headers {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(wrong(
                &name,
                "a header name must be a token: letters, digits and !#$%&'*+-.^_`|~",
            ));
        }
        name.make_ascii_lowercase();
        if let Some(at) = value.bytes().position(is_forbidden) {
            let byte = value.as_bytes()[at];
            return Err(wrong(
                &name,
                &format!(
                    "a header value must have no control byte but TAB; byte {at} is 0x{byte:02x}"
                ),
            ));
        }
        if HOP_BY_HOP.contains(&name.as_str()) {
            return Err(wrong(&name, "hop-by-hop headers are set by the server, not by a page"));
        }
        if !OURS.contains(&name.as_str()) {
            fields.push((name.into(), trim(&value).into()));
        }
    }
    Ok(fields)
}

/// Brings `location` into the form of a URI reference (RFC 3986, 2.1): params are decoded, so that a redirect to one may have
/// spaces and letters beyond ASCII. What is encoded already, and what delimits, stays.
pub(crate) fn encode_location(fields: &mut Fields) {
    for (_, value) in fields.iter_mut().filter(|(n, _)| &**n == "location") {
        if let Cow::Owned(encoded) = utf8_percent_encode(value, NO_URI_BYTE).into() {
            *value = encoded.into();
        }
    }
}

/// Whether a result with these fields may be stored (section 7). `declared` are the lower-case request headers that are the
/// sources of variants.
pub(crate) fn privacy(fields: &Fields, declared: &[Box<str>]) -> Privacy {
    let personal = fields.iter().any(|(name, value)| match &**name {
        "set-cookie" => true,
        "cache-control" => directives(value)
            .any(|d| d.eq_ignore_ascii_case("private") || d.eq_ignore_ascii_case("no-store")),
        "vary" => members(value).any(|named| {
            !named.eq_ignore_ascii_case("accept-encoding")
                && !declared.iter().any(|d| named.eq_ignore_ascii_case(d))
        }),
        _ => false,
    });
    if personal { Privacy::Personal } else { Privacy::Public }
}

/// The names of the directives in a `cache-control` value (RFC 9111, 5.2), arguments cut off.
pub(super) fn directives(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = value;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let (directive, after) = rest.split_at(directive_end(rest));
            rest = after.strip_prefix(',').unwrap_or(after);
            let name = trim(directive.split_once('=').map_or(directive, |(name, _)| name));
            if !name.is_empty() {
                return Some(name);
            }
        }
    })
}

/// The next comma outside of a quoted string, or the end. A quote that does not end is an ordinary character: what follows
/// it must not be hidden.
fn directive_end(list: &str) -> usize {
    let bytes = list.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b',' => return at,
            b'"' => at = quoted_end(bytes, at).unwrap_or(at + 1),
            _ => at += 1,
        }
    }
    list.len()
}

/// The position after the quoted string that begins at `open`.
fn quoted_end(bytes: &[u8], open: usize) -> Option<usize> {
    let mut at = open + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
    None
}

/// The members of a comma-separated list of tokens.
pub(super) fn members(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(trim).filter(|m| !m.is_empty())
}

/// Cuts the white space that HTTP knows.
pub(super) fn trim(s: &str) -> &str {
    s.trim_matches([' ', '\t'])
}

fn is_token(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b)
}

fn is_forbidden(b: u8) -> bool {
    b.is_ascii_control() && b != b'\t'
}

fn wrong(name: &str, rule: &str) -> Error {
    Error::render(format!("invalid page: header \"{}\": {rule}", name.escape_debug()), None)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn check(name: &str, value: &str) -> Result<Fields, Error> {
        check_fields(vec![(name.into(), value.into())])
    }

    fn fields(list: &[(&str, &str)]) -> Fields {
        list.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect()
    }

    #[test]
    fn too_many_bytes_of_headers_are_refused() {
        let of = |len: usize| check("x-a", &"a".repeat(len));
        assert!(of(MAX_FIELDS_BYTES - 3).is_ok());
        let error = of(MAX_FIELDS_BYTES - 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Render);
        assert!(
            error.message().ends_with("at most 16777216 bytes in all; got 16777217"),
            "{error}"
        );
    }

    #[test]
    fn names_are_lowered_values_trimmed_and_order_kept() {
        let got = check_fields(vec![
            ("X-B".into(), " \tb c\t ".into()),
            ("x-a".into(), String::new()),
            ("X-b".into(), "caf\u{e9}\tau lait".into()),
        ]);
        assert_eq!(
            got.unwrap(),
            fields(&[("x-b", "b c"), ("x-a", ""), ("x-b", "caf\u{e9}\tau lait")])
        );
    }

    #[test]
    fn our_own_headers_are_dropped_but_checked() {
        for name in ["Age", "content-length", "X-ISR-Cache", "cache-status"] {
            assert_eq!(check(name, "1").unwrap(), fields(&[]), "{name}");
            assert!(check(name, "1\r\nx: y").is_err(), "{name}");
        }
    }

    #[test]
    fn what_is_no_http_field_is_an_error_that_names_it() {
        let table = [
            ("", "v", "token"),
            ("a b", "v", "token"),
            ("a:", "v", "token"),
            ("a\r\nb", "v", "token"),
            ("caf\u{e9}", "v", "token"),
            ("x-a", "a\rb", "0x0d"),
            ("x-a", "a\n", "0x0a"),
            ("x-a", "\0", "0x00"),
            ("x-a", "\u{7f}", "0x7f"),
            ("x-a", "a\u{1b}b", "byte 1 is 0x1b"),
            ("Connection", "close", "hop-by-hop"),
            ("keep-alive", "timeout=5", "hop-by-hop"),
            ("Proxy-Connection", "close", "hop-by-hop"),
            ("TE", "trailers", "hop-by-hop"),
            ("trailer", "x", "hop-by-hop"),
            ("Transfer-Encoding", "chunked", "hop-by-hop"),
            ("upgrade", "h2c", "hop-by-hop"),
        ];
        for (name, value, rule) in table {
            let error = check(name, value).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Render, "{name}");
            let text = error.message();
            assert!(text.contains(rule), "{text}");
            assert!(text.contains(&name.to_ascii_lowercase().escape_debug().to_string()), "{text}");
            assert!(!text.contains(['\r', '\n', '\0']), "{text:?}");
        }
    }

    #[test]
    fn trailers_are_not_te() {
        assert_eq!(check("x-te", "v").unwrap().len(), 1);
    }

    #[test]
    fn what_is_personal() {
        let personal = [
            ("set-cookie", "s=1"),
            ("set-cookie", ""),
            ("cache-control", "private"),
            ("cache-control", "max-age=5, Private"),
            ("cache-control", "NO-STORE"),
            ("cache-control", "private=\"x-a, x-b\""),
            ("cache-control", "Private = \"x\""),
            ("cache-control", ",,\t no-store ,"),
            ("cache-control", "ext=\"a\\\"b\", private"),
            ("cache-control", "ext=\"open, private"),
            ("vary", "*"),
            ("vary", "cookie"),
            ("vary", "accept-encoding, Cookie"),
            ("vary", "accept-language, *"),
        ];
        let public = [
            ("cache-control", ""),
            ("cache-control", "public, max-age=5"),
            ("cache-control", "no-cache"),
            ("cache-control", "privately, x-private, no-storex"),
            ("cache-control", "ext=\"private, no-store\""),
            ("cache-control", "ext=\"a\\\", private, b\""),
            ("cache-control", "ext=private"),
            ("vary", ""),
            ("vary", "Accept-Encoding"),
            ("vary", "ACCEPT-LANGUAGE , accept-encoding,"),
            ("x-vary", "cookie"),
            ("x-set-cookie", "s=1"),
        ];
        let declared = ["accept-language".into()];
        for (expected, table) in
            [(Privacy::Personal, &personal[..]), (Privacy::Public, &public[..])]
        {
            for (name, value) in table {
                let all = fields(&[("x-first", "1"), (name, value)]);
                assert_eq!(privacy(&all, &declared), expected, "{name}: {value}");
            }
        }
        assert_eq!(privacy(&fields(&[("vary", "accept-language")]), &[]), Privacy::Personal);
        assert_eq!(privacy(&fields(&[]), &[]), Privacy::Public);
    }

    proptest! {
        #[test]
        fn what_passes_is_clean(headers in prop::collection::vec((any::<String>(), any::<String>()), 0..4)) {
            for (name, value) in check_fields(headers).unwrap_or_default() {
                prop_assert!(!name.is_empty() && name.bytes().all(|b| is_token(b) && !b.is_ascii_uppercase()));
                prop_assert!(!value.bytes().any(is_forbidden));
                prop_assert_eq!(trim(&value), &*value);
            }
        }

        #[test]
        fn plain_fields_pass(name in "x-[a-zA-Z0-9]{1,8}", value in "[\t -~\u{80}-\u{ff}]{0,16}") {
            let passed = check(&name, &value).unwrap();
            prop_assert_eq!(&*passed[0].0, name.to_ascii_lowercase());
            prop_assert_eq!(&*passed[0].1, trim(&value));
        }

        #[test]
        fn any_value_is_survived(value in "([\",=\\\\ ]|private|no-store|[\\PC]){0,12}", named in "\\PC*") {
            privacy(&fields(&[("cache-control", &value), ("vary", &named)]), &[]);
        }

        #[test]
        fn a_plain_list_is_split(names in prop::collection::vec("[a-z-]{1,8}", 0..6)) {
            let list = names.join(" ,\t");
            prop_assert_eq!(directives(&list).collect::<Vec<_>>(), names.clone());
            prop_assert_eq!(members(&list).collect::<Vec<_>>(), names);
        }
    }
}

use proptest::prelude::*;

use super::*;
use crate::http::encoding::{Encoding, precompress};
use crate::http::fields::{Fields, check_fields};
use crate::http::packed::{PackedFields, pack};

/// A page and the circumstances of one answer, owned; the default is a young hit.
#[derive(Debug)]
struct Case {
    status: u16,
    fields: Fields,
    body: Vec<u8>,
    etag: String,
    encoded: Vec<Encoded>,
    vary: Vec<Box<str>>,
    revalidate: Lifetime,
    expire: Lifetime,
    word: CacheWord,
    stored: bool,
    invalidated: bool,
    age: Lifetime,
}

impl Default for Case {
    fn default() -> Case {
        Case {
            status: 200,
            fields: Fields::new(),
            body: b"hello".to_vec(),
            etag: "\"e\"".into(),
            encoded: Vec::new(),
            vary: Vec::new(),
            revalidate: secs(60.0),
            expire: Lifetime::YEAR,
            word: CacheWord::Hit,
            stored: true,
            invalidated: false,
            age: Lifetime::ZERO,
        }
    }
}

impl Case {
    fn word(word: CacheWord) -> Case {
        let etag = if word == CacheWord::Bypass { String::new() } else { "\"e\"".into() };
        Case { word, etag, ..Case::default() }
    }

    fn own(mut self, name: &str, value: &str) -> Case {
        self.fields.push((name.into(), value.into()));
        self
    }

    /// Keeps the body, made long enough, in all encodings.
    fn precompressed(mut self) -> Case {
        self.body = b"hello ".repeat(100);
        let all = [Encoding::Br, Encoding::Gzip, Encoding::Zstd];
        self.encoded = precompress(&self.body, &self.fields, &all, &self.etag);
        assert_eq!(self.encoded.len(), 3);
        self
    }

    fn head(&self, conditions: Conditions<'_>) -> Head<'_> {
        // As long as the test, which is short.
        let mut packed = Vec::new();
        pack(&self.fields, &mut packed);
        let facts = Facts {
            status: self.status,
            fields: PackedFields(packed.leak()),
            body: &self.body,
            etag: &self.etag,
            encoded: &self.encoded,
            vary: &self.vary,
            revalidate: self.revalidate,
            expire: self.expire,
            word: self.word,
            stored: self.stored,
            invalidated: self.invalidated,
            age: self.age,
        };
        head(&facts, &conditions)
    }

    fn plain(&self) -> Head<'_> {
        self.head(Conditions::default())
    }

    fn if_none_match(&self, header: &str) -> Head<'_> {
        self.head(Conditions { if_none_match: Some(header), ..Conditions::default() })
    }

    fn accepting(&self, encodings: &str) -> Head<'_> {
        self.head(Conditions { accept_encoding: Some(encodings), ..Conditions::default() })
    }
}

impl Head<'_> {
    /// The value of the one header of this name; fails where there are several.
    fn get(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(n, _)| n == name);
        let first = found.next().map(|(_, v)| &**v);
        assert!(found.next().is_none(), "{name} is there twice: {:?}", self.headers);
        first
    }

    fn names(&self) -> Vec<&str> {
        self.headers.iter().map(|(n, _)| &**n).collect()
    }
}

fn secs(s: f64) -> Lifetime {
    Lifetime::from_secs_f64("test", s).unwrap()
}

const NEVER: Lifetime = Lifetime::NEVER;
const YEAR_AHEAD: &str = "s-maxage=60, stale-while-revalidate=31535940";
const WORDS_OF_A_PAGE: [CacheWord; 5] = [
    CacheWord::Hit,
    CacheWord::Stale,
    CacheWord::Miss,
    CacheWord::Revalidated,
    CacheWord::StaleError,
];

#[test]
fn cache_control_follows_from_revalidate_and_expire() {
    let table = [
        (secs(60.0), Lifetime::YEAR, YEAR_AHEAD),
        (secs(60.0), secs(100.0), "s-maxage=60, stale-while-revalidate=40"),
        (secs(60.0), secs(60.0), "s-maxage=60"),
        (secs(60.0), secs(10.0), "s-maxage=60"),
        (secs(60.0), NEVER, "s-maxage=60"),
        (NEVER, NEVER, "s-maxage=31536000"),
        (NEVER, secs(100.0), "s-maxage=31536000"),
        (secs(1.5), secs(10.5), "s-maxage=2, stale-while-revalidate=9"),
        (secs(1.5), secs(10.25), "s-maxage=2, stale-while-revalidate=9"),
        (secs(0.001), secs(0.002), "s-maxage=1, stale-while-revalidate=1"),
        (secs(100_000_000.0), Lifetime::YEAR, "s-maxage=100000000"),
    ];
    for (revalidate, expire, expected) in table {
        // The same for all who get the page, however old it is.
        for word in [CacheWord::Hit, CacheWord::Stale, CacheWord::Miss, CacheWord::Revalidated] {
            let case = Case { revalidate, expire, age: secs(70.0), ..Case::word(word) };
            assert_eq!(
                case.plain().get("cache-control"),
                Some(expected),
                "{word:?} {revalidate:?} {expire:?}"
            );
        }
    }
}

#[test]
fn the_renders_own_cache_control_wins_where_the_page_may_be_held() {
    let own = |case: Case| case.own("cache-control", "public, max-age=5");
    for word in WORDS_OF_A_PAGE {
        let expected =
            if word == CacheWord::StaleError { "s-maxage=1" } else { "public, max-age=5" };
        assert_eq!(own(Case::word(word)).plain().get("cache-control"), Some(expected), "{word:?}");
        let case = own(Case { invalidated: true, ..Case::word(word) });
        assert_eq!(case.plain().get("cache-control"), Some("s-maxage=1"), "{word:?}");
    }
    let never = own(Case { revalidate: NEVER, ..Case::default() });
    assert_eq!(never.plain().get("cache-control"), Some("public, max-age=5"));
    let twice = own(Case::default()).own("cache-control", "").own("cache-control", "no-transform");
    assert_eq!(twice.plain().get("cache-control"), Some("public, max-age=5, no-transform"));
    let empty = Case::default().own("cache-control", "");
    assert_eq!(empty.plain().get("cache-control"), Some(YEAR_AHEAD));
}

#[test]
fn a_bypass_is_never_held_and_has_nothing_of_the_store() {
    let private = "private, no-cache, no-store, max-age=0, must-revalidate";
    let case = Case { invalidated: true, ..Case::word(CacheWord::Bypass) };
    assert_eq!(case.plain().names(), ["cache-control", "cache-status", "x-isr-cache"]);
    for case in [case, Case::word(CacheWord::Bypass).own("cache-control", "public, max-age=5")] {
        let head = case.plain();
        assert_eq!(head.get("cache-control"), Some(private));
        assert_eq!(head.get("cache-status"), Some("libisr; fwd=bypass"));
        assert_eq!(head.get("x-isr-cache"), Some("BYPASS"));
        assert_eq!((head.get("age"), head.get("etag")), (None, None));
    }
    // Not even if it carries what a stored page has.
    let stray = Case { word: CacheWord::Bypass, ..Case::default() }.precompressed();
    let head = stray.accepting("br");
    assert_eq!((head.get("etag"), head.get("content-encoding")), (None, None));
    assert_eq!(head.body, stray.body);
}

#[test]
fn age_is_in_whole_seconds() {
    for word in WORDS_OF_A_PAGE {
        for (age, expected) in
            [(0.0, "0"), (0.999, "0"), (12.9, "12"), (20.0, "20"), (1e9, "1000000000")]
        {
            let case = Case { age: secs(age), ..Case::word(word) };
            assert_eq!(case.plain().get("age"), Some(expected), "{word:?}");
        }
    }
}

#[test]
fn cache_status_and_x_isr_cache_say_what_happened() {
    use CacheWord::*;
    let table = [
        (Hit, secs(60.0), 0.0, true, "libisr; hit; ttl=60", "HIT"),
        (Hit, secs(60.0), 20.0, true, "libisr; hit; ttl=40", "HIT"),
        (Hit, secs(60.0), 20.5, true, "libisr; hit; ttl=39", "HIT"),
        (Hit, secs(60.0), 60.0, true, "libisr; hit; ttl=0", "HIT"),
        (Hit, secs(1.5), 0.0, true, "libisr; hit; ttl=1", "HIT"),
        (Hit, NEVER, 20.0, true, "libisr; hit", "HIT"),
        (Stale, secs(60.0), 75.0, true, "libisr; hit; ttl=-15; detail=stale", "STALE"),
        (Stale, secs(60.0), 60.5, true, "libisr; hit; ttl=-1; detail=stale", "STALE"),
        (Stale, secs(60.0), 61.0, true, "libisr; hit; ttl=-1; detail=stale", "STALE"),
        // Young, but invalidated; or from the future.
        (Stale, secs(60.0), 20.0, true, "libisr; hit; ttl=0; detail=stale", "STALE"),
        (Stale, secs(60.0), 60.0, true, "libisr; hit; ttl=0; detail=stale", "STALE"),
        (Stale, NEVER, 20.0, true, "libisr; hit; detail=stale", "STALE"),
        (Miss, secs(60.0), 0.0, true, "libisr; fwd=uri-miss; stored", "MISS"),
        (Miss, NEVER, 0.0, false, "libisr; fwd=uri-miss", "MISS"),
        (Revalidated, secs(60.0), 0.0, true, "libisr; fwd=stale; stored", "REVALIDATED"),
        (Revalidated, secs(60.0), 0.0, false, "libisr; fwd=stale", "REVALIDATED"),
        (StaleError, secs(60.0), 75.0, true, "libisr; hit; detail=stale-error", "STALE-ERROR"),
        (StaleError, NEVER, 75.0, true, "libisr; hit; detail=stale-error", "STALE-ERROR"),
        (Bypass, secs(60.0), 0.0, false, "libisr; fwd=bypass", "BYPASS"),
        (Bypass, NEVER, 0.0, true, "libisr; fwd=bypass", "BYPASS"),
    ];
    for (word, revalidate, age, stored, status, isr) in table {
        let case = Case { revalidate, age: secs(age), stored, ..Case::word(word) };
        let head = case.plain();
        assert_eq!(head.get("cache-status"), Some(status));
        assert_eq!(head.get("x-isr-cache"), Some(isr));
    }
}

#[test]
fn the_longest_times_are_survived() {
    let age = Lifetime::from_nanos(u64::MAX);
    for revalidate in [Lifetime::ZERO, age, NEVER] {
        for word in WORDS_OF_A_PAGE {
            let case = Case { age, revalidate, expire: age, ..Case::word(word) };
            assert_eq!(case.plain().get("age"), Some("18446744073"));
        }
    }
}

#[test]
fn the_renders_own_headers_come_first_in_their_order() {
    let case = Case::default()
        .own("content-type", "text/html")
        .own("vary", "accept-encoding")
        .own("x-b", "1")
        .own("cache-control", "public")
        .own("x-a", "2")
        .own("x-b", "3");
    let head = case.plain();
    let ours = ["cache-control", "etag", "age", "vary", "cache-status", "x-isr-cache"];
    assert_eq!(head.names(), [&["content-type", "x-b", "x-a", "x-b"][..], &ours].concat());
    assert_eq!((head.status, head.body, head.content_length), (200, &b"hello"[..], 5));
}

#[test]
fn vary_is_the_declared_and_the_renders_own() {
    let table: [(&[&str], &[&str], Option<&str>); 9] = [
        (&[], &[], None),
        (&[], &["", " , "], None),
        (&["accept-language"], &[], Some("accept-language")),
        (&["accept-language", "x-theme"], &[], Some("accept-language, x-theme")),
        (&[], &["Accept-Encoding"], Some("accept-encoding")),
        (
            &["accept-language"],
            &["Accept-Language, accept-encoding"],
            Some("accept-language, accept-encoding"),
        ),
        (&["x-theme", "x-theme"], &["x-a", "X-A,,x-theme , x-b"], Some("x-theme, x-a, x-b")),
        (&["x-theme"], &["*"], Some("*")),
        (&[], &["x-a, *"], Some("*")),
    ];
    for (declared, own, expected) in table {
        for word in CacheWord::ALL {
            let vary = declared.iter().map(|&d| d.into()).collect();
            let case = own.iter().fold(Case { vary, ..Case::word(*word) }, |c, v| c.own("vary", v));
            assert_eq!(case.plain().get("vary"), expected, "{declared:?} {own:?}");
        }
    }
}

#[test]
fn if_none_match_gives_304_without_a_body() {
    let case = Case { age: secs(5.0), vary: vec!["x-theme".into()], ..Case::default() }
        .own("content-type", "text/html")
        .own("date", "Tue, 14 Nov 2023 22:13:20 GMT")
        .own("expires", "0")
        .own("content-location", "/p")
        .own("last-modified", "Tue, 14 Nov 2023 22:13:20 GMT");
    for header in ["\"e\"", "W/\"e\"", "\"x\", \"e\"", "*"] {
        let head = case.if_none_match(header);
        assert_eq!((head.status, head.body, head.content_length), (304, &b""[..], 0), "{header}");
        let kept = ["date", "expires", "content-location"];
        let ours = ["cache-control", "etag", "age", "vary", "cache-status", "x-isr-cache"];
        assert_eq!(head.names(), [&kept[..], &ours].concat());
        assert_eq!(head.get("etag"), Some("\"e\""));
        assert_eq!(head.get("age"), Some("5"));
        assert_eq!(head.get("cache-control"), Some(YEAR_AHEAD));
        assert_eq!(head.get("cache-status"), Some("libisr; hit; ttl=55"));
    }
    let other = case.if_none_match("\"other\"");
    assert_eq!((other.status, other.body), (200, &b"hello"[..]));
}

#[test]
fn only_a_200_becomes_a_304() {
    for status in [203, 301, 404, 410] {
        let case = Case { status, ..Case::default() };
        let head = case.if_none_match("*");
        assert_eq!((head.status, head.body), (status, &b"hello"[..]));
    }
}

#[test]
fn the_renders_own_etag_wins() {
    let case = Case::default().own("etag", "\"own\"").own("etag", "\"second\"");
    assert_eq!(case.plain().get("etag"), Some("\"own\""));
    assert_eq!(case.if_none_match("\"own\"").status, 304);
    assert_eq!(case.if_none_match("\"e\"").status, 200);
    assert_eq!(Case::default().own("etag", "").plain().get("etag"), Some("\"e\""));
}

#[test]
fn a_bypass_is_304_only_by_its_own_etag() {
    let without = Case::word(CacheWord::Bypass);
    assert_eq!(without.if_none_match("*").status, 200);
    assert_eq!(without.if_none_match("\"e\"").status, 200);
    let case = Case::word(CacheWord::Bypass).own("etag", "\"own\"").own("set-cookie", "s=1");
    for header in ["\"own\"", "*"] {
        let head = case.if_none_match(header);
        assert_eq!((head.status, head.content_length), (304, 0));
        assert_eq!(
            head.names(),
            ["set-cookie", "cache-control", "etag", "cache-status", "x-isr-cache"]
        );
    }
    assert_eq!(case.if_none_match("\"e\"").status, 200);
}

#[test]
fn a_head_request_gets_the_length_but_no_body() {
    let head_of = |case: &Case, accept, none_match| {
        let got = case.head(Conditions {
            is_head: true,
            if_none_match: none_match,
            accept_encoding: accept,
        });
        assert!(got.body.is_empty());
        (got.status, got.content_length)
    };
    let case = Case::default().precompressed();
    assert_eq!(head_of(&case, None, None), (200, 600));
    assert_eq!(head_of(&case, Some("gzip"), None), (200, case.accepting("gzip").body.len()));
    assert_eq!(head_of(&case, None, Some("\"e\"")), (304, 0));
    let plain = Case::default();
    let get: Vec<_> = plain.plain().headers;
    assert_eq!(plain.head(Conditions { is_head: true, ..Conditions::default() }).headers, get);
}

#[test]
fn each_encoding_has_its_own_etag_and_vary_says_so() {
    let case = Case { vary: vec!["x-theme".into()], ..Case::default() }.precompressed();
    for (accept, encoding, etag) in [
        ("br, gzip", Some("br"), "\"e-br\""),
        ("gzip", Some("gzip"), "\"e-gzip\""),
        ("zstd, gzip", Some("zstd"), "\"e-zstd\""),
        ("identity", None, "\"e\""),
    ] {
        let head = case.accepting(accept);
        assert_eq!(head.get("content-encoding"), encoding);
        assert_eq!(head.get("etag"), Some(etag));
        assert_eq!(head.get("vary"), Some("x-theme, accept-encoding"));
        assert_eq!(head.content_length, head.body.len());
        assert_eq!(head.body == case.body, encoding.is_none());

        let both =
            Conditions { if_none_match: Some(etag), accept_encoding: Some(accept), is_head: false };
        let not_modified = case.head(both);
        assert_eq!((not_modified.status, not_modified.content_length), (304, 0));
        assert_eq!(not_modified.get("etag"), Some(etag));
        assert_eq!(not_modified.get("vary"), Some("x-theme, accept-encoding"));
        assert_eq!(not_modified.get("content-encoding"), None);
    }
    // Another encoding's etag is another representation's.
    let other = Conditions {
        if_none_match: Some("\"e-gzip\", \"e\""),
        accept_encoding: Some("br"),
        is_head: false,
    };
    assert_eq!(case.head(other).status, 200);
    let own = Case::default().own("etag", "\"own\"").precompressed();
    assert_eq!(own.accepting("br").get("etag"), Some("\"own-br\""));
    assert_eq!(own.plain().get("etag"), Some("\"own\""));
    let twice = Case::default().own("vary", "Accept-Encoding").precompressed();
    assert_eq!(twice.plain().get("vary"), Some("accept-encoding"));
}

#[test]
fn statuses_without_content_have_none() {
    for status in [204, 205, 304] {
        let case = Case { status, ..Case::word(CacheWord::Bypass) };
        let head = case.plain();
        assert_eq!((head.status, head.body, head.content_length), (status, &b""[..], 0));
    }
}

fn any_lifetime() -> impl Strategy<Value = Lifetime> {
    prop_oneof![
        Just(NEVER),
        any::<u64>().prop_map(Lifetime::from_nanos),
        (0..200u64).prop_map(Lifetime::from_secs)
    ]
}

fn any_fields() -> impl Strategy<Value = Fields> {
    let name = prop_oneof![
        prop::sample::select(vec![
            "Cache-Control",
            "etag",
            "ETag",
            "vary",
            "Age",
            "age",
            "cache-status",
            "X-Isr-Cache",
            "content-encoding",
            "Content-Length",
            "set-cookie",
            "date",
            "expires",
            "content-location",
        ])
        .prop_map(String::from),
        "[a-zA-Z-]{1,6}",
    ];
    let value =
        prop_oneof!["[ -~\t\u{e9}]{0,12}", "(x-a|Accept-Encoding|\\*|, ?){0,4}", any::<String>()];
    prop::collection::vec((name, value), 0..6).prop_filter_map("not HTTP", |h| check_fields(h).ok())
}

fn any_case() -> impl Strategy<Value = Case> {
    let page = (
        prop_oneof![Just(200u16), 200..500u16],
        any_fields(),
        prop::sample::select(vec![0usize, 5, 600]),
        prop::sample::subsequence(vec![Encoding::Br, Encoding::Gzip, Encoding::Zstd], 0..=3),
        prop::collection::vec("[a-z-]{1,6}", 0..3),
    );
    let circumstances = (
        prop::sample::select(CacheWord::ALL.to_vec()),
        any::<(bool, bool)>(),
        any_lifetime(),
        any_lifetime(),
        any_lifetime(),
    );
    (page, circumstances).prop_map(|(page, circumstances)| {
        let (status, fields, length, wanted, vary) = page;
        let (word, (stored, invalidated), revalidate, expire, age) = circumstances;
        let etag = Case::word(word).etag;
        let body = vec![b'a'; length];
        let encoded = precompress(&body, &fields, &wanted, &etag);
        let vary = vary.into_iter().map(Into::into).collect();
        Case {
            status,
            fields,
            body,
            etag,
            encoded,
            vary,
            revalidate,
            expire,
            word,
            stored,
            invalidated,
            age,
        }
    })
}

proptest! {
    #[test]
    fn every_head_is_clean_and_complete(
        case in any_case(),
        is_head in any::<bool>(),
        if_none_match in prop::option::of(prop_oneof!["\\PC*", Just("*".into()), Just("\"e\", \"e-br\"".into())]),
        accept_encoding in prop::option::of(prop_oneof!["\\PC*", Just("gzip, br;q=0.5".into())]),
    ) {
        let head = case.head(Conditions {
            is_head,
            if_none_match: if_none_match.as_deref(),
            accept_encoding: accept_encoding.as_deref(),
        });
        for (name, value) in &head.headers {
            prop_assert!(!name.bytes().any(|b| b.is_ascii_uppercase() || b.is_ascii_control()), "{:?}", name);
            prop_assert!(!value.bytes().any(|b| b.is_ascii_control() && b != b'\t'), "{:?}", value);
        }
        for once in ["cache-control", "cache-status", "x-isr-cache"] {
            prop_assert!(head.get(once).is_some(), "{}", once);
        }
        let is_bypass = case.word == CacheWord::Bypass;
        prop_assert_eq!(head.get("age").is_none(), is_bypass);
        prop_assert!(head.get("etag").is_some() || is_bypass);
        let _ = head.get("vary");
        if is_bypass {
            prop_assert_eq!(head.get("cache-control"), Some(PRIVATE));
        }

        prop_assert!(head.status == case.status || (head.status == 304 && case.status == 200));
        let empty = is_head || matches!(head.status, 204 | 205 | 304);
        prop_assert_eq!(head.body.len(), if empty { 0 } else { head.content_length });
        if head.status == 304 && case.status == 200 {
            prop_assert!(if_none_match.is_some());
            prop_assert_eq!(head.content_length, 0);
        }
    }
}

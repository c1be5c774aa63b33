use std::sync::Arc;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::invalidation::{Invalidations, Tags};
use crate::options::{Options, RouteOptions};
use crate::page::Parts;
use crate::site::Route;

const ERA: u64 = 0x1234_5678_9abc_def0;

fn route(pattern: &str, inv: &Invalidations) -> Arc<Route> {
    let options = RouteOptions::default();
    Arc::new(Route::new(pattern, options, &Options::default(), inv).unwrap())
}

fn encoded(encoding: Encoding, body: &[u8], etag: &str) -> Encoded {
    Encoded { encoding, body: body.into(), etag: etag.into() }
}

/// A page that has something of everything.
fn page() -> Page {
    let inv = Invalidations::new(100, 0, None, Arc::default());
    Page::new(Parts {
        key: b"/b/1\0lang=de".as_slice().into(),
        path_len: 4,
        route: Some(route("/b/[id]", &inv)),
        status: 200,
        fields: vec![("content-type".into(), "text/html".into()), ("x-a".into(), "".into())],
        body: b"<p>body</p>".as_slice().into(),
        etag: "\"abc\"".into(),
        encoded: vec![
            encoded(Encoding::Br, b"br", "\"abc-br\""),
            encoded(Encoding::Zstd, b"zs", "\"abc-zstd\""),
            encoded(Encoding::Gzip, b"gz", "\"abc-gzip\""),
        ],
        tags: Tags::of([inv.tag("a"), inv.tag("b c")].into_iter()),
        revalidate: Lifetime::from_secs(60),
        expire: Lifetime::YEAR,
        started: 77,
        render_micros: 12_345,
        generated: Time::from_nanos(1_700_000_000_000_000_001),
        oldest: 70,
    })
}

fn read(bytes: &[u8]) -> Result<Entry, Unusable> {
    decode(bytes, ERA, "build 1", b"/b/1\0lang=de")
}

/// Puts right what a change of a file broke: the length and both checksums.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.truncate(bytes.len() - CHECKSUM_LEN);
    seal(&mut bytes);
    bytes
}

fn assert_same(page: &Page, entry: &Entry) {
    assert_eq!(&*entry.key, page.key());
    assert_eq!(entry.path_len, page.path_len());
    let identity = page.route().map(|r| r.pattern.identity());
    assert_eq!(entry.identity.as_deref(), identity);
    assert_eq!(entry.status, page.status());
    assert!(entry.fields.iter().map(|(n, v)| (&**n, &**v)).eq(page.headers()));
    assert_eq!(&*entry.body, page.body());
    assert_eq!(&*entry.etag, page.etag());
    assert_eq!(entry.render_micros, page.render_micros());
    let list = |l: &[Encoded]| -> Vec<_> {
        l.iter().map(|e| (e.encoding, e.body.clone(), e.etag.clone())).collect()
    };
    assert_eq!(list(&entry.encoded), list(page.encoded()));
    assert!(entry.tags.iter().map(String::as_str).eq(page.tags()));
    assert_eq!(entry.revalidate, page.revalidate());
    assert_eq!(entry.expire, page.expire());
    assert_eq!(entry.started, page.started());
    assert_eq!(entry.generated, page.generated());
    assert_eq!(entry.oldest, page.oldest());
}

#[test]
fn a_page_comes_back_as_it_was() {
    let page = page();
    let bytes = encode(&page, ERA, "build 1");
    assert_same(&page, &read(&bytes).unwrap());
}

#[test]
fn the_head_tells_era_epoch_and_length() {
    let bytes = encode(&page(), ERA, "build 1");
    let expected = Head { era: ERA, started: 77, len: bytes.len() as u64 };
    assert_eq!(head(&bytes), Some(expected));
    assert_eq!(head(&bytes[..HEAD_LEN]), Some(expected));
    assert_eq!(head(&bytes[..HEAD_LEN - 1]), None);
}

#[test]
fn every_flipped_bit_is_damage() {
    let bytes = encode(&page(), ERA, "build 1");
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(read(&flipped).err(), Some(Unusable::Damaged), "bit {bit}");
        assert_eq!(head(&flipped).is_none(), bit < HEAD_LEN * 8, "bit {bit}");
    }
}

#[test]
fn every_other_length_is_damage() {
    let mut bytes = encode(&page(), ERA, "build 1");
    for len in 0..bytes.len() {
        assert_eq!(read(&bytes[..len]).err(), Some(Unusable::Damaged), "{len} bytes");
    }
    for more in [0, 0xff] {
        bytes.push(more);
        assert_eq!(read(&bytes).err(), Some(Unusable::Damaged), "{} bytes", bytes.len());
    }
}

#[test]
fn what_is_written_for_others_is_other() {
    let bytes = encode(&page(), ERA, "build 1");
    let key = b"/b/1\0lang=de";
    assert_eq!(decode(&bytes, ERA + 1, "build 1", key).err(), Some(Unusable::Other));
    assert_eq!(decode(&bytes, ERA, "build 2", key).err(), Some(Unusable::Other));
    assert_eq!(decode(&bytes, ERA, "build 1", b"/b/1").err(), Some(Unusable::Other));
    assert_eq!(decode(&bytes, ERA, "build 1", b"/b/1\0lang=fr").err(), Some(Unusable::Other));
    for format in [FORMAT - 1, FORMAT + 1] {
        let mut other = bytes.clone();
        other[8] = format as u8;
        let other = resealed(other);
        assert_eq!(read(&other).err(), Some(Unusable::Other));
        assert_eq!(head(&other), None);
    }
}

#[test]
fn checksums_that_fit_make_no_page_of_nonsense() {
    let bytes = encode(&page(), ERA, "build 1");
    // Every byte behind deployment and key, set to values at which lengths and counts go wrong.
    let first = HEAD_LEN + 8 + "build 1".len() + 8 + "/b/1\0lang=de".len();
    let mut refused = 0;
    for at in first..bytes.len() - CHECKSUM_LEN {
        for value in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = bytes.clone();
            changed[at] = value;
            let entry = read(&resealed(changed));
            assert_ne!(entry.as_ref().err(), Some(&Unusable::Other));
            refused += usize::from(entry.is_err());
        }
    }
    assert!(refused > 500, "{refused}");
}

#[test]
fn nothing_may_follow_the_body() {
    let mut bytes = encode(&page(), ERA, "build 1");
    bytes.push(0);
    assert_eq!(read(&resealed(bytes)).err(), Some(Unusable::Damaged));
}

#[test]
fn a_count_beyond_the_file_reserves_nothing() {
    let bytes = encode(&page(), ERA, "build 1");
    // The number of fields stands before the length of the first one's name.
    let name = bytes.windows(12).position(|w| w == b"content-type").unwrap();
    for count in [u64::MAX, u64::MAX / 16, 1 << 40, bytes.len() as u64] {
        let mut changed = bytes.clone();
        changed[name - 16..name - 8].copy_from_slice(&count.to_le_bytes());
        assert_eq!(read(&resealed(changed)).err(), Some(Unusable::Damaged), "{count}");
    }
}

#[test]
fn a_path_is_text_and_within_the_key() {
    for (key, path_len) in [(b"/\xff".as_slice(), 2), (b"/a", 3)] {
        let page = Page::new(Parts { key: key.into(), path_len, ..bare() });
        let bytes = encode(&page, ERA, "");
        assert_eq!(decode(&bytes, ERA, "", key).err(), Some(Unusable::Damaged), "{key:?}");
    }
}

/// A data entry.
fn bare() -> Parts {
    Parts {
        key: b"\x01k".as_slice().into(),
        path_len: 0,
        route: None,
        status: 200,
        fields: Vec::new(),
        body: Box::default(),
        etag: Box::default(),
        encoded: Vec::new(),
        tags: Tags::default(),
        revalidate: Lifetime::NEVER,
        expire: Lifetime::NEVER,
        started: 0,
        render_micros: 0,
        generated: Time::from_nanos(0),
        oldest: 0,
    }
}

fn any_lifetime() -> impl Strategy<Value = Lifetime> {
    prop_oneof![
        Just(Lifetime::NEVER),
        Just(Lifetime::ZERO),
        any::<u64>().prop_map(Lifetime::from_nanos)
    ]
}

fn any_encoding() -> impl Strategy<Value = Encoding> {
    prop_oneof![Just(Encoding::Br), Just(Encoding::Gzip), Just(Encoding::Zstd)]
}

prop_compose! {
    fn any_page()(
        (path, rest, pattern) in ("[/a-zé]{0,20}", vec(any::<u8>(), 0..20), option::of("/[a-z]{1,9}")),
        (status, etag) in (any::<u16>(), ".{0,9}"),
        fields in vec((".{0,9}", ".{0,9}"), 0..4),
        body in vec(any::<u8>(), 0..300),
        encoded in vec((any_encoding(), vec(any::<u8>(), 0..30), ".{0,9}"), 0..4),
        tags in vec(".{1,9}", 0..4),
        (revalidate, expire) in (any_lifetime(), any_lifetime()),
        (started, generated, oldest) in any::<(u64, u64, u64)>(),
        render_micros: u32,
    ) -> Page {
        let inv = Invalidations::new(100, 0, None, Arc::default());
        let mut key = path.clone().into_bytes();
        key.extend_from_slice(&rest);
        let encoded = encoded.into_iter().map(|(encoding, body, etag)| Encoded {
            encoding,
            body: body.into(),
            etag: etag.into(),
        });
        Page::new(Parts {
            key: key.into(),
            path_len: path.len(),
            route: pattern.map(|p| route(&p, &inv)),
            status,
            fields: fields.into_iter().map(|(n, v)| (n.into(), v.into())).collect(),
            body: body.into(),
            etag: etag.into(),
            encoded: encoded.collect(),
            tags: Tags::of(tags.iter().map(|t| inv.tag(t))),
            revalidate,
            expire,
            started,
            render_micros,
            generated: Time::from_nanos(generated),
            oldest,
        })
    }
}

proptest! {
    #[test]
    fn any_page_comes_back(page in any_page(), era: u64, deployment in ".{0,20}") {
        let bytes = encode(&page, era, &deployment);
        assert_same(&page, &decode(&bytes, era, &deployment, page.key()).unwrap());
        prop_assert_eq!(head(&bytes).map(|h| h.len), Some(bytes.len() as u64));
    }

    #[test]
    fn random_bytes_are_damage(bytes in vec(any::<u8>(), 0..400)) {
        prop_assert_eq!(read(&bytes).err(), Some(Unusable::Damaged));
        prop_assert_eq!(head(&bytes), None);
    }

    #[test]
    fn any_content_under_right_checksums_is_survived(content in vec(any::<u8>(), 0..200)) {
        let mut bytes = encode(&page(), ERA, "build 1");
        bytes.truncate(HEAD_LEN + 8 + "build 1".len() + 8 + "/b/1\0lang=de".len());
        bytes.extend_from_slice(&content);
        seal(&mut bytes);
        prop_assert_ne!(read(&bytes).err(), Some(Unusable::Other));
    }
}

//! Heads of real answers: precompressed bodies, and the counters beside them.

use super::support::*;
use isr_core::http::{Conditions, Encoding, Head};
use isr_core::*;

fn header<'h>(head: &'h Head<'_>, name: &str) -> Option<&'h str> {
    head.headers.iter().find(|(n, _)| n == name).map(|(_, v)| &**v)
}

/// Stores this body as `/p`.
fn put(cache: &Cache, text: &str) {
    cache.add_route("/p", revalidate(60.0), echo()).unwrap();
    cache.put("/p", None, PageResult::new(text), cache.started()).unwrap();
}

fn accepting(encodings: &str) -> Conditions<'_> {
    Conditions { accept_encoding: Some(encodings), ..Conditions::default() }
}

#[test]
fn precompressed_bodies() {
    let (cache, _) = open(|o| o.precompress = vec![Encoding::Br, Encoding::Gzip, Encoding::Zstd]);
    let renderer = page(|job| match job.path() {
        "/p/small" => PageResult::new("small"),
        "/p/png" => PageResult::new("png ".repeat(500)).header("content-type", "image/png"),
        "/p/live" => PageResult { no_store: true, ..PageResult::new("live ".repeat(500)) },
        _ => PageResult::new("text ".repeat(500)).header("content-type", "text/html"),
    });
    cache.add_route("/p/[id]", revalidate(60.0), renderer).unwrap();
    for path in ["/p/text", "/p/text"] {
        let answer = get(&cache, path).unwrap();
        let plain = answer.head(&Conditions::default());
        assert_eq!((plain.content_length, header(&plain, "vary")), (2500, Some("accept-encoding")));
        assert_eq!(header(&plain, "etag"), Some(answer.page().etag()));
        let mut etags = vec![header(&plain, "etag").unwrap().to_string()];
        for name in ["br", "gzip", "zstd"] {
            let head = answer.head(&accepting(name));
            assert_eq!(header(&head, "content-encoding"), Some(name));
            assert!(head.content_length < 200 && head.body.len() == head.content_length);
            etags.push(header(&head, "etag").unwrap().to_string());
        }
        etags.dedup();
        assert_eq!(etags.len(), 4, "{etags:?}");
        assert_eq!(answer.page().body().len(), 2500, "the page's own body is the plain one");
    }
    for path in ["/p/small", "/p/png", "/p/live"] {
        let answer = get(&cache, path).unwrap();
        let head = answer.head(&accepting("br, gzip, zstd"));
        assert_eq!(
            (header(&head, "content-encoding"), header(&head, "vary")),
            (None, None),
            "{path}"
        );
    }
}

#[test]
fn kept_encodings_count_for_the_bound() {
    let stored = |precompress: Vec<Encoding>| {
        let (cache, _) = open(|o| o.precompress = precompress);
        let text: String = (0..2000).map(|n| n.to_string()).collect();
        put(&cache, &text);
        cache.stats().bytes_stored
    };
    let plain = stored(vec![]);
    let both = stored(vec![Encoding::Gzip, Encoding::Br]);
    assert!(both > plain + 1000, "{plain} and {both}");
}

#[test]
fn off_unless_asked_for() {
    let (cache, _) = open(|_| ());
    put(&cache, &"text ".repeat(500));
    let answer = get(&cache, "/p").unwrap();
    let head = answer.head(&accepting("br, gzip"));
    assert_eq!((header(&head, "content-encoding"), header(&head, "vary")), (None, None));
}

#[test]
fn an_etag_is_the_same_on_every_machine() {
    let (cache, _) = open(|_| ());
    put(&cache, "hello");
    // Fixed: a deployment that changed it would make every client load everything again.
    assert_eq!(get(&cache, "/p").unwrap().page().etag(), "\"b5e9c1ad071b3e7fc779cfaa5e523818\"");
}

#[test]
fn every_answer_is_counted() {
    let (cache, clock) = open(|_| ());
    let renderer = |job: RenderJob| {
        let first = job.previous().is_none();
        let _ = match job.path() {
            "/p/live" => job.complete(PageResult { no_store: true, ..PageResult::default() }),
            "/p/fails" => job.fail(Error::render("boom", None)),
            "/p/once" if !first => job.fail(Error::render("boom", None)),
            path => {
                let page = PageResult::new(path);
                job.complete(page)
            }
        };
    };
    cache.add_route("/p/[id]", revalidate(60.0), std::sync::Arc::new(renderer)).unwrap();
    get(&cache, "/p/1").unwrap();
    get(&cache, "/p/1").unwrap();
    clock.advance(secs(61.0));
    get(&cache, "/p/1").unwrap();
    settle(&cache);
    cache.revalidate_path(&["/p/1"], None).unwrap();
    get(&cache, "/p/1").unwrap();
    get(&cache, "/p/live").unwrap();
    get(&cache, "/p/once").unwrap();
    cache.revalidate_path(&["/p/once"], None).unwrap();
    get(&cache, "/p/once").unwrap();
    assert!(get(&cache, "/p/fails").is_err());
    let stats = cache.stats();
    let expected = Stats {
        hits: 1,
        stale: 1,
        misses: 2,
        revalidated: 1,
        stale_errors: 1,
        bypasses: 1,
        errors: 1,
        renders: 7,
        render_failures: 2,
        invalidations: 2,
        entries_stored: 2,
        bytes_stored: stats.bytes_stored,
        ..Stats::default()
    };
    assert_eq!(stats, expected);
    assert!(stats.bytes_stored > 0);
    assert!(stats.entries().contains(&("stale_errors", 1)));
}

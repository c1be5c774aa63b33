//! Wrong input to every public call: an error of the right kind that names the value and the rule, and nothing has happened.

use std::sync::atomic::{AtomicBool, Ordering};

use super::support::*;
use isr_core::ErrorKind::*;
use isr_core::*;
use std::sync::Arc;

/// A text no key can be, and what the error says about it.
const BAD_PATHS: &[(&str, &str)] = &[
    ("", "/"),
    ("blog/1", "blog/1"),
    ("//", "//"),
    ("/a//b", "/a//b"),
    ("/a/../b", "/a/../b"),
    ("/%2e/b", "/%2e/b"),
    ("/a%", "/a%"),
    ("/a%zz", "/a%zz"),
    ("/%ff", "/%ff"),
    ("/%00", "/%00"),
    ("/a%0Ab", "/a%0Ab"),
];

fn site() -> Cache {
    let (cache, _) = open(|_| ());
    cache.add_route("/blog/[id]", revalidate(60.0), echo()).unwrap();
    cache
}

fn with(set: impl FnOnce(&mut Options)) -> Result<Cache, Error> {
    let mut options = Options::default();
    set(&mut options);
    Cache::open(options)
}

#[test]
fn options_given_as_fields() {
    fails(with(|o| o.threads = 0), InvalidArgument, &["threads", "0"]);
    fails(with(|o| o.threads = 1_000_000), InvalidArgument, &["threads", "1000000"]);
    fails(with(|o| o.backoff_jitter = -0.5), InvalidArgument, &["backoff_jitter", "-0.5"]);
    fails(with(|o| o.backoff_jitter = 1.5), InvalidArgument, &["backoff_jitter", "1.5"]);
    fails(with(|o| o.backoff_jitter = f64::NAN), InvalidArgument, &["backoff_jitter", "NaN"]);
    for status in [0, 100, 199, 206, 304, 500, u16::MAX] {
        let opened = with(|o| o.storable_statuses = vec![200, status]);
        fails(opened, InvalidArgument, &["storable_statuses", &status.to_string()]);
    }
    let error = fails(
        with(|o| o.draft_secret = Some(b"short secret".to_vec())),
        InvalidArgument,
        &["draft_secret", "16"],
    );
    assert!(!error.message().contains("short secret"), "a secret is in no message");
}

#[test]
fn options_given_by_name() {
    use OptionValue::{Never, Number, Text, Texts};
    let text = |s: &str| Text(s.to_string());
    let table = [
        ("no_such_option", Number(1.0), "no_such_option"),
        ("", Number(1.0), "unknown"),
        ("deployment", Number(1.0), "text"),
        ("max_bytes", Number(-1.0), "-1"),
        ("max_bytes", Number(0.5), "0.5"),
        ("max_bytes", Number(1e30), "1000000000000000000000000000000"),
        ("max_bytes", Number(f64::NAN), "NaN"),
        ("max_bytes", Never, "never"),
        ("max_entry_bytes", text("1 MB"), "1 MB"),
        ("stale_if_error", Number(-1.0), "-1"),
        ("stale_if_error", Number(f64::INFINITY), "inf"),
        ("backoff_jitter", Number(1.01), "1.01"),
        ("max_queue", Number(-1.0), "-1"),
        ("max_regenerations", Number(0.0), "0"),
        ("max_regenerations_per_tag", Number(1.5), "1.5"),
        ("early_refresh", Number(100.5), "100.5"),
        ("early_refresh", Never, "never"),
        ("threads", Number(0.0), "0"),
        ("default_revalidate", text("60s"), "60s"),
        ("default_expire", Number(f64::NAN), "NaN"),
        ("default_timeout", Texts(vec![]), "[]"),
        ("max_variants", Number(1.5), "1.5"),
        ("max_invalidations", Number(0.0), "0"),
        ("storable_statuses", text("200,ok"), "ok"),
        ("storable_statuses", Number(200.0), "200"),
        ("precompress", text("gzip, deflate"), "deflate"),
        ("draft_secret", Number(7.0), "text"),
    ];
    for (name, wrong, part) in table {
        let mut options = Options::default();
        fails(options.set(name, wrong), InvalidArgument, &[name, part]);
    }
    for name in Options::NAMES {
        let mut options = Options::default();
        let error = fails(options.set(&name.to_uppercase(), Number(1.0)), InvalidArgument, &[]);
        assert!(error.message().contains(name), "the known names are told: {error}");
    }
}

#[test]
fn lifetimes_and_clocks() {
    for wrong in [-1.0, -0.001, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        fails(
            Lifetime::from_secs_f64("revalidate", wrong),
            InvalidArgument,
            &["revalidate", &wrong.to_string()],
        );
        fails(ManualClock::new(START).advance_secs(wrong), InvalidArgument, &[&wrong.to_string()]);
    }
    assert_eq!(Lifetime::from_secs_f64("x", 1e300).unwrap().nanos(), Some(u64::MAX - 1));
}

#[test]
fn patterns() {
    let cache = site();
    for wrong in [
        "",
        "blog",
        "[id]",
        "/a/[",
        "/a/[]",
        "/[id]/[id]",
        "/[...all]/b",
        "/[[...all]]/b",
        "/a?b=c",
    ] {
        fails(cache.add_route(wrong, RouteOptions::default(), echo()), InvalidArgument, &[wrong]);
    }
    for wrong in ["/a//b", "/a/../b", "/%zz", "/a\nb"] {
        let added = cache.add_route(wrong, RouteOptions::default(), echo());
        let error = fails(added, InvalidPath, &[]);
        assert!(!error.message().contains('\n'), "{error}");
    }
    let again = cache.add_route("/blog/[slug]", RouteOptions::default(), echo());
    fails(again, Conflict, &["/blog/[slug]", "/blog/[id]"]);
    assert_eq!(told(get(&cache, "/blog/1")).0, CacheWord::Miss);
}

#[test]
fn options_of_a_route() {
    let cache = site();
    let add = |set: &dyn Fn(&mut RouteOptions)| {
        let mut options = RouteOptions::default();
        set(&mut options);
        cache.add_route("/r/[id]", options, echo())
    };
    fails(add(&|o| o.tags = vec![String::new()]), InvalidTag, &["tag"]);
    fails(add(&|o| o.tags = vec!["x".repeat(257)]), InvalidTag, &["256"]);
    fails(add(&|o| o.tags = vec!["a\nb".into()]), InvalidTag, &["control"]);
    let many: Vec<_> = (0..129).map(|n| n.to_string()).collect();
    fails(add(&|o| o.tags = many.clone()), InvalidTag, &["128"]);
    for header in ["", "accept language", "x:y", "caf\u{e9}", "a\r\nb"] {
        fails(add(&|o| o.vary = vec![("lang".into(), header.into())]), InvalidArgument, &["vary"]);
    }
    let one = |name: &str, value: ParamValue| vec![Params::from([(name.to_string(), value)])];
    let text = |s: &str| ParamValue::One(s.into());
    for (params, part) in [
        (vec![Params::new()], "id"),
        (one("no_such", text("a")), "no_such"),
        (one("id", text("")), "id"),
        (one("id", ParamValue::Many(vec!["a".into()])), "id"),
    ] {
        fails(add(&|o| o.static_params = params.clone()), InvalidArgument, &[part, "/r/[id]"]);
    }
    // Nothing of a refused route is left behind.
    fails(get(&cache, "/r/1"), NoRoute, &["/r/1"]);
    add(&|_| ()).unwrap();
    assert_eq!(told(get(&cache, "/r/1")).0, CacheWord::Miss);
}

#[test]
fn paths_of_every_call() {
    let cache = site();
    for (path, part) in BAD_PATHS {
        let request = Request::new(path);
        let check = |error: Error| {
            assert_eq!(error.kind(), InvalidPath, "{path}: {error}");
            assert!(error.message().contains(part), "{path}: {error}");
        };
        check(fails(cache.get(&request), InvalidPath, &[]));
        check(fails(cache.try_get(&request), InvalidPath, &[]));
        let (done, answer) = outcome();
        cache.get_then(&request, done);
        check(fails(answer.join(), InvalidPath, &[]));
        check(fails(cache.peek(path, None), InvalidPath, &[]));
        let page = PageResult::new("x");
        check(fails(cache.put(path, None, page, cache.started()), InvalidPath, &[]));
        check(fails(cache.regenerate(&request, false), InvalidPath, &[]));
        let (done, answer) = outcome();
        cache.regenerate_then(&request, true, done);
        check(fails(answer.join(), InvalidPath, &[]));
        check(fails(cache.revalidate_path(&[path], None), InvalidPath, &[]));
        check(fails(cache.remove(&[path]), InvalidPath, &[]));
    }
    let long = format!("/blog/{}", "x".repeat(2048));
    fails(cache.get(&Request::new(&long)), InvalidPath, &["2048"]);
    assert_eq!(cache.stats().renders, 0);
}

#[test]
fn control_bytes_of_a_path_are_shown_harmlessly() {
    let error =
        fails(site().get(&Request::new("/a\r\nset-cookie: x\0\u{1b}[0m")), InvalidPath, &["/a"]);
    assert!(!error.message().bytes().any(|b| b.is_ascii_control()), "{error:?}");
}

#[test]
fn paths_without_a_route() {
    let cache = site();
    let request = Request::new("/none/x");
    fails(cache.get(&request), NoRoute, &["/none/x"]);
    fails(cache.try_get(&request), NoRoute, &["/none/x"]);
    fails(cache.peek("/none/x", None), NoRoute, &["/none/x"]);
    fails(cache.put("/none/x", None, PageResult::new("x"), cache.started()), NoRoute, &["/none/x"]);
    fails(cache.regenerate(&request, false), NoRoute, &["/none/x"]);
    assert!(!cache.revalidate_path(&["/none/x"], None).unwrap());
    cache.remove(&["/none/x"]).unwrap();
}

#[test]
fn one_wrong_member_of_a_list_and_nothing_has_happened() {
    let cache = site();
    get(&cache, "/blog/1").unwrap();
    let fresh = || cache.peek("/blog/1", None).unwrap().state() == State::Fresh;
    cache
        .add_route("/tagged", RouteOptions { tags: vec!["t".into()], ..revalidate(60.0) }, echo())
        .unwrap();
    get(&cache, "/tagged").unwrap();
    let tagged = || cache.peek("/tagged", None).unwrap().state() == State::Fresh;

    fails(cache.revalidate_path(&["/blog/1", "/a//b"], None), InvalidPath, &["/a//b"]);
    fails(
        cache.revalidate_path(&["/blog/1", "/blog/[id]"], None),
        InvalidArgument,
        &["/blog/[id]"],
    );
    for malformed in ["/blog/[]", "/[...a]/b", "/[a]/[a]"] {
        let called = cache.revalidate_path(&["/blog/1", malformed], Some(PathType::Page));
        fails(called, InvalidArgument, &[malformed]);
    }
    fails(cache.remove(&["/blog/1", "nope"]), InvalidPath, &["nope"]);
    fails(cache.revalidate_tag(&["t", ""], TagOptions::default()), InvalidTag, &[]);
    fails(
        cache.revalidate_tag(&["t", &"x".repeat(257)], TagOptions::default()),
        InvalidTag,
        &["256"],
    );
    fails(cache.revalidate_tag(&["t", "a\u{7f}"], TagOptions::default()), InvalidTag, &["control"]);
    let hard_later = TagOptions { soft: false, expire: Some(secs(5.0)) };
    fails(cache.revalidate_tag(&["t"], hard_later), InvalidArgument, &["expire", "soft"]);
    assert!(fresh() && tagged());

    assert!(!cache.revalidate_path(&[], None).unwrap());
    cache.revalidate_tag(&[], TagOptions::default()).unwrap();
    cache.remove(&[]).unwrap();
    assert!(fresh() && tagged());
}

#[test]
fn data_entries() {
    let cache = site();
    let loaded = Arc::new(AtomicBool::new(false));
    let seen = loaded.clone();
    let loader: Arc<dyn Loader> = Arc::new(move |job: LoadJob| {
        seen.store(true, Ordering::SeqCst);
        let _ = job.complete(vec![]);
    });
    let read = |key: &[&str], tags: Vec<String>| {
        let options = DataOptions { tags, ..DataOptions::default() };
        cache.data(None, key, &options, loader.clone())
    };
    fails(read(&[], vec![]), InvalidArgument, &["key"]);
    let long = "k".repeat(1 << 19);
    fails(read(&[&long, &long, "k"], vec![]), InvalidArgument, &["key", "1048576", "1048577"]);
    fails(read(&["k"], vec![String::new()]), InvalidTag, &[]);
    fails(read(&["k"], vec!["x".repeat(257)]), InvalidTag, &["256"]);
    fails(read(&["k"], (0..129).map(|n| n.to_string()).collect()), InvalidTag, &["128"]);
    let (done, answer) = outcome();
    let options = DataOptions { tags: vec!["a\0".into()], ..DataOptions::default() };
    cache.data_then(None, &["k"], &options, loader.clone(), done);
    fails(answer.join(), InvalidTag, &["control"]);
    assert!(!loaded.load(Ordering::SeqCst), "no load has begun");
    // Any text is a key.
    for key in [&[""][..], &["", ""], &["a\0b"], &[&"x".repeat(5000)]] {
        read(key, vec![]).unwrap();
    }
}

/// Pages that no render and no put may give.
fn invalid_pages() -> Vec<(PageResult, &'static str)> {
    let status = |status| PageResult { status, ..PageResult::new("x") };
    vec![
        (status(0), "status"),
        (status(99), "99"),
        (status(101), "101"),
        (status(500), "500"),
        (status(u16::MAX), "65535"),
        (status(301), "location"),
        (PageResult::new("x").header("a b", "c"), "a b"),
        (PageResult::new("x").header("x-a", "b\r\nc: d"), "x-a"),
        (PageResult::new("x").header("Connection", "close"), "connection"),
        (PageResult::new("x").tag(""), "tag"),
        (
            PageResult { tags: (0..129).map(|n| n.to_string()).collect(), ..PageResult::new("x") },
            "128",
        ),
    ]
}

#[test]
fn pages_given_to_put() {
    let cache = site();
    cache.put("/blog/1", None, PageResult::new("good"), cache.started()).unwrap();
    for (page, part) in invalid_pages() {
        fails(cache.put("/blog/1", None, page, cache.started()), Render, &[part]);
    }
    assert_eq!(told(get(&cache, "/blog/1")), (CacheWord::Hit, "good".into()));
}

#[test]
fn pages_given_to_a_job() {
    for (wrong, part) in invalid_pages() {
        let (cache, _) = open(|_| ());
        let desk = Desk::new();
        cache.add_route("/p", revalidate(60.0), desk.renderer()).unwrap();
        let answer = start_get(&cache, "/p");
        fails(desk.take().complete(wrong), Render, &[part]);
        fails(answer.join(), Render, &[part]);
    }
}

#[test]
fn draft_tokens() {
    let (cache, clock) = open(|o| o.draft_secret = Some(vec![7; 16]));
    fails(cache.draft_token(Lifetime::NEVER), InvalidArgument, &["never"]);
    let token = cache.draft_token(secs(60.0)).unwrap();
    assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'), "{token}");
    assert!(cache.verify_draft(&token));
    for wrong in
        ["", " ", "\0", "\u{1f980}", &token[1..], &format!("{token}x"), &"A".repeat(1 << 20)]
    {
        assert!(!cache.verify_draft(wrong));
    }
    let (other, _) = open(|_| ());
    assert!(!other.verify_draft(&token), "another cache has another secret");
    clock.advance(secs(60.0));
    assert!(cache.verify_draft(&token));
    clock.advance(secs(0.001));
    assert!(!cache.verify_draft(&token));
}

#[test]
fn bounds_set_as_fields() {
    let no_cache = |set: fn(&mut Options), part| {
        let mut options = Options::default();
        set(&mut options);
        fails(Cache::open(options), InvalidArgument, &[part]);
    };
    no_cache(|o| o.max_regenerations = Some(0), "max_regenerations must be at least 1");
    no_cache(|o| o.max_regenerations_per_tag = Some(0), "max_regenerations_per_tag");
    no_cache(
        |o| o.early_refresh = f64::NAN,
        "early_refresh must be a number from 0 to 100; got NaN",
    );
    let (cache, _) = open(|_| ());
    let no_route = |options, part| {
        fails(cache.add_route("/p", options, echo()), InvalidArgument, &[part]);
    };
    let plain = RouteOptions::default;
    no_route(
        RouteOptions { max_concurrent: Some(0), ..plain() },
        "max_concurrent must be at least",
    );
    no_route(RouteOptions { early_refresh: Some(-0.1), ..plain() }, "got -0.1");
    let mut options = plain();
    for (name, value) in [("max_concurrent", 1.5), ("early_refresh", 101.0), ("timeout", -1.0)] {
        let error = fails(options.set(name, OptionValue::Number(value)), InvalidArgument, &[name]);
        assert!(error.message().contains(&value.to_string()), "{error}");
    }
    fails(options.set("tags", OptionValue::Number(1.0)), InvalidArgument, &["\"tags\""]);
}

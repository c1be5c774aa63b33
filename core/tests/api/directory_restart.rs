//! A directory that is opened again: everything is there.

use std::time::Duration;

use super::ground::*;
use super::support::*;
use isr_core::*;

#[test]
fn everything_comes_back_after_a_restart() {
    for durable in [false, true] {
        let ground = Ground::new();
        let open = || {
            let cache = ground.open_with(|o| o.durable = durable);
            let renderer = page(|job| match job.path() {
                "/gone" => PageResult::not_found("none").tag("t"),
                "/moved" => PageResult::redirect("/p", 308),
                path => PageResult::new(path).tag(&path[1..]),
            });
            cache.add_route("/[id]", revalidate(60.0), renderer).unwrap();
            cache
        };
        let first = open();
        let paths = ["/p", "/gone", "/moved", "/hard", "/soft", "/later", "/removed", "/replaced"];
        for path in paths {
            get(&first, path).unwrap();
        }
        data(&first, "k", "v");
        first.revalidate_tag(&["hard"], TagOptions::default()).unwrap();
        let soft = |expire| TagOptions { soft: true, expire };
        first.revalidate_tag(&["soft"], soft(None)).unwrap();
        first.revalidate_tag(&["later"], soft(Some(secs(5.0)))).unwrap();
        first.remove(&["/removed"]).unwrap();
        let begun = first.started();
        first.put("/replaced", None, PageResult::new("second"), begun).unwrap();
        let token = first.draft_token(secs(60.0)).unwrap();
        let etag = get(&first, "/p").unwrap().page().etag().to_string();
        assert!(first.close(PATIENCE));

        let second = open();
        assert!(second.started() > begun, "epochs go on");
        assert_eq!(second.put("/p", None, PageResult::new("old"), begun).unwrap(), Put::Stored);
        let state = |path: &str| second.peek(path, None).unwrap().state();
        let states =
            ["/gone", "/moved", "/hard", "/soft", "/later", "/removed", "/replaced"].map(state);
        use State::*;
        assert_eq!(states, [Fresh, Fresh, Expired, Stale, Stale, Missing, Fresh]);
        ground.advance(5.5);
        assert_eq!(state("/later"), Expired);
        let gone = get(&second, "/gone").unwrap();
        assert_eq!((gone.cache(), gone.page().status()), (CacheWord::Hit, 404));
        let moved = get(&second, "/moved").unwrap();
        assert_eq!(moved.page().header("location"), Some("/p"));
        assert_eq!(told(get(&second, "/replaced")), hit("second"));
        assert_eq!(data(&second, "k", "never"), hit("v"));
        assert!(second.verify_draft(&token));
        assert_ne!(get(&second, "/p").unwrap().page().etag(), etag, "it was replaced");
        second.revalidate_tag(&["t"], TagOptions::default()).unwrap();
        assert_eq!(state("/gone"), Expired, "tags come back, too");
        ground.is_quiet();
    }
}

#[test]
fn what_a_render_cost_is_known_after_a_restart() {
    let ground = Ground::new();
    let open = |max_bytes| {
        let cache = ground.open_with(|o| o.max_bytes = max_bytes);
        let clock = ground.clock.clone();
        let renderer = page(move |job| {
            clock.advance(secs(if job.path().starts_with("/costly") { 1.0 } else { 0.001 }));
            PageResult::new(vec![b'x'; 4096])
        });
        cache.add_route("/[id]", revalidate(1e9), renderer).unwrap();
        cache
    };
    let (costly, cheap) = (|n| format!("/costly-{n}"), |n| format!("/cheap-{n}"));
    let first = open(1 << 20);
    for n in 0..5 {
        get(&first, &costly(n)).unwrap();
    }
    for n in 0..100 {
        get(&first, &cheap(n)).unwrap();
    }
    first.close(Duration::MAX);
    let second = open(100 << 10);
    for n in 0..5 {
        get(&second, &costly(n)).unwrap();
    }
    for n in 0..100 {
        get(&second, &cheap(n)).unwrap();
    }
    let reads = second.stats().disk_reads;
    assert_eq!((reads, second.stats().misses), (105, 0));
    for n in 0..5 {
        get(&second, &costly(n)).unwrap();
    }
    assert_eq!(second.stats().disk_reads, reads, "they are in memory still");
    assert!(second.stats().evictions > 50);
    ground.is_quiet();
}

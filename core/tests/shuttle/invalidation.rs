//! What began before an invalidation had returned is nothing fresh for those who ask after it.

use std::sync::Arc;

use isr_core::{Cache, CacheWord, DataOptions, LoadJob, PathType, State, TagOptions};

use crate::model::{Database, check, get, number, open, route, together};
use crate::run;

/// Renders `/b/[id]` from the database itself, with the tag `t`.
fn direct(cache: &Cache, db: &Arc<Database>) {
    let db = db.clone();
    route(cache, "/b/[id]", move |job| {
        let page = db.page().tag("t");
        job.complete(page).unwrap();
    });
}

/// Renders `/b/[id]` from a data entry with the tag `t`.
fn through_data(cache: &Cache, db: &Arc<Database>) {
    let db = db.clone();
    route(cache, "/b/[id]", move |job| {
        let db = db.clone();
        let load = move |load: LoadJob| load.complete(db.page().body).unwrap();
        let options = DataOptions { tags: vec!["t".into()], ..DataOptions::default() };
        let value = job.data(&["k"], &options, Arc::new(load)).unwrap();
        job.complete(isr_core::PageResult::new(value.value())).unwrap();
    });
}

/// Readers against two invalidations, with renders in flight. `soft`: what is stale may be served as such.
fn nothing_older(
    orders: usize,
    site: fn(&Cache, &Arc<Database>),
    bound: usize,
    soft: bool,
    invalidate: fn(&Cache),
) {
    check(orders, move || {
        let (cache, _) = open(2, |o| o.max_invalidations = bound);
        let db = Arc::new(Database::default());
        site(&cache, &db);
        let read = || {
            run!(cache, db => for _ in 0..2 {
                let told = db.told();
                let answer = get(&cache, "/b/1").unwrap();
                let got = number(answer.page().body());
                let may_be_older = soft && answer.cache() != CacheWord::Hit;
                assert!(got >= told || may_be_older, "{got} after {told} as {:?}", answer.cache());
            })
        };
        let write = run!(cache, db => for n in 1..3 { db.change(n, || invalidate(&cache)) });
        together(vec![read(), write, read()]);
    });
}

#[test]
fn after_a_tag_call_nobody_gets_what_began_before() {
    let by_tag = |c: &Cache| c.revalidate_tag(&["t"], TagOptions::default()).unwrap();
    nothing_older(1000, direct, 100, false, by_tag);
}

#[test]
fn after_a_soft_call_nobody_hits_what_began_before() {
    let soft = |c: &Cache| {
        c.revalidate_tag(&["t"], TagOptions { soft: true, expire: None }).unwrap();
    };
    nothing_older(1000, direct, 100, true, soft);
}

#[test]
fn after_a_path_call_nobody_gets_what_began_before() {
    nothing_older(1000, direct, 100, false, |c| {
        assert!(c.revalidate_path(&["/b/1"], None).unwrap());
    });
}

#[test]
fn after_a_call_for_a_route_nobody_gets_what_began_before() {
    nothing_older(500, direct, 100, false, |c| {
        assert!(c.revalidate_path(&["/b/[id]"], Some(PathType::Page)).unwrap());
    });
}

#[test]
fn after_a_layout_call_nobody_gets_what_began_before() {
    nothing_older(500, direct, 100, false, |c| {
        assert!(c.revalidate_path(&["/b"], Some(PathType::Layout)).unwrap());
    });
}

#[test]
fn after_calls_whose_records_were_merged_nobody_gets_what_began_before() {
    nothing_older(300, direct, 1, false, |c| {
        c.revalidate_path(&["/b/1", "/b/2", "/b/3"], None).unwrap();
    });
}

#[test]
fn after_a_tag_call_no_page_holds_data_from_before() {
    let by_tag = |c: &Cache| c.revalidate_tag(&["t"], TagOptions::default()).unwrap();
    nothing_older(1000, through_data, 100, false, by_tag);
}

#[test]
fn after_a_soft_call_no_new_page_holds_data_from_before() {
    let soft = |c: &Cache| {
        c.revalidate_tag(&["t"], TagOptions { soft: true, expire: None }).unwrap();
    };
    nothing_older(1000, through_data, 100, true, soft);
}

#[test]
fn a_render_after_a_soft_call_does_not_join_a_load_from_before() {
    check(1500, || {
        let (cache, _) = open(2, |_| ());
        let db = Arc::new(Database::default());
        through_data(&cache, &db);
        let soft = TagOptions { soft: true, expire: None };
        let earlier = run!(cache => get(&cache, "/b/1").unwrap());
        let write = run!(cache, db => {
            db.change(1, || cache.revalidate_tag(&["t"], soft).unwrap());
        });
        let later = run!(cache, db => {
            let told = db.told();
            assert!(number(get(&cache, "/b/2").unwrap().page().body()) >= told);
        });
        together(vec![earlier, write, later]);
    });
}

#[test]
fn after_a_path_call_no_page_holds_data_from_before() {
    nothing_older(1000, through_data, 100, false, |c| {
        assert!(c.revalidate_path(&["/b/1"], None).unwrap());
    });
}

#[test]
fn a_page_found_clean_is_looked_at_again_after_the_next_call() {
    check(2000, || {
        let (cache, _) = open(1, |_| ());
        let db = Arc::new(Database::default());
        direct(&cache, &db);
        get(&cache, "/b/1").unwrap();
        let soft = TagOptions { soft: true, expire: None };
        // Calls for other tags make readers look, and note what they found.
        let others = run!(cache => for _ in 0..2 {
            cache.revalidate_tag(&["other"], TagOptions::default()).unwrap();
        });
        let read = || {
            run!(cache, db => for _ in 0..2 {
                let told = db.told();
                let answer = get(&cache, "/b/1").unwrap();
                assert!(
                    number(answer.page().body()) >= told || answer.cache() != CacheWord::Hit,
                    "a hit of what began before"
                );
            })
        };
        let write = run!(cache, db => {
            db.change(1, || cache.revalidate_tag(&["t"], soft).unwrap());
        });
        together(vec![read(), others, write, read()]);
    });
}

#[test]
fn a_call_that_has_returned_is_not_hidden_by_an_earlier_one_that_returns_later() {
    check(1500, || {
        let (cache, _) = open(1, |_| ());
        let db = Arc::new(Database::default());
        direct(&cache, &db);
        let slow =
            || run!(cache => cache.revalidate_tag(&["other"], TagOptions::default()).unwrap());
        let quick = run!(cache, db => {
            cache.put("/b/1", None, db.page().tag("t"), cache.started()).unwrap();
            cache.revalidate_tag(&["t"], TagOptions::default()).unwrap();
            assert_eq!(cache.peek("/b/1", None).unwrap().state(), State::Expired);
        });
        together(vec![slow(), quick, slow()]);
    });
}

#[test]
fn tags_of_one_call_take_effect_together() {
    check(1500, || {
        let (cache, _) = open(1, |_| ());
        for (pattern, tag) in [("/a", "t"), ("/b", "u")] {
            route(&cache, pattern, move |job| {
                job.complete(isr_core::PageResult::new("0").tag(tag)).unwrap();
            });
            get(&cache, pattern).unwrap();
        }
        cache.revalidate_tag(&["other"], TagOptions::default()).unwrap();
        let write = run!(cache => {
            cache.revalidate_tag(&["t", "u"], TagOptions::default()).unwrap();
        });
        let read = |first: &'static str, second: &'static str| {
            run!(cache => {
                let state = |path| cache.peek(path, None).unwrap().state();
                if state(first) == State::Expired {
                    assert_eq!(state(second), State::Expired);
                }
            })
        };
        together(vec![write, read("/a", "/b"), read("/b", "/a")]);
    });
}

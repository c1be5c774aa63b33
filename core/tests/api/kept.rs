//! What a door keeps of a hit answers for as long as the look-up would, and no longer.

use super::ends::*;
use super::support::*;
use isr_core::*;

fn kept(cache: &Cache, path: &str) -> Kept {
    get(cache, path).unwrap();
    get(cache, path).unwrap().keep().expect("a hit")
}

#[test]
fn it_answers_as_a_hit_and_counts_as_one() {
    let (cache, clock) = site();
    let kept = kept(&cache, "/1?utm=x");
    clock.advance(secs(30.0));
    let before = cache.stats().hits;
    let answer = cache.hit_kept(&kept).unwrap();
    assert_eq!((answer.cache(), answer.age_secs()), (CacheWord::Hit, 30));
    assert_eq!(answer.page().body(), kept.page().body());
    assert_eq!(cache.stats().hits, before + 1);
    assert!(answer.keep().is_some());
}

#[test]
fn only_a_hit_is_kept() {
    let (cache, clock) = site();
    assert!(get(&cache, "/1").unwrap().keep().is_none(), "a miss");
    clock.advance(secs(61.0));
    assert!(get(&cache, "/1").unwrap().keep().is_none(), "stale");
    settle(&cache);
}

#[test]
fn whatever_ends_a_hit_ends_it() {
    for (what, end) in ENDS {
        let (cache, clock) = site();
        let kept = kept(&cache, "/1");
        assert!(cache.hit_kept(&kept).is_some());
        cache.revalidate_tag(&["other"], TagOptions::default()).unwrap();
        assert!(cache.hit_kept(&kept).is_some(), "what does not name it leaves it");
        end(&cache, &clock);
        assert!(cache.hit_kept(&kept).is_none(), "{what}");
    }
}

#[test]
fn an_evicted_page_is_let_go() {
    let (cache, _) = site();
    let kept = kept(&cache, "/1");
    for n in 2..3000 {
        get(&cache, &format!("/{n}")).unwrap();
        get(&cache, &format!("/{n}")).unwrap();
    }
    let stored = cache.peek("/1", None).unwrap().state();
    assert_eq!(stored, State::Missing);
    assert!(cache.hit_kept(&kept).is_none());
}

#[test]
fn a_hit_of_a_kept_page_keeps_it_in_the_store() {
    let (cache, _) = site();
    let kept = kept(&cache, "/1");
    for n in 2..3000 {
        get(&cache, &format!("/{n}")).unwrap();
        assert!(cache.hit_kept(&kept).is_some(), "{n}");
    }
}

#[test]
fn the_same_hit_has_the_same_age_and_head() {
    for revalidate in [Some(60.0), Some(1.5), Some(0.25), None] {
        let (cache, clock) = open(|_| ());
        let lifetime = revalidate.map_or(Lifetime::NEVER, secs);
        cache
            .add_route(
                "/[id]",
                RouteOptions { revalidate: Some(lifetime), ..RouteOptions::default() },
                echo(),
            )
            .unwrap();
        get(&cache, "/1").unwrap();
        let facts = |answer: &Answer| {
            let head = answer.head(&http::Conditions::default());
            (
                answer.age_secs(),
                head.headers.iter().map(|(n, v)| format!("{n}: {v}")).collect::<Vec<_>>(),
            )
        };
        let mut given = get(&cache, "/1").unwrap();
        let mut anew = 0;
        for _ in 0..300 {
            clock.advance(secs(0.01));
            let before = cache.stats().hits;
            let same = given.keep().is_some_and(|kept| cache.hit_same(&kept));
            assert_eq!(cache.stats().hits, before + u64::from(same));
            let Some(now) = given.keep().and_then(|kept| cache.hit_kept(&kept)) else { break };
            assert_eq!(same, facts(&now) == facts(&given), "{revalidate:?} {now:?}");
            if !same {
                given = now;
                anew += 1;
            }
        }
        // An age and a ttl for each second, and none for a page that lives for less.
        let expected = match revalidate {
            None => 3,
            Some(60.0) => 6,
            Some(1.5) => 2,
            _ => 0,
        };
        assert_eq!(anew, expected, "{revalidate:?}");
    }
}

#[test]
fn the_same_hit_ends_where_a_hit_does() {
    let (cache, clock) = site();
    get(&cache, "/1").unwrap();
    clock.advance(secs(0.1));
    let kept = get(&cache, "/1").unwrap().keep().unwrap();
    assert!(cache.hit_same(&kept));
    clock.set_wall(kept.page().generated());
    assert!(!cache.hit_same(&kept), "earlier than it was given");
    clock.advance(secs(0.2));
    assert!(cache.hit_same(&kept));
    assert!(!kept.is_gone());
    let before = cache.pages_gone();
    drop(cache.regenerate(&Request::new("/1"), false).unwrap());
    assert!(!cache.hit_same(&kept));
    assert!(kept.is_gone());
    assert_eq!(cache.pages_gone(), before + 1);
    cache.remove(&["/1"]).unwrap();
    assert_eq!(cache.pages_gone(), before + 2);
}

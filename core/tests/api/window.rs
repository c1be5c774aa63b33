//! What a door sees through a window: the generation moves with whatever ends a hit, and the time is right.

use super::ends::*;
use super::support::*;
use isr_core::*;

/// A door of one thread: gives the answer again without a call where the words allow.
struct Door {
    cache: Cache,
    window: Window,
    kept: Kept,
    seen: Option<(i32, Seen)>,
}

impl Door {
    fn new(cache: &Cache, path: &str) -> Door {
        get(cache, path).unwrap();
        let kept = get(cache, path).unwrap().keep().expect("a hit");
        Door { cache: cache.clone(), window: cache.window(), kept, seen: None }
    }

    fn generation(&self) -> i32 {
        // SAFETY: the words live as long as the window, and this one is in their first four bytes.
        unsafe { self.window.words().cast::<i32>().read_volatile() }
    }

    fn double(&self, at: usize) -> f64 {
        // SAFETY: as above; a double lies at 8 and at 16.
        unsafe { self.window.words().cast::<f64>().add(at).read_volatile() }
    }

    fn add_hit(&self) {
        // SAFETY: as above; this thread alone writes there.
        unsafe { self.window.words().cast::<f64>().add(2).write_volatile(self.double(2) + 1.0) }
    }

    /// Whether it may answer without a call.
    fn sees(&self) -> bool {
        self.seen.is_some_and(|(g, seen)| g == self.generation() && self.double(1) < seen.fresh)
    }

    fn asks(&mut self) -> Option<Answer> {
        let generation = self.generation();
        let (answer, seen) = self.cache.hit_in(&self.window, &self.kept)?;
        self.seen = Some((generation, seen));
        Some(answer)
    }
}

#[test]
fn whatever_ends_a_hit_is_seen_by_the_very_next_look() {
    for (what, end) in ENDS {
        let (cache, clock) = site();
        let mut door = Door::new(&cache, "/1");
        assert!(!door.sees(), "not before it has asked");
        assert!(door.asks().is_some() && door.sees(), "{what}");
        clock.advance(secs(59.0));
        assert!(door.sees(), "still fresh");
        end(&cache, &clock);
        assert!(!door.sees(), "{what}");
        assert!(door.asks().is_none(), "{what}");
    }
}

#[test]
fn what_does_not_touch_the_page_costs_one_question() {
    let (cache, _) = site();
    let mut door = Door::new(&cache, "/1");
    assert!(door.asks().is_some());
    get(&cache, "/2").unwrap();
    assert!(door.sees(), "another page was stored");
    cache.revalidate_tag(&["other"], TagOptions::default()).unwrap();
    assert!(!door.sees());
    assert!(door.asks().is_some() && door.sees());
}

#[test]
fn an_evicted_page_is_to_be_let_go() {
    let (cache, _) = site();
    let mut door = Door::new(&cache, "/1");
    assert!(door.asks().is_some());
    for n in 2..3000 {
        get(&cache, &format!("/{n}")).unwrap();
        get(&cache, &format!("/{n}")).unwrap().keep().expect("a hit");
    }
    assert!(!door.sees() && door.kept.is_gone() && door.asks().is_none());
    // SAFETY: as in `Door`: an integer lies at 4.
    let let_go = || unsafe { door.window.words().cast::<u32>().add(1).read_volatile() };
    assert_eq!(let_go(), 1);
    door.window.has_let_go();
    assert_eq!(let_go(), 0);
}

#[test]
fn its_hits_count_and_its_marks_keep_a_page() {
    let (cache, _) = site();
    let door = Door::new(&cache, "/1");
    let before = cache.stats().hits;
    (0..5).for_each(|_| door.add_hit());
    assert_eq!(cache.stats().hits, before + 5);
    for n in 2..3000 {
        get(&cache, &format!("/{n}")).unwrap();
        door.kept.mark();
    }
    assert!(!door.kept.is_gone());
    let before = cache.stats().hits;
    drop(door);
    assert_eq!(cache.stats().hits, before, "also those of a window that is no more");
}

#[test]
fn it_says_when_age_and_time_left_change() {
    let (cache, clock) = site();
    let mut door = Door::new(&cache, "/1");
    let begin = door.double(1);
    door.asks();
    let turns = |door: &Door| door.seen.map(|(_, s)| (s.age_turns - begin, s.left_turns - begin));
    assert_eq!(turns(&door), Some((1000.0, 1.0)), "whole seconds are left, and no more after that");
    clock.advance(secs(0.25));
    assert_eq!(door.double(1) - begin, 250.0);
    let answer = door.asks().unwrap();
    assert_eq!(turns(&door), Some((1000.0, 1000.0)));
    let later = answer.at(answer.given().plus(secs(10.0)));
    assert_eq!((answer.age_secs(), later.age_secs()), (0, 10));
}

#[test]
fn a_window_of_another_cache_sees_nothing() {
    let (cache, _) = site();
    let (other, _) = site();
    let door = Door::new(&cache, "/1");
    assert!(cache.hit_in(&other.window(), &door.kept).is_none());
}

#[test]
fn by_the_system_clock_time_is_shown_while_somebody_looks() {
    let cache = Cache::open(Options::default()).unwrap();
    cache.add_route("/[id]", revalidate(60.0), versions(&counter())).unwrap();
    let mut door = Door::new(&cache, "/1");
    assert_eq!(door.double(1), f64::INFINITY);
    assert!(door.asks().is_some() && door.sees());
    let shown = door.double(1);
    let begin = Clock::system().now();
    while door.double(1) == shown {
        assert!(Clock::system().now().since(begin) < PATIENCE.into());
        std::thread::yield_now();
    }
    assert!(door.double(1) > shown);
    // Nobody looks any more.
    while door.double(1) != f64::INFINITY {
        assert!(Clock::system().now().since(begin) < PATIENCE.into());
        std::thread::yield_now();
    }
    assert!(!door.sees() && door.asks().is_some() && door.sees());
    assert!(cache.close(PATIENCE));
    assert_eq!(door.double(1), f64::INFINITY);
}

//! The pool on its own: no job is lost, no seat is lost, none is taken twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::sync::Barrier;

use crate::model::{check, together};
use crate::run;

#[allow(dead_code)]
#[path = "../../src/pool.rs"]
mod pool;

use crate::queue::{Bound, Bounded, Held, Kind, Priority};
use pool::{Admitted, Job, Pool};

/// What became of the jobs of one execution.
#[derive(Default)]
struct Tally {
    ran: AtomicUsize,
    refused: AtomicUsize,
    given_back: AtomicUsize,
    running: AtomicUsize,
    most: AtomicUsize,
}

impl Tally {
    fn all(&self) -> usize {
        [&self.ran, &self.refused, &self.given_back].map(|n| n.load(Ordering::SeqCst)).iter().sum()
    }
}

type Body = Box<dyn FnOnce(&Arc<Pool<Task>>, &Held) + Send>;

struct Task {
    pool: Arc<Pool<Task>>,
    tally: Arc<Tally>,
    body: Body,
    bounds: Vec<Bound>,
}

impl Bounded for Task {
    fn bounds(&self) -> &[Bound] {
        &self.bounds
    }
}

impl Job for Task {
    fn run(self, held: Held) {
        let now = self.tally.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.tally.most.fetch_max(now, Ordering::SeqCst);
        (self.body)(&self.pool, &held);
        self.tally.running.fetch_sub(1, Ordering::SeqCst);
        self.pool.leave(&held);
        self.tally.ran.fetch_add(1, Ordering::SeqCst);
    }

    fn no_thread(self, held: Held) {
        self.tally.refused.fetch_add(1, Ordering::SeqCst);
        self.pool.leave(&held);
    }
}

struct Model {
    pool: Arc<Pool<Task>>,
    tally: Arc<Tally>,
}

impl Model {
    fn new(seats: usize, max_queue: usize) -> Arc<Model> {
        Arc::new(Model { pool: Arc::new(Pool::new(seats, max_queue)), tally: Arc::default() })
    }

    fn admit(
        &self,
        priority: Priority,
        body: impl FnOnce(&Arc<Pool<Task>>, &Held) + Send + 'static,
    ) -> Option<Admitted> {
        self.admit_bound(priority, Vec::new(), body)
    }

    fn admit_bound(
        &self,
        priority: Priority,
        bounds: Vec<Bound>,
        body: impl FnOnce(&Arc<Pool<Task>>, &Held) + Send + 'static,
    ) -> Option<Admitted> {
        let (pool, tally, body) = (self.pool.clone(), self.tally.clone(), Box::new(body));
        let admitted = self.pool.admit(Task { pool, tally, body, bounds }, priority, 0);
        if admitted.is_err() {
            self.tally.refused.fetch_add(1, Ordering::SeqCst);
        }
        admitted.ok()
    }

    fn close(&self) {
        let left = self.pool.close();
        self.tally.given_back.fetch_add(left.len(), Ordering::SeqCst);
    }

    /// Until this many jobs have come to their end, whichever that was.
    fn wait_for(&self, jobs: usize) {
        while self.tally.all() < jobs {
            shuttle::thread::yield_now();
        }
    }

    /// As many jobs as there are seats run at one time.
    fn fills_all_seats(&self, seats: usize) {
        let all = Arc::new(Barrier::new(seats + 1));
        for _ in 0..seats {
            let all = all.clone();
            assert!(
                self.admit(Priority::Waited, move |_, _| {
                    all.wait();
                })
                .is_some()
            );
        }
        all.wait();
    }
}

fn step(_: &Arc<Pool<Task>>, _: &Held) {
    shuttle::thread::yield_now();
}

#[test]
fn every_job_runs_once_and_no_seat_is_lost_or_taken_twice() {
    check(1500, || {
        let m = Model::new(2, 3);
        let some =
            run!(m => { m.admit(Priority::Waited, step); m.admit(Priority::Background, step) });
        let more =
            run!(m => { m.admit(Priority::Prerender, step); m.admit(Priority::Waited, step) });
        let hurried = run!(m => {
            if let Some(Admitted::Queued(ticket)) = m.admit(Priority::Background, step) {
                m.pool.promote(ticket, Priority::Waited).tell();
            }
        });
        together(vec![some, more, hurried]);
        m.wait_for(5);
        m.fills_all_seats(2);
        m.wait_for(7);
        m.close();
        assert_eq!(m.tally.refused.load(Ordering::SeqCst), 0);
        assert_eq!(m.tally.most.load(Ordering::SeqCst), 2);
    });
}

#[test]
fn a_full_queue_refuses_and_a_promoted_prerender_counts() {
    check(1000, || {
        let m = Model::new(1, 1);
        let task = |priority| run!(m => m.admit(priority, step));
        let hurried = run!(m => {
            if let Some(Admitted::Queued(ticket)) = m.admit(Priority::Prerender, step) {
                m.pool.promote(ticket, Priority::Waited).tell();
            }
        });
        together(vec![task(Priority::Waited), hurried, task(Priority::Background)]);
        m.wait_for(3);
        // Nothing is queued now: there is room for exactly one.
        let held = Arc::new(Barrier::new(2));
        let barrier = held.clone();
        let admitted = m.admit(Priority::Waited, move |_, _| {
            barrier.wait();
        });
        assert!(matches!(admitted, Some(Admitted::Seated(_))));
        assert!(matches!(m.admit(Priority::Waited, step), Some(Admitted::Queued(_))));
        assert_eq!(m.admit(Priority::Waited, step), None);
        held.wait();
        m.wait_for(6);
        m.close();
    });
}

#[test]
fn a_seat_given_away_while_waiting_is_used_and_comes_back() {
    check(1000, || {
        let m = Model::new(1, 10);
        let gate = Arc::new(Barrier::new(2));
        let (opens, waits) = (gate.clone(), gate);
        // With one seat, the second can only run while the first has given its seat away.
        let both = run!(m => {
            m.admit(Priority::Waited, move |pool, held| {
                pool.leave(held);
                waits.wait();
                pool.retake(held, &[]);
            });
            m.admit(Priority::Waited, move |_, _| {
                opens.wait();
            })
        });
        together(vec![both, run!(m => m.admit(Priority::Background, step))]);
        m.wait_for(3);
        m.fills_all_seats(1);
        m.close();
    });
}

#[test]
fn closing_loses_no_job_and_leaves_no_thread() {
    check(1500, || {
        let m = Model::new(1, 10);
        let task = |priority| run!(m => { m.admit(priority, step); m.admit(priority, step) });
        let close = run!(m => m.close());
        together(vec![task(Priority::Waited), close, task(Priority::Background)]);
        // Whatever has a seat ends by itself. A thread that stayed would be reported as a dead-lock.
        m.wait_for(4);
    });
}

/// One of a kind at a time, of which there may be two.
fn one_of(kind: Kind) -> Bound {
    Bound { kind, most: 1 }
}

#[test]
fn a_bound_holds_and_nobody_waits_for_a_place_that_is_free() {
    check(1500, || {
        let m = Model::new(2, 10);
        let running = Arc::new([AtomicUsize::new(0), AtomicUsize::new(0)]);
        let (a, b) = (Kind::Route(1), Kind::Tag(2));
        let task = |kinds: &'static [usize]| {
            let (m, running) = (m.clone(), running.clone());
            let bounds = kinds.iter().map(|k| one_of([a, b][*k])).collect();
            let body = move |_: &Arc<Pool<Task>>, _: &Held| {
                for kind in kinds {
                    assert_eq!(running[*kind].fetch_add(1, Ordering::SeqCst), 0);
                }
                shuttle::thread::yield_now();
                for kind in kinds {
                    running[*kind].fetch_sub(1, Ordering::SeqCst);
                }
            };
            Box::new(move || drop(m.admit_bound(Priority::Background, bounds, body)))
                as Box<dyn FnOnce() + Send>
        };
        // Were one forgotten who stands aside, this would not end.
        together(vec![task(&[0, 1]), task(&[0]), task(&[1]), task(&[0, 1])]);
        m.wait_for(4);
        m.fills_all_seats(2);
        m.wait_for(6);
        m.close();
        assert_eq!(m.tally.ran.load(Ordering::SeqCst), 6);
    });
}

#[test]
fn who_is_waited_for_goes_past_the_bounds_of_the_background() {
    check(1000, || {
        let m = Model::new(2, 10);
        let gate = Arc::new(Barrier::new(2));
        let (opens, waits) = (gate.clone(), gate);
        let bounds = || vec![one_of(Kind::Background), one_of(Kind::Tag(1))];
        m.admit_bound(Priority::Background, bounds(), move |_, _| {
            waits.wait();
        });
        // It can run only beside the first, which waits for it.
        let opener = m.admit_bound(Priority::Background, bounds(), move |_, _| {
            opens.wait();
        });
        let Some(Admitted::Queued(ticket)) = opener else { panic!("the kind has no room") };
        let others = run!(m => { m.admit_bound(Priority::Background, bounds(), step) });
        together(vec![run!(m => m.pool.promote(ticket, Priority::Waited).tell()), others]);
        m.wait_for(3);
        m.fills_all_seats(2);
        m.wait_for(5);
        m.close();
    });
}

//! The pool on its own: no job is lost, no seat is lost, none is taken twice.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use shuttle::sync::Barrier;

use crate::model::{check, together};
use crate::run;

#[allow(dead_code)]
#[path = "../../src/pool.rs"]
mod pool;

use pool::{Admitted, Job, Pool, Priority};

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

type Body = Box<dyn FnOnce(&Arc<Pool<Task>>) + Send>;

struct Task {
    pool: Arc<Pool<Task>>,
    tally: Arc<Tally>,
    body: Body,
}

impl Job for Task {
    fn run(self) {
        let now = self.tally.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.tally.most.fetch_max(now, Ordering::SeqCst);
        (self.body)(&self.pool);
        self.tally.running.fetch_sub(1, Ordering::SeqCst);
        self.pool.leave();
        self.tally.ran.fetch_add(1, Ordering::SeqCst);
    }

    fn no_thread(self) {
        self.tally.refused.fetch_add(1, Ordering::SeqCst);
        self.pool.leave();
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
        body: impl FnOnce(&Arc<Pool<Task>>) + Send + 'static,
    ) -> Option<Admitted> {
        let (pool, tally, body) = (self.pool.clone(), self.tally.clone(), Box::new(body));
        let admitted = self.pool.admit(Task { pool, tally, body }, priority);
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
                self.admit(Priority::Waited, move |_| {
                    all.wait();
                })
                .is_some()
            );
        }
        all.wait();
    }
}

fn step(_: &Arc<Pool<Task>>) {
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
                m.pool.promote(ticket, Priority::Waited);
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
                m.pool.promote(ticket, Priority::Waited);
            }
        });
        together(vec![task(Priority::Waited), hurried, task(Priority::Background)]);
        m.wait_for(3);
        // Nothing is queued now: there is room for exactly one.
        let held = Arc::new(Barrier::new(2));
        let barrier = held.clone();
        assert_eq!(
            m.admit(Priority::Waited, move |_| {
                barrier.wait();
            }),
            Some(Admitted::Seated)
        );
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
            m.admit(Priority::Waited, move |pool| {
                pool.leave();
                waits.wait();
                pool.retake();
            });
            m.admit(Priority::Waited, move |_| {
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

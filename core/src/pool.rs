//! A bounded, prioritised thread pool. A job holds its seat until it gives it back, which may be after its callback returned
//! (finished later) or before (timed out): the number of seats bounds renders, not threads, so a hung callback is replaced.

use std::sync::Arc;
use std::time::Duration;

use crate::fork;
use crate::queue::{Bound, Bounded, Held, Priority, Queue, Ticket};
use crate::sync::Mutex;
use crate::sync::channel::{Receiver, Sender, unbounded};
use crate::threads::Threads;

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It has a seat; a thread runs it at once.
    Seated(Held),
    Queued(Ticket),
}

/// Why a job was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    Full,
    Closed,
    /// The system gives no thread.
    NoThread,
}

pub(crate) trait Job: Bounded + Send + 'static {
    /// Runs on a pool thread; the job has a seat.
    fn run(self, held: Held);
    /// The system gives no thread; the job has a seat.
    fn no_thread(self, held: Held);
}

/// Jobs that have a seat and get no thread: to be told so with no lock held.
#[must_use]
pub(crate) struct Stranded<J>(Vec<(J, Held)>);

impl<J: Job> Stranded<J> {
    pub(crate) fn none() -> Stranded<J> {
        Stranded(Vec::new())
    }

    pub(crate) fn tell(self) {
        for (job, held) in self.0 {
            job.no_thread(held);
        }
    }
}

pub(crate) struct Pool<J> {
    state: Mutex<Schedule<J>>,
    ready: Receiver<(J, Held)>,
    threads: Arc<Threads>,
    seats: usize,
}

struct Schedule<J> {
    queue: Queue<J>,
    taken: usize,
    /// Threads that wait for a job that nobody has sent yet.
    idle: usize,
    threads: usize,
    to_threads: Option<Sender<(J, Held)>>,
}

impl<J: Job> Pool<J> {
    pub(crate) fn new(seats: usize, max_queue: usize) -> Pool<J> {
        let (to_threads, ready) = unbounded();
        let state = Mutex::new(Schedule {
            queue: Queue::new(max_queue),
            taken: 0,
            idle: 0,
            threads: 0,
            to_threads: Some(to_threads),
        });
        Pool { state, ready, threads: Arc::default(), seats }
    }

    /// Takes a job, or says why not. It never runs on the calling thread. `lead`: see [`Queue::push`].
    pub(crate) fn admit(
        self: &Arc<Self>,
        job: J,
        priority: Priority,
        lead: u64,
    ) -> Result<Admitted, (Refused, J)> {
        let mut s = self.state.lock();
        if s.to_threads.is_none() {
            return Err((Refused::Closed, job));
        }
        // Whoever waits for a seat although one is free waits for others of his kind.
        if s.taken < self.seats
            && let Some(held) = s.queue.take(&job, priority)
        {
            s.taken += 1;
            return match self.hand_over(&mut s, job, held.clone()) {
                None => Ok(Admitted::Seated(held)),
                Some((job, held)) => {
                    s.taken -= 1;
                    s.queue.release(&held);
                    Err((Refused::NoThread, job))
                }
            };
        }
        match s.queue.push(job, priority, lead) {
            Ok(ticket) => Ok(Admitted::Queued(ticket)),
            Err(job) => Err((Refused::Full, job)),
        }
    }

    /// A job that may be queued is more urgent now, and may get a seat by that.
    pub(crate) fn promote(self: &Arc<Self>, ticket: Ticket, priority: Priority) -> Stranded<J> {
        let mut s = self.state.lock();
        if s.queue.promote(ticket, priority) { self.fill(&mut s) } else { Stranded::none() }
    }

    /// A job that may be queued goes ahead by so many places now.
    pub(crate) fn hurry(&self, ticket: Ticket, lead: u64) {
        self.state.lock().queue.hurry(ticket, lead);
    }

    /// Takes a job out of the queue, if it is there still.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> Option<J> {
        self.state.lock().queue.withdraw(ticket)
    }

    /// Gives a seat back: the next job starts. Not to be called with a lock held.
    pub(crate) fn leave(self: &Arc<Self>, held: &Held) {
        let stranded = {
            let mut s = self.state.lock();
            s.taken -= 1;
            s.queue.release(held);
            self.fill(&mut s)
        };
        stranded.tell();
    }

    /// Takes a seat again after [`Pool::leave`] in mid-job; more seats than allowed may be taken for a moment.
    pub(crate) fn retake(&self, held: &Held, bounds: &[Bound]) {
        let mut s = self.state.lock();
        s.taken += 1;
        s.queue.retake(held, bounds);
    }

    pub(crate) fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Takes no more jobs, lets idle threads go, and gives back what was queued.
    pub(crate) fn close(&self) -> Vec<J> {
        let mut s = self.state.lock();
        s.to_threads = None;
        s.queue.drain()
    }

    /// After [`Pool::close`]: waits for the threads; see [`Threads::join`].
    pub(crate) fn join(&self, timeout: Duration) -> bool {
        self.threads.join(timeout)
    }

    /// Gives free seats to those who wait.
    fn fill(self: &Arc<Self>, s: &mut Schedule<J>) -> Stranded<J> {
        let mut stranded = Stranded::none();
        while s.taken < self.seats {
            let Some((job, held)) = s.queue.pop() else { break };
            s.taken += 1;
            stranded.0.extend(self.hand_over(s, job, held));
        }
        stranded
    }

    /// Gives a job that has a seat to a thread. Back where there is none at all.
    fn hand_over(self: &Arc<Self>, s: &mut Schedule<J>, job: J, held: Held) -> Option<(J, Held)> {
        let Some(to_threads) = s.to_threads.clone() else { return Some((job, held)) };
        if s.idle > 0 {
            s.idle -= 1;
        } else {
            let pool = self.clone();
            match self.threads.spawn("isr-render", move || pool.work()) {
                Ok(()) => s.threads += 1,
                // A thread that is busy now takes the job when it is free.
                Err(_) if s.threads > 0 => {}
                Err(_) => return Some((job, held)),
            }
        }
        // The receiver lives as long as the pool.
        to_threads.send((job, held)).err().map(|e| e.0)
    }

    fn work(self: Arc<Self>) {
        let process = fork::generation();
        while let Ok((job, held)) = self.ready.recv() {
            job.run(held);
            if process != fork::generation() {
                // The job has forked the process and come back in the child, which has no thread but this one.
                return;
            }
            let mut s = self.state.lock();
            // A job gives its seat back before its thread is free, so that another thread begins the next one: as many as there are
            // seats may wait, or each render would start a thread and end one.
            if s.idle >= self.seats || s.to_threads.is_none() {
                s.threads -= 1;
                return;
            }
            s.idle += 1;
        }
        self.state.lock().threads -= 1;
    }
}

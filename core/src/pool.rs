//! A bounded, prioritised thread pool. A job holds its seat until it gives it back, which may be after its callback returned
//! (finished later) or before (timed out): the number of seats bounds renders, not threads, so a hung callback is replaced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::fork;
use crate::sync::Mutex;
use crate::sync::channel::{Receiver, Sender, unbounded};
use crate::threads::Threads;

/// Who goes first when a seat is free.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// A load that somebody waits for. It is no render: `max_queue` is not for it.
    Load,
    /// Another callback stands still until it is done. First, else all who are queued would begin, each to stand still in turn.
    Nested,
    /// Somebody waits.
    Waited,
    Background,
    Prerender,
}

impl Priority {
    /// Whether `max_queue` is for it. Prerenders wait for room.
    fn is_counted(self) -> bool {
        !matches!(self, Priority::Load | Priority::Prerender)
    }
}

/// A job's place in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(Priority, u64);

/// What became of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// It has a seat; a thread runs it at once.
    Seated,
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

pub(crate) trait Job: Send + 'static {
    /// Runs on a pool thread; the job has a seat.
    fn run(self);
    /// The system gives no thread; the job has a seat.
    fn no_thread(self);
}

pub(crate) struct Pool<J> {
    state: Mutex<Schedule<J>>,
    ready: Receiver<J>,
    threads: Arc<Threads>,
    seats: usize,
    max_queue: usize,
}

struct Schedule<J> {
    queue: BTreeMap<Ticket, J>,
    /// Queued jobs that count for `max_queue`.
    counted: usize,
    taken: usize,
    /// Threads that wait for a job that nobody has sent yet.
    idle: usize,
    threads: usize,
    next: u64,
    to_threads: Option<Sender<J>>,
}

impl<J: Job> Pool<J> {
    pub(crate) fn new(seats: usize, max_queue: usize) -> Pool<J> {
        let (to_threads, ready) = unbounded();
        let state = Mutex::new(Schedule {
            queue: BTreeMap::new(),
            counted: 0,
            taken: 0,
            idle: 0,
            threads: 0,
            next: 0,
            to_threads: Some(to_threads),
        });
        Pool { state, ready, threads: Arc::default(), seats, max_queue }
    }

    /// Takes a job, or says why not. It never runs on the calling thread.
    pub(crate) fn admit(
        self: &Arc<Self>,
        job: J,
        priority: Priority,
    ) -> Result<Admitted, (Refused, J)> {
        let mut s = self.state.lock();
        if s.to_threads.is_none() {
            return Err((Refused::Closed, job));
        }
        if s.taken < self.seats {
            s.taken += 1;
            return match self.hand_over(&mut s, job) {
                None => Ok(Admitted::Seated),
                Some(job) => {
                    s.taken -= 1;
                    Err((Refused::NoThread, job))
                }
            };
        }
        if priority.is_counted() {
            if s.counted >= self.max_queue {
                return Err((Refused::Full, job));
            }
            s.counted += 1;
        }
        s.next += 1;
        let ticket = Ticket(priority, s.next);
        s.queue.insert(ticket, job);
        Ok(Admitted::Queued(ticket))
    }

    /// A queued job is more urgent now.
    pub(crate) fn promote(&self, ticket: Ticket, priority: Priority) -> Option<Ticket> {
        if ticket.0 <= priority {
            return None;
        }
        let mut s = self.state.lock();
        let job = s.queue.remove(&ticket)?;
        if !ticket.0.is_counted() {
            s.counted += 1;
        }
        let ticket = Ticket(priority, ticket.1);
        s.queue.insert(ticket, job);
        Some(ticket)
    }

    /// Takes a job out of the queue, if it is there still.
    pub(crate) fn withdraw(&self, ticket: Ticket) -> Option<J> {
        let mut s = self.state.lock();
        let job = s.queue.remove(&ticket)?;
        if ticket.0.is_counted() {
            s.counted -= 1;
        }
        Some(job)
    }

    /// Gives a seat back: the next job starts. Not to be called with a lock held.
    pub(crate) fn leave(self: &Arc<Self>) {
        let mut stranded = Vec::new();
        {
            let mut s = self.state.lock();
            s.taken -= 1;
            while s.taken < self.seats {
                let Some((ticket, job)) = s.queue.pop_first() else { break };
                if ticket.0.is_counted() {
                    s.counted -= 1;
                }
                s.taken += 1;
                stranded.extend(self.hand_over(&mut s, job));
            }
        }
        for job in stranded {
            job.no_thread();
        }
    }

    /// Takes a seat again after [`Pool::leave`] in mid-job; more seats than allowed may be taken for a moment.
    pub(crate) fn retake(&self) {
        self.state.lock().taken += 1;
    }

    pub(crate) fn queued(&self) -> usize {
        self.state.lock().queue.len()
    }

    /// Takes no more jobs, lets idle threads go, and gives back what was queued.
    pub(crate) fn close(&self) -> Vec<J> {
        let mut s = self.state.lock();
        s.to_threads = None;
        s.counted = 0;
        std::mem::take(&mut s.queue).into_values().collect()
    }

    /// After [`Pool::close`]: waits for the threads; see [`Threads::join`].
    pub(crate) fn join(&self, timeout: Duration) -> bool {
        self.threads.join(timeout)
    }

    /// Gives a job that has a seat to a thread. Back where there is none at all.
    fn hand_over(self: &Arc<Self>, s: &mut Schedule<J>, job: J) -> Option<J> {
        let Some(to_threads) = s.to_threads.clone() else { return Some(job) };
        if s.idle > 0 {
            s.idle -= 1;
        } else {
            let pool = self.clone();
            match self.threads.spawn("isr-render", move || pool.work()) {
                Ok(()) => s.threads += 1,
                // A thread that is busy now takes the job when it is free.
                Err(_) if s.threads > 0 => {}
                Err(_) => return Some(job),
            }
        }
        // The receiver lives as long as the pool.
        to_threads.send(job).err().map(|e| e.0)
    }

    fn work(self: Arc<Self>) {
        let process = fork::generation();
        while let Ok(job) = self.ready.recv() {
            job.run();
            if process != fork::generation() {
                // The job has forked the process and come back in the child, which has no thread but this one.
                return;
            }
            let mut s = self.state.lock();
            if s.threads > self.seats || s.to_threads.is_none() {
                // One more was started while this one was held up.
                s.threads -= 1;
                return;
            }
            s.idle += 1;
        }
        self.state.lock().threads -= 1;
    }
}

//! Who gets a seat next: the order of the jobs that wait for one, and the bounds of how many of a kind may have one at once. A
//! data structure alone; the pool holds its lock.
//!
//! A job whose kind has no room stands aside, at that kind, and not in the way of the others. For each free place of a kind one of
//! those that stand aside there is back in line, so that what this costs does not grow with their number.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

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

/// A kind of jobs of which only so many may have a seat at once. What is told by its address lives as long as the job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// All that run in the background.
    Background,
    /// All renders of the route at this address.
    Route(usize),
    /// What runs in the background and has the tag at this address.
    Tag(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Bound {
    pub(crate) kind: Kind,
    pub(crate) most: usize,
}

impl Bound {
    /// Whether it holds for a job that goes by this priority: who is waited for goes past the bounds of the background.
    fn is_for(&self, priority: Priority) -> bool {
        matches!(self.kind, Kind::Route(_)) || priority == Priority::Background
    }
}

/// The kinds of a job that has a seat, by which it keeps others from theirs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Held(Arc<[Kind]>);

/// A job that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket(u64);

pub(crate) trait Bounded {
    /// All its bounds, also those that hold for it in the background only.
    fn bounds(&self) -> &[Bound];
}

/// A place in the order: least first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Rank {
    priority: Priority,
    /// In the background: the number less the places by which it goes ahead of its arrival.
    turn: i64,
    number: u64,
}

impl Rank {
    fn new(priority: Priority, number: u64, lead: u64) -> Rank {
        let lead = if priority == Priority::Background { lead } else { 0 };
        Rank { priority, turn: number as i64 - lead as i64, number }
    }
}

struct Waiting<J> {
    job: J,
    rank: Rank,
    /// The kind at which it stands aside.
    aside: Option<Kind>,
}

#[derive(Default)]
struct Seated {
    taken: usize,
    most: usize,
    aside: BTreeSet<Rank>,
}

impl Seated {
    fn has_room(&self) -> bool {
        self.taken < self.most
    }
}

pub(crate) struct Queue<J> {
    waiting: HashMap<u64, Waiting<J>>,
    line: BTreeSet<Rank>,
    /// Kinds of which a job has a seat or stands aside.
    kinds: HashMap<Kind, Seated>,
    /// `max_queue`.
    most: usize,
    /// Those that count for it.
    counted: usize,
    background: usize,
    next: u64,
}

impl<J: Bounded> Queue<J> {
    pub(crate) fn new(most: usize) -> Queue<J> {
        Queue {
            waiting: HashMap::new(),
            line: BTreeSet::new(),
            kinds: HashMap::new(),
            most,
            counted: 0,
            background: 0,
            next: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// For a job that need not wait for others to get a seat: what it holds then. None where one of its kinds has no room.
    pub(crate) fn take(&mut self, job: &J, priority: Priority) -> Option<Held> {
        match self.full(job, priority) {
            Some(_) => None,
            None => Some(self.hold(job, priority)),
        }
    }

    /// Queues a job; back where there is no room. In the background it goes ahead of its arrival by `lead` places, so that
    /// whatever leads wait no longer than that for what came later.
    pub(crate) fn push(&mut self, job: J, priority: Priority, lead: u64) -> Result<Ticket, J> {
        if !self.has_room(priority) {
            return Err(job);
        }
        self.count(priority, 1);
        self.next += 1;
        let rank = Rank::new(priority, self.next, lead);
        let aside = self.full(&job, priority);
        self.waiting.insert(rank.number, Waiting { job, rank, aside });
        self.put(rank, aside);
        Ok(Ticket(rank.number))
    }

    /// The next job that may have a seat, and what it holds with it.
    pub(crate) fn pop(&mut self) -> Option<(J, Held)> {
        loop {
            let rank = self.line.pop_first()?;
            let waiting = self.waiting.get_mut(&rank.number)?;
            let full = full(&self.kinds, &waiting.job, rank.priority);
            if let Some(kind) = full {
                waiting.aside = Some(kind);
                let kinds = kinds_of(&waiting.job, rank.priority);
                self.put(rank, Some(kind));
                // It was there in the name of the others of its kinds, too.
                kinds.iter().for_each(|k| self.call_up(*k));
                continue;
            }
            let Waiting { job, .. } = self.waiting.remove(&rank.number)?;
            self.count(rank.priority, -1);
            let held = self.hold(&job, rank.priority);
            return Some((job, held));
        }
    }

    /// A job that may wait is more urgent now. Whether somebody may get a seat who could not before.
    pub(crate) fn promote(&mut self, ticket: Ticket, priority: Priority) -> bool {
        let Some(waiting) = self.waiting.get_mut(&ticket.0) else { return false };
        let before = waiting.rank;
        if before.priority <= priority {
            return false;
        }
        let rank = Rank::new(priority, ticket.0, 0);
        let kinds = kinds_of(&waiting.job, before.priority);
        let aside = full(&self.kinds, &waiting.job, priority);
        let was_aside = std::mem::replace(&mut waiting.aside, aside);
        waiting.rank = rank;
        self.take_away(before, was_aside);
        self.put(rank, aside);
        self.count(before.priority, -1);
        self.count(priority, 1);
        for kind in kinds {
            self.call_up(kind);
            self.forget_if_unused(kind);
        }
        !self.line.is_empty()
    }

    /// A job that may wait goes ahead of its arrival by so many places now, if these are more than before.
    pub(crate) fn hurry(&mut self, ticket: Ticket, lead: u64) {
        let Some(waiting) = self.waiting.get_mut(&ticket.0) else { return };
        let before = waiting.rank;
        let rank = Rank::new(before.priority, before.number, lead);
        if rank >= before {
            // Those that stand aside may have waited for it.
            return;
        }
        // Before others of its kind that are in line, if there is room by now.
        let aside = full(&self.kinds, &waiting.job, rank.priority);
        let was_aside = std::mem::replace(&mut waiting.aside, aside);
        waiting.rank = rank;
        let kinds = kinds_of(&waiting.job, rank.priority);
        self.take_away(before, was_aside);
        self.put(rank, aside);
        if was_aside.is_none() && aside.is_some() {
            // It was in line in the name of the others of its kinds, too.
            kinds.iter().for_each(|k| self.call_up(*k));
        }
    }

    /// Takes out a job that may wait.
    pub(crate) fn withdraw(&mut self, ticket: Ticket) -> Option<J> {
        let Waiting { job, rank, aside } = self.waiting.remove(&ticket.0)?;
        self.take_away(rank, aside);
        self.count(rank.priority, -1);
        for kind in kinds_of(&job, rank.priority) {
            self.call_up(kind);
            self.forget_if_unused(kind);
        }
        Some(job)
    }

    /// A seat is given back, or lent.
    pub(crate) fn release(&mut self, held: &Held) {
        for kind in held.0.iter() {
            if let Some(seated) = self.kinds.get_mut(kind) {
                seated.taken -= 1;
            }
            self.call_up(*kind);
            self.forget_if_unused(*kind);
        }
    }

    /// A lent seat is taken again, room or not.
    pub(crate) fn retake(&mut self, held: &Held, bounds: &[Bound]) {
        for kind in held.0.iter() {
            let most = bounds.iter().find(|b| b.kind == *kind).map_or(usize::MAX, |b| b.most);
            self.kind(*kind, most).taken += 1;
        }
    }

    /// Takes out all jobs.
    pub(crate) fn drain(&mut self) -> Vec<J> {
        self.line.clear();
        self.kinds.retain(|_, seated| {
            seated.aside.clear();
            seated.taken > 0
        });
        (self.counted, self.background) = (0, 0);
        self.waiting.drain().map(|(_, waiting)| waiting.job).collect()
    }

    /// A quarter of the queue, rounded down, is for those whom somebody waits for.
    fn has_room(&self, priority: Priority) -> bool {
        let in_background = priority == Priority::Background;
        let no_room_in_background = self.background >= self.most - self.most / 4;
        !priority.is_counted()
            || (self.counted < self.most && !(in_background && no_room_in_background))
    }

    fn count(&mut self, priority: Priority, by: isize) {
        if priority.is_counted() {
            self.counted = self.counted.saturating_add_signed(by);
        }
        if priority == Priority::Background {
            self.background = self.background.saturating_add_signed(by);
        }
    }

    /// The kind that has no room for a job.
    fn full(&self, job: &J, priority: Priority) -> Option<Kind> {
        full(&self.kinds, job, priority)
    }

    fn hold(&mut self, job: &J, priority: Priority) -> Held {
        let kinds = kinds_of(job, priority);
        for bound in job.bounds().iter().filter(|b| b.is_for(priority)) {
            self.kind(bound.kind, bound.most).taken += 1;
        }
        Held(kinds.into())
    }

    fn kind(&mut self, kind: Kind, most: usize) -> &mut Seated {
        let seated = self.kinds.entry(kind).or_default();
        seated.most = most;
        seated
    }

    /// One of those that stand aside at a kind with room is back in line.
    fn call_up(&mut self, kind: Kind) {
        let Some(seated) = self.kinds.get_mut(&kind) else { return };
        if !seated.has_room() {
            return;
        }
        if let Some(rank) = seated.aside.pop_first() {
            self.line.insert(rank);
            if let Some(waiting) = self.waiting.get_mut(&rank.number) {
                waiting.aside = None;
            }
        }
    }

    fn put(&mut self, rank: Rank, aside: Option<Kind>) {
        match aside.and_then(|kind| self.kinds.get_mut(&kind)) {
            Some(seated) => seated.aside.insert(rank),
            None => self.line.insert(rank),
        };
    }

    fn take_away(&mut self, rank: Rank, aside: Option<Kind>) {
        match aside.and_then(|kind| self.kinds.get_mut(&kind)) {
            Some(seated) => seated.aside.remove(&rank),
            None => self.line.remove(&rank),
        };
    }

    fn forget_if_unused(&mut self, kind: Kind) {
        if self.kinds.get(&kind).is_some_and(|s| s.taken == 0 && s.aside.is_empty()) {
            self.kinds.remove(&kind);
        }
    }
}

fn kinds_of(job: &impl Bounded, priority: Priority) -> Vec<Kind> {
    job.bounds().iter().filter(|b| b.is_for(priority)).map(|b| b.kind).collect()
}

fn full(kinds: &HashMap<Kind, Seated>, job: &impl Bounded, priority: Priority) -> Option<Kind> {
    let is_full = |b: &&Bound| kinds.get(&b.kind).is_some_and(|s| s.taken >= b.most);
    job.bounds().iter().filter(|b| b.is_for(priority)).find(is_full).map(|b| b.kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Priority::{Background, Prerender, Waited};
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    struct Job(u32, Vec<Bound>);

    impl Bounded for Job {
        fn bounds(&self) -> &[Bound] {
            &self.1
        }
    }

    fn job(name: u32) -> Job {
        Job(name, Vec::new())
    }

    fn names(queue: &mut Queue<Job>) -> Vec<u32> {
        std::iter::from_fn(|| queue.pop()).map(|(job, _)| job.0).collect()
    }

    #[test]
    fn who_is_waited_for_goes_first_and_the_background_by_its_lead() {
        let mut queue = Queue::new(100);
        for (name, priority, lead) in [
            (1, Prerender, 0),
            (2, Background, 0),
            (3, Background, 7),
            (4, Waited, 0),
            (5, Background, 4),
            (6, Waited, 0),
        ] {
            queue.push(job(name), priority, lead).unwrap();
        }
        assert_eq!(names(&mut queue), [4, 6, 3, 5, 2, 1]);
    }

    #[test]
    fn a_lead_is_used_up_by_those_who_come_later() {
        let mut queue = Queue::new(1000);
        queue.push(job(0), Background, 0).unwrap();
        for name in 1..=20 {
            queue.push(job(name), Background, 10).unwrap();
        }
        let order = names(&mut queue);
        assert_eq!(order.iter().position(|n| *n == 0), Some(9), "{order:?}");
    }

    #[test]
    fn the_last_quarter_of_the_queue_is_for_those_who_are_waited_for() {
        for (most, background) in [(0, 0), (1, 1), (2, 2), (3, 3), (4, 3), (8, 6), (1000, 750)] {
            let mut queue = Queue::new(most);
            let taken = (0..2000).filter(|n| queue.push(job(*n), Background, 0).is_ok()).count();
            assert_eq!(taken, background, "of {most}");
            let more = (0..2000).filter(|n| queue.push(job(*n), Waited, 0).is_ok()).count();
            assert_eq!(more, most - background, "of {most}");
            assert!(queue.push(job(0), Prerender, 0).is_ok(), "waits for room");
        }
    }

    #[test]
    fn who_is_promoted_makes_room_in_the_background() {
        let mut queue = Queue::new(4);
        let tickets: Vec<_> = (0..3).map(|n| queue.push(job(n), Background, 0).unwrap()).collect();
        assert!(queue.push(job(3), Background, 0).is_err());
        queue.promote(tickets[2], Waited);
        assert!(queue.push(job(3), Background, 0).is_ok());
        assert!(queue.push(job(4), Waited, 0).is_err(), "four wait");
        assert_eq!(names(&mut queue), [2, 0, 1, 3]);
    }

    #[test]
    fn who_leaves_the_line_in_a_hurry_lets_the_next_of_its_kind_in() {
        let mut queue = Queue::new(10);
        let (route, tag) = (Kind::Route(1), Kind::Tag(1));
        let of = |kinds: &[Kind]| kinds.iter().map(|k| Bound { kind: *k, most: 1 }).collect();
        queue.push(Job(0, of(&[route])), Waited, 0).unwrap();
        let (_, held) = queue.pop().unwrap();
        let both = queue.push(Job(1, of(&[route, tag])), Background, 0).unwrap();
        queue.push(Job(2, of(&[tag])), Background, 5).unwrap();
        queue.push(Job(3, of(&[route])), Prerender, 0).unwrap();
        assert_eq!(queue.pop().unwrap().0.0, 2, "has the tag");
        // The first of those at the route is in line, and finds no room for its tag.
        queue.release(&held);
        queue.hurry(both, 9);
        assert_eq!(queue.pop().unwrap().0.0, 3);
    }

    #[test]
    fn nothing_is_left_of_kinds_that_nobody_has() {
        let mut queue = Queue::new(10);
        let bounds: Vec<_> = (0..3).map(|n| Bound { kind: Kind::Tag(n), most: 1 }).collect();
        for name in 0..4 {
            queue.push(Job(name, bounds.clone()), Background, 0).unwrap();
        }
        while let Some((_, held)) = queue.pop() {
            assert!(queue.pop().is_none());
            queue.release(&held);
        }
        assert_eq!((queue.len(), queue.kinds.len()), (0, 0));
    }

    /// What may happen to a queue; numbers choose among what is there.
    #[derive(Clone, Debug)]
    enum Event {
        Push(Priority, u64, Vec<usize>),
        Pop,
        Leave(usize),
        Lend(usize),
        Promote(usize),
        Hurry(usize, u64),
    }

    fn event() -> impl Strategy<Value = Event> {
        let priority = prop_oneof![Just(Waited), Just(Background), Just(Prerender)];
        let kinds = proptest::sample::subsequence(vec![0, 1, 2, 3], 0..=3);
        prop_oneof![
            4 => (priority, 0u64..9, kinds).prop_map(|(p, l, k)| Event::Push(p, l, k)),
            3 => Just(Event::Pop),
            2 => (0usize..9).prop_map(Event::Leave),
            1 => (0usize..9).prop_map(Event::Lend),
            1 => (0usize..9).prop_map(Event::Promote),
            1 => (0usize..9, 0u64..20).prop_map(|(n, l)| Event::Hurry(n, l)),
        ]
    }

    /// All that wait, and the seats taken of each kind, in the plainest form.
    #[derive(Default)]
    struct Plain {
        waiting: Vec<(Rank, Job)>,
        seated: Vec<(Job, Held)>,
    }

    impl Plain {
        fn has_room(&self, job: &Job, priority: Priority) -> bool {
            job.1.iter().filter(|b| b.is_for(priority)).all(|b| {
                self.seated.iter().filter(|(_, held)| held.0.contains(&b.kind)).count() < b.most
            })
        }

        fn first(&self) -> Option<Rank> {
            let may = |(rank, job): &&(Rank, Job)| self.has_room(job, rank.priority);
            self.waiting.iter().filter(may).map(|(rank, _)| *rank).min()
        }

        fn at(&self, n: usize) -> Option<usize> {
            (!self.waiting.is_empty()).then(|| n % self.waiting.len())
        }
    }

    proptest! {
        #[test]
        fn the_first_of_those_with_room_is_next(events in proptest::collection::vec(event(), 0..120)) {
            let kinds = [Kind::Background, Kind::Route(1), Kind::Tag(1), Kind::Tag(2)];
            let mut queue = Queue::new(1000);
            let mut plain = Plain::default();
            for (name, event) in events.into_iter().enumerate() {
                match event {
                    Event::Push(priority, lead, of) => {
                        let bounds =
                            of.iter().map(|k| Bound { kind: kinds[*k], most: 1 + k % 2 }).collect();
                        let job = Job(name as u32, bounds);
                        let Ok(ticket) = queue.push(job.clone(), priority, lead) else {
                            continue;
                        };
                        plain.waiting.push((Rank::new(priority, ticket.0, lead), job));
                    }
                    Event::Pop => {
                        let first = plain.first();
                        let popped = queue.pop();
                        let at = plain.waiting.iter().position(|(rank, _)| Some(*rank) == first);
                        let expected = at.map(|at| plain.waiting.remove(at).1);
                        prop_assert_eq!(popped.as_ref().map(|p| p.0.0), expected.as_ref().map(|j| j.0));
                        plain.seated.extend(popped);
                    }
                    Event::Leave(n) if !plain.seated.is_empty() => {
                        let (_, held) = plain.seated.swap_remove(n % plain.seated.len());
                        queue.release(&held);
                    }
                    Event::Lend(n) if !plain.seated.is_empty() => {
                        let (job, held) = plain.seated[n % plain.seated.len()].clone();
                        queue.release(&held);
                        queue.retake(&held, job.bounds());
                    }
                    Event::Promote(n) => if let Some(at) = plain.at(n) {
                        let rank = plain.waiting[at].0;
                        queue.promote(Ticket(rank.number), Waited);
                        if rank.priority > Waited {
                            plain.waiting[at].0 = Rank::new(Waited, rank.number, 0);
                        }
                    }
                    Event::Hurry(n, lead) => if let Some(at) = plain.at(n) {
                        let rank = plain.waiting[at].0;
                        queue.hurry(Ticket(rank.number), lead);
                        plain.waiting[at].0 = rank.min(Rank::new(rank.priority, rank.number, lead));
                    }
                    _ => {}
                }
                prop_assert_eq!(queue.len(), plain.waiting.len());
            }
        }
    }
}

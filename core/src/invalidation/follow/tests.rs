use proptest::prelude::*;
use tempfile::TempDir;

use crate::clock::Time;
use crate::invalidation::overflow::Subject;
use crate::invalidation::wire::{Call, Effect};
use crate::invalidation::{Invalidations, Names, Records, Strength, Verdict};
use crate::options::Options;
use crate::store::log::Commit;

use super::*;

fn t(secs: u64) -> Time {
    Time::from_nanos(secs * 1_000_000_000)
}

/// A directory that several open, as processes would.
struct Ground(TempDir);

struct Process {
    inv: Invalidations,
    store: Arc<Store>,
}

impl Ground {
    fn new() -> Ground {
        Ground(TempDir::new_in("/dev/shm").or_else(|_| TempDir::new()).unwrap())
    }

    fn open(&self) -> Process {
        let opened = Store::open(self.0.path(), &Options::default()).unwrap();
        let store = opened.store.clone();
        Process { inv: Invalidations::new(1000, 0, Some(opened), Arc::default()), store }
    }
}

impl Process {
    fn invalidate(&self, path: &str) {
        self.inv.invalidate_places(&[Subject::Page(path)], t(1));
    }

    fn verdict(&self, path: &str, started: u64) -> Verdict {
        self.inv.verdict(Names { place: Some((path, "/[]")), tags: &[] }, started, t(2))
    }

    #[track_caller]
    fn knows(&self, path: &str, started: u64) {
        let v = self.verdict(path, started);
        assert!(v.hard_at.is_some() && !v.removed, "{path}: {v:?}");
    }

    fn log(&self) -> Log {
        Log::open(self.store.v1()).unwrap()
    }

    /// Writes a call, and dies before anybody is told.
    fn write_and_die(&self, path: &str) {
        let mut log = self.log();
        let epoch = self.store.epoch() + AHEAD;
        let item = Item::Call(Call {
            epoch,
            at: t(1),
            effect: Effect::Invalidate(Strength::Hard),
            subjects: vec![Subject::Page(path)],
        });
        let mut frame = Vec::new();
        push_frame(&mut frame, &item.bytes());
        log.append(&frame, log.commit, false).unwrap();
    }

    /// Puts a snapshot in the place of the log, and dies before anybody is told.
    fn compact_and_die(&self) {
        let former = self.log();
        let replayed = Records::new(1000, self.store.seed());
        let mut rest = &former.frames(HEAD, former.commit.end).unwrap()[..];
        while let Some((payload, next)) = split_frame(rest) {
            replayed.replay(Item::parse(payload).unwrap());
            rest = next;
        }
        let head = Head {
            generation: former.head.generation + 1,
            former_end: former.commit.end,
            ..former.head.clone()
        };
        Log::create(self.store.v1(), head, former.commit, &replayed.snapshot(), false).unwrap();
    }
}

#[test]
fn a_call_whose_writer_died_before_he_told_of_it_is_told_by_the_next_one() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let started = a.inv.next_epoch();
    a.write_and_die("/a");
    b.invalidate("/b");
    for process in [&a, &b, &ground.open()] {
        process.knows("/a", started);
        process.knows("/b", started);
    }
    // And by recovery, where there is no next one.
    let later = a.inv.next_epoch();
    a.write_and_die("/c");
    drop((a, b));
    ground.open().knows("/c", later);
}

#[test]
fn a_snapshot_whose_writer_died_before_he_told_of_it_is_the_log_for_the_next_one() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let started = a.inv.next_epoch();
    a.invalidate("/a");
    a.write_and_die("/not told");
    a.compact_and_die();
    // A joiner sees what is there.
    ground.open().knows("/not told", started);
    // Twice, and the other is two generations behind.
    b.invalidate("/b");
    b.compact_and_die();
    b.compact_and_die();
    a.invalidate("/c");
    b.invalidate("/d");
    let all = ["/a", "/not told", "/b", "/c", "/d"];
    for process in [&a, &b, &ground.open()] {
        all.iter().for_each(|path| process.knows(path, started));
        assert_eq!(process.store.errors(), 0);
    }
    drop((a, b));
    let c = ground.open();
    all.iter().for_each(|path| c.knows(path, started));
}

#[test]
fn a_log_of_another_era_is_left_alone_and_told_of() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let started = a.inv.next_epoch();
    let head = Head { era: a.store.era() ^ 1, generation: 9, ..a.log().head };
    let theirs = Log::create(a.store.v1(), head, Commit::default(), b"", false).unwrap();
    a.invalidate("/a");
    for process in [&a, &b] {
        process.knows("/a", started);
    }
    assert!(!a.store.is_online());
    assert_eq!(theirs.newest_commit().unwrap(), theirs.commit, "nothing was written to it");
}

#[test]
fn what_was_only_told_of_is_written_at_the_close() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let started = a.inv.next_epoch();
    a.store.flush(a.store.epoch());
    b.inv.close();
    drop((a, b));
    let c = ground.open();
    assert!(c.verdict("/x", started - 1).removed);
    assert!(!c.verdict("/x", c.inv.next_epoch()).removed);
}

#[test]
fn a_call_that_cannot_be_written_removes_all_for_all_at_once() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let started = b.inv.next_epoch();
    // The log says that there is more of it than there is.
    let mut log = a.log();
    log.commit(Commit { end: log.commit.end + (1 << 30), ..log.commit }, false).unwrap();
    a.invalidate("/a");
    for process in [&b, &a] {
        assert!(process.verdict("/x", started).removed, "at the first look");
        assert!(process.verdict("/x", process.inv.next_epoch()).is_clean());
    }
    assert!(a.store.errors() > 0);
}

#[test]
fn what_begins_while_a_call_is_written_is_older() {
    let ground = Ground::new();
    let (a, b) = (ground.open(), ground.open());
    let before = b.inv.next_epoch();
    a.invalidate("/a");
    a.knows("/a", before);
    assert!(b.verdict("/a", b.inv.next_epoch()).is_clean());
    assert!(a.inv.next_epoch() > b.inv.latest());
}

#[derive(Clone, Debug)]
enum Step {
    Hard(u8),
    Soft(u8),
    Until(u8, u64),
    Path(u8),
    Layout(u8),
    Remove(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..40u8).prop_map(Step::Hard),
        (0..40u8).prop_map(Step::Soft),
        (0..40u8, 0..9u64).prop_map(|(n, s)| Step::Until(n, s)),
        (0..40u8).prop_map(Step::Path),
        (0..3u8).prop_map(Step::Layout),
        (0..40u8).prop_map(Step::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Few records are kept apart, so that many are merged.
    #[test]
    fn a_snapshot_says_what_the_records_say(steps in prop::collection::vec(step(), 0..120)) {
        let records = Records::new(16, 5);
        for (n, step) in steps.iter().enumerate() {
            let (name, effect) = match step {
                Step::Hard(n) => (format!("t{n}"), Effect::Invalidate(Strength::Hard)),
                Step::Soft(n) => (format!("t{n}"), Effect::Invalidate(Strength::Soft)),
                Step::Until(n, s) => {
                    (format!("t{n}"), Effect::Invalidate(Strength::SoftUntil(t(*s))))
                }
                Step::Path(n) | Step::Layout(n) => {
                    (format!("/{n}"), Effect::Invalidate(Strength::Hard))
                }
                Step::Remove(e) => (format!("/{e}"), Effect::Remove(n as u64)),
            };
            let subject = match step {
                Step::Hard(_) | Step::Soft(_) | Step::Until(..) => Subject::Tag(&name),
                Step::Path(_) | Step::Remove(_) => Subject::Page(&name),
                Step::Layout(_) => Subject::PathLayout(&name),
            };
            let epoch = n as u64 + 1;
            records.apply(&Call { epoch, at: t(epoch), effect, subjects: vec![subject] });
        }
        let snapshot = records.snapshot();
        let again = Records::new(1000, 5);
        let mut rest = &snapshot[..];
        while let Some((payload, next)) = split_frame(rest) {
            again.replay(Item::parse(payload).unwrap());
            rest = next;
        }
        let sorted = |records: &Records| {
            let bytes = records.snapshot();
            let (mut rest, mut frames) = (&bytes[..], Vec::new());
            while let Some((payload, next)) = split_frame(rest) {
                frames.push(payload.to_vec());
                rest = next;
            }
            frames.sort();
            frames
        };
        prop_assert_eq!(sorted(&records), sorted(&again));
        prop_assert_eq!(newest_epoch(&snapshot).is_some(), true);
    }
}

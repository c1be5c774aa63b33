//! What a writer takes out is dropped when nobody can see it any more, and not before.

use std::sync::Arc;

use shuttle::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use shuttle::thread;

use crate::lanes::Lane;
use crate::model::check;

#[allow(dead_code)]
#[path = "../../src/memory/readers.rs"]
mod readers;

use readers::{Inside, Readers};

const ENTRIES: usize = 4;

struct Model {
    readers: Readers,
    /// The entry that can be found now.
    newest: AtomicUsize,
    dropped: [AtomicBool; ENTRIES],
}

impl Model {
    fn read(&self, lane: Lane) {
        let _reading = self.readers.enter(lane);
        let found = self.newest.load(Ordering::SeqCst);
        for _ in 0..2 {
            assert!(!self.dropped[found].load(Ordering::SeqCst), "dropped under a reader");
        }
    }

    fn drop_unseen(&self, waiting: &mut Vec<(Inside, usize)>) {
        waiting.retain_mut(|(inside, entry)| {
            let unseen = self.readers.have_left(inside);
            if unseen {
                self.dropped[*entry].store(true, Ordering::SeqCst);
            }
            !unseen
        });
    }
}

fn model(lane: impl Fn() -> Lane + Send + Sync + Clone + 'static) {
    let model = Arc::new(Model {
        readers: Readers::new(),
        newest: AtomicUsize::new(0),
        dropped: std::array::from_fn(|_| AtomicBool::new(false)),
    });
    let reading: Vec<_> = (0..2)
        .map(|_| {
            let (model, lane) = (model.clone(), lane.clone());
            thread::spawn(move || {
                for _ in 0..3 {
                    model.read(lane());
                }
            })
        })
        .collect();
    let mut waiting = Vec::new();
    for next in 1..ENTRIES {
        model.newest.store(next, Ordering::SeqCst);
        waiting.push((model.readers.inside().unwrap(), next - 1));
        model.drop_unseen(&mut waiting);
    }
    reading.into_iter().for_each(|t| t.join().unwrap());
    model.drop_unseen(&mut waiting);
    assert!(waiting.is_empty(), "nobody is inside any more");
}

#[test]
fn with_lanes() {
    check(3000, || model(Lane::mine));
}

#[test]
fn one_within_another() {
    check(1000, || {
        let readers = Arc::new(Readers::new());
        let (of_other, lane) = (readers.clone(), Lane::mine());
        let other = thread::spawn(move || drop(of_other.enter(Lane::mine())));
        let outer = readers.enter(lane);
        drop(readers.enter(lane));
        let mut inside = readers.inside().unwrap();
        assert!(!readers.have_left(&mut inside), "the outer one goes on");
        drop(outer);
        other.join().unwrap();
        assert!(readers.have_left(&mut inside));
    });
}

#[test]
fn without_lanes() {
    check(1000, || model(Lane::none));
}

//! What each process makes anew after a fork: all threads of a child get the same one, and none gets the parent's.

use std::sync::Arc;

use shuttle::sync::atomic::{AtomicUsize, Ordering};

use crate::fork::{ForChildren, PerProcess, generation, pretend};
use crate::model::{check, together};
use crate::run;

/// Says when it is dropped.
struct Value {
    generation: u32,
    number: usize,
    dropped: Arc<AtomicUsize>,
}

impl Drop for Value {
    fn drop(&mut self) {
        assert_eq!(self.generation, generation(), "another process's was dropped");
        self.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn threads_of_a_child_agree_on_one_value() {
    check(1000, || {
        let (made, dropped) = (Arc::new(AtomicUsize::new(1)), Arc::new(AtomicUsize::new(0)));
        let value = |number, dropped: &Arc<AtomicUsize>| Value {
            generation: generation(),
            number,
            dropped: dropped.clone(),
        };
        let family = Arc::new(PerProcess::new(generation(), value(0, &dropped)));
        let mut ancestors = 1;
        for used in [true, false, true] {
            pretend();
            assert!(family.present().is_none());
            if !used {
                continue;
            }
            let seen = Arc::new(AtomicUsize::new(usize::MAX));
            let told = Arc::new(AtomicUsize::new(0));
            let look = run!(family, made, dropped, seen, told => {
                let own = family.get(|before| {
                    assert!(before.generation < generation());
                    value(made.fetch_add(1, Ordering::SeqCst), &dropped)
                }, |_| { told.fetch_add(1, Ordering::SeqCst); });
                assert_eq!(own.generation, generation());
                let before = seen.swap(own.number, Ordering::SeqCst);
                assert!(before == usize::MAX || before == own.number, "two values in one process");
            });
            let again = run!(family, seen => {
                if let Some(own) = family.present() {
                    let before = seen.swap(own.number, Ordering::SeqCst);
                    assert!(before == usize::MAX || before == own.number);
                }
            });
            let third = run!(family, made, dropped, told => {
                family.get(|_| value(made.fetch_add(1, Ordering::SeqCst), &dropped), |_| {
                    told.fetch_add(1, Ordering::SeqCst);
                });
            });
            together(vec![look, again, third]);
            assert_eq!(told.load(Ordering::SeqCst), 1);
            ancestors += 1;
        }
        drop(family);
        // All but those of the ancestors: one is this process's own, the others lost a race.
        let made = made.load(Ordering::SeqCst);
        assert_eq!(dropped.load(Ordering::SeqCst), made - (ancestors - 1));
    });
}

#[test]
fn a_list_loses_nothing_and_keeps_the_order_of_each_thread() {
    check(1000, || {
        let list = Arc::new(ForChildren::default());
        let push = |from: usize| run!(list => (from..from + 3).for_each(|n| list.push(n)));
        together(vec![push(0), push(10)]);
        // SAFETY: nobody takes.
        let all: Vec<usize> = unsafe { list.all() }.into_iter().copied().collect();
        let of = |from: usize| all.iter().copied().filter(move |n| n / 10 == from / 10);
        assert!(of(0).eq(0..3) && of(10).eq(10..13) && all.len() == 6, "{all:?}");
        assert_eq!(list.take(), all);
        assert!(list.take().is_empty());
    });
}

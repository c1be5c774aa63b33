use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// A store of entries that are only counted.
struct Store {
    queues: Queues,
    entries: HashMap<u64, Entry>,
    capacity: u64,
    /// How often one was asked for its uses.
    asked: usize,
}

#[derive(Clone, Copy)]
struct Entry {
    node: u32,
    bytes: u64,
    uses: u8,
}

impl Store {
    fn new(capacity: u64) -> Store {
        Store { queues: Queues::new(capacity), entries: HashMap::new(), capacity, asked: 0 }
    }

    fn bytes(&self) -> u64 {
        self.entries.values().map(|e| e.bytes).sum()
    }

    fn put(&mut self, hash: u64, bytes: u64, micros: u32) {
        while self.bytes() + bytes > self.capacity {
            self.evict().unwrap();
        }
        let node = self.queues.push(hash, bytes, micros);
        self.entries.insert(hash, Entry { node, bytes, uses: 0 });
    }

    fn evict(&mut self) -> Option<u64> {
        let (entries, asked) = (&mut self.entries, &mut self.asked);
        let victim = self.queues.pop(|turn| {
            let entry = entries.get_mut(&turn.hash).unwrap();
            assert_eq!(entry.node, turn.node);
            *asked += 1;
            Standing { uses: std::mem::take(&mut entry.uses), bytes: entry.bytes }
        })?;
        assert!(self.entries.remove(&victim.hash).is_some());
        Some(victim.hash)
    }

    fn replace(&mut self, hash: u64, bytes: u64, micros: u32) {
        let entry = self.entries.get_mut(&hash).unwrap();
        self.queues.replace(entry.node, entry.bytes, bytes, micros);
        entry.bytes = bytes;
    }

    fn remove(&mut self, hash: u64) {
        let entry = self.entries.remove(&hash).unwrap();
        self.queues.forget(entry.node, entry.bytes);
    }

    fn touch(&mut self, hash: u64) {
        if let Some(entry) = self.entries.get_mut(&hash) {
            entry.uses = (entry.uses + 1).min(3);
        }
    }

    fn has(&self, hash: u64) -> bool {
        self.entries.contains_key(&hash)
    }
}

#[test]
fn costly_entries_outlive_cheap_ones_of_the_same_size_and_use() {
    let mut store = Store::new(100_000);
    for n in 0..100 {
        store.put(n, 1000, if n % 2 == 0 { 100_000 } else { 1000 });
    }
    for n in 100..150 {
        store.put(n, 1000, 1000);
    }
    assert!((0..100).step_by(2).all(|n| store.has(n)));
    assert!((1..100).step_by(2).all(|n| !store.has(n)));
}

#[test]
fn small_entries_outlive_large_ones_of_the_same_cost_and_use() {
    let mut store = Store::new(200_000);
    for n in 0..20 {
        store.put(n, if n % 2 == 0 { 1000 } else { 19_000 }, 5000);
    }
    for n in 20..110 {
        store.put(n, 1000, 5000);
    }
    assert!((0..20).step_by(2).all(|n| store.has(n)));
    assert!((1..20).filter(|n| n % 2 == 1 && store.has(*n)).count() < 7);
}

#[test]
fn used_entries_outlive_unused_ones() {
    let mut store = Store::new(100_000);
    for n in 0..100 {
        store.put(n, 1000, 1000);
        if n % 2 == 0 {
            store.touch(n);
        }
    }
    for n in 100..140 {
        store.put(n, 1000, 1000);
    }
    assert!((0..100).step_by(2).all(|n| store.has(n)));
}

#[test]
fn a_flood_of_what_is_asked_for_once_does_not_push_out_what_was_used() {
    let mut store = Store::new(100_000);
    for n in 0..80 {
        store.put(n, 1000, 1000);
        store.touch(n);
    }
    for n in 1000..100_000 {
        store.put(n, 1000, 1000);
    }
    assert_eq!((0..80).filter(|n| store.has(*n)).count(), 80);
}

#[test]
fn what_is_not_used_any_more_ages_out_however_costly_it_was() {
    let mut store = Store::new(100_000);
    store.put(0, 1000, 100_000);
    for _ in 0..200 {
        store.touch(0);
        store.put(10_000, 1000, 1000);
        store.remove(10_000);
    }
    store.put(1, 1000, 1_000_000);
    let mut rounds = 0;
    while store.has(0) || store.has(1) {
        // Another hundred pages are used now, and again others later.
        for n in 0..100 {
            let hash = 100 + rounds / 10 * 100 + n;
            if !store.has(hash) {
                store.put(hash, 1000, 1000);
            }
            store.touch(hash);
        }
        rounds += 1;
        assert!(rounds < 20_000, "{} {}", store.has(0), store.has(1));
    }
}

#[test]
fn what_comes_back_counts_as_used() {
    let mut store = Store::new(10_000);
    for n in 0..11 {
        store.put(n, 1000, 1000);
    }
    assert!(!store.has(0));
    store.put(0, 1000, 1000);
    for n in 100..1000 {
        store.put(n, 1000, 1000);
    }
    assert!(store.has(0));
}

#[test]
fn a_replaced_entry_keeps_its_turn_and_gets_its_own_value_later() {
    let mut store = Store::new(10_000);
    for n in 0..10 {
        store.put(n, 1000, 1000);
    }
    store.replace(0, 1000, 1_000_000);
    assert_eq!(store.evict(), Some(0), "its turn");
    store.replace(1, 1000, 1_000_000);
    store.touch(1);
    for n in 2..10 {
        assert_eq!(store.evict(), Some(n), "1 was put off");
    }
    assert_eq!(store.evict(), Some(1));
    assert_eq!(store.evict(), None);
}

#[test]
fn an_unknown_render_time_is_what_others_took_or_what_the_replaced_one_took() {
    let mut queues = Queues::new(1 << 20);
    let worth = |queues: &Queues, id: u32| queues.nodes.get(id).worth;
    let first = queues.push(1, 100, 0);
    assert_eq!(worth(&queues, first), 0.01, "nothing is known");
    let costly = queues.push(2, 100, 5000);
    let unknown = queues.push(3, 100, 0);
    assert_eq!(worth(&queues, unknown), 50.0, "the mean");
    for n in 10..1000 {
        queues.push(n, 100, 1000);
    }
    let unknown = queues.push(4, 100, 0);
    assert!((10.0..10.1).contains(&worth(&queues, unknown)));
    queues.replace(costly, 100, 200, 0);
    assert_eq!(worth(&queues, costly), 25.0, "the time of the old one, by the new size");
    queues.replace(costly, 200, 100, 300);
    assert_eq!(worth(&queues, costly), 3.0);
}

#[test]
fn whoever_makes_room_is_not_held_up_by_many_used_entries() {
    let mut store = Store::new(1 << 20);
    for n in 0..10_000 {
        store.put(n, 100, 1000);
        store.touch(n);
    }
    assert!(store.evict().is_some());
    assert_eq!(store.asked, MOST_PUT_OFF + 1);
}

#[test]
fn values_of_any_size_have_a_queue() {
    let mut queues = Queues::new(1 << 20);
    for (n, (bytes, micros)) in
        [(0, 0), (0, u32::MAX), (u64::MAX / 8, 1), (1, 1), (1 << 40, u32::MAX)]
            .into_iter()
            .enumerate()
    {
        let node = queues.push(n as u64, bytes, micros);
        queues.forget(node, bytes);
    }
    assert!(queues.groups.iter().all(|g| g.filled == 0 && g.bytes == 0));
}

#[test]
fn a_node_takes_32_bytes_and_is_used_again() {
    assert_eq!(size_of::<Node>(), 32);
    let mut store = Store::new(100_000);
    for n in 0..10_000 {
        store.put(n, 1000, 1000);
    }
    assert!(store.entries.values().all(|e| e.node < 101));
}

#[derive(Clone, Debug)]
enum Op {
    Put { hash: u64, bytes: u64, micros: u32 },
    Touch(u64),
    Remove(u64),
    Evict,
}

fn op() -> impl Strategy<Value = Op> {
    let hash = 0..60u64;
    prop_oneof![
        4 => (hash.clone(), 1..5000u64, prop_oneof![Just(0), 1..1_000_000u32])
            .prop_map(|(hash, bytes, micros)| Op::Put { hash, bytes, micros }),
        4 => hash.clone().prop_map(Op::Touch),
        1 => hash.prop_map(Op::Remove),
        1 => Just(Op::Evict),
    ]
}

proptest! {
    #[test]
    fn every_entry_is_queued_once_and_its_bytes_are_counted(
        ops in proptest::collection::vec(op(), 1..400)
    ) {
        let mut store = Store::new(50_000);
        for op in ops {
            match op {
                Op::Put { hash, bytes, micros } if store.has(hash) => {
                    store.replace(hash, bytes, micros);
                    while store.bytes() > store.capacity {
                        store.evict().unwrap();
                    }
                }
                Op::Put { hash, bytes, micros } => store.put(hash, bytes, micros),
                Op::Touch(hash) => store.touch(hash),
                Op::Remove(hash) if store.has(hash) => store.remove(hash),
                Op::Remove(_) => {}
                Op::Evict => {
                    let before = store.entries.len();
                    prop_assert_eq!(store.evict().is_some(), before > 0);
                }
            }
            prop_assert!(store.bytes() <= store.capacity);
            let counted: u64 = store.queues.groups.iter().map(|g| g.bytes).sum();
            prop_assert_eq!(counted, store.bytes());
        }
        while store.evict().is_some() {}
        prop_assert!(store.entries.is_empty());
        prop_assert!(store.queues.groups.iter().all(|g| g.filled == 0 && g.bytes == 0));
    }
}

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::clock::Time;
use crate::invalidation::Tags;
use crate::lifetime::Lifetime;
use crate::page::Parts;

fn page(key: u64, version: u64) -> Page {
    Page::new(Parts {
        key: key.to_le_bytes().into(),
        path_len: 0,
        route: None,
        status: 200,
        fields: Vec::new(),
        body: version.to_le_bytes().into(),
        etag: "".into(),
        encoded: Vec::new(),
        tags: Tags::default(),
        revalidate: Lifetime::NEVER,
        expire: Lifetime::NEVER,
        started: version,
        render_micros: 0,
        generated: Time::from_nanos(0),
        oldest: version,
    })
}

/// Few hashes, so that groups fill up and keys get past one another.
fn crowded(key: u64) -> u64 {
    ((key % 3) << 57) | (key % 2)
}

fn spread(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn key_of(page: &Page) -> u64 {
    u64::from_le_bytes(page.key().try_into().unwrap())
}

struct Model {
    table: Arc<Table>,
    writer: Writer,
    hash: fn(u64) -> u64,
    expected: HashMap<u64, u64>,
}

impl Model {
    fn new(hash: fn(u64) -> u64) -> Model {
        let (table, writer) = Table::new(1 << 20);
        Model { table, writer, hash, expected: HashMap::new() }
    }

    fn put(&mut self, key: u64, version: u64) {
        let hash = (self.hash)(key);
        match self.writer.find(hash, |p| key_of(p) == key) {
            Some(old) => self.writer.replace(hash, &old, page(key, version)),
            None => self.writer.insert(hash, page(key, version), |p| (self.hash)(key_of(p))),
        }
        self.expected.insert(key, version);
    }

    fn remove(&mut self, key: u64) {
        let hash = (self.hash)(key);
        if let Some(old) = self.writer.find(hash, |p| key_of(p) == key) {
            self.writer.remove(hash, &old);
        }
        self.expected.remove(&key);
    }

    fn check(&self, keys: u64) {
        for key in 0..keys {
            let found = self.table.get(Lane::mine(), (self.hash)(key), &key.to_le_bytes());
            assert_eq!(found.map(|p| p.started()), self.expected.get(&key).copied(), "{key}");
        }
        let mut all = HashMap::new();
        self.table.each(Lane::mine(), |p| assert!(all.insert(key_of(p), p.started()).is_none()));
        assert_eq!(all, self.expected);
        assert_eq!(self.writer.entries, self.expected.len());
    }
}

proptest! {
    #[test]
    fn it_is_a_map(steps in prop::collection::vec((0..4u8, 0..60u64), 0..300), is_crowded: bool) {
        let mut model = Model::new(if is_crowded { crowded } else { spread });
        for (version, (what, key)) in steps.into_iter().enumerate() {
            match what {
                0 => model.remove(key),
                _ => model.put(key, version as u64),
            }
        }
        model.check(60);
        let gone = model.writer.clear();
        prop_assert_eq!(gone.len(), model.expected.len());
        model.expected.clear();
        model.check(60);
        model.put(1, 1);
        model.check(60);
    }
}

#[test]
fn it_grows_and_stays_lean() {
    let mut model = Model::new(spread);
    for key in 0..10_000 {
        model.put(key, key);
    }
    model.check(10_001);
    let bytes = model.writer.groups().0.len() * size_of::<Group>();
    assert_eq!(size_of::<Group>(), 64);
    assert!(bytes <= 10_000 * 24, "{bytes}");
}

#[test]
fn what_is_taken_out_lives_for_as_long_as_somebody_reads() {
    let (table, mut writer) = Table::new(0);
    let hash = spread(7);
    let alive = |page: &Page| page.is_shared();
    writer.insert(hash, page(7, 1), |p| spread(key_of(p)));
    let old = writer.find(hash, |_| true).unwrap();
    std::thread::scope(|s| {
        let (go, going) = std::sync::mpsc::channel::<()>();
        let (tell, told) = std::sync::mpsc::channel();
        let table = &table;
        s.spawn(move || {
            table.each(Lane::mine(), |page| {
                tell.send(()).unwrap();
                let _ = going.recv();
                assert_eq!(page.started(), 1);
            });
        });
        told.recv().unwrap();
        writer.remove(hash, &old);
        assert!(alive(&old), "somebody reads");
        drop(go);
    });
    writer.drop_removed();
    assert!(!alive(&old), "nobody can see it any more");
    assert!(table.get(Lane::mine(), hash, old.key()).is_none());
}

#[test]
fn readers_see_an_old_or_a_new_entry_while_one_writes() {
    let mut model = Model::new(spread);
    for key in 0..64 {
        model.put(key, 0);
    }
    let table = model.table.clone();
    let over = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                let mut newest = [0; 64];
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    for key in 0..64 {
                        let found = table.get(Lane::mine(), spread(key), &key.to_le_bytes());
                        // Even keys are replaced and never taken out.
                        assert!(found.is_some() || key % 2 == 1);
                        if let Some(found) = found {
                            assert_eq!(key_of(&found), key);
                            assert_eq!(found.body(), found.started().to_le_bytes());
                            assert!(found.started() >= newest[key as usize]);
                            newest[key as usize] = found.started();
                        }
                    }
                }
            });
        }
        for version in 1..20_000 {
            let key = fastrand::u64(0..64);
            if key % 2 == 1 && fastrand::bool() {
                model.remove(key);
            } else {
                model.put(key, version);
            }
            // More and fewer, so that tables are put up meanwhile.
            model.put(1000 + version % 3000, version);
        }
        over.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

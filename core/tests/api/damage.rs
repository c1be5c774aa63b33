//! What somebody does to the files of a directory while caches use it, or before they do.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use super::ground::{Ground, hit};
use super::support::*;
use isr_core::*;

impl Ground {
    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join("v1").join(name)
    }

    fn writable(&self, name: &str) -> File {
        File::options().read(true).write(true).open(self.file(name)).unwrap()
    }

    fn flip(&self, name: &str, at: u64, bit: u32) {
        let file = self.writable(name);
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_at(&[byte[0] ^ 1 << bit], at).unwrap();
    }

    #[track_caller]
    fn told_once(&self, part: &str) {
        eventually("it is told", || !self.troubles.lock().unwrap().is_empty());
        let told = self.troubles.lock().unwrap().clone();
        let of_it = told.iter().filter(|t| t.contains(part)).count();
        assert_eq!(of_it, 1, "{told:?}");
    }
}

/// Both serve the page; what one invalidates is not served by the other, if he can still know, nor by itself in any case.
fn works_alone(cache: &Cache) {
    get(cache, "/x").unwrap();
    get(cache, "/y").unwrap();
    assert_eq!(get(cache, "/x").unwrap().cache(), CacheWord::Hit);
    cache.revalidate_path(&["/x"], None).unwrap();
    assert_eq!(get(cache, "/x").unwrap().cache(), CacheWord::Revalidated);
    assert_eq!(get(cache, "/y").unwrap().cache(), CacheWord::Hit, "nothing else went");
    cache.remove(&["/x"]).unwrap();
    assert_eq!(get(cache, "/x").unwrap().cache(), CacheWord::Miss);
}

#[test]
fn when_the_shared_file_is_truncated_or_overwritten_memory_goes_on_alone() {
    let garbage: Vec<u8> =
        (0..2_000_000u32).map(|n| (n.wrapping_mul(2654435761) >> 24) as u8).collect();
    type Damage = fn(&File, &[u8]);
    let damages: [Damage; 6] = [
        |f, _| f.set_len(0).unwrap(),
        |f, _| f.set_len(5000).unwrap(),
        |f, _| {
            let len = f.metadata().unwrap().len();
            f.set_len(0).unwrap();
            f.set_len(len).unwrap();
        },
        |f, g| f.write_all_at(&g[..f.metadata().unwrap().len() as usize], 0).unwrap(),
        |f, _| f.write_all_at(&vec![0xff; f.metadata().unwrap().len() as usize], 0).unwrap(),
        |f, _| f.write_all_at(&[0; 8], 0).unwrap(),
    ];
    for (n, damage) in damages.iter().enumerate() {
        let ground = Ground::new();
        // Epochs of a former life, so that those of a life alone must not begin before.
        drop(ground.open());
        let (a, b, _) = ground.pair();
        get(&a, "/other").unwrap();
        get(&a, "/p").unwrap();
        assert_eq!(told(get(&b, "/p")), hit("v2"));
        a.revalidate_tag(&["other"], TagOptions::default()).unwrap();
        damage(&ground.writable("shared"), &garbage);
        assert_eq!(told(get(&b, "/p")), hit("v2"), "damage {n}");
        for cache in [&b, &a] {
            get(cache, "/p").unwrap();
            cache.revalidate_path(&["/p"], None).unwrap();
            assert_eq!(get(cache, "/p").unwrap().cache(), CacheWord::Revalidated, "damage {n}");
            works_alone(cache);
        }
        assert!(a.close(PATIENCE) && b.close(PATIENCE));
        let told = ground.troubles.lock().unwrap().clone();
        assert_eq!(told.len(), 2, "each of the two: {told:?}");
        assert!(told.iter().all(|t| t.contains("shared file")), "{told:?}");
        // What they invalidated alone is so for those who come later, too.
        let (c, _d, _) = ground.pair();
        assert_eq!(c.peek("/p", None).unwrap().state(), State::Expired, "damage {n}");
        assert_eq!(c.peek("/other", None).unwrap().state(), State::Fresh, "damage {n}");
    }
}

/// Bytes of the shared file that matter to more than one key.
const SHARED_WORDS: u64 = 8 * 128;

#[test]
fn a_bit_flip_in_the_words_that_all_share_loses_no_invalidation() {
    for at in 0..SHARED_WORDS {
        let ground = Ground::new();
        let (a, b, _) = ground.pair();
        for path in ["/p", "/q"] {
            get(&a, path).unwrap();
            get(&b, path).unwrap();
        }
        a.revalidate_path(&["/q"], None).unwrap();
        b.peek("/q", None).unwrap();
        ground.flip("shared", at, (at % 8) as u32);
        b.revalidate_path(&["/p"], None).unwrap();
        assert_ne!(b.peek("/p", None).unwrap().state(), State::Fresh, "byte {at}");
        // Alone, the other cannot know; it does not go on together with a lie.
        let is_alone = ground.troubles.lock().unwrap().iter().any(|t| t.contains("shared file"));
        let state = a.peek("/p", None).unwrap().state();
        assert!(is_alone || a.stats().disk_errors > 0 || state != State::Fresh, "byte {at}");
        // Nobody hangs, and later calls hold at home.
        for cache in [&a, &b] {
            get(cache, "/p").unwrap();
            cache.remove(&["/p"]).unwrap();
            assert_eq!(cache.peek("/p", None).unwrap().state(), State::Missing, "byte {at}");
        }
    }
}

#[test]
fn leases_of_garbage_hold_nobody_up() {
    let ground = Ground::new();
    let (a, b, _) = ground.pair();
    get(&a, "/first").unwrap();
    // All behind the words that all share: seats, leases, versions.
    let file = ground.writable("shared");
    let len = file.metadata().unwrap().len();
    let garbage: Vec<u8> =
        (0..len as u32).map(|n| (n.wrapping_mul(2654435761) >> 23) as u8).collect();
    file.write_all_at(&garbage[SHARED_WORDS as usize..], SHARED_WORDS).unwrap();
    for n in 0..100 {
        let path = format!("/{n}");
        for cache in [&a, &b] {
            get(cache, &path).unwrap();
        }
    }
    a.revalidate_tag(&["all"], TagOptions::default()).unwrap();
    assert_eq!(get(&b, "/first").unwrap().cache(), CacheWord::Revalidated);
}

#[test]
fn a_damaged_log_loses_no_invalidation_and_is_a_new_era_for_the_next() {
    let log_end = {
        let ground = Ground::new();
        let (a, _b, _) = ground.pair();
        a.revalidate_path(&["/first"], None).unwrap();
        4096 + 12 + 2 + 24 + 5 + 6
    };
    let heads = (0..80).step_by(7).chain(1024..1072).chain(2048..2096).step_by(5);
    for at in heads.chain(4096..log_end) {
        let ground = Ground::new();
        let (a, b, _) = ground.pair();
        a.revalidate_path(&["/first"], None).unwrap();
        get(&a, "/p").unwrap();
        get(&b, "/p").unwrap();
        ground.flip("log", at, (at % 8) as u32);
        // Whether or not it is noticed now.
        a.revalidate_path(&["/p"], None).unwrap();
        for cache in [&a, &b] {
            let state = cache.peek("/p", None).unwrap().state();
            assert_ne!(state, State::Fresh, "byte {at}");
        }
        get(&b, "/p").unwrap();
        b.revalidate_path(&["/p"], None).unwrap();
        drop((a, b));
        let (c, _d, _) = ground.pair();
        assert_ne!(c.peek("/p", None).unwrap().state(), State::Fresh, "byte {at}");
        works_alone(&c);
        assert_eq!(c.stats().renders + c.stats().hits, 6);
    }
}

#[test]
fn a_log_that_cannot_be_read_sets_the_pages_aside() {
    type Damage = fn(&Ground);
    let damages: [Damage; 8] = [
        |g| g.writable("log").set_len(0).unwrap(),
        |g| g.writable("log").set_len(40).unwrap(),
        |g| g.writable("log").set_len(4100).unwrap(),
        |g| g.writable("log").write_all_at(&[0; 48], 1024).unwrap(),
        |g| fs::remove_file(g.file("log")).unwrap(),
        |g| {
            fs::remove_file(g.file("log")).unwrap();
            fs::create_dir(g.file("log")).unwrap();
        },
        |g| {
            fs::remove_file(g.file("log")).unwrap();
            std::os::unix::fs::symlink("/dev/null", g.file("log")).unwrap();
        },
        |g| fs::write(g.file("log"), "something else").unwrap(),
    ];
    for (n, damage) in damages.iter().enumerate() {
        let ground = Ground::new();
        let (a, b, _) = ground.pair();
        get(&a, "/p").unwrap();
        a.revalidate_path(&["/q"], None).unwrap();
        drop((a, b));
        damage(&ground);
        let (a, b, count) = ground.pair();
        assert_eq!(a.peek("/p", None).unwrap().state(), State::Missing, "damage {n}");
        get(&a, "/p").unwrap();
        assert_eq!(told(get(&b, "/p")), hit("v1"), "it begins anew");
        assert_eq!(value(&count), 1);
        ground.told_once("was damaged");
        drop((a, b));
        let (c, _d, _) = ground.pair();
        assert_eq!(c.peek("/p", None).unwrap().state(), State::Fresh, "damage {n}");
    }
}

#[test]
fn when_the_directory_is_deleted_memory_goes_on_and_a_new_one_can_be_opened() {
    let ground = Ground::new();
    let (a, b, _) = ground.pair();
    get(&a, "/p").unwrap();
    get(&b, "/p").unwrap();
    fs::remove_dir_all(ground.file("")).unwrap();
    let (c, _d, _) = ground.pair();
    assert_eq!(c.peek("/p", None).unwrap().state(), State::Missing);
    // Those who opened the old one go on together.
    a.revalidate_path(&["/p"], None).unwrap();
    assert_eq!(get(&b, "/p").unwrap().cache(), CacheWord::Revalidated);
    let notices = |told: &[String]| told.iter().filter(|t| t.contains("deleted or repl")).count();
    eventually("both have noticed", || notices(&ground.troubles.lock().unwrap()) == 2);
    works_alone(&a);
    works_alone(&b);
    a.revalidate_path(&["/p"], None).unwrap();
    assert_ne!(b.peek("/p", None).unwrap().state(), State::Fresh);
    works_alone(&c);
}

/// A call of 100 long tags: about 27 KB of the log.
fn long_call(cache: &Cache, n: usize) {
    let tags: Vec<String> = (0..100).map(|i| format!("{n}-{i}-{}", "x".repeat(240))).collect();
    let tags: Vec<&str> = tags.iter().map(String::as_str).collect();
    cache.revalidate_tag(&tags, TagOptions::default()).unwrap();
}

#[test]
fn nothing_is_lost_when_the_log_is_rewritten_as_a_snapshot() {
    let ground = Ground::new();
    let (a, lagging, _) = ground.pair();
    let all = ["/before", "/gone", "/soft", "/later", "/mid", "/clean"];
    for path in all {
        let started = a.started();
        a.put(path, None, PageResult::new(path).tag(&path[1..]), started).unwrap();
        assert_eq!(lagging.peek(path, None).unwrap().state(), State::Fresh);
    }
    a.revalidate_tag(&["before"], TagOptions::default()).unwrap();
    a.revalidate_tag(&["soft"], TagOptions { soft: true, expire: None }).unwrap();
    a.revalidate_tag(&["later"], TagOptions { soft: true, expire: Some(secs(9.0)) }).unwrap();
    a.remove(&["/gone"]).unwrap();
    use State::*;
    let log = || fs::metadata(ground.file("log")).unwrap();
    let inode = || std::os::unix::fs::MetadataExt::ino(&log());
    let mut rewritten = 0;
    for n in 0..560 {
        let before = inode();
        // Each call may be the one at which it is rewritten.
        let path = format!("/n{n}");
        let started = a.started();
        a.put(&path, None, PageResult::new("x"), started).unwrap();
        long_call(&a, n % 7);
        a.revalidate_path(&[&path], None).unwrap();
        if inode() != before {
            rewritten += 1;
            let fresh_eyes = ground.open();
            fresh_eyes.add_route("/[id]", revalidate(60.0), echo()).unwrap();
            assert_eq!(fresh_eyes.peek(&path, None).unwrap().state(), Expired, "call {n}");
        }
        if n == 200 {
            // One generation behind.
            a.revalidate_tag(&["mid"], TagOptions::default()).unwrap();
            assert_eq!(lagging.peek("/mid", None).unwrap().state(), Expired);
            assert_eq!(lagging.peek("/gone", None).unwrap().state(), Missing);
        }
    }
    assert_eq!(rewritten, 3, "4 MiB at a time");
    let states = |c: &Cache| all.map(|p| c.peek(p, None).unwrap().state());
    let expected = [Expired, Missing, Stale, Stale, Expired, Fresh];
    // Two generations behind by now.
    assert_eq!(states(&lagging), expected);
    assert_eq!(states(&a), expected);
    drop((a, lagging));
    let (c, _d, _) = ground.pair();
    assert_eq!(states(&c), expected);
    ground.clock.advance(secs(9.5));
    assert_eq!(c.peek("/later", None).unwrap().state(), Expired);
    ground.is_quiet();
}

#[test]
fn what_the_directory_is_not_is_refused_or_told() {
    let ground = Ground::new();
    let path = ground.dir.path().join("file");
    fs::write(&path, "x").unwrap();
    let refused = Cache::open(Options { directory: Some(path), ..Options::default() });
    fails(refused.map(|_| ()), ErrorKind::InvalidArgument, &["directory"]);
    // Symlinks in the place of ours are not followed.
    for name in ["locks", "shared", "pages", "tmp"] {
        let ground = Ground::new();
        drop(ground.pair());
        let _ = fs::remove_file(ground.file(name));
        let _ = fs::remove_dir_all(ground.file(name));
        let elsewhere = ground.dir.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, ground.file(name)).unwrap();
        let (a, _b, _) = ground.pair();
        works_alone(&a);
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0, "{name}");
    }
}

#[test]
fn damaged_pages_count_as_missing() {
    let ground = Ground::new();
    let (a, b, _) = ground.pair();
    get(&a, "/p").unwrap();
    let mut files = Vec::new();
    let mut todo = vec![ground.file("pages")];
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                todo.push(entry.path())
            } else {
                files.push(entry.path())
            }
        }
    }
    let [file] = &files[..] else { panic!("{files:?}") };
    let mut bytes = fs::read(file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 4;
    fs::write(file, bytes).unwrap();
    assert_eq!(get(&b, "/p").unwrap().cache(), CacheWord::Miss);
    ground.told_once("damaged page");
    assert_eq!(b.stats().disk_errors, 1);
}

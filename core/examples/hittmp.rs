use isr_core::*;
use std::sync::Arc;
fn zipf(n: usize, count: usize) -> Vec<u32> {
    let mut cumulated: Vec<f64> = Vec::with_capacity(n);
    let mut sum = 0.0;
    for rank in 1..=n {
        sum += (rank as f64).powf(-0.99);
        cumulated.push(sum);
    }
    let mut random = fastrand::Rng::with_seed(7);
    let mut keys: Vec<u32> = (0..n as u32).collect();
    random.shuffle(&mut keys);
    (0..count)
        .map(|_| {
            let at = random.f64() * sum;
            keys[cumulated.partition_point(|c| *c < at).min(n - 1)]
        })
        .collect()
}
fn cpu() -> f64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    ts.tv_sec as f64 * 1e9 + ts.tv_nsec as f64
}
fn main() {
    let n: usize = std::env::args().nth(1).unwrap().parse().unwrap();
    let cache = Cache::open(Options { max_bytes: 1 << 34, ..Options::default() }).unwrap();
    cache
        .add_route(
            "/blog/[id]",
            RouteOptions { tags: vec!["blog".into()], ..RouteOptions::default() },
            Arc::new(|job: RenderJob| drop(job.complete(PageResult::new("x")))),
        )
        .unwrap();
    let paths: Vec<String> = (0..n).map(|n| format!("/blog/{n}")).collect();
    let quick = quick_cache::sync::Cache::<String, Arc<Vec<u8>>>::new(2 * n);
    let mut frozen =
        std::collections::HashMap::<String, Arc<Vec<u8>>, ahash::RandomState>::default();
    for p in &paths {
        cache.put(p, None, PageResult::new(vec![1; 256]), cache.started()).unwrap();
        quick.insert(p.clone(), Arc::new(vec![1; 256]));
        frozen.insert(p.clone(), Arc::new(vec![1; 256]));
    }
    let order = zipf(n, 4_000_000);
    let only = std::env::args().nth(2).unwrap_or_default();
    let mut fat = std::collections::HashMap::<String, Arc<[u8]>, ahash::RandomState>::default();
    for p in &paths {
        fat.insert(p.clone(), vec![1u8; 400].into());
    }
    let mut t = [vec![], vec![], vec![], vec![]];
    let mut sum = 0;
    for (c, chunk) in order.chunks(20_000).enumerate() {
        for k in 0..4 {
            let who = (k + c) % 4;
            for &i in chunk {
                sum += paths[i as usize].as_bytes()[3] as usize;
            }
            let b = cpu();
            match who {
                0 => {
                    for &i in chunk {
                        sum += cache
                            .get(&Request::new(&paths[i as usize]))
                            .unwrap()
                            .page()
                            .body()
                            .len();
                    }
                }
                1 => {
                    for &i in chunk {
                        sum += quick.get(paths[i as usize].as_str()).unwrap().len();
                    }
                }
                2 => {
                    for &i in chunk {
                        sum += frozen.get(paths[i as usize].as_str()).cloned().unwrap().len();
                    }
                }
                _ => {
                    for &i in chunk {
                        sum += fat.get(paths[i as usize].as_str()).cloned().unwrap().len();
                    }
                }
            }
            t[who].push((cpu() - b) / chunk.len() as f64);
        }
    }
    for (name, v) in ["isr", "quick", "frozen", "fat"].iter().zip(&mut t) {
        v.sort_by(f64::total_cmp);
        println!("{name:8} q1 {:.1} median {:.1} min {:.1}", v[v.len() / 4], v[v.len() / 2], v[0]);
    }
    println!("{sum}");
}

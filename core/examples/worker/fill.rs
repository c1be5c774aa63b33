//! Stores very many small pages through the store's own code.

use std::path::PathBuf;
use std::sync::Arc;

use isr_core::{Cache, Options, PageResult, Put, RenderJob, RouteOptions};

#[derive(clap::Args)]
pub struct Args {
    /// The cache's directory.
    #[arg(long)]
    directory: PathBuf,
    /// How many pages: `/p/0` and up.
    #[arg(long)]
    pages: u64,
    /// The first page.
    #[arg(long, default_value_t = 0)]
    from: u64,
}

pub fn run(args: &Args) {
    let options = Options {
        directory: Some(args.directory.clone()),
        max_bytes: 1 << 20,
        max_disk_bytes: 1 << 40,
        ..Options::default()
    };
    let cache = Cache::open(options).expect("the cache opens");
    cache
        .add_route("/p/[id]", RouteOptions::default(), Arc::new(|job: RenderJob| drop(job)))
        .expect("the route is right");
    for n in args.from..args.from + args.pages {
        let path = format!("/p/{n}");
        let page = PageResult::new(format!("{path} stored by fill")).tag(format!("t{}", n % 100));
        let put = cache.put(&path, None, page, cache.started()).expect("the page is right");
        assert_eq!(put, Put::Stored, "{path}");
    }
    let stats = cache.stats();
    println!(
        "pages {} disk_writes {} disk_errors {}",
        args.pages, stats.disk_writes, stats.disk_errors
    );
}

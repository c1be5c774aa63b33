//! Opening: an engine of one's own, or one that another part of the process has opened already.

use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::flight::Target;
use crate::fork::{self, PerProcess};
use crate::options::Options;
use crate::owner::Owner;
use crate::route::Variant;
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, global};

type Running = Mutex<Vec<(Identity, Weak<Engine>)>>;

global! {
    /// The engines of this process that others may join. Held while one is opened, so that two at the same time open one.
    static RUNNING: ManuallyDrop<PerProcess<Running>> =
        ManuallyDrop::new(PerProcess::new(0, Mutex::new(Vec::new())));
}

/// Tells the shared caches of a process apart.
#[derive(Clone, PartialEq, Eq)]
enum Identity {
    Named(String),
    Directory { place: Place, deployment: String },
}

/// A directory, however its path is spelled.
#[derive(Clone, PartialEq, Eq)]
enum Place {
    Inode {
        device: u64,
        inode: u64,
    },
    /// It is not there, and cannot be made.
    Path(PathBuf),
}

impl Place {
    fn of(path: &Path) -> Place {
        match path.metadata() {
            Ok(found) => Place::Inode { device: found.dev(), inode: found.ino() },
            Err(_) => Place::Path(std::path::absolute(path).unwrap_or_else(|_| path.into())),
        }
    }
}

impl Identity {
    fn of(options: &Options, by_directory: bool) -> Option<Identity> {
        match (&options.name, &options.directory) {
            (Some(name), _) => Some(Identity::Named(name.clone())),
            (None, Some(directory)) if by_directory => Some(Identity::Directory {
                place: Place::of(directory),
                deployment: options.deployment.clone(),
            }),
            _ => None,
        }
    }
}

/// An engine, and one who has opened it. Dropped, it leaves the engine.
pub(crate) struct Opening {
    pub(crate) engine: Arc<Engine>,
    pub(crate) owner: Arc<Owner>,
    /// That the owner is closed, for hits: beside the engine.
    closed: AtomicBool,
    /// Where others may join.
    identity: Option<Identity>,
}

impl Opening {
    /// Opens an engine or joins one. `by_directory`: also one that has no name but the same directory.
    pub(crate) fn open(mut options: Options, by_directory: bool) -> Result<Opening, Error> {
        options.check()?;
        fork::install()
            .map_err(|e| Error::new(ErrorKind::Internal, format!("pthread_atfork failed: {e}")))?;
        let owner = Owner::new(options.on_trouble.take());
        let opening = if Identity::of(&options, by_directory).is_some() {
            Opening::shared(options, by_directory, owner)?
        } else {
            let engine = Engine::open(options, owner.clone())?;
            Opening::new(engine, owner, None)
        };
        opening.tell_open_trouble();
        Ok(opening)
    }

    fn new(engine: Arc<Engine>, owner: Arc<Owner>, identity: Option<Identity>) -> Opening {
        Opening { engine, owner, closed: AtomicBool::new(false), identity }
    }

    fn shared(options: Options, by_directory: bool, owner: Arc<Owner>) -> Result<Opening, Error> {
        let mut running = running().lock();
        let identity = Identity::of(&options, by_directory);
        if let Some(engine) = find(&mut running, &identity) {
            check_same(&engine.options, &options)?;
            if engine.owners.join(&owner) {
                return Ok(Opening::new(engine, owner, identity));
            }
        }
        // Opening makes the directory: before, it may have had no identity.
        let engine = Engine::open(options, owner.clone())?;
        let identity = Identity::of(&engine.options, by_directory);
        running.extend(identity.clone().map(|identity| (identity, Arc::downgrade(&engine))));
        Ok(Opening::new(engine, owner, identity))
    }

    /// That of a forked child, with what was added in the parent. Those who shared an engine in the parent share one again.
    pub(crate) fn after_fork(parent: &Opening, closed: bool) -> Opening {
        let owner = Owner::new(parent.owner.on_trouble.clone());
        if closed || parent.owner.is_closed() {
            let engine = Engine::after_fork(&parent.engine, owner.clone(), true);
            let opening = Opening::new(engine, owner, None);
            opening.close(Duration::ZERO);
            return opening;
        }
        let identity = parent.identity.clone();
        let open = || Engine::after_fork(&parent.engine, owner.clone(), false);
        let engine = if identity.is_some() {
            let mut running = running().lock();
            find(&mut running, &identity).filter(|e| e.owners.join(&owner)).unwrap_or_else(|| {
                let engine = open();
                running.extend(identity.clone().map(|i| (i, Arc::downgrade(&engine))));
                engine
            })
        } else {
            open()
        };
        // SAFETY: the parent's list is taken when its cache is closed, which nobody does in the child.
        let added = unsafe { parent.owner.added.all() };
        for (route, renderer) in added {
            // They fitted together in the parent.
            let _ = engine.insert_route(&owner, route.again(&engine.inv), renderer.clone());
        }
        Opening::new(engine, owner, identity)
    }

    /// Tells of a directory that could not be opened. Not before the engine can be asked, which the listener may do.
    pub(crate) fn tell_open_trouble(&self) {
        self.engine.open_trouble().iter().for_each(|error| self.owner.tell(error));
    }

    /// Whether there are no hits for this owner any more.
    #[inline]
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// The target of a request of this owner.
    pub(crate) fn target(
        &self,
        path: &str,
        variant: Option<&Variant>,
    ) -> Result<Arc<Target>, Error> {
        let target = self.engine.target(path, variant);
        // Only then: when it closes, its routes go.
        self.owner.check_open().and(target)
    }

    /// See [`Cache::close`](crate::Cache::close).
    pub(crate) fn close(&self, timeout: Duration) -> bool {
        self.closed.store(true, Ordering::SeqCst);
        self.engine.leave(&self.owner, timeout)
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.close(Duration::ZERO);
    }
}

fn running() -> &'static Running {
    RUNNING.get(|_| Mutex::default(), |_| ())
}

/// The engine to join, if there is one.
fn find(
    running: &mut Vec<(Identity, Weak<Engine>)>,
    identity: &Option<Identity>,
) -> Option<Arc<Engine>> {
    running.retain(|(_, engine)| engine.upgrade().is_some_and(|e| !e.is_closed()));
    let (_, engine) = running.iter().find(|(i, _)| Some(i) == identity.as_ref())?;
    engine.upgrade()
}

/// All who share a cache open it alike, but for whom to tell of trouble.
fn check_same(first: &Options, given: &Options) -> Result<(), Error> {
    let Some(name) = first_difference(first, given) else { return Ok(()) };
    Err(Error::new(
        ErrorKind::Conflict,
        format!(
            "{name} must be the same for all who share a cache in a process; it was opened before with another one"
        ),
    ))
}

/// The name of the first option that is not the same.
fn first_difference(a: &Options, b: &Options) -> Option<&'static str> {
    macro_rules! compare {
        ($($name:ident),*) => {{
            // Names all: one that is new has to be compared, too.
            let Options { $($name: _,)* directory: _, clock: _, on_trouble: _ } = a;
            $(if a.$name != b.$name {
                return Some(stringify!($name));
            })*
        }};
    }
    compare!(
        name,
        deployment,
        max_bytes,
        max_entry_bytes,
        stale_if_error,
        backoff_jitter,
        max_queue,
        threads,
        max_regenerations,
        max_regenerations_per_tag,
        early_refresh,
        default_revalidate,
        default_expire,
        default_timeout,
        max_variants,
        max_invalidations,
        storable_statuses,
        draft_secret,
        precompress,
        max_disk_bytes,
        durable
    );
    let place = |options: &Options| options.directory.as_deref().map(Place::of);
    if a.directory != b.directory && place(a) != place(b) {
        return Some("directory");
    }
    (!a.clock.is_same(&b.clock)).then_some("clock")
}

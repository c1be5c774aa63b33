//! The callbacks in progress: which are held, and which work.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use isr_core::{Activity, Context};
use parking_lot::{Condvar, Mutex};

use super::step::Gate;

#[derive(Default)]
pub struct Frames {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Grows with each change.
    version: u64,
    next: u64,
    frames: BTreeMap<u64, Info>,
    held: BTreeSet<(Gate, String)>,
    /// At the end of a scenario nothing is held any more.
    ended: bool,
}

struct Info {
    gate: Gate,
    key: String,
    doing: Doing,
    context: Context,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// Runs the runner's own code.
    Works,
    /// Asked the cache for data: that runs another callback, or waits.
    Asks,
    /// Blocked by a hold.
    Held,
}

/// What the callbacks do at one moment.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample {
    pub version: u64,
    /// Neither held nor asking the cache.
    working: usize,
    /// Blocked by a hold, and the cache still waits for them.
    pub held: usize,
}

impl Sample {
    /// Whether nothing goes on by itself any more. What is queued then waits for a thread that is held.
    pub fn is_quiet(&self, activity: &Activity) -> bool {
        self.working == 0
            && activity.running == activity.waiting + self.held
            && (activity.queued == 0 || self.held > 0)
    }
}

impl Frames {
    pub fn enter(self: &Arc<Self>, gate: Gate, key: &str, context: Context) -> Frame {
        let mut state = self.state.lock();
        state.version += 1;
        state.next += 1;
        let id = state.next;
        let info = Info { gate, key: key.to_string(), doing: Doing::Works, context };
        state.frames.insert(id, info);
        Frame { frames: self.clone(), id }
    }

    pub fn hold(&self, gate: Gate, key: &str) {
        self.state.lock().held.insert((gate, key.to_string()));
    }

    pub fn release(&self, gate: Gate, key: &str) {
        let mut state = self.state.lock();
        state.version += 1;
        state.held.remove(&(gate, key.to_string()));
        self.changed.notify_all();
    }

    /// Lets go of everything, for good.
    pub fn end(&self) {
        let mut state = self.state.lock();
        state.version += 1;
        state.ended = true;
        self.changed.notify_all();
    }

    pub fn sample(&self) -> Sample {
        let state = self.state.lock();
        let mut sample = Sample { version: state.version, working: 0, held: 0 };
        for info in state.frames.values() {
            let cancelled = info.context.is_cancelled();
            match info.doing {
                Doing::Asks => {}
                // One that was released a moment ago counts as working although its thread still sleeps.
                Doing::Held if state.is_held(info.gate, &info.key) => {
                    sample.held += usize::from(!cancelled)
                }
                Doing::Held | Doing::Works => sample.working += 1,
            }
        }
        sample
    }

    /// The callbacks in progress, for a message.
    pub fn describe(&self) -> String {
        let state = self.state.lock();
        let list: Vec<String> = state
            .frames
            .values()
            .map(|i| {
                let gate = if i.gate == Gate::Render { "render" } else { "load" };
                let doing = match i.doing {
                    Doing::Works => "works",
                    Doing::Asks => "asks for data",
                    Doing::Held => "is held",
                };
                format!("{gate} {} {doing}", i.key)
            })
            .collect();
        if list.is_empty() { "no callback".to_string() } else { list.join(", ") }
    }

    fn change(&self, id: u64, doing: Doing) {
        let mut state = self.state.lock();
        state.set(id, doing);
    }
}

impl State {
    fn is_held(&self, gate: Gate, key: &str) -> bool {
        !self.ended && self.held.iter().any(|(g, k)| *g == gate && k == key)
    }

    fn set(&mut self, id: u64, doing: Doing) {
        self.version += 1;
        if let Some(info) = self.frames.get_mut(&id) {
            info.doing = doing;
        }
    }
}

/// One callback in progress, until it is dropped.
pub struct Frame {
    frames: Arc<Frames>,
    id: u64,
}

impl Frame {
    /// Calls the cache, which may wait or run another callback on this thread.
    pub fn asking<T>(&self, ask: impl FnOnce() -> T) -> T {
        self.frames.change(self.id, Doing::Asks);
        let result = ask();
        self.frames.change(self.id, Doing::Works);
        result
    }

    /// Blocks while this callback's key is held.
    pub fn hold(&self) {
        let mut state = self.frames.state.lock();
        let Some((gate, key)) = state.frames.get(&self.id).map(|i| (i.gate, i.key.clone())) else {
            return;
        };
        if !state.is_held(gate, &key) {
            return;
        }
        state.set(self.id, Doing::Held);
        while state.is_held(gate, &key) {
            self.frames.changed.wait(&mut state);
        }
        state.set(self.id, Doing::Works);
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut state = self.frames.state.lock();
        state.version += 1;
        state.frames.remove(&self.id);
    }
}

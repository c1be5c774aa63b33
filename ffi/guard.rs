//! The edge: no panic leaves the library.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use isr_core::Error;

use crate::status::{isr_status, record, record_error};

/// Runs the body of a function that gives a status.
pub(crate) fn status(body: impl FnOnce() -> Result<(), Error>) -> isr_status {
    match caught(body) {
        Ok(()) => isr_status::Ok,
        Err(status) => status,
    }
}

/// Runs the body of a function that gives a value; `otherwise` on failure, whose status and text are kept.
pub(crate) fn value<T>(otherwise: T, body: impl FnOnce() -> Result<T, Error>) -> T {
    caught(body).unwrap_or(otherwise)
}

fn caught<T>(body: impl FnOnce() -> Result<T, Error>) -> Result<T, isr_status> {
    // The core keeps its own state whole; what the body borrowed from here is thrown away.
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        #[cfg(feature = "testing")]
        testing::panic_if_asked();
        body()
    }));
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(record_error(&error)),
        Err(payload) => {
            let text = format!("the library panicked: {}", panic_text(&*payload));
            // A payload may panic again when it is dropped; losing what that leaves is the smaller harm.
            if let Err(again) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
                std::mem::forget(again);
            }
            Err(record(isr_status::Panic, &text))
        }
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no text")
}

/// Panics on demand, so that a test can see that each function catches them.
#[cfg(feature = "testing")]
mod testing {
    use std::cell::Cell;

    thread_local! {
        static ASKED: Cell<bool> = const { Cell::new(false) };
    }

    pub(super) fn panic_if_asked() {
        assert!(!ASKED.replace(false), "asked for by isr_test_panic");
    }

    /// Makes the next call of a guarded function on this thread panic inside. Only in builds with the feature `testing`.
    ///
    /// Threads: any; each has its own.
    #[unsafe(no_mangle)]
    pub extern "C" fn isr_test_panic() {
        ASKED.set(true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::isr_last_status;

    struct PanicsAgain;

    impl Drop for PanicsAgain {
        fn drop(&mut self) {
            panic!("again");
        }
    }

    #[test]
    fn a_panic_becomes_a_status() {
        assert_eq!(status(|| panic!("boom")), isr_status::Panic);
        assert_eq!(isr_last_status(), isr_status::Panic);
        assert_eq!(value(7, || panic!("boom {}", 1)), 7);
        assert_eq!(status(|| std::panic::panic_any(3_u8)), isr_status::Panic);
        assert_eq!(status(|| std::panic::panic_any(PanicsAgain)), isr_status::Panic);
        assert_eq!(status(|| Ok(())), isr_status::Ok);
    }
}

//! Which library this is.

use std::ffi::{CStr, c_char};

use isr_core::Error;

use crate::status::invalid;

/// The number of the binary interface: two builds with the same number work together.
pub const ISR_ABI_VERSION: u32 = 1;

const TEXT: &CStr =
    match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
        Ok(text) => text,
        Err(_) => c"",
    };

const fn number(digits: &str) -> u32 {
    let mut n = 0;
    let mut i = 0;
    while i < digits.len() {
        n = n * 10 + (digits.as_bytes()[i] - b'0') as u32;
        i += 1;
    }
    n
}

const NUMBER: u32 = number(env!("CARGO_PKG_VERSION_MAJOR")) << 16
    | number(env!("CARGO_PKG_VERSION_MINOR")) << 8
    | number(env!("CARGO_PKG_VERSION_PATCH"));

/// The version of the library that runs: major << 16 | minor << 8 | patch. The header's own is `ISR_VERSION_NUMBER`.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_version() -> u32 {
    NUMBER
}

/// The version of the library that runs as a text: `0.1.0`.
///
/// Ownership: static. Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_version_string() -> *const c_char {
    TEXT.as_ptr()
}

/// The binary interface of the library that runs. The header's own is `ISR_ABI_VERSION`.
///
/// Threads: any.
#[unsafe(no_mangle)]
pub extern "C" fn isr_abi_version() -> u32 {
    ISR_ABI_VERSION
}

pub(crate) fn check_abi(given: u32) -> Result<(), Error> {
    if given == ISR_ABI_VERSION {
        return Ok(());
    }
    Err(invalid(format!(
        "abi_version must be ISR_ABI_VERSION of a header that fits: this library ({}) has {ISR_ABI_VERSION}, the program {given}",
        env!("CARGO_PKG_VERSION")
    )))
}

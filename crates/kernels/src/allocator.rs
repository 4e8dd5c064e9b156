//! mimalloc, where it is the allocator of a program.

use libmimalloc_sys::{mi_option_set_default, mi_option_t};

/// As `mimalloc.h` numbers it; the bindings have no name for it.
const PURGE_DELAY: mi_option_t = 15;
/// In milliseconds.
const MINUTE: std::ffi::c_long = 60_000;

/// Lets mimalloc keep what a program frees for a minute before the system gets it back, not for a second: the results of layers come
/// and go, and fresh pages cost more than some products. `MIMALLOC_PURGE_DELAY`, in milliseconds, is stronger.
pub fn keep_pages() {
    // SAFETY: it sets a number, which mimalloc reads whenever it frees, and checks that there is such an option.
    unsafe { mi_option_set_default(PURGE_DELAY, MINUTE) };
}

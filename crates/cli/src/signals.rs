//! Ctrl-C and termination: long work ends after the batch in hand, with valid files.

use std::sync::atomic::{AtomicBool, Ordering};

static STOP: AtomicBool = AtomicBool::new(false);

/// From here on a first signal asks for an end, and a second one ends the process at once.
pub(crate) fn watch() {
    // Where no handler can be set, a signal ends the process at once; files are then as after a crash, and a later run goes on.
    let _ = ctrlc::set_handler(|| {
        if STOP.swap(true, Ordering::Relaxed) {
            std::process::exit(130);
        }
    });
}

/// Whether a signal has come.
pub(crate) fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

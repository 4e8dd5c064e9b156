//! Ctrl-C and termination: long work ends after the batch in hand, with valid files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;

static STOP: LazyLock<Arc<AtomicBool>> = LazyLock::new(Arc::default);

/// From here on a first signal asks for an end, and a second one ends the process at once.
pub(crate) fn watch() {
    for signal in [SIGINT, SIGTERM] {
        // Where no handler can be set, a signal ends the process at once; files are then as after a crash, and a later run goes on.
        let _ = flag::register_conditional_shutdown(signal, 130, STOP.clone()); // acts on a flag that is set already
        let _ = flag::register(signal, STOP.clone());
    }
}

/// Whether a signal has come.
pub(crate) fn stopped() -> bool {
    STOP.load(Ordering::Relaxed)
}

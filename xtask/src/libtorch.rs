//! Where libtorch is when a program that was linked with it starts.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;

#[cfg(target_os = "macos")]
const VARIABLE: &str = "DYLD_LIBRARY_PATH";
#[cfg(windows)]
const VARIABLE: &str = "PATH";
#[cfg(not(any(target_os = "macos", windows)))]
const VARIABLE: &str = "LD_LIBRARY_PATH";

/// The variable by which a program finds its libraries, and its value with libtorch's folder in front: `lib` of `LIBTORCH`, or
/// that of the Python package where `LIBTORCH_USE_PYTORCH` is set. `None` where neither is set.
pub(crate) fn library_path() -> Option<(&'static str, OsString)> {
    let folder = match env::var_os("LIBTORCH") {
        Some(folder) => PathBuf::from(folder).join("lib"),
        None if env::var_os("LIBTORCH_USE_PYTORCH").is_some() => python_folder()?,
        None => return None,
    };
    let known = env::var_os(VARIABLE).unwrap_or_default();
    let folders = env::split_paths(&known).filter(|known| !known.as_os_str().is_empty());
    Some((VARIABLE, env::join_paths(std::iter::once(folder).chain(folders)).ok()?))
}

/// As the build script of `torch-sys` does, it asks the Python that is first on the path.
fn python_folder() -> Option<PathBuf> {
    let python = if cfg!(windows) { "python" } else { "python3" };
    let script = "import os, torch; print(os.path.join(os.path.dirname(torch.__file__), 'lib'))";
    let output = Command::new(python).args(["-c", script]).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !folder.trim().is_empty()).then(|| folder.trim().into())
}

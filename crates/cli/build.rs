//! Writes the place of libtorch into the binary, so that it starts without exported variables.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let unix = env::var("CARGO_CFG_TARGET_FAMILY").is_ok_and(|family| family == "unix");
    if let (Ok(directory), true) = (env::var("DEP_TCH_LIBTORCH_LIB"), unix) {
        println!("cargo::rustc-link-arg-bins=-Wl,-rpath,{directory}");
    }
}

//! The Rust example of both READMEs is `readme/similarity.rs`, and it runs.

#![allow(clippy::unwrap_used, missing_docs)] // a test fails by panicking

use std::path::Path;

mod example {
    include!("readme/similarity.rs");

    pub(crate) fn run() -> Result<(), chinese_clip::Error> {
        main()
    }
}

#[test]
fn the_example_of_the_readmes_runs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = std::fs::read_to_string(root.join(readme)).unwrap();
        let code = include_str!("readme/similarity.rs");
        assert!(text.contains(&format!("```rust\n{code}```")), "{readme} shows another example");
    }
    std::env::set_current_dir(root).unwrap();
    example::run().unwrap();
}

//! The first command of both READMEs prints what they show.

#![allow(clippy::unwrap_used, missing_docs)] // a test fails by panicking

use std::path::Path;
use std::process::Command;

/// The content of the first block of `language`.
fn block<'a>(text: &'a str, language: &str) -> &'a str {
    text.split_once(&format!("```{language}\n")).unwrap().1.split_once("```").unwrap().0
}

#[test]
fn the_first_command_prints_what_the_readmes_show() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap();
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = std::fs::read_to_string(root.join(readme)).unwrap();
        let command = block(&text, "sh").trim().strip_prefix("cargo run --release -- ").unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_chinese-clip"))
            .args(command.split_whitespace())
            .current_dir(root)
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout), block(&text, "text"), "{readme}");
    }
}

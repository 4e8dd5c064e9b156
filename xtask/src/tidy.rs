//! `cargo xtask tidy`: the rules of the workspace that the compiler does not check.
//!
//! Each rule is a function from what it reads to a list of faults; [`tidy`] runs them all. A fault names its file.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use self::source::{Rust, identifiers};

/// What each crate may depend on, by folder. [`Arrows::All`] is everything that stands above it in this table, leaves excepted.
const ARROWS: [(&str, Arrows); 17] = [
    ("crates/config", Arrows::Only(&[])),
    ("crates/kernels", Arrows::Only(&[])),
    ("crates/preprocess", Arrows::Only(&["crates/config", "crates/kernels"])),
    ("crates/nn", Arrows::Only(&["crates/config", "crates/kernels"])),
    ("crates/checkpoint", Arrows::Only(&["crates/config", "crates/kernels"])),
    ("crates/text-bert", Arrows::Only(&["crates/config", "crates/nn"])),
    ("crates/vision-vit", Arrows::Only(&["crates/config", "crates/nn"])),
    ("crates/vision-resnet", Arrows::Only(&["crates/config", "crates/nn"])),
    ("crates/model", Arrows::All),
    ("crates/train", Arrows::Base),
    ("crates/eval", Arrows::Base),
    ("crates/search", Arrows::Base),
    ("crates/serve", Arrows::Base),
    ("crates/cli", Arrows::All),
    ("tests", Arrows::All),
    ("benches", Arrows::All),
    ("xtask", Arrows::All),
];
/// Where [`Arrows::Base`] ends.
const FACADE: &str = "crates/model";
/// `tests` exports the tolerances, which these two may use.
const TOLERANCES: (&str, [&str; 2]) = ("tests", ["benches", "xtask"]);
/// The leaves, on which nothing depends.
const LEAVES: [&str; 4] = ["crates/cli", "tests", "benches", "xtask"];

/// Code lines of a file in a tower, and elsewhere.
const TOWER_LINES: usize = 250;
const LINES: usize = 400;
const TOWERS: [&str; 2] = ["crates/text-bert/", "crates/vision-"];

/// Where `unsafe` may stand.
const UNSAFE: [&str; 3] = ["crates/kernels/", "crates/checkpoint/src/mmap.rs", "benches/peers/candle/"];

/// Types of burn's backends, and the places that may name them.
const BACKENDS: [&str; 4] = ["Flex", "NdArray", "LibTorch", "Wgpu"];
const BACKEND_FILES: [&str; 2] = ["crates/model/src/device/", "crates/nn/src/flex.rs"];

/// What no file may mention: a home directory of a machine. `/home/someone` is an example.
const MACHINE_PATHS: [&str; 3] = ["/root/", "/home/", "/Users/"];
const EXAMPLE_PATHS: [&str; 2] = ["/home/someone", "/home/user"];
/// This file spells them out.
const THIS: &str = "xtask/src/tidy.rs";
const LOCKED_SOURCE: &str = "registry+https://github.com/rust-lang/crates.io-index";

#[derive(Clone, Copy)]
enum Arrows {
    Only(&'static [&'static str]),
    /// The crates up to the façade.
    Base,
    All,
}

/// A text file of the repository.
struct File {
    /// From the root, with `/`.
    path: String,
    text: String,
}

/// Checks the workspace at `root`; the error is the list of faults.
pub(crate) fn tidy(root: &Path) -> Result<(), Vec<String>> {
    let metadata = metadata(root).map_err(|fault| vec![fault])?;
    let members = members(&metadata, root);
    let files = files(root).map_err(|fault| vec![fault])?;
    let mut faults = arrows(&members);
    for member in &members {
        let manifest = format!("{}/Cargo.toml", member.folder);
        match files.iter().find(|file| file.path == manifest) {
            Some(file) => faults.extend(inheritance(file).into_iter().chain(versions(file))),
            None => faults.push(format!("{manifest}: cannot be read")),
        }
    }
    for file in &files {
        faults.extend(places(file));
        if Path::new(&file.path).extension().is_some_and(|extension| extension == "rs") {
            let rust = Rust::parse(&file.text);
            faults.extend(header(file));
            faults.extend(length(file, &rust));
            faults.extend(unsafe_code(file, &rust));
            faults.extend(ignored(file, &rust));
            faults.extend(backends(file, &rust));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

fn metadata(root: &Path) -> Result<Value, String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root.join("Cargo.toml"))
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// A crate of the workspace.
struct Member {
    folder: String,
    /// The folder of each workspace crate that it depends on, and whether for development only.
    dependencies: Vec<(String, bool)>,
}

fn members(metadata: &Value, root: &Path) -> Vec<Member> {
    let base = metadata["workspace_root"].as_str().map_or(root, Path::new);
    let folder = |path: &str| Some(Path::new(path).strip_prefix(base).ok()?.to_string_lossy().replace('\\', "/"));
    let packages = metadata["packages"].as_array().map_or(&[][..], Vec::as_slice);
    let mut members: Vec<Member> = packages
        .iter()
        .filter_map(|package| {
            let dependencies = package["dependencies"].as_array().map_or(&[][..], Vec::as_slice);
            Some(Member {
                folder: folder(package["manifest_path"].as_str()?)?.strip_suffix("/Cargo.toml")?.to_string(),
                dependencies: dependencies
                    .iter()
                    .filter_map(|one| Some((folder(one["path"].as_str()?)?, one["kind"] == "dev")))
                    .collect(),
            })
        })
        .collect();
    members.sort_by(|a, b| a.folder.cmp(&b.folder));
    members
}

/// The text files that git knows or would add; all files where there is no git. What is not UTF-8 is left out.
fn files(root: &Path) -> Result<Vec<File>, String> {
    let listed = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .ok()
        .filter(|output| output.status.success());
    let mut paths: Vec<String> = match listed {
        Some(output) => String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(String::from).collect(),
        None => walk(root, "")?,
    };
    paths.sort();
    paths.dedup();
    Ok(paths
        .into_iter()
        .filter_map(|path| Some(File { text: std::fs::read_to_string(root.join(&path)).ok()?, path }))
        .collect())
}

fn walk(root: &Path, folder: &str) -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    let entries = std::fs::read_dir(root.join(folder)).map_err(|error| format!("{folder}: {error}"))?;
    for entry in entries {
        let entry = entry.map_err(|error| format!("{folder}: {error}"))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && name != ".git" && name != "target" => found.extend(walk(root, &path)?),
            Ok(kind) if kind.is_file() => found.push(path),
            _ => {}
        }
    }
    Ok(found)
}

/// A crate depends on what [`ARROWS`] allows; for development, on anything to its left.
fn arrows(members: &[Member]) -> Vec<String> {
    let place = |folder: &str| ARROWS.iter().position(|(name, _)| *name == folder);
    let facade = place(FACADE).unwrap_or_default();
    let leaf = |folder: &str| LEAVES.contains(&folder);
    let tower = |folder: &str| TOWERS.iter().any(|tower| format!("{folder}/").starts_with(tower));
    let mut faults = Vec::new();
    for Member { folder, dependencies } in members {
        let Some(own) = place(folder) else {
            faults.push(format!("{folder}: has no row in the table of arrows"));
            continue;
        };
        for (dependency, development) in dependencies {
            let Some(other) = place(dependency) else { continue };
            let left = other < own && !leaf(dependency);
            let tolerances = *dependency == TOLERANCES.0 && TOLERANCES.1.contains(&folder.as_str());
            let allowed = tolerances
                || match ARROWS[own].1 {
                    _ if *development => {
                        left && !(tower(folder) && tower(dependency))
                            && (own <= facade || other <= facade || leaf(folder))
                    }
                    Arrows::Only(list) => list.contains(&dependency.as_str()),
                    Arrows::Base => other <= facade,
                    Arrows::All => left,
                };
            if !allowed {
                let how = if *development { "for development" } else { "" };
                faults.push(format!("{folder}: may not depend on {dependency} {how}").trim_end().to_string());
            }
        }
    }
    faults
}

/// Lints, edition and rust-version come from the workspace.
fn inheritance(manifest: &File) -> Vec<String> {
    let keys = manifest::keys(&manifest.text);
    ["lints", "package.edition", "package.rust-version"]
        .into_iter()
        .filter(|wanted| {
            !keys.iter().any(|(key, value)| {
                (*key == format!("{wanted}.workspace") && value == "true")
                    || (key == wanted && manifest::compact(value) == "{workspace=true}")
            })
        })
        .map(|wanted| format!("{}: {wanted} is not `workspace = true`", manifest.path))
        .collect()
}

/// Versions stand only in `[workspace.dependencies]`.
fn versions(manifest: &File) -> Vec<String> {
    manifest::keys(&manifest.text)
        .iter()
        .filter_map(|(key, value)| {
            let parts: Vec<&str> = key.split('.').collect();
            let section = parts.iter().rposition(|part| part.ends_with("dependencies"))?;
            let name = parts.get(section + 1)?;
            let inherits = match parts.get(section + 2) {
                Some(field) => matches!(*field, "workspace" | "features" | "optional" | "default-features"),
                None => {
                    manifest::compact(value).contains("workspace=true")
                        && !manifest::compact(value).contains("version=")
                }
            };
            (!inherits).then(|| format!("{}: {name} is not inherited from [workspace.dependencies]", manifest.path))
        })
        .collect()
}

/// A library or command file says first what it is.
fn header(file: &File) -> Option<String> {
    let checked = file.path.starts_with("crates/") && file.path.contains("/src/");
    (checked && !file.text.starts_with("//!")).then(|| format!("{}: does not open with `//!`", file.path))
}

/// A file can be read in one sitting. Comments, blank lines and the tests at its end are free.
fn length(file: &File, rust: &Rust) -> Option<String> {
    let checked = file.path.contains("/src/");
    let limit = if TOWERS.iter().any(|tower| file.path.starts_with(tower)) { TOWER_LINES } else { LINES };
    let lines = rust.code_lines();
    (checked && lines > limit).then(|| format!("{}: {lines} lines of code, more than {limit}", file.path))
}

fn unsafe_code(file: &File, rust: &Rust) -> Vec<String> {
    if UNSAFE.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    named(file, rust, &["unsafe"], "`unsafe` outside the kernels and the mapping of files")
}

fn backends(file: &File, rust: &Rust) -> Vec<String> {
    if BACKEND_FILES.iter().any(|place| file.path.starts_with(place)) {
        return Vec::new();
    }
    named(file, rust, &BACKENDS, "names a backend; the device is an argument")
}

/// One fault for each line that has one of these identifiers.
fn named(file: &File, rust: &Rust, names: &[&str], fault: &str) -> Vec<String> {
    let lines = rust.code.lines().enumerate();
    lines
        .filter(|(_, line)| identifiers(line).any(|identifier| names.contains(&identifier)))
        .map(|(line, _)| format!("{}:{}: {fault}", file.path, line + 1))
        .collect()
}

/// No test is switched off silently: neither `#[ignore]` nor `#[cfg_attr(…, ignore)]`.
fn ignored(file: &File, rust: &Rust) -> Vec<String> {
    let mut faults = Vec::new();
    for (start, _) in rust.code.match_indices("#[") {
        let attribute = rust.code[start..].split(']').next().unwrap_or_default();
        if identifiers(attribute).any(|identifier| identifier == "ignore") {
            let line = rust.code[..start].matches('\n').count() + 1;
            faults.push(format!("{}:{line}: a test is ignored; print why it cannot run instead", file.path));
        }
    }
    faults
}

/// No path of one machine, no registry of one network.
fn places(file: &File) -> Vec<String> {
    if file.path == THIS {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (number, line) in file.text.lines().enumerate() {
        let mut say = |what: &str| faults.push(format!("{}:{}: mentions {what}", file.path, number + 1));
        MACHINE_PATHS.into_iter().filter(|path| has_path(line, path)).for_each(&mut say);
        let source = line.strip_prefix("source = \"").and_then(|rest| rest.strip_suffix('"'));
        if let Some(source) = source.filter(|source| file.path == "Cargo.lock" && *source != LOCKED_SOURCE) {
            say(source);
        }
        if file.path.starts_with(".cargo/")
            && ["[source", "[registr", "replace-with"].iter().any(|key| line.contains(key))
        {
            say("a registry of its own");
        }
    }
    faults
}

/// Whether an absolute path begins with `path` in this line; `a/home/b` does not.
fn has_path(line: &str, path: &str) -> bool {
    line.match_indices(path).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let inside = before.is_some_and(|c| c.is_alphanumeric() || "_-.~/}>)*".contains(c));
        !inside && !EXAMPLE_PATHS.iter().any(|example| line[at..].starts_with(example))
    })
}

/// As much of TOML as a manifest needs.
mod manifest {
    /// Each key with its section in front, and its value as written (the first line of one that has several).
    pub(super) fn keys(text: &str) -> Vec<(String, String)> {
        let mut section = String::new();
        let mut open = 0_usize;
        let mut keys = Vec::new();
        for line in text.lines().map(|line| line.split(" #").next().unwrap_or_default().trim()) {
            let closed = line.matches([']', '}']).count();
            if open > 0 {
                open = (open + line.matches(['[', '{']).count()).saturating_sub(closed);
            } else if line.starts_with('[') {
                section = line.trim_matches(['[', ']', ' ']).replace(['"', ' '], "");
            } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
                keys.push((format!("{section}.{}", key.trim().replace('"', "")), value.trim().to_string()));
                open = value.matches(['[', '{']).count().saturating_sub(closed);
            }
        }
        keys
    }

    /// Without spaces.
    pub(super) fn compact(value: &str) -> String {
        value.split_whitespace().collect()
    }
}

/// As much of Rust as the rules need: what is code, and what is a comment or a literal.
mod source {
    pub(super) struct Rust {
        /// The source with comments blanked and the inside of literals replaced by quotes; lines stay where they are.
        pub(super) code: String,
    }

    impl Rust {
        pub(super) fn parse(text: &str) -> Self {
            let mut code = String::with_capacity(text.len());
            let mut rest = text;
            while let Some(first) = rest.chars().next() {
                let (length, filler) = token(rest, code.chars().next_back());
                let (taken, after) = rest.split_at(length.max(first.len_utf8()).min(rest.len()));
                match filler {
                    Some(filler) => code.extend(taken.chars().map(|c| if c == '\n' { c } else { filler })),
                    None => code.push_str(taken),
                }
                rest = after;
            }
            Self { code }
        }

        /// Lines with code, up to the tests at the end.
        pub(super) fn code_lines(&self) -> usize {
            let before_tests = self.code.split("\n#[cfg(test)]\nmod ").next().unwrap_or_default();
            before_tests.lines().filter(|line| !line.trim().is_empty()).count()
        }
    }

    /// The length of the token that `rest` begins with, and what it is filled with when it is no code.
    fn token(rest: &str, before: Option<char>) -> (usize, Option<char>) {
        if rest.starts_with("//") {
            return (rest.find('\n').unwrap_or(rest.len()), Some(' '));
        }
        if rest.starts_with("/*") {
            return (block_comment(rest), Some(' '));
        }
        if let Some(length) = raw_string(rest).filter(|_| !before.is_some_and(is_identifier)) {
            return (length, Some('"'));
        }
        match rest.as_bytes()[0] {
            b'"' => (quoted(rest, '"'), Some('"')),
            b'\'' if is_character(rest) => (quoted(rest, '\''), Some('"')),
            _ => (0, None),
        }
    }

    fn block_comment(rest: &str) -> usize {
        let bytes = rest.as_bytes();
        let (mut depth, mut at) = (0_usize, 0);
        while at < bytes.len() {
            match bytes.get(at..at + 2) {
                Some(b"/*") => (depth, at) = (depth + 1, at + 2),
                Some(b"*/") => (depth, at) = (depth - 1, at + 2),
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        at
    }

    /// The length of `r"…"`, `br#"…"#` and their like.
    fn raw_string(rest: &str) -> Option<usize> {
        let prefix = ["r", "br", "cr"].into_iter().find(|prefix| {
            let after = rest.strip_prefix(prefix).map(|after| after.trim_start_matches('#'));
            after.is_some_and(|after| after.starts_with('"'))
        })?;
        let hashes = rest[prefix.len()..].find('"')?;
        let body = prefix.len() + hashes + 1;
        let end = format!("\"{}", "#".repeat(hashes));
        Some(rest[body..].find(&end).map_or(rest.len(), |length| body + length + end.len()))
    }

    /// The length of a literal with escapes.
    fn quoted(rest: &str, quote: char) -> usize {
        let mut escaped = false;
        for (at, c) in rest.char_indices().skip(1) {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == quote => return at + 1,
                _ => {}
            }
        }
        rest.len()
    }

    /// `'a'` and `'\n'`, not the lifetime `'a`.
    fn is_character(rest: &str) -> bool {
        let mut inside = rest.chars().skip(1);
        inside.next() == Some('\\') || inside.next() == Some('\'')
    }

    fn is_identifier(c: char) -> bool {
        c == '_' || c.is_alphanumeric()
    }

    /// The identifiers and keywords of a piece of code.
    pub(super) fn identifiers(code: &str) -> impl Iterator<Item = &str> {
        code.split(|c| !is_identifier(c)).filter(|word| !word.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = "[package]\nname = \"NAME\"\nversion = \"0.1.0\"\nedition.workspace = true\nrust-version.workspace = true\n\
                            [lints]\nworkspace = true\n[dependencies]\n";

    /// A small tidy workspace, with these files changed or added.
    fn tree(changes: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        let crates = ["config", "preprocess", "text-bert", "vision-vit", "model", "cli"];
        let rows: String =
            crates.iter().map(|name| name.to_string() + " = { path = \"crates/" + name + "\" }\n").collect();
        write(
            "Cargo.toml",
            &format!(
                "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n[workspace.package]\nedition = \"2024\"\n\
                 rust-version = \"1.85\"\n[workspace.lints.rust]\nunsafe_code = \"deny\"\n[workspace.dependencies]\n{rows}"
            ),
        );
        for name in crates {
            write(&format!("crates/{name}/Cargo.toml"), &manifest(name, ""));
            write(&format!("crates/{name}/src/lib.rs"), "//! A crate.\n");
        }
        for (path, text) in changes {
            write(path, text);
        }
        tidy(folder.path()).err().unwrap_or_default()
    }

    fn manifest(name: &str, dependencies: &str) -> String {
        MANIFEST.replace("NAME", name) + dependencies
    }

    fn lib(code: &str) -> String {
        format!("//! A crate.\n{code}\n")
    }

    #[test]
    fn this_workspace_is_tidy() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let faults = tidy(root).err().unwrap_or_default();
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }

    #[test]
    fn a_small_tree_is_tidy() {
        let down = manifest("model", "config.workspace = true\ntext-bert = { workspace = true, features = [] }\n");
        assert_eq!(tree(&[("crates/model/Cargo.toml", &down)]), [""; 0]);
    }

    #[test]
    fn arrows_that_are_not_allowed() {
        for (name, dependencies, fault) in [
            ("text-bert", "vision-vit.workspace = true", "may not depend on crates/vision-vit"),
            ("text-bert", "preprocess.workspace = true", "may not depend on crates/preprocess"),
            ("config", "model.workspace = true", "may not depend on crates/model"),
            (
                "vision-vit",
                "\n[dev-dependencies]\ntext-bert.workspace = true",
                "may not depend on crates/text-bert for development",
            ),
            ("model", "cli.workspace = true", "may not depend on crates/cli"),
            ("preprocess", "\n[build-dependencies]\ntext-bert.workspace = true", "may not depend on crates/text-bert"),
            (
                "preprocess",
                "\n[dev-dependencies]\nmodel.workspace = true",
                "may not depend on crates/model for development",
            ),
            ("model", "\n[target.'cfg(unix)'.dependencies]\ncli.workspace = true", "may not depend on crates/cli"),
        ] {
            let path = format!("crates/{name}/Cargo.toml");
            assert_eq!(
                tree(&[(&path, &manifest(name, dependencies))]),
                [format!("crates/{name}: {fault}")],
                "{dependencies}"
            );
        }
        let left = manifest("text-bert", "\n[dev-dependencies]\npreprocess.workspace = true");
        assert_eq!(tree(&[("crates/text-bert/Cargo.toml", &left)]), [""; 0]);
        let unknown = [("crates/new/Cargo.toml", &*manifest("new", "")), ("crates/new/src/lib.rs", "//! New.\n")];
        assert_eq!(tree(&unknown), ["crates/new: has no row in the table of arrows"]);
    }

    #[test]
    fn versions_outside_the_workspace() {
        for dependencies in [
            "config = { path = \"../config\" }",
            "config = { version = \"0.1.0\", path = \"../config\" }",
            "config.path = \"../config\"",
            "\n[dependencies.config]\npath = \"../config\"",
            "\n[dev-dependencies]\nconfig = { path = \"../config\" }",
            "\n[target.'cfg(unix)'.dependencies]\nconfig = {\n  path = \"../config\",\n}",
        ] {
            let faults = tree(&[("crates/preprocess/Cargo.toml", &manifest("preprocess", dependencies))]);
            assert_eq!(
                faults,
                ["crates/preprocess/Cargo.toml: config is not inherited from [workspace.dependencies]"],
                "{dependencies}"
            );
        }
        let more = "\n[dependencies.config]\nworkspace = true\nfeatures = [\n]\n# model = \"1\"\n";
        assert_eq!(tree(&[("crates/preprocess/Cargo.toml", &manifest("preprocess", more))]), [""; 0]);
    }

    #[test]
    fn members_that_do_not_inherit() {
        let own = manifest("config", "")
            .replace("edition.workspace = true", "edition = \"2024\"")
            .replace("[lints]\nworkspace = true\n", "");
        assert_eq!(
            tree(&[("crates/config/Cargo.toml", &own)]),
            [
                "crates/config/Cargo.toml: lints is not `workspace = true`",
                "crates/config/Cargo.toml: package.edition is not `workspace = true`"
            ]
        );
        let spelled = manifest("config", "")
            .replace("rust-version.workspace = true", "rust-version = { workspace = true }")
            .replace("[lints]\nworkspace = true\n", "[lints] # all\nworkspace=true\n");
        assert_eq!(tree(&[("crates/config/Cargo.toml", &spelled)]), [""; 0]);
    }

    #[test]
    fn files_without_a_header() {
        for text in ["", "// A crate.\n", "\n//! A crate.\n", "use std::fmt;\n//! A crate.\n"] {
            let faults = tree(&[("crates/config/src/part.rs", text)]);
            assert_eq!(faults, ["crates/config/src/part.rs: does not open with `//!`"], "{text:?}");
        }
        assert_eq!(tree(&[("crates/config/tests/all.rs", "")]), [""; 0]);
    }

    #[test]
    fn long_files() {
        let lines = |count: usize| lib(&"const A: u8 = 0;\n".repeat(count));
        let free = "\n// no code\n/* none\n\neither */\n#[cfg(test)]\nmod tests {\n".to_string()
            + &"fn a() {}\n".repeat(500)
            + "}\n";
        let at = |path: &str, text: &str| tree(&[(path, text)]);
        assert_eq!(at("crates/text-bert/src/lib.rs", &(lines(250) + &free)), [""; 0]);
        assert_eq!(
            at("crates/text-bert/src/lib.rs", &(lines(251) + &free)),
            ["crates/text-bert/src/lib.rs: 251 lines of code, more than 250"]
        );
        assert_eq!(at("crates/config/src/lib.rs", &(lines(400) + &free)), [""; 0]);
        let strings = lib(&format!("const A: &str = \"\n{}\";", "text\n".repeat(400)));
        assert_eq!(
            at("crates/config/src/lib.rs", &strings),
            ["crates/config/src/lib.rs: 402 lines of code, more than 400"]
        );
    }

    #[test]
    fn unsafe_in_the_wrong_place() {
        let text = lib("pub fn a(p: *const u8) -> u8 {\n    unsafe { *p }\n}");
        let fault = "`unsafe` outside the kernels and the mapping of files";
        assert_eq!(tree(&[("crates/config/src/lib.rs", &text)]), [format!("crates/config/src/lib.rs:3: {fault}")]);
        assert_eq!(tree(&[("crates/config/tests/a.rs", &text)]), [format!("crates/config/tests/a.rs:3: {fault}")]);
        for (path, faults) in
            [("crates/kernels/src/simd.rs", 0), ("crates/checkpoint/src/mmap.rs", 0), ("crates/checkpoint/src/a.rs", 1)]
        {
            let file = File { path: path.into(), text: text.clone() };
            assert_eq!(unsafe_code(&file, &Rust::parse(&text)).len(), faults, "{path}");
        }
        let prose = lib(
            "#![forbid(unsafe_code)]\n/* unsafe /* unsafe */ unsafe */\nconst A: &str = \"\\\" unsafe\"; // unsafe\n\
             const B: &str = r#\"\" unsafe\"#;\nconst C: char = '\"'; fn d<'a>(_: &'a str) {}",
        );
        assert_eq!(tree(&[("crates/config/src/lib.rs", &prose)]), [""; 0]);
        let after = lib("const A: [char; 2] = ['\"', '\\''];\nconst B: &str = r\"\\\"; unsafe fn c() {}");
        assert_eq!(tree(&[("crates/config/src/lib.rs", &after)]), [format!("crates/config/src/lib.rs:3: {fault}")]);
    }

    #[test]
    fn tests_that_are_ignored() {
        for attribute in ["#[ignore]", "#[ignore = \"slow\"]", "#[cfg_attr(not(windows), ignore)]", "#[ ignore ]"] {
            let text = lib(&format!("#[test]\n{attribute}\nfn a() {{}}"));
            assert_eq!(
                tree(&[("crates/config/tests/a.rs", &text)]),
                ["crates/config/tests/a.rs:3: a test is ignored; print why it cannot run instead"],
                "{attribute}"
            );
        }
        assert_eq!(tree(&[("crates/config/tests/a.rs", "// #[ignore]\nfn ignore() {}\n")]), [""; 0]);
    }

    #[test]
    fn backends_that_are_named() {
        let text = lib("use burn::backend::{Flex,\n    NdArray};");
        let fault = "names a backend; the device is an argument";
        assert_eq!(
            tree(&[("crates/model/src/lib.rs", &text)]),
            [format!("crates/model/src/lib.rs:2: {fault}"), format!("crates/model/src/lib.rs:3: {fault}")]
        );
        assert_eq!(tree(&[("crates/model/src/device/mod.rs", &text)]), [""; 0]);
        assert_eq!(tree(&[("crates/model/src/lib.rs", &lib("/// Flex, NdArray\nstruct Flexible;"))]), [""; 0]);
    }

    #[test]
    fn machine_paths() {
        for (text, what) in [("PATH=/root/.cargo", "/root/"), ("(`/home/me/x`)", "/home/"), ("\"/Users/x\"", "/Users/")]
        {
            assert_eq!(tree(&[("docs/page.md", text)]), [format!("docs/page.md:1: mentions {what}")], "{text}");
        }
        for text in ["../root/x", "example.org/home/a", "/home/someone/x", "/rootfs", "$HOME/home/", "/root"] {
            assert_eq!(tree(&[("docs/page.md", text)]), [""; 0], "{text}");
        }
        let lock = "version = 4\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://mirror.example/index\"\n";
        let found = places(&File { path: "Cargo.lock".into(), text: lock.into() });
        assert_eq!(found, ["Cargo.lock:5: mentions registry+https://mirror.example/index"]);
        let config = "[source.crates-io]\nreplace-with = \"mirror\"\n";
        assert_eq!(places(&File { path: ".cargo/config.toml".into(), text: config.into() }).len(), 2);
    }

    #[test]
    fn a_tree_that_is_no_workspace() {
        let folder = tempfile::tempdir().unwrap();
        let faults = tidy(folder.path()).unwrap_err();
        assert!(faults.len() == 1 && faults[0].starts_with("cargo metadata: "), "{faults:?}");
    }
}

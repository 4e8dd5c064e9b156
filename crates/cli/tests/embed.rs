//! `embed`: formats, directories, going on after a stop of any kind, refusing to mix.

#![allow(clippy::unwrap_used, clippy::panic)] // a test fails by panicking

mod common;

use std::path::Path;

use common::{command, example, pictures, rows, run, run_with};

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

/// The vectors of a `.npy` file of width `width`.
fn npy(path: &Path, width: usize) -> Vec<Vec<f32>> {
    let bytes = std::fs::read(path).unwrap();
    let values: Vec<f32> = bytes[128..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
    let header = String::from_utf8_lossy(&bytes[..128]).into_owned();
    assert!(header.contains(&format!("'shape': ({}, {width})", values.len() / width)), "{header}");
    assert_eq!(values.len() % width, 0);
    values.chunks(width).map(<[f32]>::to_vec).collect()
}

#[test]
fn rows_are_images_then_texts_of_unit_length() {
    let (a, b) = (example("sunset.png"), example("snowman.png"));
    let ran = run(["embed", &a, &b, "--model", "demo", "--text", "日落", "雪人"]).exits(0);
    let all = rows(&ran.stdout);
    let names: Vec<(&str, &str)> = all.iter().map(|(kind, source, _)| (kind.as_str(), source.as_str())).collect();
    assert_eq!(names, [("image", a.as_str()), ("image", &b), ("text", "日落"), ("text", "雪人")]);
    let dot = |x: &[f64], y: &[f64]| -> f64 { x.iter().zip(y).map(|(x, y)| x * y).sum() };
    for (_, source, vector) in &all {
        assert!((dot(vector, vector) - 1.0).abs() < 1e-6, "{source}");
    }
    assert!(dot(&all[0].2, &all[2].2) > dot(&all[0].2, &all[3].2), "the sunset is more like its name");
    let raw = rows(&run(["embed", &a, "--model", "demo", "--raw"]).exits(0).stdout);
    let norm = dot(&raw[0].2, &raw[0].2).sqrt();
    assert!((norm - 1.0).abs() > 1e-3);
    assert!(raw[0].2.iter().zip(&all[0].2).all(|(raw, unit)| (raw / norm - unit).abs() < 1e-6));
    let picture = std::fs::read(&a).unwrap();
    let piped = rows(&run_with(["embed", "-", "--model", "demo"], &picture).exits(0).stdout);
    assert_eq!(piped[0].1, "-");
    // On AMX the last bits depend on the batch.
    assert!(piped[0].2.iter().zip(&all[0].2).all(|(alone, beside)| (alone - beside).abs() < 1e-6));
    run(["embed"]).exits(2).says("no image or text given");
}

#[test]
fn a_directory_is_walked_and_broken_files_are_counted() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("pictures");
    pictures(&root.join("b"), 2);
    pictures(&root.join("a"), 1);
    std::fs::write(root.join("b/0000.JPG"), "broken").unwrap();
    std::fs::write(root.join("notes.txt"), "not a picture, and not named like one").unwrap();
    let output = folder.path().join("out.jsonl");
    let arguments = ["embed", root.to_str().unwrap(), "--model", "demo", "-o", output.to_str().unwrap()];
    run(arguments).exits(1).says("0000.JPG").says("3 embedded, 0 there already, 1 failed");
    let sources: Vec<String> = rows(&read(&output)).into_iter().map(|row| row.1).collect();
    let expected = ["a/0000.png", "b/0000.png", "b/0001.png"].map(|name| root.join(name).to_str().unwrap().to_string());
    assert_eq!(sources, expected);
    let before = read(&output);
    run(arguments).exits(1).says("0 embedded, 3 there already, 1 failed");
    assert_eq!(read(&output), before);
    let empty = folder.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    run(["embed", empty.to_str().unwrap()]).exits(2).says("no pictures in").says("hint: pictures are found by");
}

#[test]
fn every_format_holds_the_same_and_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (example("sunset.png"), example("snowman.png"));
    let expected = rows(&run(["embed", &a, &b, "--model", "demo", "--text", "日落"]).exits(0).stdout);
    let width = expected[0].2.len();
    for format in ["jsonl", "npy", "parquet"] {
        let output = folder.path().join(format!("out.{format}"));
        let path = output.to_str().unwrap();
        run(["embed", &a, "--model", "demo", "-o", path]).exits(0).says("1 embedded, 0 there already");
        let ran = run(["embed", &a, &b, "--text", "日落", "--model", "demo", "-o", path]).exits(0);
        ran.says("2 embedded, 1 there already, 0 failed");
        let found: Vec<(String, Vec<f32>)> = match format {
            "jsonl" => rows(&read(&output))
                .into_iter()
                .map(|(_, source, vector)| (source, vector.into_iter().map(|v| v as f32).collect()))
                .collect(),
            "npy" => {
                let names = read(&folder.path().join("out.npy.rows.jsonl"));
                let names = names.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
                let names = names.map(|row| row["source"].as_str().unwrap().to_string());
                names.zip(npy(&output, width)).collect()
            }
            _ => table(&output),
        };
        assert_eq!(found.len(), 3, "{format}");
        for ((source, vector), (_, expected_source, expected)) in found.iter().zip(&expected) {
            assert_eq!(source, expected_source, "{format}");
            assert!(vector.iter().zip(expected).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6), "{format}: {source}");
        }
        let meta: serde_json::Value =
            serde_json::from_str(&read(&folder.path().join(format!("out.{format}.meta.json")))).unwrap();
        assert_eq!(
            (&meta["model"], &meta["format"], &meta["normalized"]),
            (&"demo".into(), &format.into(), &true.into())
        );
        assert_eq!((meta["width"].as_u64(), meta["fingerprint"].as_str().unwrap().len()), (Some(width as u64), 64));
    }
    let left: Vec<String> =
        std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(left.len(), 7, "no journal, no temporary file: {left:?}");
    run(["embed", &a, "--format", "npy"]).exits(2).says("npy needs a file to write to");
    run(["embed", &a, "--format", "parquet", "-o", "-"]).exits(2).says("hint: name it with `-o FILE`");
}

/// Sources and vectors of a parquet file, by another way than the command reads it: column by column.
fn table(path: &Path) -> Vec<(String, Vec<f32>)> {
    use parquet::column::reader::get_typed_column_reader;
    use parquet::data_type::{ByteArrayType, FloatType};
    use parquet::file::reader::{FileReader, SerializedFileReader};
    let file = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let mut found = Vec::new();
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).unwrap();
        let count = group.metadata().num_rows() as usize;
        let (mut names, mut values, mut definition, mut repetition) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut column = get_typed_column_reader::<ByteArrayType>(group.get_column_reader(1).unwrap());
        column.read_records(count, None, None, &mut names).unwrap();
        let mut column = get_typed_column_reader::<FloatType>(group.get_column_reader(2).unwrap());
        column.read_records(count, Some(&mut definition), Some(&mut repetition), &mut values).unwrap();
        let names = names.into_iter().map(|name| name.as_utf8().unwrap().to_string());
        found.extend(names.zip(values.chunks(values.len() / count).map(<[f32]>::to_vec)));
    }
    found
}

#[test]
fn inputs_given_twice_have_two_rows_and_standard_input_is_always_new() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out");
    let path = output.to_str().unwrap();
    let arguments = ["embed", "--model", "demo", "--text", "红", "绿", "红", "-o", path];
    run(arguments).exits(0);
    run(arguments).exits(0).says("0 embedded, 3 there already");
    assert_eq!(rows(&read(&output)).len(), 3);
    let picture = std::fs::read(example("sunset.png")).unwrap();
    for _ in 0..2 {
        run_with(["embed", "-", "--model", "demo", "-o", path], &picture).exits(0).says("1 embedded");
    }
}

#[test]
fn vectors_that_differ_are_not_mixed() {
    let folder = tempfile::tempdir().unwrap();
    for format in ["jsonl", "npy", "parquet"] {
        let output = folder.path().join(format!("out.{format}"));
        let path = output.to_str().unwrap();
        let with =
            |more: &[&str]| run(["embed", "--model", "demo", "--text", "红", "绿", "-o", path].iter().chain(more));
        with(&[]).exits(0);
        let before = std::fs::read(&output).unwrap();
        with(&["--raw"]).exits(2).says("they are of unit length, not raw").says("nothing was changed");
        with(&["--dialect", "cn_clip"]).exits(2).says("fingerprint is");
        with(&["--max-length", "52"]).exits(2).says("--max-length or --dialect differ");
        with(&["--dtype", "bf16"]).exits(2).says("they were computed in f32, not bf16");
        let other = if format == "npy" { "jsonl" } else { "npy" };
        with(&["--format", other]).exits(2).says(&format!("it is {format}, not {other}"));
        let sidecar = folder.path().join(format!("out.{format}.meta.json"));
        let kept = std::fs::read(&sidecar).unwrap();
        std::fs::remove_file(&sidecar).unwrap();
        with(&[]).exits(2).says("its vectors are of unknown origin").says("hint: choose another name");
        std::fs::write(&sidecar, "{").unwrap();
        with(&[]).exits(2).says("meta.json is damaged");
        std::fs::write(&sidecar, kept).unwrap();
        assert_eq!(std::fs::read(&output).unwrap(), before, "{format}");
        with(&[]).exits(0).says("0 embedded, 2 there already");
    }
}

#[test]
fn damage_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for (format, at, problem) in
        [("jsonl", 0, "line 1:"), ("npy", 20, "its header is not"), ("parquet", 0, "cannot read or write")]
    {
        let output = folder.path().join(format!("out.{format}"));
        let path = output.to_str().unwrap();
        let arguments = ["embed", "--model", "demo", "--text", "红", "绿", "-o", path];
        run(arguments).exits(0);
        let mut bytes = std::fs::read(&output).unwrap();
        bytes[at] = b'X';
        let end = bytes.len() - 1;
        if format == "parquet" {
            bytes[end] = b'X';
        }
        std::fs::write(&output, &bytes).unwrap();
        run(arguments).exits(2).says(problem);
        assert_eq!(std::fs::read(&output).unwrap(), bytes, "{format}: left as it was");
    }
}

#[test]
fn what_a_crash_cut_off_is_embedded_again() {
    let folder = tempfile::tempdir().unwrap();
    for (format, cut) in [("jsonl", 100), ("npy", 30)] {
        let output = folder.path().join(format!("out.{format}"));
        let path = output.to_str().unwrap();
        let arguments = ["embed", "--model", "demo", "--text", "红", "绿", "蓝", "-o", path];
        run(arguments).exits(0);
        let whole = std::fs::read(&output).unwrap();
        std::fs::write(&output, &whole[..whole.len() - cut]).unwrap();
        run(arguments).exits(0).says("1 embedded, 2 there already");
        assert_eq!(std::fs::read(&output).unwrap().len(), whole.len(), "{format}");
    }
    // Lines of names that are ahead of the vectors, or behind.
    let names = folder.path().join("out.npy.rows.jsonl");
    let whole = std::fs::read(&names).unwrap();
    std::fs::write(&names, &whole[..whole.len() - 5]).unwrap();
    let path = folder.path().join("out.npy");
    run(["embed", "--model", "demo", "--text", "红", "绿", "蓝", "-o", path.to_str().unwrap()])
        .exits(0)
        .says("1 embedded, 2 there already");
    assert_eq!(std::fs::read(&names).unwrap(), whole);
}

#[cfg(unix)]
mod stopped {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Stdio};
    use std::time::{Duration, Instant};

    use super::*;

    const TEXTS: usize = 6000;

    fn start(texts: &Path, output: &Path) -> Child {
        command()
            .args(["embed", "--model", "demo", "--texts", texts.to_str().unwrap(), "-o", output.to_str().unwrap()])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Sends a signal when something is written and much is not.
    fn signal_midway(child: &Child, growing: &Path, signal: &str) {
        let start = Instant::now();
        while growing.metadata().map_or(0, |metadata| metadata.len()) < 20_000 {
            assert!(start.elapsed() < Duration::from_mins(2), "nothing is written");
            std::thread::sleep(Duration::from_millis(2));
        }
        let killed = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(killed.success(), "it has ended already: give it more to do");
    }

    fn growing(output: &Path, format: &str) -> std::path::PathBuf {
        if format == "parquet" { output.with_extension("parquet.part") } else { output.into() }
    }

    fn texts(folder: &Path) -> std::path::PathBuf {
        let path = folder.join("texts.txt");
        let lines: Vec<String> = (0..TEXTS).map(|i| format!("第{i}个红色的圆形")).collect();
        std::fs::write(&path, lines.join("\n")).unwrap();
        path
    }

    fn content(output: &Path, format: &str) -> Vec<(String, Vec<f32>)> {
        match format {
            "jsonl" => rows(&read(output))
                .into_iter()
                .map(|(_, source, vector)| (source, vector.into_iter().map(|v| v as f32).collect()))
                .collect(),
            "npy" => {
                let names = read(&output.with_extension("npy.rows.jsonl"));
                let width = serde_json::from_str::<serde_json::Value>(&read(&output.with_extension("npy.meta.json")))
                    .unwrap()["width"]
                    .as_u64()
                    .unwrap();
                let vectors = npy(output, width as usize);
                let names: Vec<String> = names
                    .lines()
                    .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
                    .map(|row| row["source"].as_str().unwrap().to_string())
                    .collect();
                assert_eq!(names.len(), vectors.len());
                names.into_iter().zip(vectors).collect()
            }
            _ => table(output),
        }
    }

    #[test]
    fn a_killed_run_is_gone_on_with_and_ends_as_if_nothing_had_happened() {
        let folder = tempfile::tempdir().unwrap();
        let texts = texts(folder.path());
        for format in ["jsonl", "npy", "parquet"] {
            let whole = folder.path().join(format!("whole.{format}"));
            assert!(start(&texts, &whole).wait().unwrap().success());
            let output = folder.path().join(format!("killed.{format}"));
            for _ in 0..2 {
                let mut child = start(&texts, &output);
                signal_midway(&child, &growing(&output, format), "-KILL");
                assert_eq!(child.wait().unwrap().signal(), Some(9));
            }
            let ended: common::Ran = start(&texts, &output).wait_with_output().unwrap().into();
            assert!(!ended.exits(0).stderr.contains(" 0 there already"), "{format}: something was there");
            let (whole, output) = (content(&whole, format), content(&output, format));
            assert_eq!(whole.len(), TEXTS);
            assert!(whole == output, "{format}");
        }
    }

    #[test]
    fn an_interrupted_run_leaves_valid_files() {
        let folder = tempfile::tempdir().unwrap();
        let texts = texts(folder.path());
        for (format, signal) in [("jsonl", "-INT"), ("npy", "-TERM"), ("parquet", "-INT")] {
            let output = folder.path().join(format!("out.{format}"));
            let child = start(&texts, &output);
            signal_midway(&child, &growing(&output, format), signal);
            let ended: common::Ran = child.wait_with_output().unwrap().into();
            ended.exits(130).says("note: interrupted");
            let found = content(&output, format);
            assert!(!found.is_empty() && found.len() < TEXTS, "{format}: {}", found.len());
            for (i, (source, _)) in found.iter().enumerate() {
                assert_eq!(source, &format!("第{i}个红色的圆形"), "{format}");
            }
            assert!(!output.with_extension("parquet.part").exists());
            let ended: common::Ran = start(&texts, &output).wait_with_output().unwrap().into();
            ended.exits(0).says(&format!("{} embedded, {} there already", TEXTS - found.len(), found.len()));
            assert_eq!(content(&output, format).len(), TEXTS);
        }
    }

    #[test]
    fn a_file_is_written_by_one_process() {
        let folder = tempfile::tempdir().unwrap();
        let texts = texts(folder.path());
        let output = folder.path().join("out.jsonl");
        let mut first = start(&texts, &output);
        signal_midway(&first, &output, "-STOP");
        let second: common::Ran = start(&texts, &output).wait_with_output().unwrap().into();
        second.exits(2).says("is being written by another process");
        signal_midway(&first, &output, "-CONT");
        assert!(first.wait().unwrap().success());
        assert_eq!(rows(&read(&output)).len(), TEXTS);
    }

    #[test]
    fn a_full_disk_stops_the_run_and_what_was_written_stays() {
        let folder = tempfile::tempdir().unwrap();
        let texts = texts(folder.path());
        for format in ["jsonl", "npy", "parquet"] {
            let output = folder.path().join(format!("out.{format}"));
            // A limit on the size of files stands for a full disk; without the signal it is an error of `write`.
            let limited = std::process::Command::new("sh")
                .args(["-c", "ulimit -f 200; trap '' XFSZ; exec \"$@\"", "sh", env!("CARGO_BIN_EXE_chinese-clip")])
                .args(["embed", "--model", "demo", "--texts", texts.to_str().unwrap(), "-o", output.to_str().unwrap()])
                .output()
                .unwrap();
            common::Ran::from(limited).exits(2).says("error: cannot write").says("hint: make room");
            if format != "parquet" {
                assert!(!content(&output, format).is_empty());
            }
            let ended: common::Ran = start(&texts, &output).wait_with_output().unwrap().into();
            assert!(!ended.exits(0).stderr.contains(" 0 there already"), "{format}");
            assert_eq!(content(&output, format).len(), TEXTS, "{format}");
        }
    }

    #[test]
    fn a_table_that_does_not_fit_leaves_the_journal() {
        let folder = tempfile::tempdir().unwrap();
        let texts = texts(folder.path());
        let whole = folder.path().join("whole.parquet");
        assert!(start(&texts, &whole).wait().unwrap().success());
        let width = content(&whole, "parquet")[0].1.len();
        // Room for the vectors, and not for the table, which has the texts as well; in blocks of 512 bytes.
        let room = u64::midpoint((TEXTS * width * 4) as u64, whole.metadata().unwrap().len()) / 512;
        let output = folder.path().join("out.parquet");
        let limited = std::process::Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -f {room}; trap '' XFSZ; exec \"$@\""),
                "sh",
                env!("CARGO_BIN_EXE_chinese-clip"),
            ])
            .args(["embed", "--model", "demo", "--texts", texts.to_str().unwrap(), "-o", output.to_str().unwrap()])
            .output()
            .unwrap();
        common::Ran::from(limited).exits(2).says("all vectors so far are kept in").says("hint: make room");
        assert!(!output.exists() && output.with_extension("parquet.part").exists());
        let ended: common::Ran = start(&texts, &output).wait_with_output().unwrap().into();
        ended.exits(0).says(&format!("0 embedded, {TEXTS} there already"));
        assert!(content(&output, "parquet") == content(&whole, "parquet"));
        assert!(!output.with_extension("parquet.part").exists());
    }
}

#[test]
fn an_array_without_its_rows_or_its_header_is_refused_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.npy");
    let path = output.to_str().unwrap();
    let (a, b) = (example("sunset.png"), example("snowman.png"));
    run(["embed", &a, "--model", "demo", "-o", path]).exits(0);
    let kept = std::fs::read(&output).unwrap();
    std::fs::remove_file(folder.path().join("out.npy.rows.jsonl")).unwrap();
    run(["embed", &b, "--model", "demo", "-o", path]).exits(2).says("is damaged");
    assert_eq!(std::fs::read(&output).unwrap(), kept);
    std::fs::write(&output, "junk").unwrap();
    run(["embed", &b, "--model", "demo", "-o", path]).exits(2).says("is damaged");
    assert_eq!(read(&output), "junk");
}

#[cfg(target_os = "linux")]
#[test]
fn a_name_that_is_not_utf8_is_reported_and_counted() {
    use std::os::unix::ffi::OsStrExt;
    let folder = tempfile::tempdir().unwrap();
    let name = std::ffi::OsStr::from_bytes(b"x\xff.png");
    std::fs::copy(example("sunset.png"), folder.path().join(name)).unwrap();
    std::fs::copy(example("sunset.png"), folder.path().join("y.png")).unwrap();
    let ran = run(["embed", folder.path().to_str().unwrap(), "--model", "demo"]).exits(1).says("not UTF-8");
    assert_eq!(rows(&ran.stdout).len(), 1);
}

/// Whatever lies beside the output is someone else's.
#[test]
fn files_beside_the_output_stay() {
    let folder = tempfile::tempdir().unwrap();
    let output = folder.path().join("out.parquet");
    let foreign = ["out.parquet.tmp", "out.parquet.meta.json.tmp"].map(|name| folder.path().join(name));
    for path in &foreign {
        std::fs::write(path, "mine").unwrap();
    }
    run(["embed", &example("sunset.png"), "--model", "demo", "-o", output.to_str().unwrap()]).exits(0);
    assert!(foreign.iter().all(|path| read(path) == "mine"));
    let mut names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["out.parquet", "out.parquet.meta.json", "out.parquet.meta.json.tmp", "out.parquet.tmp"]);
}

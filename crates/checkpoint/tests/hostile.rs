//! Broken and malicious files. Each is an error that says what is wrong, at once, without executing or allocating much.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;

use std::time::Duration;

use chinese_clip_checkpoint::{Checkpoint, CheckpointError};
use common::{
    Pickle, claim, data, directory, open_bytes, open_data, open_dir, options, safetensors, text, torch, torch_with,
};

const ATTACKED: &str = "/tmp/chinese-clip-was-attacked";

/// What this thread has computed so far: other programs on the same cores do not count. Zero where it is not known.
fn computed() -> Duration {
    let counters = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(counters.split(' ').next().and_then(|time| time.parse().ok()).unwrap_or_default())
}

fn refuses(name: &str, bytes: &[u8], part: &str) -> CheckpointError {
    let dir = directory(&[(name, bytes)]);
    let start = computed();
    let error = open_dir(dir.path()).expect_err(part);
    let took = computed().saturating_sub(start);
    assert!(took < Duration::from_secs(1), "{part}: took {took:?}");
    let text = text(&error);
    assert!(text.contains(part), "{part:?} is not in: {text}");
    error
}

fn refuses_safetensors(header: &str, data: &[u8], part: &str) {
    refuses("model.safetensors", &safetensors(header, data), part);
}

fn refuses_pickle(pickle: &[u8], part: &str) {
    refuses("pytorch_model.bin", &torch(pickle, &[("data/0", &[0; 16])]), part);
}

#[test]
fn safetensors_headers() {
    let one = |entry: &str| format!(r#"{{"w":{entry}}}"#);
    for (header, data, part) in [
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#), 4, "truncated"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8]}"#), 12, "4 bytes follow the last tensor"),
        (one(r#"{"dtype":"F32","shape":[3],"data_offsets":[0,8]}"#), 8, "has 8 bytes, but F32 [3] needs 12"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[8,0]}"#), 8, "ends (0) before it begins (8)"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[4,12]}"#), 12, "hole before tensor `w`"),
        (one(r#"{"dtype":"F8_E4M3","shape":[8],"data_offsets":[0,8]}"#), 8, "unsupported type F8_E4M3"),
        (one(r#"{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,8]}"#), 8, "more elements than can be counted"),
        (one(r#"{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}"#), 8, "invalid value"),
        (one(r#"{"dtype":"F32","shape":[2]}"#), 8, "data_offsets"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[0,8],"code":1}"#), 8, "unknown field `code`"),
        (one(r#"{"dtype":"F32","dtype":"F16","shape":[2],"data_offsets":[0,8]}"#), 8, "duplicate field `dtype`"),
        (one(r#"{"dtype":"F32","shape":[2],"data_offsets":[18446744073709551608,18446744073709551615]}"#), 8, "has 7 bytes"),
        (r#"{"w":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"w":{"dtype":"U8","shape":[2],"data_offsets":[2,4]}}"#.into(), 4, "`w` occurs twice"),
        (r#"{"a":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"b":{"dtype":"U8","shape":[3],"data_offsets":[1,4]}}"#.into(), 4, "overlaps"),
        (r#"{"__metadata__":{"format":1}}"#.into(), 0, "invalid type"),
        ("{".into(), 0, "EOF"),
        ("{} x".into(), 0, "trailing"),
        ("[]".into(), 0, "does not start with `{`"),
        ("{\"\\ud800\":1}".into(), 0, "invalid safetensors header"),
        (format!("{{\"w\":{}", "[".repeat(100_000)), 0, "invalid safetensors header"),
    ] {
        refuses_safetensors(&header, &vec![0; data], part);
    }
    refuses("model.safetensors", b"\x10\0\0", "truncated");
    refuses("model.safetensors", b"\x10\0\0\0\0\0\0\0", "truncated: 24 bytes expected, 8 found");
    refuses(
        "model.safetensors",
        &[b"\xff\xff\xff\xff\xff\xff\xff\x7f{".as_slice(), &[b' '; 64]].concat(),
        "limit of 100000000",
    );
    refuses("model.safetensors", b"\x02\0\0\0\0\0\0\0{\xff", "invalid safetensors header");
    let error =
        refuses("model.safetensors", &[b"\x05\0\0\0\0\x80\0\0{".as_slice(), &[b' '; 64]].concat(), "the header is");
    assert!(error.hint().unwrap().contains("Limits"));
}

#[test]
fn every_truncation_of_a_safetensors_file_is_an_error() {
    let bytes = std::fs::read(data("f32.safetensors")).unwrap();
    for length in 0..bytes.len() {
        assert!(open_bytes("model.safetensors", &bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn every_truncation_of_a_torch_file_is_an_error() {
    let bytes = std::fs::read(data("f32.bin")).unwrap();
    for length in 0..bytes.len() {
        assert!(open_bytes("pytorch_model.bin", &bytes[..length]).is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn code_in_a_pickle_is_named_and_not_run() {
    std::fs::remove_file(ATTACKED).ok();
    for file in ["attack_reduce.bin", "attack_reduce_protocol4.bin", "attack_inst.bin"] {
        let error = open_data(file).unwrap_err();
        assert!(matches!(error, CheckpointError::ForbiddenGlobal { runs_code: true, .. }), "{file}: {error}");
        let text = text(&error);
        assert!(text.contains("system`, which is code to run"), "{file}: {text}");
        assert!(text.contains("do not load this file with torch.load"), "{file}: {text}");
    }
    for (module, name) in [
        ("builtins", "eval"),
        ("__builtin__", "getattr"),
        ("torch.storage", "_load_from_bytes"),
        ("subprocess", "Popen"),
    ] {
        let expected = format!("{module}.{name}`, which is code to run");
        refuses_pickle(&Pickle::new().global(module, name).stop(), &expected);
        refuses_pickle(&Pickle::new().string(module).string(name).raw(b"\x93").stop(), &expected);
    }
    assert!(!std::path::Path::new(ATTACKED).exists());
}

#[test]
fn what_torch_saves_beside_state_dicts_is_explained() {
    for (file, part) in [
        (
            "whole_module.bin",
            "asks for `torch.nn.modules.normalization.LayerNorm`, which is not part of a table of weights",
        ),
        ("bare_tensor.bin", "it holds a tensor, not a table of weights"),
        ("sparse.bin", "which is not part of a table of weights"),
        ("legacy.bin", "re-save it with a present-day torch"),
    ] {
        let text = text(&open_data(file).unwrap_err());
        assert!(text.contains(part), "{file}: {text}");
    }
}

#[test]
fn tensors_that_lie_about_their_storage() {
    assert_eq!(
        open_bytes("pytorch_model.bin", &claim(4, 1, &[3], &[1])).unwrap().weights.to_f32("w").unwrap(),
        [2.0, 3.0, 4.0]
    );
    for (count, offset, shape, strides, part) in [
        (5, 0, &[4][..], &[1][..], "should have 5 elements of F32 and has 4"),
        (1 << 40, 0, &[1 << 40], &[1], "should have 1099511627776 elements"),
        (2_500_000_000, 0, &[50_000, 50_000], &[50_000, 1], "should have 2500000000 elements"), // 10 GB
        (-1, 0, &[1], &[1], "should have -1 elements"),
        (4, 0, &[5], &[1], "more elements than its storage"),
        (4, 1, &[4], &[1], "lead out of its storage"),
        (4, i64::MAX, &[4], &[1], "lead out of its storage"),
        (4, -1, &[1], &[1], "a negative size"),
        (4, 0, &[-4], &[1], "a negative size"),
        (4, 0, &[2], &[-1], "a negative size"),
        (4, 0, &[2], &[4], "lead out of its storage"),
        (4, 0, &[2], &[i64::MAX], "lead out of its storage"),
        (4, 0, &[2, 2], &[1], "2 dimensions and 1 strides"),
        (4, 0, &[10_000_000_000], &[0], "more elements than its storage"),
        (4, 0, &[i64::MAX, i64::MAX], &[1, 1], "more elements than its storage"),
        (4, 0, &[1; 40], &[1; 40], "a tensor of 40 dimensions"),
    ] {
        refuses("pytorch_model.bin", &claim(count, offset, shape, strides), part);
    }
}

#[test]
fn torch_archives() {
    let good = Pickle::new().raw(b"}(").string("w").tensor(4, 0, &[4], &[1]).raw(b"u").stop();
    let floats: &[u8] = &[0; 16];
    assert!(open_bytes("pytorch_model.bin", &torch(&good, &[("data/0", floats), ("byteorder", b"little")])).is_ok());
    for (entries, part) in [
        (&[][..], "its storage data/0 is missing"),
        (&[("data/0", &floats[..12])], "should have 4 elements of F32 and has 3"),
        (&[("data/0", floats), ("byteorder", b"big")], "only little-endian"),
        (&[("data/0", floats), ("constants.pkl", b"")], "TorchScript"),
        (&[("data/0", floats), ("more/data.pkl", b"")], "more than one entry data.pkl"),
    ] {
        refuses("pytorch_model.bin", &torch(&good, entries), part);
    }
    let compressed = torch_with(zip::CompressionMethod::Deflated, &good, &[("data/0", floats)]);
    refuses("pytorch_model.bin", &compressed, "compressed or encrypted");
    refuses("pytorch_model.bin", b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", "no zip archive");
    refuses("pytorch_model.bin", &[b"PK\x03\x04".as_slice(), &[0; 100]].concat(), "not a complete zip archive");
    refuses("pytorch_model.bin", &std::fs::read(data("f32.safetensors")).unwrap(), "no zip archive");
    // An entry that claims 4 GB in the archive's directory, and an archive that claims entries without end.
    let mut bytes = torch(&good, &[("data/0", floats)]);
    let entry = bytes.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
    bytes[entry + 20..entry + 28].copy_from_slice(&[0xf0, 0xff, 0xff, 0xff, 0xf0, 0xff, 0xff, 0xff]);
    refuses("pytorch_model.bin", &bytes, "truncated: 42949");
    let mut bytes = torch(&good, &[("data/0", floats)]);
    let end = bytes.windows(4).rposition(|window| window == b"PK\x05\x06").unwrap();
    bytes[end + 8..end + 12].copy_from_slice(&[0xfe, 0xff, 0xfe, 0xff]);
    refuses("pytorch_model.bin", &bytes, "not a complete zip archive");
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("x/readme", zip::write::SimpleFileOptions::default()).unwrap();
    refuses("pytorch_model.bin", &zip.finish().unwrap().into_inner(), "compressed or encrypted");
}

#[test]
fn pickles_that_are_malformed() {
    let p = Pickle::new;
    for (pickle, part) in [
        (vec![], "0 are left"),
        (p().0, "0 are left"),
        (b"\x80\x09.".to_vec(), "protocol 9"),
        (p().stop(), "the stack is empty"),
        (p().raw(b"0").stop(), "the stack is empty"),
        (p().raw(b"N(0").stop(), "the stack is empty"),
        (p().raw(b"t").stop(), "no mark"),
        (p().raw(b"N\x86").stop(), "the stack is empty"),
        (p().raw(b"h\x07").stop(), "nothing is memorised as 7"),
        (p().raw(b"]NNs").stop(), "a key is set in a list"),
        (p().raw(b"}Na").stop(), "appended to a dictionary"),
        (p().raw(b"}(Nu").stop(), "a key without a value"),
        (p().raw(b"NN\x93").stop(), "not named by two strings"),
        (p().raw(b"N)R").stop(), "a call of None"),
        (p().global("collections", "OrderedDict").raw(b"NR").stop(), "without a tuple"),
        (p().global("collections", "OrderedDict").raw(b"(NtR").stop(), "arguments that do not fit"),
        (p().global("torch", "FloatStorage").raw(b")R").stop(), "arguments that do not fit"),
        (p().global("torch._utils", "_rebuild_tensor_v2").raw(b")R").stop(), "arguments that do not fit"),
        (p().raw(b"NNb").stop(), "attributes are set on None"),
        (p().raw(b"NQ").stop(), "persistent id"),
        (p().raw(b"Pkey\n").stop(), "opcode 0x50"),
        (p().raw(b"(icollections\nOrderedDict\n").stop(), "opcode 0x69"),
        (p().raw(b"\x8f").stop(), "opcode 0x8f"),
        (p().raw(b"\x82\x01").stop(), "opcode 0x82"),
        (p().raw(b"X\xff\xff\xff\xffabc").stop(), "4294967295 bytes are announced"),
        (p().raw(b"\x8d\xff\xff\xff\xff\xff\xff\xff\xffabc").stop(), "bytes are announced"),
        (p().raw(b"\x8b\xff\xff\xff\x7f").stop(), "bytes are announced"),
        (p().raw(b"\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01").stop(), "an integer of 9 bytes"),
        (p().raw(b"U\x02\xff\xfe").stop(), "not UTF-8"),
        (p().raw(b"cos").0, "a line does not end"),
        (p().raw(b"Ix\n").stop(), "an integer is not one"),
        (p().raw(b"N").stop(), "it holds None, not a table"),
        (p().raw(b"}").stop(), "the table of weights is empty"),
        (p().raw(b"}(K\x01K\x02u").stop(), "a key of the table of weights is an integer"),
        (p().raw(b"}(").string("epoch").raw(b"K\x02u").stop(), "`epoch` is an integer, not a tensor"),
        (
            p().raw(b"}(").string("w").tensor(4, 0, &[4], &[1]).string("w").tensor(4, 0, &[4], &[1]).raw(b"u").stop(),
            "`w` occurs twice",
        ),
    ] {
        refuses_pickle(&pickle, part);
    }
}

#[test]
fn pickles_that_want_to_cost_much() {
    // A billion laughs: ten references to ten references, thirty levels. Sharing makes it harmless, and it is no table.
    let mut laughs = Pickle::new().raw(b"]q\x00");
    for level in 0..30_u8 {
        laughs = laughs.raw(b"(").raw(&[b'h', level].repeat(10)).raw(b"tq").raw(&[level + 1]);
    }
    refuses_pickle(&laughs.stop(), "it holds a list");
    // Values, marks and memos without end, within the size that a pickle may have.
    for opcode in [&b"N"[..], b"(", b"]", b")", b"}", b"N\x94", b"2"] {
        let bomb = Pickle::new().raw(b"N").raw(&opcode.repeat(1 << 20)).stop();
        refuses_pickle(&bomb, "the number of opcodes in the pickle is 1000001");
    }
    // Nesting that would overflow the stack of a recursive reader, or of a recursive destructor.
    let nested = Pickle::new().raw(&b"]".repeat(400_000)).raw(&b"a".repeat(399_999)).stop();
    refuses_pickle(&nested, "it holds a list");
    let nested = Pickle::new().raw(b"N").raw(&b"\x85".repeat(900_000)).stop();
    refuses_pickle(&nested, "it holds a list");
    // A list that holds itself, as the table and as a shape.
    refuses_pickle(&Pickle::new().raw(b"]q\x00h\x00a").stop(), "it holds a list");
    // Opcodes that build nothing, as many as fit.
    refuses_pickle(
        &Pickle::new().raw(&b"\x80\x02".repeat(1 << 20)).stop(),
        "the number of opcodes in the pickle is 1000001",
    );
    // A pickle over the size.
    let mut limits = options();
    limits.limits.pickle_bytes = 100;
    let dir = directory(&[("pytorch_model.bin", &std::fs::read(data("f32.bin")).unwrap())]);
    let error = Checkpoint::open(dir.path().to_str().unwrap(), &limits).unwrap_err();
    assert!(text(&error).contains("more than the limit of 100"), "{error}");
}

#[test]
fn what_is_no_weights_file() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 753000000\n";
    for name in ["model.safetensors", "pytorch_model.bin"] {
        refuses(name, pointer, "git lfs pull");
        refuses(name, b"<!DOCTYPE html><html>", "a web page");
        refuses(name, &[0; 4096], "all zeros");
        refuses(name, b"", "is empty (0 bytes)");
        let dir = directory(&[]);
        std::fs::create_dir(dir.path().join(name)).unwrap();
        let error = open_dir(dir.path()).unwrap_err();
        assert!(matches!(error, CheckpointError::NotAFile { .. }), "{error}");
    }
    refuses("model.safetensors", b"PK\x03\x04 a torch file under the wrong name", "no safetensors file");
}

#[test]
fn directories() {
    let absent = |name: &str, part: &str| {
        let error = Checkpoint::open(name, &options()).unwrap_err();
        assert!(text(&error).contains(part), "{}", text(&error));
    };
    absent("/no/such/dir", "no such directory");
    absent("no-such-name", "the published names are RN50, ViT-B-16");
    absent("", "no such directory");
    absent(data("f32.bin").to_str().unwrap(), "is a file; a checkpoint is a directory");

    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(open_dir(dir.path()), Err(CheckpointError::MissingConfig { .. })));
    let dir = directory(&[("clip_cn_vit-b-16.pt", b"x"), ("model.safetensors.incomplete", b"x")]);
    let text_of = |dir: &std::path::Path| text(&open_dir(dir).unwrap_err());
    let message = text_of(dir.path());
    assert!(
        message.contains("looked for model.safetensors, model.safetensors.index.json, pytorch_model.bin"),
        "{message}"
    );
    assert!(message.contains("the directory holds clip_cn_vit-b-16.pt, model.safetensors.incomplete"), "{message}");

    let weights = std::fs::read(data("f32.safetensors")).unwrap();
    for (name, contents, part) in [
        ("config.json", "{", "invalid JSON"),
        ("config.json", r#"{"text_config": {"num_attention_heads": 7}}"#, "must divide hidden_size"),
        ("config.json", "", "invalid JSON"),
        ("preprocessor_config.json", r#"{"resample": 9}"#, "resample"),
        ("preprocessor_config.json", "\u{0}", "invalid JSON"),
    ] {
        let dir = directory(&[("model.safetensors", &weights), (name, contents.as_bytes())]);
        let message = text_of(dir.path());
        assert!(message.contains(part), "{name} {contents}: {message}");
    }
    let dir = directory(&[("model.safetensors", &weights)]);
    std::fs::remove_file(dir.path().join("config.json")).unwrap();
    std::fs::create_dir(dir.path().join("config.json")).unwrap();
    assert!(matches!(open_dir(dir.path()), Err(CheckpointError::Config { .. })));
}

#[cfg(unix)]
#[test]
fn a_dangling_link_is_unreadable_not_absent() {
    let dir = directory(&[("pytorch_model.bin", &std::fs::read(data("f32.bin")).unwrap())]);
    std::os::unix::fs::symlink("../blobs/gone", dir.path().join("model.safetensors")).unwrap();
    let error = open_dir(dir.path()).unwrap_err();
    assert!(matches!(&error, CheckpointError::Read { path, .. } if path.ends_with("model.safetensors")), "{error}");
}

#[test]
fn indices_of_shards() {
    let weights = std::fs::read(data("f32.safetensors")).unwrap();
    for (index, part) in [
        (r#"{"weight_map": {"logit_scale": "absent.safetensors"}}"#, "absent.safetensors"),
        (r#"{"weight_map": {"nothing": "a.safetensors"}}"#, "tensor `nothing` is said to be in a.safetensors"),
        (r#"{"weight_map": {"logit_scale": "../a.safetensors"}}"#, "not the name of a shard"),
        (r#"{"weight_map": {"logit_scale": "/etc/passwd"}}"#, "not the name of a shard"),
        (r#"{"weight_map": {"logit_scale": "C:a"}}"#, "not the name of a shard"),
        (r#"{"weight_map": {"logit_scale": ".."}}"#, "not the name of a shard"),
        (r#"{"weight_map": {"logit_scale": ""}}"#, "not the name of a shard"),
        (r#"{"weight_map": {"logit_scale": "model.safetensors.index.json"}}"#, "not the name of a shard"),
        (
            r#"{"weight_map": {"logit_scale": "a.safetensors", "text_projection.weight": "b.safetensors"}}"#,
            "occurs twice",
        ),
        (r#"{"weight_map": {}}"#, "weight_map is empty"),
        (r#"{"metadata": {}}"#, "missing field `weight_map`"),
        ("[", "invalid JSON"),
    ] {
        let dir = directory(&[
            ("model.safetensors.index.json", index.as_bytes()),
            ("a.safetensors", &weights),
            ("b.safetensors", &weights),
        ]);
        let message = text(&open_dir(dir.path()).unwrap_err());
        assert!(message.contains(part), "{index}: {message}");
    }
}

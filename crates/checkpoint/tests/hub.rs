//! The hub, played by a server on 127.0.0.1 that serves a small checkpoint and misbehaves when asked to.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod common;
#[path = "common/server.rs"]
mod server;

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use chinese_clip_checkpoint::{Checkpoint, CheckpointError, OpenOptions, Vocabulary};
use common::{data, text};
use server::{Answer, COMMIT, Hub, Request, Server, hash};
use tempfile::TempDir;

const ID: &str = "owner/name";

fn weights() -> Vec<u8> {
    std::fs::read(data("f32.safetensors")).unwrap()
}

fn hub() -> Hub {
    Hub::with(&[
        ("config.json", b"{}"),
        ("preprocessor_config.json", b"{}"),
        ("vocab.txt", b"[PAD]\n"),
        ("model.safetensors", &weights()),
        ("pytorch_model.bin", b"never asked for"),
    ])
}

fn options(server: &Server, cache: &TempDir) -> OpenOptions {
    OpenOptions { endpoint: server.url.clone(), ..OpenOptions::isolated(cache.path()) }
}

fn open(server: &Server, cache: &TempDir) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(ID, &options(server, cache))
}

fn offline(cache: &TempDir) -> Result<Checkpoint, CheckpointError> {
    Checkpoint::open(ID, &OpenOptions { offline: true, ..OpenOptions::isolated(cache.path()) })
}

fn model(cache: &TempDir) -> std::path::PathBuf {
    cache.path().join("models--owner--name")
}

/// Names in a folder; none if it does not exist.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn assert_not_cached(cache: &TempDir) {
    assert!(names(&model(cache).join("refs")).is_empty());
    assert!(!model(cache).join("snapshots").join(COMMIT).join("model.safetensors").exists());
    assert!(!model(cache).join("blobs").join(hash(&weights())).exists());
    assert!(matches!(offline(cache), Err(CheckpointError::Offline { .. })));
}

#[test]
fn a_model_is_fetched_once_into_the_standard_layout() {
    let (server, cache) = (Server::start(move |r| hub().answer(r)), tempfile::tempdir().unwrap());
    let first = open(&server, &cache).unwrap();
    assert_eq!(first.weights.len(), 5);
    assert_eq!(first.source, ID);
    let snapshot = model(&cache).join("snapshots").join(COMMIT);
    assert_eq!(first.vocabulary, Vocabulary::VocabTxt(snapshot.join("vocab.txt")));
    assert!(first.notes.is_empty(), "{:?}", first.notes);
    assert_eq!(names(&snapshot), ["config.json", "model.safetensors", "preprocessor_config.json", "vocab.txt"]);
    assert_eq!(std::fs::read_to_string(model(&cache).join("refs/main")).unwrap(), COMMIT);
    #[cfg(unix)]
    {
        let link = std::fs::read_link(snapshot.join("model.safetensors")).unwrap();
        assert_eq!(link, Path::new("../../blobs").join(hash(&weights())));
    }
    assert_eq!(server.count("GET", "pytorch_model.bin"), 0);
    assert!(!names(&model(&cache).join("blobs")).iter().any(|name| name.ends_with(".incomplete")));

    let before = server.seen().len();
    open(&server, &cache).unwrap();
    assert_eq!(server.seen().len() - before, 1, "the second time asks for the commit alone");
    offline(&cache).unwrap();
    let pinned = OpenOptions { revision: Some(COMMIT.into()), ..options(&server, &cache) };
    Checkpoint::open(ID, &pinned).unwrap();
    assert_eq!(server.seen().len() - before, 1, "neither offline nor a pinned commit asks at all");
}

#[test]
fn bin_is_the_fallback_and_shards_are_fetched() {
    let bin = std::fs::read(data("f16.bin")).unwrap();
    let only_bin = Hub::with(&[("config.json", b"{}"), ("pytorch_model.bin", &bin)]);
    let (server, cache) = (Server::start(move |r| only_bin.answer(r)), tempfile::tempdir().unwrap());
    let checkpoint = open(&server, &cache).unwrap();
    assert!(checkpoint.files[0].ends_with("pytorch_model.bin"));
    assert_eq!(checkpoint.notes.len(), 2, "{:?}", checkpoint.notes);
    let before = server.seen().len();
    open(&server, &cache).unwrap();
    assert_eq!(server.seen().len() - before, 1, "what is absent is remembered");

    let mut shards = Hub::default();
    for name in names(&data("model_safetensors")) {
        shards.files.insert(name.clone(), std::fs::read(data("model_safetensors").join(name)).unwrap());
    }
    let (server, cache) = (Server::start(move |r| shards.answer(r)), tempfile::tempdir().unwrap());
    let options = OpenOptions { revision: Some("refs/pr/3".into()), ..options(&server, &cache) };
    assert_eq!(Checkpoint::open(ID, &options).unwrap().files.len(), 2);
    assert_eq!(server.seen()[0].path, "/owner/name/resolve/refs%2Fpr%2F3/config.json");
    assert_eq!(std::fs::read_to_string(model(&cache).join("refs/refs/pr/3")).unwrap(), COMMIT);
}

/// A hub whose store cuts the connection after 300 bytes, the first `faults` times.
fn cutting(hub: Hub, faults: usize) -> impl Fn(&Request) -> Answer {
    let count = AtomicUsize::new(0);
    move |request| {
        let mut answer = hub.answer(request);
        if request.method == "GET"
            && request.path.starts_with("/store/")
            && count.fetch_add(1, Ordering::SeqCst) < faults
        {
            answer.cut = Some(300);
        }
        answer
    }
}

/// The committed ResNet in `cn_clip`'s layout, under the name of the published file.
fn resnet() -> Hub {
    Hub::with(&[("clip_cn_rn50.pt", &std::fs::read(data("clip_cn_resnet.pt")).unwrap())])
}

#[test]
fn rn50_is_fetched_as_the_file_of_cn_clip() {
    let server = Server::start(|request| {
        let path = request.path.replace("/OFA-Sys/chinese-clip-rn50/", "/owner/name/");
        resnet().answer(&Request { path, ..request.clone() })
    });
    let cache = tempfile::tempdir().unwrap();
    let fetched = Checkpoint::open("RN50", &options(&server, &cache)).unwrap();
    assert_eq!((fetched.source.as_str(), &fetched.dir), ("OFA-Sys/chinese-clip-rn50", &None));
    let local = Checkpoint::open(data("clip_cn_resnet.pt").to_str().unwrap(), &common::options()).unwrap();
    assert!(fetched.config.vision_config.resnet_layers.is_some());
    assert_eq!((&fetched.config, &fetched.preprocessor), (&local.config, &local.preprocessor));
    assert_eq!(fetched.weights.fingerprint(), local.weights.fingerprint());
    assert_eq!(fetched.notes, local.notes);
    let snapshot = cache.path().join("models--OFA-Sys--chinese-clip-rn50/snapshots").join(COMMIT);
    assert_eq!(fetched.files, [snapshot.join("clip_cn_rn50.pt")]);
    assert_eq!(names(&snapshot), ["clip_cn_rn50.pt"]);

    let before = server.seen().len();
    Checkpoint::open("RN50", &options(&server, &cache)).unwrap();
    assert_eq!(
        server.seen().len() - before,
        2,
        "the second time asks whether there is a configuration, and for the commit"
    );
    assert_eq!(server.count("GET", "/store/"), 1);
    let offline = OpenOptions { offline: true, ..OpenOptions::isolated(cache.path()) };
    assert_eq!(Checkpoint::open("rn50", &offline).unwrap().files, fetched.files);
    let dead = OpenOptions { endpoint: "http://127.0.0.1:1".into(), ..OpenOptions::isolated(cache.path()) };
    let cached = Checkpoint::open("RN50", &dead).unwrap();
    assert!(cached.notes[0].contains("cannot be reached"), "{:?}", cached.notes);
}

#[test]
fn qa_clip_is_fetched_by_name_in_hugging_face_s_layout() {
    let server = Server::start(|request| {
        let path = request.path.replace("/TencentARC/QA-CLIP-ViT-B-16/", "/owner/name/");
        hub().answer(&Request { path, ..request.clone() })
    });
    let cache = tempfile::tempdir().unwrap();
    for name in ["QA-ViT-B-16", "qa-vit-b-16", "TencentARC/QA-CLIP-ViT-B-16"] {
        let fetched = Checkpoint::open(name, &options(&server, &cache)).unwrap();
        assert!(fetched.source.eq_ignore_ascii_case("TencentARC/QA-CLIP-ViT-B-16"), "{}", fetched.source);
        assert!(fetched.dir.unwrap().starts_with(cache.path().join("models--TencentARC--QA-CLIP-ViT-B-16")), "{name}");
        assert_eq!(fetched.weights.len(), 5);
    }
}

#[test]
fn any_repository_may_hold_a_file_of_cn_clip_under_a_published_name() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(|request| resnet().answer(request));
    assert_eq!(open(&server, &cache).unwrap().files.len(), 1);
    assert_eq!(offline(&cache).unwrap().files.len(), 1);

    // A configuration without weights does not hide the file; one with weights goes before it.
    let mut with_config = resnet();
    with_config.files.insert("config.json".into(), b"{}".to_vec());
    let mut whole = with_config.clone();
    whole.files.insert("model.safetensors".into(), weights());
    for (hub, is_file) in [(with_config, true), (whole, false)] {
        let (server, cache) = (Server::start(move |r| hub.answer(r)), tempfile::tempdir().unwrap());
        for found in [open(&server, &cache), offline(&cache)] {
            assert_eq!(found.unwrap().dir.is_none(), is_file);
        }
        // A download is a request to the hub, which redirects to its store.
        assert_eq!(server.count("GET", "clip_cn_rn50.pt"), 2 * usize::from(is_file));
    }
}

#[test]
fn a_cut_connection_is_resumed_where_it_broke() {
    let (server, cache) = (Server::start(cutting(hub(), 2)), tempfile::tempdir().unwrap());
    assert_eq!(open(&server, &cache).unwrap().weights.len(), 5);
    let ranges: Vec<_> = server.seen().iter().filter(|r| r.path.starts_with("/store/")).map(|r| r.range).collect();
    assert_eq!(ranges, [None, Some(300), Some(600)]);
}

#[test]
fn a_server_without_ranges_starts_again() {
    let hub = Hub { no_ranges: true, ..hub() };
    let (server, cache) = (Server::start(cutting(hub, 1)), tempfile::tempdir().unwrap());
    assert_eq!(open(&server, &cache).unwrap().weights.len(), 5);
}

#[test]
fn a_truncated_body_is_an_error_and_the_next_run_goes_on() {
    let cache = tempfile::tempdir().unwrap();
    let truncating = Server::start(|request| {
        let mut answer = hub().answer(request);
        if request.path.starts_with("/store/") {
            answer.cut = Some(if request.range.is_some() { 0 } else { 500 });
        }
        answer
    });
    let error = open(&truncating, &cache).unwrap_err();
    assert!(matches!(error, CheckpointError::Network { .. } | CheckpointError::IncompleteDownload { .. }), "{error}");
    assert!(text(&error).contains("the next run goes on from there"));
    assert_not_cached(&cache);

    let healthy = Server::start(|r| hub().answer(r));
    open(&healthy, &cache).unwrap();
    let store: Vec<_> = healthy.seen().into_iter().filter(|r| r.path.starts_with("/store/")).collect();
    assert_eq!((store.len(), store[0].range), (1, Some(500)));
    offline(&cache).unwrap();
}

#[test]
fn a_body_that_is_shorter_or_longer_than_announced_is_an_error() {
    for (length, expected) in [(600, "780 bytes announced, 600 received"), (900, "780 bytes announced, 900 received")] {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start(move |request| {
            if request.path.starts_with("/store/") {
                let mut body = weights();
                body.resize(length, 0);
                return Answer { status: 200, body, ..Answer::default() };
            }
            hub().answer(request)
        });
        let error = open(&server, &cache).unwrap_err();
        assert!(text(&error).contains(expected), "{}", text(&error));
        assert_not_cached(&cache);
    }
}

#[test]
fn a_damaged_body_is_deleted() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(|request| {
        let mut answer = hub().answer(request);
        if request.path.starts_with("/store/") {
            answer.body[700] ^= 1;
        }
        answer
    });
    let error = open(&server, &cache).unwrap_err();
    assert!(matches!(error, CheckpointError::DamagedDownload { .. }), "{error}");
    assert_not_cached(&cache);
    assert!(!names(&model(&cache).join("blobs")).iter().any(|name| name.ends_with(".incomplete")));
}

#[test]
fn a_blob_of_the_wrong_size_is_not_taken() {
    let cache = tempfile::tempdir().unwrap();
    let blobs = model(&cache).join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    std::fs::write(blobs.join(hash(&weights())), b"half").unwrap();
    let server = Server::start(|r| hub().answer(r));
    assert_eq!(open(&server, &cache).unwrap().weights.len(), 5);
}

#[test]
fn access_is_explained_and_the_token_goes_to_the_hub_alone() {
    let store = Server::start(|r| hub().answer(r));
    let gated = Hub { store: store.url.clone(), ..hub() };
    let server = Server::start(move |request| match &request.authorization {
        None => Answer::status(401).with("X-Error-Code", "RepoNotFound"),
        Some(token) if token == "Bearer hf_good" => gated.answer(request),
        Some(_) => Answer::status(403).with("X-Error-Code", "GatedRepo"),
    });
    let cache = tempfile::tempdir().unwrap();
    let with = |token: Option<&str>| {
        Checkpoint::open(ID, &OpenOptions { token: token.map(String::from), ..options(&server, &cache) })
    };
    let error = with(None).unwrap_err();
    assert!(matches!(error, CheckpointError::Unauthorized { status: 401, with_token: false, .. }));
    assert!(
        text(&error).contains("set HF_TOKEN") && text(&error).contains("`owner/name` is not a directory here"),
        "{}",
        text(&error)
    );
    let error = with(Some("hf_bad")).unwrap_err();
    assert!(matches!(error, CheckpointError::Unauthorized { status: 403, with_token: true, .. }));
    assert!(!text(&error).contains("hf_bad"), "no message repeats a token");
    with(Some("hf_good")).unwrap();
    assert_eq!(store.count("GET", "model.safetensors"), 1);
    assert!(store.seen().iter().all(|request| request.authorization.is_none()));
}

#[test]
fn what_the_hub_does_not_have() {
    let cache = tempfile::tempdir().unwrap();
    let server = Server::start(|r| hub().answer(r));
    let error = Checkpoint::open("owner/other", &options(&server, &cache)).unwrap_err();
    assert!(matches!(error, CheckpointError::NoSuchRepository { .. }));
    assert!(error.to_string().contains("`owner/other` is not a directory here, and http://127.0.0.1"), "{error}");
    let wrong = OpenOptions { revision: Some("v9".into()), ..options(&server, &cache) };
    let error = Checkpoint::open(ID, &wrong).unwrap_err();
    assert!(matches!(&error, CheckpointError::NoSuchRevision { revision, .. } if revision == "v9"), "{error}");
    let nowhere = OpenOptions { revision: Some("../../x".into()), ..options(&server, &cache) };
    assert!(matches!(Checkpoint::open(ID, &nowhere), Err(CheckpointError::NoSuchRevision { .. })));

    let no_config = Hub::with(&[("clip_cn_other.pt", b"x")]);
    let server = Server::start(move |r| no_config.answer(r));
    let error = open(&server, &cache).unwrap_err();
    assert!(error.to_string().contains("`owner/name` (revision `main`) has no config.json"), "{error}");
    let no_weights = Hub::with(&[("config.json", b"{}")]);
    let server = Server::start(move |r| no_weights.answer(r));
    let error = open(&server, &cache).unwrap_err();
    assert!(
        error.to_string().contains("has no model.safetensors, nor model.safetensors.index.json, nor pytorch_model.bin"),
        "{error}"
    );
    assert_not_cached(&cache);
}

#[test]
fn offline_without_cache_and_a_dead_hub() {
    let cache = tempfile::tempdir().unwrap();
    let error = offline(&cache).unwrap_err();
    assert!(text(&error).contains("unset HF_HUB_OFFLINE"), "{}", text(&error));

    let dead = OpenOptions { endpoint: "http://127.0.0.1:1".into(), ..OpenOptions::isolated(cache.path()) };
    let error = Checkpoint::open(ID, &dead).unwrap_err();
    assert!(matches!(error, CheckpointError::Network { .. }), "{error}");
    assert!(text(&error).contains("HF_ENDPOINT=https://hf-mirror.com"));

    let server = Server::start(|r| hub().answer(r));
    open(&server, &cache).unwrap();
    let cached = Checkpoint::open(ID, &dead).unwrap();
    assert!(cached.notes[0].contains("cannot be reached: the cached copy of owner/name is used"), "{:?}", cached.notes);
    let ill = Server::start(|_| Answer::status(503));
    assert_eq!(open(&ill, &cache).unwrap().notes.len(), 1);
    let empty = tempfile::tempdir().unwrap();
    assert!(matches!(open(&ill, &empty), Err(CheckpointError::Status { status: 503, .. })));
}

#[test]
fn a_mirror_that_redirects() {
    // As hf-mirror.com does: 308 to another path, relative and without the hub's headers; an absolute one to itself; no error codes.
    let server = Server::start(|request| {
        if let Some(path) = request.path.strip_prefix("/mirror") {
            let target = if path.contains("vocab") { format!("../../../../..{path}") } else { path.into() };
            return Answer::status(308).with("Location", target);
        }
        let mut answer = hub().answer(request);
        answer.headers.retain(|(name, _)| name != "X-Error-Code");
        answer
    });
    let cache = tempfile::tempdir().unwrap();
    let options = OpenOptions { endpoint: format!("{}/mirror/", server.url), ..options(&server, &cache) };
    let checkpoint = Checkpoint::open(ID, &options).unwrap();
    assert_eq!(checkpoint.weights.len(), 5);
    assert!(matches!(checkpoint.vocabulary, Vocabulary::VocabTxt(_)));

    let circle = Server::start(|request| Answer::status(302).with("Location", request.path.clone()));
    let error = open(&circle, &tempfile::tempdir().unwrap()).unwrap_err();
    assert!(error.to_string().contains("more than 10 redirects"), "{error}");
}

#[test]
fn answers_that_no_hub_gives() {
    for (answer, part) in [
        (Answer::status(200), "it gives no etag"),
        (Answer::status(200).with("ETag", "\"abc\""), "it names no commit"),
        (Answer::status(200).with("ETag", "\"../../../x\"").with("X-Repo-Commit", COMMIT), "not a plain word"),
        (Answer::status(200).with("ETag", "\"abc\"").with("X-Repo-Commit", "../x"), "not a plain word"),
        (
            Answer::status(200).with("ETag", "\"abc\"").with("X-Repo-Commit", COMMIT).with("X-Linked-Size", "-1"),
            "not a number",
        ),
        (
            Answer::status(200)
                .with("ETag", "\"abc\"")
                .with("X-Repo-Commit", COMMIT)
                .with("X-Linked-Size", "99999999999"),
            "more than the limit",
        ),
        (Answer::status(418), "status 418"),
    ] {
        let cache = tempfile::tempdir().unwrap();
        let server = Server::start(move |_| answer.clone());
        let error = open(&server, &cache).unwrap_err();
        assert!(text(&error).contains(part), "{part}: {}", text(&error));
        assert_not_cached(&cache);
    }
}

#[test]
fn an_index_may_not_lead_out_of_the_snapshot() {
    let index = br#"{"weight_map": {"a": "../../../evil.safetensors"}}"#;
    let hub = Hub::with(&[("config.json", b"{}"), ("model.safetensors.index.json", index)]);
    let server = Server::start(move |r| hub.answer(r));
    let error = open(&server, &tempfile::tempdir().unwrap()).unwrap_err();
    assert!(matches!(error, CheckpointError::Index { .. }), "{error}");
}

#[test]
fn two_at_once_share_one_download() {
    let (server, cache) = (Server::start(move |r| hub().answer(r)), tempfile::tempdir().unwrap());
    std::thread::scope(|scope| {
        let both = [scope.spawn(|| open(&server, &cache)), scope.spawn(|| open(&server, &cache))];
        for one in both {
            assert_eq!(one.join().unwrap().unwrap().weights.len(), 5);
        }
    });
    assert_eq!(server.count("GET", "/store/model.safetensors"), 1);
}

#[test]
fn names_and_directories() {
    let (server, cache) = (Server::start(move |r| hub().answer(r)), tempfile::tempdir().unwrap());
    assert!(Checkpoint::open("vit-b-16", &options(&server, &cache)).is_err());
    assert_eq!(server.seen()[0].path, "/OFA-Sys/chinese-clip-vit-base-patch16/resolve/main/config.json");
    // `tests/data` looks like an id and is a directory below the package, where tests run.
    let error = Checkpoint::open("tests/data", &options(&server, &cache)).unwrap_err();
    assert!(matches!(error, CheckpointError::MissingConfig { .. }), "{error}");
    assert_eq!(server.seen().len(), 1);
}

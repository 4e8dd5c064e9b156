//! Bad vocabularies, bad `tokenizer.json` files and bad requests: each a clear error, none a panic.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::error::Error;
use std::path::PathBuf;

use chinese_clip_config::Limits;
use chinese_clip_preprocess::{EncodeOptions, Overlong, PreprocessError, Tokenizer};
use serde_json::{Value, json};

const SMALL: &str = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n你\n好\n";

struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

fn file(name: &str, content: impl AsRef<[u8]>) -> File {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, content).unwrap();
    File { _folder: folder, path }
}

fn vocab(content: impl AsRef<[u8]>) -> Result<Tokenizer, PreprocessError> {
    Tokenizer::from_vocab(&file("vocab.txt", content).path, &Limits::default())
}

fn json(content: impl AsRef<[u8]>) -> Result<Tokenizer, PreprocessError> {
    Tokenizer::from_tokenizer_json(&file("tokenizer.json", content).path, &Limits::default())
}

/// The message with its causes, without the folder.
fn message(result: Result<Tokenizer, PreprocessError>) -> String {
    let error = result.expect_err("this file is bad");
    let mut message = error.to_string();
    let mut cause: &dyn Error = &error;
    while let Some(next) = cause.source() {
        message.push_str(": ");
        message.push_str(&next.to_string());
        cause = next;
    }
    match message.find(std::path::MAIN_SEPARATOR) {
        Some(start) => {
            let end = message.find(".txt").or_else(|| message.find(".json")).unwrap();
            let name = message[..end].rfind(std::path::MAIN_SEPARATOR).unwrap() + 1;
            format!("{}{}", &message[..start], &message[name..])
        }
        None => message,
    }
}

/// A small tokenizer.json, changed by `change`.
fn changed(change: impl FnOnce(&mut Value)) -> String {
    let mut value: Value = serde_json::from_str(&vocab(SMALL).unwrap().to_json().unwrap()).unwrap();
    change(&mut value);
    value.to_string()
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    tokenizer.encode(text, &EncodeOptions::default()).unwrap().ids
}

#[test]
fn bad_vocabularies() {
    for (content, expected) in [
        ("", "in vocab.txt: the vocabulary is empty"),
        ("\n\n", "in vocab.txt: the token \"\" stands on line 1 and again on line 2"),
        ("你\n好", "in vocab.txt: the vocabulary has no [PAD], no [UNK], no [CLS], no [SEP]"),
        ("[PAD]\n[UNK]\n[SEP]\n", "in vocab.txt: the vocabulary has no [CLS]"),
        ("[pad]\n[UNK]\n[CLS]\n[SEP] \n", "in vocab.txt: the vocabulary has no [PAD], no [SEP]"),
        (
            "[PAD]\n[UNK]\n[CLS]\n[SEP]\n你\n好\n你\n",
            "in vocab.txt: the token \"你\" stands on line 5 and again on line 7",
        ),
        ("{\"version\": \"1.0\"}", "in vocab.txt: the vocabulary has no [PAD], no [UNK], no [CLS], no [SEP]"),
    ] {
        assert_eq!(message(vocab(content)), expected, "{content:?}");
    }
    assert_eq!(
        message(vocab(b"[PAD]\n[UNK]\xff")),
        "vocab.txt is not UTF-8: invalid utf-8 sequence of 1 bytes from index 11"
    );
}

#[test]
fn a_byte_order_mark_is_named() {
    let error = vocab(format!("\u{feff}{SMALL}")).unwrap_err();
    assert!(error.hint().unwrap().contains("byte order mark"), "{:?}", error.hint());
    assert_eq!(message(Err(error)), "in vocab.txt: the vocabulary has no [PAD]");
    assert!(vocab("你").unwrap_err().hint().unwrap().contains("vocab.txt or tokenizer.json of"));
}

#[test]
fn line_ends_make_no_difference() {
    for content in [SMALL.replace('\n', "\r\n"), SMALL.replace('\n', "\r"), SMALL.trim_end().into()] {
        assert_eq!(ids(&vocab(content).unwrap(), "你好吗"), [2, 4, 5, 1, 3]);
    }
}

#[test]
fn unreadable_files() {
    for path in ["no/such/vocab.txt", "."] {
        let error = Tokenizer::from_vocab(path, &Limits::default()).unwrap_err();
        assert!(matches!(error, PreprocessError::ReadVocabulary { .. }), "{error:?}");
        assert_eq!(error.to_string(), format!("cannot read {path}"));
        assert_eq!(error.hint().is_some(), path != ".");
        let error = Tokenizer::from_tokenizer_json(path, &Limits::default()).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot read {path}"));
    }
}

#[test]
fn files_over_the_limit() {
    let mut limits = Limits::default();
    let exact = file("vocab.txt", SMALL);
    limits.vocabulary_bytes = SMALL.len() as u64;
    Tokenizer::from_vocab(&exact.path, &limits).unwrap();
    limits.vocabulary_bytes -= 1;
    let error = message(Tokenizer::from_vocab(&exact.path, &limits));
    assert_eq!(error, format!("vocab.txt has more than the {} bytes that a vocabulary may have", SMALL.len() - 1));
    let error = message(Tokenizer::from_tokenizer_json(&file("tokenizer.json", changed(|_| ())).path, &limits));
    assert_eq!(error, format!("tokenizer.json has more than the {} bytes that a vocabulary may have", SMALL.len() - 1));
}

#[test]
fn a_written_tokenizer_json_makes_the_same_ids() {
    let builtin = Tokenizer::builtin().unwrap();
    let written = builtin.to_json().unwrap();
    let again = json(&written).unwrap();
    assert_eq!(again.to_json().unwrap(), written);
    assert_eq!((again.vocab_size(), again.pad_id()), (21128, 0));
    for line in include_str!("data/text_inputs.jsonl").lines() {
        let text: String = serde_json::from_str(line).unwrap();
        assert_eq!(ids(&again, &text), ids(&builtin, &text), "{text:?}");
    }
}

#[test]
fn malformed_tokenizer_json() {
    let good = changed(|_| ());
    for bad in
        ["", " ", "null", "[]", "{}", "{\"version\": \"1.0\"", "[PAD]\n[UNK]", &good[..good.len() - 1], "\u{feff}{}"]
    {
        let error = message(json(bad));
        assert!(error.starts_with("in tokenizer.json: not a tokenizer.json: "), "{bad:?}: {error}");
    }
    assert!(message(json(b"{\"\xff\": 1}")).starts_with("tokenizer.json is not UTF-8: "));
    let deep = "[".repeat(100_000);
    assert!(message(json(deep)).starts_with("in tokenizer.json: not a tokenizer.json: "));
}

#[test]
fn tokenizer_json_that_is_not_one_of_this_model() {
    type Change = Box<dyn FnOnce(&mut Value)>;
    let cases: [(&str, Change, &str); 9] = [
        ("no post-processor", Box::new(|v| v["post_processor"] = Value::Null), "makes [] of an empty text"),
        (
            "[SEP] first",
            Box::new(|v| v["post_processor"]["single"].as_array_mut().unwrap().reverse()),
            "makes [3, 2] of an empty text",
        ),
        (
            "a template without the text",
            Box::new(|v| drop(v["post_processor"]["single"].as_array_mut().unwrap().remove(1))),
            "the text does not stand between [CLS] and [SEP]",
        ),
        (
            "a template with an undefined token",
            Box::new(|v| v["post_processor"]["special_tokens"] = json!({})),
            "the template uses \"[CLS]\", and `special_tokens` does not define it",
        ),
        (
            "a vocabulary without [SEP]",
            Box::new(|v| {
                v["added_tokens"] = json!([]);
                v["model"]["vocab"].as_object_mut().unwrap().remove("[SEP]");
            }),
            "the vocabulary has no [SEP]",
        ),
        ("ids below 0", Box::new(|v| v["model"]["vocab"]["你"] = json!(-1)), "not a tokenizer.json"),
        ("an unknown model", Box::new(|v| v["model"] = json!({"type": "Magic", "vocab": {}})), "not a tokenizer.json"),
        ("an unknown version", Box::new(|v| v["version"] = json!("9.9")), "not a tokenizer.json"),
        ("no model", Box::new(|v| drop(v.as_object_mut().unwrap().remove("model"))), "not a tokenizer.json"),
    ];
    for (what, change, expected) in cases {
        let error = message(json(changed(change)));
        assert!(error.starts_with("in tokenizer.json: ") && error.contains(expected), "{what}: {error}");
    }
}

#[test]
fn tokenizer_json_of_another_model_with_the_special_tokens() {
    let words = json!({"type": "WordLevel", "unk_token": "[UNK]", "vocab": {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "你": 4, "b": 9}});
    let tokenizer = json(changed(|v| v["model"] = words)).unwrap();
    assert_eq!(ids(&tokenizer, "你 B 好"), [2, 4, 9, 1, 3]);
    assert_eq!(tokenizer.vocab_size(), 10);
}

#[test]
fn truncation_and_padding_of_a_tokenizer_json_are_the_caller_s() {
    let written = changed(|v| {
        v["truncation"] = json!({"direction": "Left", "max_length": 3, "strategy": "LongestFirst", "stride": 0});
        v["padding"] = json!({"strategy": {"Fixed": 9}, "direction": "Right", "pad_to_multiple_of": null,
                              "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"});
    });
    assert_eq!(ids(&json(written).unwrap(), "你好你好"), [2, 4, 5, 4, 5, 3]);
}

#[test]
fn bad_requests() {
    let tokenizer = Tokenizer::builtin().unwrap();
    let mut options = EncodeOptions { max_length: 1, ..EncodeOptions::default() };
    let say = |text: &str, options: &EncodeOptions| tokenizer.encode(text, options).unwrap_err().to_string();
    assert_eq!(say("", &options), "a maximum length of 1 tokens leaves no room for [CLS] and [SEP]");
    options.max_length = 10;
    options.overlong = Overlong::Refuse;
    let long = "皮卡丘".repeat(12);
    assert_eq!(
        say(&long, &options),
        "the text \"皮卡丘皮卡丘皮卡丘皮卡丘皮卡丘皮卡丘皮卡丘皮卡丘…\" has 38 tokens, more than the 10 allowed"
    );
    assert!(tokenizer.encode(&long, &options).unwrap_err().hint().is_some());
    options.limits.text_bytes = 8;
    assert_eq!(say("皮卡丘", &options), "a text of 9 bytes, more than the 8 that one may have");

    let error = tokenizer.encode_batch(&["好", "皮卡丘", "杰尼龟"], &options).unwrap_err();
    assert_eq!(error.to_string(), "in text 1");
    assert!(matches!(error, PreprocessError::InText { index: 1, .. }));
    options.limits.batch = 2;
    let error = tokenizer.encode_batch(&["a", "b", "c"], &options).unwrap_err();
    assert_eq!(error.to_string(), "3 texts in one call, more than the 2 allowed");
    assert_eq!(tokenizer.encode_batch::<&str>(&[], &options).unwrap(), []);
}

/// Every value inside `value`, by its JSON pointer.
fn pointers(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.into());
    match value {
        Value::Object(map) => map.iter().for_each(|(key, inner)| {
            pointers(inner, &format!("{at}/{}", key.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, inner)| pointers(inner, &format!("{at}/{i}"), found));
        }
        _ => {}
    }
}

#[test]
fn no_change_of_one_value_of_a_tokenizer_json_panics() {
    let good: Value = serde_json::from_str(&changed(|_| ())).unwrap();
    let mut places = Vec::new();
    pointers(&good, "", &mut places);
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(4_294_967_295_u32),
        json!(1e300),
        json!(""),
        json!("[SEP]"),
        json!("你"),
        json!([]),
        json!([null]),
        json!({}),
        json!({"type": "Sequence"}),
        json!({"SpecialToken": {"id": "x", "type_id": 0}}),
    ];
    let (mut loaded, mut refused) = (0, 0);
    for place in &places {
        for value in &odd {
            let mut bad = good.clone();
            *bad.pointer_mut(place).unwrap() = value.clone();
            match json(bad.to_string()) {
                Ok(tokenizer) => {
                    loaded += 1;
                    for text in ["", "你好 [SEP] [MASK] ab", "é\u{301}\u{0}"] {
                        let Ok(encoding) = tokenizer.encode(text, &EncodeOptions::default()) else { continue };
                        assert!(encoding.ids.len() >= 2, "{place} = {value}");
                        assert!(
                            encoding.ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()),
                            "{place} = {value}"
                        );
                        tokenizer.decode(&encoding.ids, true).unwrap();
                    }
                }
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error, PreprocessError::InVocabulary { .. }), "{place} = {value}: {error:?}");
                }
            }
        }
    }
    assert!(loaded > 100 && refused > 500, "{loaded} loaded, {refused} refused");
}

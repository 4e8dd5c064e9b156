//! The tokenizer against `ChineseCLIPProcessor.tokenizer` of transformers 4.51.3: everything that
//! `data/make_text_goldens.py` wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use chinese_clip_preprocess::{EncodeOptions, Encoding, Overlong, Padding, PreprocessError, TextBatch, Tokenizer};
use serde_json::Value;

fn inputs() -> Vec<String> {
    include_str!("data/text_inputs.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn goldens() -> Vec<Value> {
    include_str!("data/text_goldens.jsonl").lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn extras() -> Value {
    serde_json::from_str(include_str!("data/text_extras.json")).unwrap()
}

fn ids(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|id| u32::try_from(id.as_u64().unwrap()).unwrap()).collect()
}

fn up_to(max_length: usize) -> EncodeOptions {
    EncodeOptions { max_length, ..EncodeOptions::default() }
}

#[test]
fn ids_of_all_texts() {
    let tokenizer = Tokenizer::builtin().unwrap();
    let texts = inputs();
    let encodings = tokenizer.encode_batch(&texts, &up_to(100_000)).unwrap();
    assert_eq!(texts.len(), 319);
    assert_eq!(texts.len(), goldens().len());
    for ((text, golden), encoding) in texts.iter().zip(goldens()).zip(&encodings) {
        assert_eq!(encoding.ids, ids(&golden["ids"]), "{text:?}");
        assert!(!encoding.is_truncated(), "{text:?}");
        assert_eq!(*encoding, tokenizer.encode(text, &up_to(100_000)).unwrap(), "{text:?}: in a batch and alone");
    }
}

#[test]
fn texts_cut_to_a_length() {
    let tokenizer = Tokenizer::builtin().unwrap();
    let mut cuts = 0;
    for (text, golden) in inputs().iter().zip(goldens()) {
        let full = ids(&golden["ids"]);
        for length in [2, 3, 8, 52, 512] {
            let encoding = tokenizer.encode(text, &up_to(length)).unwrap();
            let expected = golden["cuts"].get(length.to_string()).map_or_else(|| full.clone(), ids);
            assert_eq!(encoding.ids, expected, "{text:?} cut to {length}");
            assert_eq!(encoding.full_length, full.len(), "{text:?} cut to {length}");
            assert_eq!(encoding.is_truncated(), full.len() > length, "{text:?} cut to {length}");
            cuts += usize::from(encoding.is_truncated());

            let refuse = EncodeOptions { overlong: Overlong::Refuse, ..up_to(length) };
            match tokenizer.encode(text, &refuse) {
                Ok(same) => assert!(same == encoding && full.len() <= length, "{text:?} within {length}"),
                Err(PreprocessError::TextTooLong { length: found, max_length, .. }) => {
                    assert!((found, max_length) == (full.len(), length) && found > length, "{text:?} within {length}");
                }
                Err(other) => panic!("{text:?}: {other}"),
            }
        }
    }
    assert!(cuts > 500, "only {cuts} texts were cut");
}

#[test]
fn decoding() {
    let tokenizer = Tokenizer::builtin().unwrap();
    let extra = extras();
    let goldens = goldens();
    let cases: Vec<&Value> = goldens.iter().chain(extra["decoded"].as_array().unwrap()).collect();
    let lists: Vec<Vec<u32>> = cases.iter().map(|case| ids(&case["ids"])).collect();
    for (key, skip) in [("decoded", false), ("skipped", true)] {
        let together = tokenizer.batch_decode(&lists, skip).unwrap();
        for ((case, list), text) in cases.iter().zip(&lists).zip(together) {
            assert_eq!(tokenizer.decode(list, skip).unwrap(), case[key].as_str().unwrap(), "{list:?}, skip {skip}");
            assert_eq!(text, case[key].as_str().unwrap(), "{list:?}, skip {skip}, in a batch");
        }
    }
    assert_eq!(tokenizer.tokens(&[101, 872, 8204, 102, 21128]), ["[CLS]", "你", "##b", "[SEP]", "[UNK]"]);
}

#[test]
fn padding() {
    let tokenizer = Tokenizer::builtin().unwrap();
    let extra = extras();
    let texts: Vec<&str> = extra["batch"].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect();
    for (how, max_length, padding) in
        [("longest", 512, Padding::Longest), ("24", 512, Padding::To(24)), ("4", 4, Padding::To(4))]
    {
        let encodings = tokenizer.encode_batch(&texts, &up_to(max_length)).unwrap();
        let batch = tokenizer.pad(&encodings, padding).unwrap();
        for (name, array) in [
            ("input_ids", &batch.input_ids),
            ("attention_mask", &batch.attention_mask),
            ("token_type_ids", &batch.token_type_ids),
        ] {
            let rows = extra["pads"][how][name].as_array().unwrap();
            let golden: Vec<i64> =
                rows.iter().flat_map(|row| row.as_array().unwrap()).map(|v| v.as_i64().unwrap()).collect();
            assert_eq!(*array, golden, "{name}, {how}");
            assert_eq!(batch.shape, [rows.len(), rows[0].as_array().unwrap().len()], "{how}");
        }
    }
}

#[test]
fn padding_at_its_edges() {
    let tokenizer = Tokenizer::builtin().unwrap();
    let empty = |shape| TextBatch { input_ids: vec![], attention_mask: vec![], token_type_ids: vec![], shape };
    assert_eq!(tokenizer.pad(&[], Padding::Longest).unwrap(), empty([0, 0]));
    assert_eq!(tokenizer.pad(&[], Padding::To(7)).unwrap(), empty([0, 7]));
    let text = tokenizer.encode("", &EncodeOptions::default()).unwrap();
    assert_eq!(text, Encoding { ids: vec![101, 102], full_length: 2 });
    assert_eq!(tokenizer.pad(std::slice::from_ref(&text), Padding::To(2)).unwrap().shape, [1, 2]);
    for (padding, message) in [
        (Padding::To(1), "cannot pad to 1 tokens: the longest text has 2"),
        (Padding::To(usize::MAX), "cannot pad 2 texts to 18446744073709551615 tokens: too large"),
        (Padding::To(usize::MAX / 4), "cannot pad 2 texts to 4611686018427387903 tokens: too large"),
    ] {
        assert_eq!(tokenizer.pad(&[text.clone(), text.clone()], padding).unwrap_err().to_string(), message);
    }
}

#[test]
fn the_tokenizer_json_is_the_reference_s() {
    let mut ours: Value = serde_json::from_str(&Tokenizer::builtin().unwrap().to_json().unwrap()).unwrap();
    let vocabulary = ours["model"].as_object_mut().unwrap().remove("vocab").unwrap();
    assert_eq!(ours, extras()["tokenizer_json"]);
    let by_id: BTreeMap<u64, &str> =
        vocabulary.as_object().unwrap().iter().map(|(token, id)| (id.as_u64().unwrap(), token.as_str())).collect();
    assert!(by_id.keys().copied().eq(0..21128));
    assert!(by_id.into_values().eq(include_str!("../src/vocab/vocab.txt").lines()));
}

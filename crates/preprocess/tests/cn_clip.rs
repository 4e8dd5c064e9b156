//! The dialect of `cn_clip`: what `data/make_cn_clip_text_goldens.py` wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chinese_clip_preprocess::{Dialect, EncodeOptions, PreprocessError, Tokenizer, cn_clip};
use serde_json::Value;

/// Texts and their ids without `[CLS]` and `[SEP]`.
fn goldens() -> Vec<(String, Vec<i64>)> {
    let mut inputs = include_str!("data/text_inputs.jsonl").lines();
    let row = |line: &str| {
        let row: Value = serde_json::from_str(line).unwrap();
        let text = row["text"].as_str().map(String::from);
        let text = text.unwrap_or_else(|| serde_json::from_str(inputs.next().unwrap()).unwrap());
        (text, row["ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect())
    };
    include_str!("data/cn_clip_texts.jsonl").lines().map(row).collect()
}

#[test]
fn ids_of_all_texts() {
    let tokenizer = Tokenizer::builtin().unwrap().with_dialect(Dialect::CnClip).unwrap();
    let options = EncodeOptions { max_length: 100_000, ..EncodeOptions::default() };
    let goldens = goldens();
    assert_eq!(goldens.len(), 719);
    for (text, ids) in &goldens {
        let found = tokenizer.encode(text, &options).unwrap().ids;
        let expected: Vec<u32> = [101].iter().chain(ids).chain(&[102]).map(|&id| u32::try_from(id).unwrap()).collect();
        assert_eq!(found, expected, "{text:?}");
    }
}

#[test]
fn tokenize_cuts_and_pads_to_the_context() {
    let goldens = goldens();
    let texts: Vec<&str> = goldens.iter().map(|(text, _)| text.as_str()).collect();
    for context in [52, 7, 2] {
        let batch = cn_clip::tokenize(&texts, context).unwrap();
        assert_eq!(batch.shape, [texts.len(), context]);
        for (row, (text, ids)) in batch.input_ids.chunks(context).zip(&goldens) {
            let mut expected = vec![101];
            expected.extend(ids.iter().take(context - 2));
            expected.push(102);
            expected.resize(context, 0);
            assert_eq!(row, expected, "{text:?}");
        }
    }
    assert!(matches!(cn_clip::tokenize(&texts, 1), Err(PreprocessError::InText { index: 0, .. })));
}

#[test]
fn the_dialects_differ_where_the_page_says_so() {
    let hf = Tokenizer::builtin().unwrap();
    let cn_clip = hf.clone().with_dialect(Dialect::CnClip).unwrap();
    let ids = |tokenizer: &Tokenizer, text: &str| tokenizer.encode(text, &EncodeOptions::default()).unwrap().ids;
    let long = "x".repeat(150);
    for text in ["[SEP]", "\u{e000}", "\u{2b820}\u{2b821}", "ΟΔΟΣ", long.as_str()] {
        assert_ne!(ids(&hf, text), ids(&cn_clip, text), "{text:?}");
        let back = cn_clip.clone().with_dialect(Dialect::Hf).unwrap();
        assert_eq!(ids(&hf, text), ids(&back, text), "{text:?}");
    }
}

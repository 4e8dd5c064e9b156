//! Properties of the tokenizer that hold for any string.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::sync::LazyLock;

use chinese_clip_preprocess::{EncodeOptions, Padding, Tokenizer};
use proptest::prelude::*;

static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| Tokenizer::builtin().unwrap());

/// Any string, and strings dense in what the tokenizer treats specially.
fn text() -> impl Strategy<Value = String> {
    let pieces = prop::sample::select(vec![
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "[PAD]",
        "[UNK]",
        "[",
        "]",
        "##",
        " ",
        "\u{3000}",
        "\u{0}",
        "\u{fffd}",
        "\u{300}",
        "é",
        "ẞ",
        "ﬃ",
        "İ",
        "ΟΔΟΣ",
        "你",
        "好",
        "\u{20000}",
        "\u{2b820}",
        "👩‍👩‍👧",
        "\u{200d}",
        "a",
        "Z",
        "n't",
        ".",
        "\r\n",
        "\u{e000}",
        "가",
        "\u{1100}\u{1161}",
    ]);
    prop_oneof![any::<String>(), "\\PC{0,200}", prop::collection::vec(pieces, 0..60).prop_map(|pieces| pieces.concat())]
}

fn up_to(max_length: usize) -> EncodeOptions {
    EncodeOptions { max_length, ..EncodeOptions::default() }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn ids_are_in_the_vocabulary_and_within_the_length(text in text(), max_length in 2_usize..70) {
        let encoding = TOKENIZER.encode(&text, &up_to(max_length)).unwrap();
        prop_assert!((2..=max_length).contains(&encoding.ids.len()));
        prop_assert!(encoding.ids.iter().all(|&id| (id as usize) < TOKENIZER.vocab_size()));
        prop_assert_eq!((encoding.ids[0], encoding.ids.last().copied()), (101, Some(102)));
        let full = TOKENIZER.encode(&text, &up_to(100_000)).unwrap();
        prop_assert_eq!(encoding.full_length, full.ids.len());
        prop_assert_eq!(encoding.is_truncated(), full.ids.len() > max_length);
        let kept = encoding.ids.len() - 1;
        prop_assert_eq!(&encoding.ids[..kept], &full.ids[..kept]);
    }

    #[test]
    fn a_row_of_a_batch_is_the_single_text(texts in prop::collection::vec(text(), 0..8)) {
        let encodings = TOKENIZER.encode_batch(&texts, &up_to(20)).unwrap();
        let batch = TOKENIZER.pad(&encodings, Padding::To(20)).unwrap();
        prop_assert_eq!(batch.shape, [texts.len(), 20]);
        for (row, text) in texts.iter().enumerate() {
            let ids: Vec<i64> = TOKENIZER.encode(text, &up_to(20)).unwrap().ids.into_iter().map(i64::from).collect();
            let (found, rest) = batch.input_ids[row * 20..][..20].split_at(ids.len());
            prop_assert_eq!(found, &ids[..]);
            prop_assert!(rest.iter().all(|&id| id == 0));
            let (ones, zeros) = batch.attention_mask[row * 20..][..20].split_at(ids.len());
            prop_assert!(ones.iter().all(|&mask| mask == 1) && zeros.iter().all(|&mask| mask == 0));
        }
    }

    #[test]
    fn any_ids_decode(ids in prop::collection::vec(prop_oneof![0_u32..21200, any::<u32>()], 0..80), skip in any::<bool>()) {
        TOKENIZER.decode(&ids, skip).unwrap();
        prop_assert_eq!(TOKENIZER.tokens(&ids).len(), ids.len());
    }
}

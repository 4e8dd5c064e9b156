//! `a<c>b` for every Unicode scalar value c, against the tables that `data/make_text_goldens.py` and, in the dialect of `cn_clip`,
//! `data/make_cn_clip_text_goldens.py` wrote.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use chinese_clip_preprocess::{Dialect, EncodeOptions, Tokenizer};

const A: u32 = 143;
const B: u32 = 144;
const UNKNOWN: u32 = 100;
/// How many code points go into one text, as words: a call costs more than a word. A text that differs is taken apart.
const GROUP: usize = 64;
/// How many code points a failure names.
const SHOWN: usize = 40;

struct Reference {
    tokenizer: Tokenizer,
    deleted: Vec<u32>,
}

impl Reference {
    fn ids(&self, text: &str) -> Vec<u32> {
        let options = EncodeOptions { max_length: 10_000, ..EncodeOptions::default() };
        let ids = self.tokenizer.encode(text, &options).unwrap().ids;
        ids[1..ids.len() - 1].to_vec()
    }

    /// What the reference makes of `a<c>b`, by the class of c's run.
    fn expected(&self, class: &str, c: char) -> Vec<u32> {
        match class {
            "deleted" => self.deleted.clone(),
            "space" => vec![A, B],
            "unknown" => vec![UNKNOWN],
            "split" => vec![A, self.tokenizer.id(c.encode_utf8(&mut [0; 4])).unwrap_or(UNKNOWN), B],
            ids => ids.split(' ').map(|id| id.parse().unwrap()).collect(),
        }
    }

    /// Says which of these code points differ.
    fn compare(&self, class: &str, group: &[char], wrong: &mut Vec<String>) {
        let text: String = group.iter().flat_map(|&c| ['a', c, 'b', ' ']).collect();
        let expected: Vec<u32> = group.iter().flat_map(|&c| self.expected(class, c)).collect();
        if self.ids(&text) == expected {
            return;
        }
        let before = wrong.len();
        for &c in group {
            let (found, expected) = (self.ids(&format!("a{c}b")), self.expected(class, c));
            if found != expected {
                wrong.push(format!("U+{:04X}: {found:?}, the reference makes {expected:?} ({class})", u32::from(c)));
            }
        }
        if wrong.len() == before {
            wrong.push(format!("{text:?} differs, its words alone do not"));
        }
    }
}

#[test]
fn every_code_point() {
    compare_all(Tokenizer::builtin().unwrap(), include_str!("data/text_code_points.txt"));
}

#[test]
fn every_code_point_as_in_cn_clip() {
    let tokenizer = Tokenizer::builtin().unwrap().with_dialect(Dialect::CnClip).unwrap();
    compare_all(tokenizer, include_str!("data/cn_clip_code_points.txt"));
}

fn compare_all(tokenizer: Tokenizer, table: &str) {
    let mut reference = Reference { tokenizer, deleted: Vec::new() };
    reference.deleted = reference.ids("ab");
    let mut wrong: Vec<String> = Vec::new();
    let mut seen = 0;
    let mut next = 0;
    for line in table.lines() {
        let (first, rest) = line.split_once(' ').unwrap();
        let (last, class) = rest.split_once(' ').unwrap();
        let [first, last] = [first, last].map(|hex| u32::from_str_radix(hex, 16).unwrap());
        assert_eq!(first, next, "the table has a gap or an overlap");
        next = if last == 0xD7FF { 0xE000 } else { last + 1 };
        let run: Vec<char> = (first..=last).filter_map(char::from_u32).collect();
        seen += run.len();
        if class == "unassigned" {
            continue;
        }
        for group in run.chunks(GROUP) {
            reference.compare(class, group, &mut wrong);
        }
    }
    assert_eq!(seen, 0x11_0000 - 0x800, "the table ends early");
    let count = wrong.len();
    wrong.truncate(SHOWN);
    assert!(wrong.is_empty(), "{count} code points differ:\n{}", wrong.join("\n"));
}

//! transformers' own tests of the image processor and the processor, restated under their names: 4.51.3 (of the mixins also later ones),
//! `tests/models/chinese_clip/test_image_processing_chinese_clip.py` and `test_processing_chinese_clip.py` with the mixins that they
//! inherit. Their pictures are random; here they are drawn by `noise`. `docs/parity.md` says which have no counterpart.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a test fails by panicking

#[path = "../common/mod.rs"]
mod common;
mod image_processing;
mod processing;

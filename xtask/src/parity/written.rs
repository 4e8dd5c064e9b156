//! What is written of a checkpoint, by `save_pretrained` and by conversion, loaded by the references.

use std::path::Path;

use chinese_clip::checkpoint::{Checkpoint, convert_to_cn_clip};
use chinese_clip::{ChineseClipModel, DType, Limits, device};

use super::ask::{Answer, Inputs, Reference};
use super::compare::{features, max_distance};
use super::{Parity, Row, open};
use crate::{Failure, convert};

const FEATURES: [&str; 2] = ["text_features", "image_features"];

impl Parity {
    /// `files` and `answer`: what `reference` was asked about the checkpoint itself, and what it said.
    pub(super) fn written(
        &self,
        reference: Reference,
        checkpoint: &Checkpoint,
        files: Inputs<'_>,
        answer: &Answer,
    ) -> Result<Vec<Row>, Failure> {
        let folder = tempfile::tempdir()?;
        let [saved, converted, file] = ["saved", "converted", "clip_cn.pt"].map(|name| folder.path().join(name));
        let resnet = checkpoint.config.vision_config.resnet_layers.is_some();
        let mut rows = Vec::new();

        ChineseClipModel::from_checkpoint(checkpoint, DType::F32, &device(&self.device)?)?.save_pretrained(&saved)?;
        if reference == Reference::Transformers {
            rows.push(self.same("what `save_pretrained` writes", reference, &saved, files, answer)?);
            rows.extend(self.newer("what `save_pretrained` writes", &saved, answer)?);
        } else if !resnet {
            convert::to_hugging_face(checkpoint, &converted, None, false, &Limits::default())?;
            rows.push(self.close("what `convert` writes", Reference::Transformers, &converted, answer)?);
            rows.extend(self.newer("what `convert` writes", &converted, answer)?);
        }

        convert_to_cn_clip(&open(&saved)?, &file, None, false).map_err(chinese_clip::Error::from)?;
        let what = "what `save_pretrained`, then `convert --to cn_clip` write";
        rows.push(if reference == Reference::CnClip {
            self.same(what, reference, &file, files, answer)?
        } else {
            self.close(what, Reference::CnClip, &file, answer)?
        });
        Ok(rows)
    }

    fn newer(&self, what: &str, path: &Path, answer: &Answer) -> Result<Option<Row>, Failure> {
        self.newer.as_ref().map(|_| self.close(what, Reference::NewerTransformers, path, answer)).transpose()
    }

    /// The same reference must say the same, bit by bit.
    fn same(
        &self,
        what: &str,
        reference: Reference,
        path: &Path,
        files: Inputs<'_>,
        answer: &Answer,
    ) -> Result<Row, Failure> {
        let again = self.ask(reference, path, files, false)?.arrays;
        let arrays = &answer.arrays;
        let ids = ["input_ids", "attention_mask"].iter().all(|name| again.i64(name) == arrays.i64(name));
        let pixels = again.f32("pixel_values") == arrays.f32("pixel_values");
        let off = FEATURES.map(|name| max_distance(&again.f32(name).0, &arrays.f32(name).0));
        let good = ids && pixels && off == [0.0; 2];
        let found = if good {
            "ids, pixels, features equal".into()
        } else {
            format!("ids {ids}, pixels {pixels}, features off by {off:?}")
        };
        Ok(Row { what: loaded(what, reference), found, bound: "equal", good })
    }

    /// Another reference must say almost the same about the same ids and pixels. A `[PAD]` that a text spells out is hidden in
    /// `cn_clip` and seen in transformers: such texts are left out.
    fn close(&self, what: &str, reference: Reference, path: &Path, answer: &Answer) -> Result<Row, Failure> {
        let other = self.ask(reference, path, Inputs::Of(answer), false)?.arrays;
        let arrays = &answer.arrays;
        let ((ids, shape), (mask, _)) = (arrays.i64("input_ids"), arrays.i64("attention_mask"));
        let padded = |row: usize| (row * shape[1]..(row + 1) * shape[1]).any(|i| mask[i] == 1 && ids[i] == 0);
        let (mut found, mut expected, mut width) = (Vec::new(), Vec::new(), 0);
        for name in FEATURES {
            let ((theirs, shape), (values, _)) = (other.f32(name), arrays.f32(name));
            width = shape[1];
            for row in (0..shape[0]).filter(|row| name != "text_features" || !padded(*row)) {
                found.extend_from_slice(&theirs[row * width..(row + 1) * width]);
                expected.extend_from_slice(&values[row * width..(row + 1) * width]);
            }
        }
        Ok(features(&loaded(what, reference), &found, &expected, width))
    }
}

fn loaded(what: &str, reference: Reference) -> String {
    format!("{what}, loaded by {}", reference.name())
}

//! The text tower's whole surface against the reference (`goldens/text.py`): relative positions, masks, decoder, cross-attention,
//! cache, masked and pruned heads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chinese_clip::{
    ChineseClipTextModel, DType, Device, Mask, Recorder, Tensor, TensorData, TextCache, TextInputs, TextOptions,
    TextOutput, TokenBatch, Tokens,
};
use chinese_clip_nn::Packing;
use chinese_clip_tests::{
    Arrays, Named, assert_close, dtypes, golden_path, quick_devices, tolerance, values, write_checkpoint,
};
use serde::Deserialize;
use serde_json::{Map, Value};

pub(crate) const EVERYTHING: TextOptions =
    TextOptions { output_hidden_states: true, output_attentions: true, use_cache: true };

#[derive(Deserialize)]
struct Case {
    name: String,
    config: Map<String, Value>,
    past: Option<String>,
}

fn cases() -> Vec<Case> {
    serde_json::from_str(&std::fs::read_to_string(golden_path("text/cases.json")).unwrap()).unwrap()
}

impl Case {
    /// The model of the case, its heads pruned after loading.
    fn model(&self, dtype: DType, device: &Device) -> ChineseClipTextModel {
        let mut config = self.config.clone();
        let pruned = config.remove("pruned_heads");
        config.insert("model_type".into(), "chinese_clip_text_model".into());
        let weights = Arrays::golden("text/model.safetensors");
        let has = |key: &str| config.contains_key(key);
        let named = |name: String| {
            let (values, shape) = weights.f32(&name);
            (name, values, shape)
        };
        let tensors: Vec<Named> = weights
            .names()
            .into_iter()
            .filter(|name| has("position_embedding_type") || !name.contains("distance_embedding"))
            .filter(|name| has("add_cross_attention") || !name.contains("crossattention"))
            .map(named)
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = write_checkpoint(folder.path(), &Value::Object(config), &tensors);
        let model = ChineseClipTextModel::from_checkpoint(&checkpoint, true, dtype, device).unwrap();
        let Some(pruned) = pruned else { return model };
        let pruned: BTreeMap<usize, BTreeSet<usize>> = serde_json::from_value(pruned).unwrap();
        model.prune_heads(&pruned).unwrap()
    }
}

/// What goes into a case, out of the goldens.
struct Given<'a> {
    golden: &'a Arrays,
    names: &'a [String],
    case: &'a str,
}

impl Given<'_> {
    fn has(&self, field: &str) -> bool {
        self.names.contains(&format!("{}.{field}", self.case))
    }

    fn i64(&self, field: &str) -> Option<(Vec<i64>, Vec<usize>)> {
        self.has(field).then(|| self.golden.i64(&format!("{}.{field}", self.case)))
    }

    fn f32(&self, field: &str) -> Option<(Vec<f32>, Vec<usize>)> {
        self.has(field).then(|| self.golden.f32(&format!("{}.{field}", self.case)))
    }

    fn tensor(&self, field: &str, device: &Device) -> Option<Tensor<3>> {
        let (values, shape) = self.f32(field)?;
        Some(Tensor::from_data(TensorData::new(values, shape), device))
    }

    fn run(&self, model: &ChineseClipTextModel, past: Option<&TextCache>, device: &Device) -> TextOutput {
        let ids = self.i64("input_ids");
        let embeds = self.tensor("inputs_embeds", device);
        let encoder = self.tensor("encoder_hidden_states", device);
        let arrays = ["token_type_ids", "position_ids", "attention_mask", "encoder_attention_mask"];
        let [types, positions, mask, encoder_mask] = arrays.map(|field| self.i64(field));
        let heads = self.f32("head_mask");
        let values = |array: &Option<(Vec<i64>, Vec<usize>)>| array.as_ref().map(|(values, _)| values.clone());
        let (types, positions) = (values(&types), values(&positions));
        let inputs = TextInputs {
            token_type_ids: types.as_deref(),
            position_ids: positions.as_deref(),
            attention_mask: mask.as_ref().map(as_mask),
            head_mask: heads.as_ref().map(|(values, _)| values.as_slice()),
            encoder_hidden_states: encoder.as_ref(),
            encoder_attention_mask: encoder_mask.as_ref().map(as_mask),
            past_key_values: past,
            ..TextInputs::new(match (&ids, &embeds) {
                (Some((ids, shape)), _) => Tokens::Ids(ids, [shape[0], shape[1]]),
                (None, embeds) => Tokens::Embeds(embeds.as_ref().unwrap()),
            })
        };
        model.forward(inputs, EVERYTHING).unwrap()
    }

    /// The named output of the reference, if it is kept.
    fn check<const D: usize>(&self, field: &str, found: &Tensor<D>, dtype: DType) -> bool {
        let Some((expected, shape)) = self.f32(field) else { return false };
        let name = format!("{}.{field} in {dtype:?} on {:?}", self.case, found.device());
        assert_eq!(found.dims().to_vec(), shape, "shape of {name}");
        assert_close(&name, &values(found), &expected, &shape, tolerance(dtype));
        true
    }

    fn check_all<const D: usize>(&self, field: &str, found: &[Tensor<D>], dtype: DType) {
        for (i, tensor) in found.iter().enumerate() {
            assert!(
                self.check(&format!("{field}.{i}"), tensor, dtype),
                "{}.{field}.{i} is more than expected",
                self.case
            );
        }
        assert!(!self.has(&format!("{field}.{}", found.len())), "{}.{field} are too few", self.case);
    }
}

fn as_mask((values, shape): &(Vec<i64>, Vec<usize>)) -> Mask<'_> {
    if shape.len() == 3 { Mask::Pairs(values) } else { Mask::Keys(values) }
}

#[test]
fn every_output_equals_the_reference() {
    let (golden, cases) = (Arrays::golden("text/golden.safetensors"), cases());
    let names = golden.names();
    for device in quick_devices() {
        for dtype in dtypes(&device) {
            let mut caches: HashMap<&str, TextCache> = HashMap::new();
            for case in &cases {
                let given = Given { golden: &golden, names: &names, case: &case.name };
                let past = case.past.as_deref().map(|past| &caches[past]);
                let output = given.run(&case.model(dtype, &device), past, &device);
                assert!(given.check("pooler_output", &output.pooler_output.unwrap(), dtype));
                given.check_all("hidden_states", &output.hidden_states, dtype);
                given.check_all("attentions", &output.attentions, dtype);
                given.check_all("cross_attentions", &output.cross_attentions, dtype);
                assert_eq!(values(&output.last_hidden_state), values(&output.hidden_states[2]));
                let Some(cache) = output.past_key_values else { continue };
                if given.has("past_key_values.0") {
                    let of = |layer: &chinese_clip::LayerCache| {
                        let all = [Some(&layer.own), layer.encoder.as_ref()].into_iter().flatten();
                        all.flat_map(|both| [both.key.clone(), both.value.clone()]).collect::<Vec<_>>()
                    };
                    given.check_all("past_key_values", &cache.layers.iter().flat_map(of).collect::<Vec<_>>(), dtype);
                }
                caches.insert(&case.name, cache);
            }
        }
    }
}

/// Of the cases that a batch of tokens tells in full.
#[test]
fn the_short_path_equals_the_reference_in_both_forms() {
    let (golden, cases) = (Arrays::golden("text/golden.safetensors"), cases());
    let (names, mut seen) = (golden.names(), 0);
    let more = ["position_ids", "inputs_embeds", "head_mask", "encoder_hidden_states"];
    for device in quick_devices() {
        for dtype in dtypes(&device) {
            for case in cases.iter().filter(|case| case.past.is_none()) {
                let given = Given { golden: &golden, names: &names, case: &case.name };
                let mask = given.i64("attention_mask");
                if more.iter().any(|field| given.has(field)) || mask.as_ref().is_some_and(|(_, shape)| shape.len() == 3)
                {
                    continue;
                }
                let model = case.model(dtype, &device);
                let (ids, shape) = given.i64("input_ids").unwrap();
                let mask = mask.as_ref().map(|(values, _)| values.as_slice());
                let mut batch = TokenBatch::new(&ids, mask, [shape[0], shape[1]], model.config(), &device).unwrap();
                if let Some((types, _)) = given.i64("token_type_ids") {
                    batch = batch.with_token_type_ids(&types, model.config()).unwrap();
                }
                let canonical = model.text_model().forward(&batch, &mut Recorder::off());
                assert!(given.check("hidden_states.2", &canonical, dtype));
                let (expected, _) = given.f32("hidden_states.2").unwrap();
                let expected: Vec<f32> = expected.chunks(shape[1] * 20).flat_map(|text| text[..20].to_vec()).collect();
                let prepared = model.text_model().clone().prepare();
                for prepared in [prepared.clone(), prepared.pack(Packing::Whole)] {
                    let name = format!("prepared {} in {dtype:?} on {device:?}", case.name);
                    assert_close(&name, &values(&prepared.forward(&batch)), &expected, &[2, 20], tolerance(dtype));
                }
                seen += 1;
            }
        }
    }
    assert!(seen >= 9, "{seen} cases");
}

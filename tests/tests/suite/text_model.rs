//! The tests of transformers' `ChineseCLIPTextModelTest` (`test_modeling_chinese_clip.py`, and `test_modeling_common.py` where it
//! inherits them), restated; each says which. The numbers of the reference stand in `text_states`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use chinese_clip::config::{PositionEmbedding, TextConfig};
use chinese_clip::{
    Checkpoint, ChineseClipConfig, ChineseClipModel, ChineseClipTextModel, DType, Device, Error, Mask, PreparedModel,
    Recorder, Tensor, TensorData, TextError, TextInputs, TextOptions, TextOutput, TokenBatch, Tokens,
};
use chinese_clip_nn::Packing;
use chinese_clip_tests::{
    Arrays, Named, assert_close, assert_near, golden_checkpoint, golden_path, quick_devices, tolerance, values,
    write_checkpoint,
};
use serde_json::Value;

use crate::text_states::EVERYTHING;

const BATCH: usize = 13;
const LENGTH: usize = 7;

/// `ChineseCLIPTextModelTester.get_config`.
pub(crate) fn config() -> TextConfig {
    TextConfig {
        vocab_size: 99,
        hidden_size: 32,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        intermediate_size: 37,
        max_position_embeddings: 512,
        type_vocab_size: 16,
        ..TextConfig::default()
    }
}

/// `prepare_config_and_inputs_for_decoder`.
fn decoder(add_cross_attention: bool) -> TextConfig {
    TextConfig { is_decoder: true, add_cross_attention, ..config() }
}

fn model(config: &TextConfig, device: &Device) -> ChineseClipTextModel {
    ChineseClipTextModel::new(config, true, device).unwrap()
}

/// `ids_tensor`: numbers from 0 to below `limit`.
fn numbers(seed: usize, count: usize, limit: i64) -> Vec<i64> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 10007) as i64 % limit).collect()
}

fn ids() -> Vec<i64> {
    numbers(1, BATCH * LENGTH, 99)
}

fn types() -> Vec<i64> {
    numbers(2, BATCH * LENGTH, 16)
}

/// `random_attention_mask`: no text is masked everywhere.
fn mask() -> Vec<i64> {
    let mut mask = numbers(3, BATCH * LENGTH, 2);
    mask.chunks_mut(LENGTH).for_each(|row| row[0] = 1);
    mask
}

/// `floats_tensor`.
fn floats([b, l, d]: [usize; 3], device: &Device) -> Tensor<3> {
    let values: Vec<f32> = (0..b * l * d).map(|i| (i * 7919 % 10007) as f32 / 10007.0).collect();
    Tensor::from_data(TensorData::new(values, [b, l, d]), device)
}

fn tokens(ids: &[i64]) -> TextInputs<'_> {
    TextInputs::new(Tokens::Ids(ids, [ids.len() / LENGTH, LENGTH]))
}

fn same<const D: usize>(name: &str, found: &Tensor<D>, expected: &Tensor<D>) {
    assert_eq!(found.dims(), expected.dims(), "{name}");
    assert_close(name, &values(found), &values(expected), &found.dims(), tolerance(DType::F32));
}

/// All outputs of two runs but their caches.
fn same_outputs(found: &TextOutput, expected: &TextOutput) {
    same("last_hidden_state", &found.last_hidden_state, &expected.last_hidden_state);
    assert_eq!(found.pooler_output.is_some(), expected.pooler_output.is_some());
    found.pooler_output.iter().zip(&expected.pooler_output).for_each(|(a, b)| same("pooler_output", a, b));
    let lengths = |o: &TextOutput| [o.hidden_states.len(), o.attentions.len(), o.cross_attentions.len()];
    assert_eq!(lengths(found), lengths(expected));
    found.hidden_states.iter().zip(&expected.hidden_states).for_each(|(a, b)| same("hidden_states", a, b));
    found.attentions.iter().zip(&expected.attentions).for_each(|(a, b)| same("attentions", a, b));
    found.cross_attentions.iter().zip(&expected.cross_attentions).for_each(|(a, b)| same("cross_attentions", a, b));
}

fn error(model: &ChineseClipTextModel, inputs: TextInputs<'_>) -> String {
    model.forward(inputs, TextOptions::default()).unwrap_err().to_string()
}

/// `test_model`: `create_and_check_model`.
#[test]
fn test_model() {
    for device in quick_devices() {
        let (model, ids, types, mask) = (model(&config(), &device), ids(), types(), mask());
        let inputs = tokens(&ids);
        let with_types = TextInputs { token_type_ids: Some(&types), ..inputs };
        for inputs in [TextInputs { attention_mask: Some(Mask::Keys(&mask)), ..with_types }, with_types, inputs] {
            let result = model.forward(inputs, TextOptions::default()).unwrap();
            assert_eq!(result.last_hidden_state.dims(), [BATCH, LENGTH, 32]);
            assert_eq!(result.pooler_output.unwrap().dims(), [BATCH, 32]);
            assert!(result.hidden_states.is_empty() && result.attentions.is_empty(), "not asked for");
        }
    }
}

/// `create_and_check_model_as_decoder`.
fn check_as_decoder(mask: Option<&[i64]>) {
    for device in quick_devices() {
        let (model, ids, types) = (model(&decoder(true), &device), ids(), types());
        let encoder = floats([BATCH, LENGTH, 32], &device);
        let encoder_mask = numbers(5, BATCH * LENGTH, 2);
        let alone = TextInputs { attention_mask: mask.map(Mask::Keys), token_type_ids: Some(&types), ..tokens(&ids) };
        let with_encoder = TextInputs { encoder_hidden_states: Some(&encoder), ..alone };
        let with_mask = TextInputs { encoder_attention_mask: Some(Mask::Keys(&encoder_mask)), ..with_encoder };
        let [with_mask, with_encoder, alone] =
            [with_mask, with_encoder, alone].map(|inputs| model.forward(inputs, EVERYTHING).unwrap());
        for result in [&with_mask, &with_encoder, &alone] {
            assert_eq!(result.last_hidden_state.dims(), [BATCH, LENGTH, 32]);
            assert_eq!(result.pooler_output.as_ref().unwrap().dims(), [BATCH, 32]);
            assert_eq!(result.past_key_values.as_ref().unwrap().layers.len(), 2);
            let later = result.attentions[0].clone().triu(1);
            assert!(values(&later).iter().all(|probability| *probability == 0.0), "a token sees later ones");
        }
        assert_eq!(with_mask.cross_attentions.len(), 2);
        assert!(alone.cross_attentions.is_empty());
        assert_ne!(values(&with_mask.last_hidden_state), values(&with_encoder.last_hidden_state));
        assert_ne!(values(&with_encoder.last_hidden_state), values(&alone.last_hidden_state));
    }
}

/// `test_model_as_decoder`.
#[test]
fn test_model_as_decoder() {
    check_as_decoder(Some(&mask()));
}

/// `test_model_as_decoder_with_default_input_mask`.
#[test]
fn test_model_as_decoder_with_default_input_mask() {
    check_as_decoder(None);
}

/// `create_and_check_decoder_model_past_large_inputs` of BERT, whose layers these are: what follows a cache is what would have
/// followed without, with cross-attention and masks, token by token and several at once.
#[test]
fn test_decoder_model_past_large_inputs() {
    for device in quick_devices() {
        let (model, ids) = (model(&decoder(true), &device), ids());
        let encoder = floats([BATCH, LENGTH, 32], &device);
        let encoder_mask = numbers(5, BATCH * LENGTH, 2);
        let mask = mask();
        let columns = |values: &[i64], from: usize, to: usize| {
            values.chunks(LENGTH).flat_map(|row| row[from..to].to_vec()).collect::<Vec<i64>>()
        };
        let run = |from: usize, to: usize, past| {
            let (ids, mask) = (columns(&ids, from, to), columns(&mask, 0, to));
            let inputs = TextInputs {
                attention_mask: Some(Mask::Keys(&mask)),
                encoder_hidden_states: Some(&encoder),
                encoder_attention_mask: Some(Mask::Keys(&encoder_mask)),
                past_key_values: past,
                ..TextInputs::new(Tokens::Ids(&ids, [BATCH, to - from]))
            };
            model.forward(inputs, EVERYTHING).unwrap()
        };
        let whole = run(0, LENGTH, None);
        let first = run(0, 3, None);
        let second = run(3, 4, first.past_key_values.as_ref());
        let third = run(4, LENGTH, second.past_key_values.as_ref());
        for (part, from, to) in [(&first, 0, 3), (&second, 3, 4), (&third, 4, LENGTH)] {
            let expected = whole.last_hidden_state.clone().narrow(1, from, to - from);
            same(&format!("tokens {from} to {to}"), &part.last_hidden_state, &expected);
        }
        let cache = |output: &TextOutput| output.past_key_values.clone().unwrap().layers;
        for (found, expected) in cache(&third).iter().zip(&cache(&whole)) {
            same("cached keys", &found.own.key, &expected.own.key);
            same("cached values", &found.own.value, &expected.own.value);
            let of_encoder = [found, expected].map(|layer| layer.encoder.clone().unwrap().value);
            same("cached values of the encoder", &of_encoder[0], &of_encoder[1]);
        }
        let off = model.forward(tokens(&ids), TextOptions::default()).unwrap();
        assert!(off.past_key_values.is_none(), "use_cache was not asked for");
    }
}

/// `test_hidden_states_output`: one more than layers, each as long as the sequence.
#[test]
fn test_hidden_states_output() {
    for device in quick_devices() {
        let (model, ids) = (model(&config(), &device), ids());
        let options = TextOptions { output_hidden_states: true, ..TextOptions::default() };
        let result = model.forward(tokens(&ids), options).unwrap();
        assert_eq!(result.hidden_states.len(), config().num_hidden_layers + 1);
        assert!(result.hidden_states.iter().all(|state| state.dims() == [BATCH, LENGTH, 32]));
        assert!(result.attentions.is_empty());
        assert_eq!(values(&result.hidden_states[2]), values(&result.last_hidden_state));
    }
}

/// `test_attention_outputs`: one a layer, heads by tokens by tokens, alone and beside hidden states.
#[test]
fn test_attention_outputs() {
    for device in quick_devices() {
        let (model, ids) = (model(&config(), &device), ids());
        for output_hidden_states in [false, true] {
            let options = TextOptions { output_attentions: true, output_hidden_states, ..TextOptions::default() };
            let result = model.forward(tokens(&ids), options).unwrap();
            assert_eq!(result.attentions.len(), config().num_hidden_layers);
            assert_eq!(result.hidden_states.len(), if output_hidden_states { 3 } else { 0 });
            for attention in &result.attentions {
                assert_eq!(attention.dims(), [BATCH, 4, LENGTH, LENGTH]);
                let sums = attention.clone().sum_dim(3);
                same("sums of probabilities", &sums, &sums.ones_like());
            }
        }
        assert!(model.forward(tokens(&ids), EVERYTHING).unwrap().past_key_values.is_none(), "an encoder has no cache");
    }
}

/// `test_determinism`.
#[test]
fn test_determinism() {
    for device in quick_devices() {
        let (model, ids) = (model(&config(), &device), ids());
        let run = || values(&model.forward(tokens(&ids), TextOptions::default()).unwrap().last_hidden_state);
        run(); // a GPU tries its kernels in the first call
        assert_eq!(run(), run());
    }
}

/// `test_batching_equivalence`: every output of a row is that of the row alone.
#[test]
fn test_batching_equivalence() {
    for device in quick_devices() {
        for config in
            [config(), TextConfig { position_embedding_type: PositionEmbedding::RelativeKeyQuery, ..decoder(false) }]
        {
            let (model, ids, types, mask) = (model(&config, &device), ids(), types(), mask());
            let run = |from: usize, to: usize| {
                let part = from * LENGTH..to * LENGTH;
                let inputs = TextInputs {
                    token_type_ids: Some(&types[part.clone()]),
                    attention_mask: Some(Mask::Keys(&mask[part.clone()])),
                    ..tokens(&ids[part])
                };
                model.forward(inputs, EVERYTHING).unwrap()
            };
            let of_batch = run(0, 3);
            for row in 0..3 {
                let narrow = |tensors: &[Tensor<3>]| tensors.iter().map(|x| x.clone().narrow(0, row, 1)).collect();
                let of_row = TextOutput {
                    last_hidden_state: of_batch.last_hidden_state.clone().narrow(0, row, 1),
                    pooler_output: of_batch.pooler_output.clone().map(|x| x.narrow(0, row, 1)),
                    hidden_states: narrow(&of_batch.hidden_states),
                    attentions: of_batch.attentions.iter().map(|x| x.clone().narrow(0, row, 1)).collect(),
                    ..of_batch.clone()
                };
                same_outputs(&run(row, row + 1), &of_row);
            }
        }
    }
}

/// `test_inputs_embeds` and `test_inputs_embeds_matches_input_ids`: vectors of words in the place of their ids.
#[test]
fn test_inputs_embeds_matches_input_ids() {
    for device in quick_devices() {
        let checkpoint = golden_checkpoint("small");
        let model = ChineseClipTextModel::from_checkpoint(&checkpoint, false, DType::F32, &device).unwrap();
        let (table, shape) =
            Arrays::golden("small/model.safetensors").f32("text_model.embeddings.word_embeddings.weight");
        let (ids, width) = (numbers(1, BATCH * LENGTH, shape[0] as i64), shape[1]);
        let vectors = ids.iter().flat_map(|id| table[*id as usize * width..][..width].to_vec()).collect::<Vec<f32>>();
        let vectors = Tensor::<3>::from_data(TensorData::new(vectors, [BATCH, LENGTH, width]), &device);
        let of_vectors = model.forward(TextInputs::new(Tokens::Embeds(&vectors)), EVERYTHING).unwrap();
        same_outputs(&of_vectors, &model.forward(tokens(&ids), EVERYTHING).unwrap());
        let narrow = vectors.narrow(2, 0, 3);
        assert!(error(&model, TextInputs::new(Tokens::Embeds(&narrow))).contains("must have [13, 7, 48]"));
    }
}

/// `test_feed_forward_chunking`: chunks change nothing, and must fit.
#[test]
fn test_feed_forward_chunking() {
    for device in quick_devices() {
        let ids = numbers(1, BATCH * 6, 99);
        let inputs = TextInputs::new(Tokens::Ids(&ids, [BATCH, 6]));
        let chunked = |chunk_size_feed_forward| TextConfig { chunk_size_feed_forward, ..config() };
        let folder = tempfile::tempdir().unwrap();
        let joint = ChineseClipConfig::from_text_vision_configs(chunked(3), crate::vision_model::config());
        ChineseClipModel::init(&joint, &device).unwrap().save_pretrained(folder.path()).unwrap();
        let checkpoint = open(folder.path());
        assert_eq!(checkpoint.config.text_config.chunk_size_feed_forward, 3);
        let load = |config: &TextConfig| {
            ChineseClipTextModel::load(config, &checkpoint.weights, false, DType::F32, &device).unwrap()
        };
        let run =
            |model: &ChineseClipTextModel| model.forward(inputs, TextOptions::default()).unwrap().last_hidden_state;
        assert_eq!(values(&run(&load(&chunked(3)))), values(&run(&load(&chunked(0)))));
        let expected = "6 tokens are no multiple of chunk_size_feed_forward = 4";
        assert_eq!(error(&load(&chunked(4)), inputs), expected);
        let batch = TokenBatch::new(&ids, None, [BATCH, 6], &chunked(4), &device);
        assert_eq!(batch.unwrap_err().to_string(), expected);
    }
}

/// `test_headmasking`: the attentions of masked heads are zero, those of others are not.
#[test]
fn test_headmasking() {
    for device in quick_devices() {
        let (model, ids) = (model(&config(), &device), ids());
        let mask = [0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 1.0];
        let inputs = TextInputs { head_mask: Some(&mask), ..tokens(&ids) };
        let result = model.forward(inputs, EVERYTHING).unwrap();
        for (attention, kept) in result.attentions.iter().zip(mask.chunks(4)) {
            for (head, kept) in kept.iter().enumerate() {
                let sum = values(&attention.clone().narrow(1, head, 1)).iter().sum::<f32>();
                assert!((sum - kept * (BATCH * LENGTH) as f32).abs() < 1e-3, "head {head}: {sum}");
            }
        }
        let wrong = TextInputs { head_mask: Some(&mask[..3]), ..tokens(&ids) };
        assert!(error(&model, wrong).contains("head_mask has 3 elements"));
    }
}

fn heads(pruned: &[(usize, &[usize])]) -> BTreeMap<usize, BTreeSet<usize>> {
    pruned.iter().map(|(layer, heads)| (*layer, heads.iter().copied().collect())).collect()
}

fn heads_of(model: &ChineseClipTextModel) -> Vec<usize> {
    let output = model.forward(tokens(&numbers(1, LENGTH, 40)), EVERYTHING).unwrap();
    output.attentions.iter().map(|attention| attention.dims()[1]).collect()
}

/// `test_head_pruning` and `test_head_pruning_integration`: layers keep the heads that are left, and a second pruning counts
/// heads as the first did. What a pruned head would have added is what a masked one does not add.
#[test]
fn test_head_pruning() {
    for device in quick_devices() {
        let checkpoint = golden_checkpoint("small");
        let whole = ChineseClipTextModel::from_checkpoint(&checkpoint, false, DType::F32, &device).unwrap();
        let once = whole.clone().prune_heads(&heads(&[(0, &[1, 2, 3]), (1, &[0])])).unwrap();
        assert_eq!(heads_of(&once), [1, 3]);
        let twice = once.clone().prune_heads(&heads(&[(1, &[0, 2])])).unwrap();
        assert_eq!(heads_of(&twice), [1, 2]);
        assert_eq!(twice.config().pruned_heads, heads(&[(0, &[1, 2, 3]), (1, &[0, 2])]));

        let (ids, mask) = (numbers(1, 3 * LENGTH, 40), [1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0]);
        let run = |model: &ChineseClipTextModel, inputs| model.forward(inputs, TextOptions::default()).unwrap();
        let masked = run(&whole, TextInputs { head_mask: Some(&mask), ..tokens(&ids) });
        same_outputs(&run(&twice, tokens(&ids)), &masked);
        let batch = TokenBatch::new(&ids, None, [3, LENGTH], twice.config(), &device).unwrap();
        let prepared = twice.text_model().clone().prepare().pack(Packing::Whole).forward(&batch);
        same("prepared", &prepared, &masked.last_hidden_state.narrow(1, 0, 1).squeeze_dim(1));

        let inputs = TextInputs { head_mask: Some(&mask), ..tokens(&ids) };
        assert!(error(&twice, inputs).contains("the layers have [1, 2] heads"));
        for pruned in [heads(&[(2, &[0])]), heads(&[(0, &[4])]), heads(&[(0, &[0])])] {
            let error = once.clone().prune_heads(&pruned).unwrap_err();
            assert!(matches!(error, Error::Text(TextError::Prune { .. })), "{error}");
        }
    }
}

fn open(path: &Path) -> Checkpoint {
    Checkpoint::open(path.to_str().unwrap(), &chinese_clip::OpenOptions::isolated("unused")).unwrap()
}

/// `test_head_pruning_save_load_from_config_init` and `test_head_pruning_save_load_from_pretrained`, and the same of all else that
/// a configuration adds to the tower: a joint model of it is saved, and loads in both forms and as the tower alone.
#[test]
fn test_head_pruning_save_load_from_config_init() {
    let pruned_heads = heads(&[(0, &[1, 2, 3]), (1, &[0])]);
    let relative = |position_embedding_type| TextConfig { position_embedding_type, ..config() };
    for device in quick_devices() {
        for (text, heads) in [
            (TextConfig { pruned_heads: pruned_heads.clone(), ..config() }, [1, 3]),
            (relative(PositionEmbedding::RelativeKey), [4, 4]),
            (
                TextConfig { pruned_heads: pruned_heads.clone(), ..relative(PositionEmbedding::RelativeKeyQuery) },
                [1, 3],
            ),
            (decoder(false), [4, 4]),
            (TextConfig { position_embedding_type: PositionEmbedding::RelativeKey, ..decoder(true) }, [4, 4]),
        ] {
            let folder = tempfile::tempdir().unwrap();
            let joint = ChineseClipConfig::from_text_vision_configs(text.clone(), crate::vision_model::config());
            let new = ChineseClipModel::init(&joint, &device).unwrap();
            new.save_pretrained(folder.path()).unwrap();
            let checkpoint = open(folder.path());
            assert_eq!(checkpoint.config.text_config, text);
            let (ids, mask) = (ids(), mask());
            let batch = TokenBatch::new(&ids, Some(&mask), [BATCH, LENGTH], &text, &device).unwrap();
            let expected = new.get_text_features(&batch, &mut Recorder::off());
            let canonical = ChineseClipModel::from_checkpoint(&checkpoint, DType::F32, &device).unwrap();
            same("canonical", &canonical.get_text_features(&batch, &mut Recorder::off()), &expected);
            let prepared = PreparedModel::load(&joint, &checkpoint.weights, DType::F32, &device).unwrap();
            same("prepared", &prepared.get_text_features(&batch), &expected);
            if device == chinese_clip::device("flex").unwrap() {
                let short = PreparedModel::load(&joint, &checkpoint.weights, DType::BF16, &device).unwrap();
                assert_near(&format!("bf16 of {text:?}"), &short.get_text_features(&batch), &expected);
            }
            let alone = ChineseClipTextModel::from_checkpoint(&checkpoint, false, DType::F32, &device).unwrap();
            assert_eq!(heads_of(&alone), heads);
            let inputs = TextInputs { attention_mask: Some(Mask::Keys(&mask)), ..tokens(&ids) };
            let hidden = alone.forward(inputs, TextOptions::default()).unwrap().last_hidden_state;
            same("alone", &hidden, &new.text_model().forward(&batch, &mut Recorder::off()));
        }
    }
}

/// `test_eager_matches_sdpa_inference`: the fused form gives what the plain one gives.
#[test]
fn test_eager_matches_sdpa_inference() {
    for device in quick_devices() {
        for config in [config(), decoder(true)] {
            let (model, ids, mask) = (model(&config, &device), ids(), mask());
            let inputs = TextInputs { attention_mask: Some(Mask::Keys(&mask)), ..tokens(&ids) };
            let eager = model.forward(inputs, TextOptions::default()).unwrap().last_hidden_state;
            let batch = TokenBatch::new(&ids, Some(&mask), [BATCH, LENGTH], &config, &device).unwrap();
            let prepared = model.text_model().clone().prepare().forward(&batch);
            same("the class token", &prepared, &eager.narrow(1, 0, 1).squeeze_dim(1));
        }
    }
}

/// A directory of the golden tower alone, as `ChineseCLIPTextModel.save_pretrained` writes it (it has a pooler), with names that
/// `name` makes.
fn text_only(folder: &Path, name: impl Fn(&str) -> Option<String>) -> Checkpoint {
    let cases: Value = serde_json::from_str(&std::fs::read_to_string(golden_path("text/cases.json")).unwrap()).unwrap();
    let mut config = cases[0]["config"].clone();
    config["model_type"] = "chinese_clip_text_model".into();
    let golden = Arrays::golden("text/model.safetensors");
    let extra = |key: &String| key.contains("crossattention") || key.contains("distance_embedding");
    let tensors: Vec<Named> = golden
        .names()
        .into_iter()
        .filter(|key| !extra(key))
        .filter_map(|key| {
            let (values, shape) = golden.f32(&key);
            Some((name(&key)?, values, shape))
        })
        .collect();
    write_checkpoint(folder, &config, &tensors)
}

/// `test_save_load` (of what the reference saves) and `test_model_from_pretrained`: the tower of a directory of its own, with the
/// prefix `text_model.` and without, and that of a joint checkpoint, with and without the pooler. `cn_clip`'s files may have one.
#[test]
fn test_save_load() {
    let given = |name: &str| Some(name.to_string());
    let prefixed = |name: &str| Some(format!("text_model.{name}"));
    for device in quick_devices() {
        let (ids, names) = (numbers(1, 3 * LENGTH, 30), [given as fn(&str) -> Option<String>, prefixed]);
        let run = |model: &ChineseClipTextModel| model.forward(tokens(&ids), EVERYTHING).unwrap();
        let outputs = names.map(|name| {
            let folder = tempfile::tempdir().unwrap();
            let checkpoint = text_only(folder.path(), name);
            let with = ChineseClipTextModel::from_checkpoint(&checkpoint, true, DType::F32, &device).unwrap();
            let without = ChineseClipTextModel::from_checkpoint(&checkpoint, false, DType::F32, &device).unwrap();
            let (with, without) = (run(&with), run(&without));
            same_outputs(&without, &TextOutput { pooler_output: None, ..with.clone() });
            ChineseClipTextModel::from_pretrained(folder.path().to_str().unwrap(), true, &device).unwrap();
            with
        });
        same_outputs(&outputs[1], &outputs[0]);

        let cn_clip = golden_path("../../crates/checkpoint/tests/data/clip_cn_tiny.pt");
        let pooled = ChineseClipTextModel::from_checkpoint(&open(&cn_clip), true, DType::F32, &device).unwrap();
        assert!(run(&pooled).pooler_output.is_some());

        let joint = golden_checkpoint("small");
        let error = ChineseClipTextModel::from_checkpoint(&joint, true, DType::F32, &device).unwrap_err();
        assert_eq!(error.to_string(), "the checkpoint has no pooler: text_model.pooler.dense.weight is missing");
        assert!(error.hint().unwrap().contains("add_pooling_layer"));
        let alone = ChineseClipTextModel::from_checkpoint(&joint, false, DType::F32, &device).unwrap();
        let whole = ChineseClipModel::from_checkpoint(&joint, DType::F32, &device).unwrap();
        let batch = TokenBatch::new(&ids, None, [3, LENGTH], alone.config(), &device).unwrap();
        let expected = whole.text_model().forward(&batch, &mut Recorder::off());
        same("the tower of a joint model", &run(&alone).last_hidden_state, &expected);
    }
}

/// `test_load_with_mismatched_shapes`, and differs: what is missing is an error here and drawn at random there.
#[test]
fn test_load_is_exact() {
    let device = &quick_devices()[0];
    for missing in ["encoder.layer.1.attention.self.key.bias", "pooler.dense.bias"] {
        let folder = tempfile::tempdir().unwrap();
        let checkpoint = text_only(folder.path(), |key| (key != missing).then(|| key.to_string()));
        let error =
            ChineseClipTextModel::from_checkpoint(&checkpoint, true, DType::F32, device).unwrap_err().to_string();
        assert!(error.contains("missing (1 tensor)") && error.contains(missing), "{error}");
    }
    let folder = tempfile::tempdir().unwrap();
    let checkpoint = text_only(folder.path(), |key| Some(key.to_string()));
    let narrow = TextConfig { intermediate_size: 23, ..checkpoint.config.text_config.clone() };
    let error =
        ChineseClipTextModel::load(&narrow, &checkpoint.weights, true, DType::F32, device).unwrap_err().to_string();
    assert!(error.contains("intermediate.dense.weight: expected [23, 20], found [24, 20]"), "{error}");
    let fewer = TextConfig { num_hidden_layers: 1, ..checkpoint.config.text_config.clone() };
    let error =
        ChineseClipTextModel::load(&fewer, &checkpoint.weights, true, DType::F32, device).unwrap_err().to_string();
    assert!(error.contains("unexpected (16 tensors)"), "{error}");
}

/// `test_config`: what cannot be is refused.
#[test]
fn test_config() {
    let device = &quick_devices()[0];
    for (config, part) in [
        (TextConfig { num_attention_heads: 5, ..config() }, "num_attention_heads: is 5, must divide hidden_size = 32"),
        (TextConfig { add_cross_attention: true, ..config() }, "needs is_decoder = true"),
        (TextConfig { pruned_heads: heads(&[(0, &[0, 1, 2, 3])]), ..config() }, "of which one must stay"),
        (TextConfig { pruned_heads: heads(&[(2, &[0])]), ..config() }, "{0} of layer 2; 2 layers have 4 heads"),
    ] {
        let error = ChineseClipTextModel::new(&config, true, device).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert_eq!(model(&config(), device).config(), &config());
}

/// Inputs that contradict each other or the model are errors and no panics.
#[test]
fn wrong_inputs_are_refused() {
    let device = &quick_devices()[0];
    let (ids, encoder) = (ids(), floats([BATCH, LENGTH, 32], device));
    let [encoder_model, plain, cross] = [config(), decoder(false), decoder(true)].map(|config| model(&config, device));
    let cache = plain.forward(tokens(&ids), EVERYTHING).unwrap().past_key_values.unwrap();
    let inputs = tokens(&ids);
    let mask = mask();
    let with_encoder = TextInputs { encoder_hidden_states: Some(&encoder), ..inputs };
    let with_past = TextInputs { past_key_values: Some(&cache), ..inputs };
    let fewer = ids[..LENGTH].to_vec();
    let mut short = cache.clone();
    short.layers.pop();
    for (model, inputs, part) in [
        (&encoder_model, with_encoder, "encoder_hidden_states was given to a text tower without add_cross_attention"),
        (&plain, with_encoder, "encoder_hidden_states was given to a text tower without add_cross_attention"),
        (&encoder_model, with_past, "past_key_values was given to a text tower without is_decoder"),
        (
            &plain,
            TextInputs { past_key_values: Some(&short), ..inputs },
            "past_key_values have 1 layers, the model has 2",
        ),
        (
            &plain,
            TextInputs { past_key_values: Some(&cache), ..tokens(&fewer) },
            "past_key_values has the shape [13, 4, 7, 8]",
        ),
        (&plain, TextInputs { attention_mask: Some(Mask::Keys(&mask)), ..with_past }, "needs 182"),
        (&plain, TextInputs { attention_mask: Some(Mask::Pairs(&mask)), ..inputs }, "the shape [13, 7, 7] needs 637"),
        (&cross, TextInputs { encoder_hidden_states: Some(&encoder), ..tokens(&fewer) }, "must have [1, 7, 32]"),
        (
            &cross,
            TextInputs { encoder_attention_mask: Some(Mask::Keys(&mask)), ..inputs },
            "without encoder_hidden_states",
        ),
        (&plain, TextInputs { position_ids: Some(&[512; LENGTH]), ..inputs }, "position_ids[0, 0] is 512"),
        (&plain, TextInputs { position_ids: Some(&[0; 5]), ..inputs }, "position_ids has 5 elements"),
        (&plain, TextInputs { token_type_ids: Some(&[16; BATCH * LENGTH]), ..inputs }, "token_type_ids[0, 0] is 16"),
        (
            &plain,
            TextInputs { attention_mask: Some(Mask::Keys(&[2; BATCH * LENGTH])), ..inputs },
            "attention_mask[0, 0] is 2",
        ),
        (&plain, TextInputs::new(Tokens::Ids(&[], [0, 3])), "empty"),
        (&plain, TextInputs::new(Tokens::Ids(&[1; 513], [1, 513])), "513 tokens are more than the 512 positions"),
    ] {
        let message = error(model, inputs);
        assert!(message.contains(part), "{message} and not {part}");
    }
}

//! From the names in a file to the names of Hugging Face's `ChineseCLIPModel`, transformers 4.51.3, and from these to `cn_clip`'s.
//!
//! Follows `convert_chinese_clip_original_pytorch_to_hf.py` (transformers 4.25.1) and `convert_state_dict` (`cn_clip` 1.6.0,
//! `clip/model.py`). Hugging Face has no ResNet; its tensors keep `cn_clip`'s names, below `vision_model.`.

use std::collections::BTreeMap;

/// What becomes of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It keeps its name.
    Keep,
    /// It gets another name.
    Rename(String),
    /// It becomes several tensors: equal shares of its rows.
    Split([String; 3]),
    /// It gets another name, and rows become columns.
    Transpose(String),
    /// It is left out.
    Drop {
        /// What it would be called.
        name: String,
        /// Why.
        reason: &'static str,
    },
}

/// A family of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `text_model.…`, `vision_model.…`, and old spellings of them.
    HuggingFace,
    /// `bert.…`, `visual.…` of a ViT.
    CnClipVit,
    /// `bert.…`, `visual.…` of a ResNet.
    CnClipResNet,
}

/// Written by `DistributedDataParallel` in front of every name.
pub(crate) const PARALLEL: &str = "module.";

/// Ends of names that are no parameters of the joint model.
///
/// Nothing else is ever left out: an unknown tensor is an error of the loader.
const DROPPED: &[(&str, &str)] = &[
    // Persistent buffers of transformers before 4.31: 0, 1, 2, …
    (".embeddings.position_ids", "a buffer that counts positions"),
    // Buffer of BERT embeddings in transformers 4.9 to 4.30: zeros.
    (".embeddings.token_type_ids", "a buffer of zeros"),
    // `ChineseCLIPTextModel(add_pooling_layer=True)`; the joint model has no text pooler.
    ("text_model.pooler.dense.weight", "the text pooler, which the joint model does not use"),
    ("text_model.pooler.dense.bias", "the text pooler, which the joint model does not use"),
    // `BatchNorm2d`: how many batches the running averages have seen.
    (".num_batches_tracked", "a counter of training"),
];

/// Ends of names as TensorFlow spelled them; transformers renames them, too (`_fix_state_dict_key_on_load`).
const RENAMED: &[(&str, &str)] = &[("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")];

/// Stored as `[in, out]` by `cn_clip`, as `[out, in]` by Hugging Face.
const TRANSPOSED: &[(&str, &str)] =
    &[("text_projection", "text_projection.weight"), ("visual.proj", "visual_projection.weight")];

/// Starts of `cn_clip`'s names, the first that fits counts.
const TEXT: (&str, &str) = ("bert.", "text_model.");
const RESNET: (&str, &str) = ("visual.", "vision_model.");
const VIT: &[(&str, &str)] = &[
    TEXT,
    ("visual.class_embedding", "vision_model.embeddings.class_embedding"),
    ("visual.positional_embedding", "vision_model.embeddings.position_embedding.weight"),
    ("visual.conv1.", "vision_model.embeddings.patch_embedding."),
    ("visual.ln_pre.", "vision_model.pre_layrnorm."),
    ("visual.ln_post.", "vision_model.post_layernorm."),
    ("visual.transformer.resblocks.", "vision_model.encoder.layers."),
];

/// Parts of names inside a layer of the ViT.
const LAYER: &[(&str, &str)] = &[
    (".ln_1.", ".layer_norm1."),
    (".ln_2.", ".layer_norm2."),
    (".mlp.c_fc.", ".mlp.fc1."),
    (".mlp.c_proj.", ".mlp.fc2."),
    (".attn.out_proj.", ".self_attn.out_proj."),
];

/// Query, key and value in one tensor: `torch.nn.MultiheadAttention`, and FlashAttention's `FlashMHA` in either tower. What
/// is written has the first kind, in the ViT alone.
const FUSED: &[(&str, [&str; 3])] = &[
    (".attn.in_proj_", [".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."]),
    (".attn.Wqkv.", [".self_attn.q_proj.", ".self_attn.k_proj.", ".self_attn.v_proj."]),
    (".attention.self.Wqkv.", [".attention.self.query.", ".attention.self.key.", ".attention.self.value."]),
];

/// In BERT, `FlashMHA` holds what is a layer of its own elsewhere.
const FLASH_OUTPUT: (&str, &str) = (".attention.self.out_proj.", ".attention.output.dense.");

impl Naming {
    /// The family of a file of weights.
    pub(crate) fn of<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let bare = names.map(|name| name.strip_prefix(PARALLEL).unwrap_or(name));
        let mut family = Self::HuggingFace;
        for name in bare {
            if name.starts_with("visual.attnpool.") {
                return Self::CnClipResNet;
            }
            if name.starts_with(RESNET.0) || name.starts_with(TEXT.0) {
                family = Self::CnClipVit;
            }
        }
        family
    }

    /// Whether all names carry the prefix of `DistributedDataParallel`.
    pub(crate) fn is_wrapped<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
        let first = names.next();
        first.is_some_and(|n| n.starts_with(PARALLEL)) && names.all(|n| n.starts_with(PARALLEL))
    }

    /// The fate of one tensor; `wrapped` as [`Self::is_wrapped`] says for its file.
    pub(crate) fn fate(self, name: &str, wrapped: bool) -> Fate {
        let bare = if wrapped { name.strip_prefix(PARALLEL).unwrap_or(name) } else { name };
        let new = match self {
            Self::HuggingFace => bare.to_string(),
            Self::CnClipVit => replace_start(bare, VIT),
            Self::CnClipResNet => replace_start(bare, &[TEXT, RESNET]),
        };
        let fits = |end: &str| new.ends_with(end) || end.strip_prefix('.') == Some(new.as_str());
        if let Some((_, reason)) = DROPPED.iter().find(|(end, _)| fits(end)) {
            return Fate::Drop { name: new, reason };
        }
        for (old, end) in RENAMED {
            if let Some(start) = new.strip_suffix(old) {
                return Fate::Rename(format!("{start}{end}"));
            }
        }
        if self != Self::HuggingFace {
            if let Some((_, new)) = TRANSPOSED.iter().find(|(old, _)| *old == bare) {
                return Fate::Transpose((*new).into());
            }
            if let Some((fused, parts)) = FUSED.iter().find(|(fused, _)| new.contains(fused)) {
                return Fate::Split(parts.map(|part| new.replace(fused, part)));
            }
        }
        let new = match self {
            Self::HuggingFace => new,
            Self::CnClipVit | Self::CnClipResNet => inside(&new),
        };
        if new == name { Fate::Keep } else { Fate::Rename(new) }
    }
}

fn replace_start(name: &str, starts: &[(&str, &str)]) -> String {
    let replaced = starts.iter().find_map(|(old, new)| Some(format!("{new}{}", name.strip_prefix(old)?)));
    replaced.unwrap_or_else(|| name.into())
}

fn inside(name: &str) -> String {
    let parts = LAYER.iter().filter(|_| name.starts_with("vision_model.encoder."));
    let found = parts.chain([&FLASH_OUTPUT]).find(|(old, _)| name.contains(old));
    found.map_or_else(|| name.into(), |(old, new)| name.replace(old, new))
}

/// A tensor as `cn_clip` has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Original {
    /// Its name, without the prefix of `DistributedDataParallel`.
    pub(crate) name: String,
    /// Hugging Face's names of what it is made of, one below the other.
    pub(crate) parts: Vec<String>,
    /// Whether it is the transposed of its one part.
    pub(crate) transposed: bool,
}

/// What `cn_clip` calls these tensors of Hugging Face's names; fails with a name that it has no place for.
pub(crate) fn originals<'a>(names: impl Iterator<Item = &'a str>, resnet: bool) -> Result<Vec<Original>, String> {
    let swapped =
        |table: &[(&'static str, &'static str)]| table.iter().map(|&(old, new)| (new, old)).collect::<Vec<_>>();
    let starts = if resnet { swapped(&[TEXT, RESNET]) } else { swapped(VIT) };
    let (in_proj, query_key_value) = FUSED[0];
    let mut fused: BTreeMap<String, [Option<String>; 3]> = BTreeMap::new();
    let mut originals = Vec::new();
    for name in names {
        let mut add = |name: String, part: &str, transposed| {
            originals.push(Original { name, parts: vec![part.into()], transposed });
        };
        let place = query_key_value.iter().position(|part| name.contains(part)).filter(|_| !resnet);
        if let Some((old, _)) = TRANSPOSED.iter().find(|(_, new)| *new == name) {
            add((*old).into(), name, true);
        } else if let Some(place) = place {
            let whole = replace_start(&name.replace(query_key_value[place], in_proj), &starts);
            fused.entry(whole).or_default()[place] = Some(name.into());
        } else {
            let new = replace_start(name, &starts);
            if new == name && name != "logit_scale" {
                return Err(name.into());
            }
            let part = LAYER.iter().find(|(_, part)| new.starts_with("visual.transformer.") && new.contains(part));
            add(part.map_or_else(|| new.clone(), |(old, part)| new.replace(part, old)), name, false);
        }
    }
    for (name, parts) in fused {
        let found: Vec<String> = parts.into_iter().flatten().collect();
        match <[String; 3]>::try_from(found) {
            Ok(parts) => originals.push(Original { name, parts: parts.into(), transposed: false }),
            Err(found) => return Err(found.join(", ")),
        }
    }
    Ok(originals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fates() {
        let fate = |name| Naming::HuggingFace.fate(name, false);
        assert_eq!(fate("logit_scale"), Fate::Keep);
        assert_eq!(fate("vision_model.pre_layrnorm.weight"), Fate::Keep);
        assert_eq!(fate("module.logit_scale"), Fate::Keep);
        assert_eq!(fate("text_model.embeddings.position_embeddings.weight"), Fate::Keep);
        assert!(matches!(fate("vision_model.embeddings.position_ids"), Fate::Drop { .. }));
        assert!(matches!(fate("embeddings.position_ids"), Fate::Drop { .. }), "of a tower alone");
        assert!(matches!(fate("text_model.pooler.dense.bias"), Fate::Drop { .. }));
        assert_eq!(fate("pooler.dense.bias"), Fate::Keep, "of the text tower alone");
        assert_eq!(
            fate("text_model.embeddings.LayerNorm.gamma"),
            Fate::Rename("text_model.embeddings.LayerNorm.weight".into())
        );
        assert_eq!(Naming::HuggingFace.fate("module.a.LayerNorm.beta", true), Fate::Rename("a.LayerNorm.bias".into()));
        assert_eq!(Naming::HuggingFace.fate("module.logit_scale", true), Fate::Rename("logit_scale".into()));
    }

    #[test]
    fn fates_of_cn_clip() {
        let renamed = |name: &str| Fate::Rename(name.into());
        let split = |names: [&str; 3]| Fate::Split(names.map(str::to_string));
        let layer = "vision_model.encoder.layers.3";
        let bert = "text_model.encoder.layer.1.attention";
        for (name, expected) in [
            ("logit_scale", Fate::Keep),
            ("text_projection", Fate::Transpose("text_projection.weight".into())),
            ("visual.proj", Fate::Transpose("visual_projection.weight".into())),
            ("visual.class_embedding", renamed("vision_model.embeddings.class_embedding")),
            ("visual.positional_embedding", renamed("vision_model.embeddings.position_embedding.weight")),
            ("visual.conv1.weight", renamed("vision_model.embeddings.patch_embedding.weight")),
            ("visual.ln_pre.bias", renamed("vision_model.pre_layrnorm.bias")),
            ("visual.ln_post.weight", renamed("vision_model.post_layernorm.weight")),
            ("visual.transformer.resblocks.3.ln_1.weight", renamed(&format!("{layer}.layer_norm1.weight"))),
            ("visual.transformer.resblocks.3.mlp.c_fc.bias", renamed(&format!("{layer}.mlp.fc1.bias"))),
            ("visual.transformer.resblocks.3.mlp.c_proj.bias", renamed(&format!("{layer}.mlp.fc2.bias"))),
            ("visual.transformer.resblocks.3.attn.out_proj.bias", renamed(&format!("{layer}.self_attn.out_proj.bias"))),
            (
                "visual.transformer.resblocks.3.attn.in_proj_bias",
                split(
                    ["q", "k", "v"].map(|p| format!("{layer}.self_attn.{p}_proj.bias")).each_ref().map(String::as_str),
                ),
            ),
            (
                "visual.transformer.resblocks.3.attn.Wqkv.weight",
                split(
                    ["q", "k", "v"]
                        .map(|p| format!("{layer}.self_attn.{p}_proj.weight"))
                        .each_ref()
                        .map(String::as_str),
                ),
            ),
            (
                "bert.encoder.layer.1.attention.self.Wqkv.weight",
                split(
                    ["query", "key", "value"].map(|p| format!("{bert}.self.{p}.weight")).each_ref().map(String::as_str),
                ),
            ),
            ("bert.encoder.layer.1.attention.self.out_proj.bias", renamed(&format!("{bert}.output.dense.bias"))),
            ("bert.encoder.layer.1.attention.self.key.bias", renamed(&format!("{bert}.self.key.bias"))),
            ("bert.embeddings.LayerNorm.gamma", renamed("text_model.embeddings.LayerNorm.weight")),
        ] {
            assert_eq!(Naming::CnClipVit.fate(name, false), expected, "{name}");
            assert_eq!(
                Naming::CnClipVit.fate(&format!("module.{name}"), true),
                match expected {
                    Fate::Keep => renamed(name),
                    other => other,
                }
            );
        }
        assert!(matches!(Naming::CnClipVit.fate("bert.pooler.dense.weight", false), Fate::Drop { .. }));
        let fate = |name| Naming::CnClipResNet.fate(name, false);
        assert_eq!(fate("visual.conv1.weight"), renamed("vision_model.conv1.weight"));
        assert_eq!(fate("visual.layer1.0.downsample.0.weight"), renamed("vision_model.layer1.0.downsample.0.weight"));
        assert_eq!(fate("visual.attnpool.c_proj.bias"), renamed("vision_model.attnpool.c_proj.bias"));
        assert!(matches!(fate("visual.bn1.num_batches_tracked"), Fate::Drop { .. }));
    }

    #[test]
    fn originals_lead_back() {
        let vit = [
            "logit_scale",
            "text_projection",
            "visual.proj",
            "visual.class_embedding",
            "visual.conv1.weight",
            "visual.positional_embedding",
            "visual.ln_post.bias",
            "visual.transformer.resblocks.0.attn.in_proj_weight",
            "visual.transformer.resblocks.0.attn.out_proj.weight",
            "visual.transformer.resblocks.0.mlp.c_proj.weight",
            "visual.transformer.resblocks.0.ln_2.bias",
            "bert.encoder.layer.0.attention.self.value.weight",
        ];
        let resnet = [
            "logit_scale",
            "text_projection",
            "visual.conv1.weight",
            "visual.attnpool.q_proj.bias",
            "visual.layer4.2.bn3.running_var",
            "bert.embeddings.LayerNorm.bias",
        ];
        for (naming, names) in [(Naming::CnClipVit, &vit[..]), (Naming::CnClipResNet, &resnet)] {
            let mut ours = Vec::new();
            for name in names {
                match naming.fate(name, false) {
                    Fate::Keep => ours.push((*name).to_string()),
                    Fate::Rename(new) | Fate::Transpose(new) => ours.push(new),
                    Fate::Split(parts) => ours.extend(parts),
                    Fate::Drop { reason, .. } => panic!("{name}: {reason}"),
                }
            }
            ours.sort();
            let back = originals(ours.iter().map(String::as_str), naming == Naming::CnClipResNet).unwrap();
            let mut found: Vec<&str> = back.iter().map(|original| original.name.as_str()).collect();
            let mut expected = names.to_vec();
            found.sort_unstable();
            expected.sort_unstable();
            assert_eq!(found, expected);
            for original in back {
                assert_eq!(original.transposed, original.name.ends_with("proj") || original.name == "text_projection");
            }
        }
        let layer = "vision_model.encoder.layers.0.self_attn";
        let fused = ["k", "v", "q"].map(|p| format!("{layer}.{p}_proj.bias"));
        let back = originals(fused.iter().map(String::as_str), false).unwrap();
        assert_eq!(back[0].parts, ["q", "k", "v"].map(|p| format!("{layer}.{p}_proj.bias")));
        assert_eq!(originals(fused[..2].iter().map(String::as_str), false), Err(fused[..2].join(", ")));
        assert_eq!(originals(["visual.x"].into_iter(), false), Err("visual.x".into()));
    }

    #[test]
    fn families() {
        let of = |names: &[&'static str]| Naming::of(names.iter().copied());
        assert_eq!(of(&["module.logit_scale", "module.visual.proj"]), Naming::CnClipVit);
        assert_eq!(of(&["bert.embeddings.LayerNorm.bias", "visual.attnpool.c_proj.bias"]), Naming::CnClipResNet);
        assert_eq!(of(&["logit_scale", "vision_model.conv1.weight"]), Naming::HuggingFace);
        assert_eq!(of(&[]), Naming::HuggingFace);
    }

    #[test]
    fn the_prefix_counts_only_where_every_name_has_it() {
        assert!(Naming::is_wrapped(["module.a", "module.b"].into_iter()));
        assert!(!Naming::is_wrapped(["module.a", "b"].into_iter()));
        assert!(!Naming::is_wrapped(std::iter::empty()));
    }
}

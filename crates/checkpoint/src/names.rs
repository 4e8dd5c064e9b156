//! From the names in a file to the names of Hugging Face's `ChineseCLIPModel`, transformers 4.51.3: what is renamed, what is dropped.
//!
//! A table per family of checkpoints. There is one so far; the other one (`cn_clip`) will be a second [`Naming`].

/// What becomes of a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It keeps its name.
    Keep,
    /// It gets another name.
    Rename(String),
    /// It is left out, for this reason.
    Drop(&'static str),
}

/// A family of names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Naming {
    /// `text_model.…`, `vision_model.…`, and old spellings of them.
    HuggingFace,
}

/// Written by `DistributedDataParallel` in front of every name.
const PARALLEL: &str = "module.";

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
];

/// Ends of names as TensorFlow spelled them; transformers renames them, too (`_fix_state_dict_key_on_load`).
const RENAMED: &[(&str, &str)] = &[("LayerNorm.gamma", "LayerNorm.weight"), ("LayerNorm.beta", "LayerNorm.bias")];

impl Naming {
    /// Whether all names carry the prefix of `DistributedDataParallel`.
    pub(crate) fn is_wrapped<'a>(mut names: impl Iterator<Item = &'a str>) -> bool {
        let first = names.next();
        first.is_some_and(|n| n.starts_with(PARALLEL)) && names.all(|n| n.starts_with(PARALLEL))
    }

    /// The fate of one tensor; `wrapped` as [`Self::is_wrapped`] says for its file.
    pub(crate) fn fate(self, name: &str, wrapped: bool) -> Fate {
        let Self::HuggingFace = self;
        let bare = if wrapped { name.strip_prefix(PARALLEL).unwrap_or(name) } else { name };
        if let Some((_, reason)) = DROPPED.iter().find(|(end, _)| bare.ends_with(end)) {
            return Fate::Drop(reason);
        }
        for (old, new) in RENAMED {
            if let Some(start) = bare.strip_suffix(old) {
                return Fate::Rename(format!("{start}{new}"));
            }
        }
        if bare.len() == name.len() { Fate::Keep } else { Fate::Rename(bare.into()) }
    }
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
        assert!(matches!(fate("vision_model.embeddings.position_ids"), Fate::Drop(_)));
        assert!(matches!(fate("text_model.pooler.dense.bias"), Fate::Drop(_)));
        assert_eq!(
            fate("text_model.embeddings.LayerNorm.gamma"),
            Fate::Rename("text_model.embeddings.LayerNorm.weight".into())
        );
        assert_eq!(Naming::HuggingFace.fate("module.a.LayerNorm.beta", true), Fate::Rename("a.LayerNorm.bias".into()));
        assert_eq!(Naming::HuggingFace.fate("module.logit_scale", true), Fate::Rename("logit_scale".into()));
    }

    #[test]
    fn the_prefix_counts_only_where_every_name_has_it() {
        assert!(Naming::is_wrapped(["module.a", "module.b"].into_iter()));
        assert!(!Naming::is_wrapped(["module.a", "b"].into_iter()));
        assert!(!Naming::is_wrapped(std::iter::empty()));
    }
}

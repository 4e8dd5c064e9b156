//! Attention heads taken away for good.
//!
//! Follows `prune_heads` of `PreTrainedModel` and `ChineseCLIPTextAttention`, transformers 4.51.3: heads keep the numbers that they
//! had at first, a second pruning adds to the first, and cross-attention keeps all of its heads.

use std::collections::{BTreeMap, BTreeSet};

use chinese_clip_config::TextConfig;

use crate::{TextError, TextModel};

impl TextModel {
    /// The tower without some heads of some layers, and its configuration. `config` is the one that the tower was made of.
    pub fn prune_heads(
        mut self,
        pruned: &BTreeMap<usize, BTreeSet<usize>>,
        config: &TextConfig,
    ) -> Result<(Self, TextConfig), TextError> {
        let mut config = config.clone();
        for (&layer, heads) in pruned {
            let before = config.pruned_heads.get(&layer).cloned().unwrap_or_default();
            let after: BTreeSet<usize> = before.union(heads).copied().collect();
            let all = 0..config.num_attention_heads;
            let Some(place) = self
                .layers
                .get_mut(layer)
                .filter(|_| after.iter().all(|head| all.contains(head)) && after.len() < all.len())
            else {
                return Err(TextError::Prune { layer, heads: after.into_iter().collect() });
            };
            let left = all.filter(|head| !before.contains(head)).enumerate();
            let kept: Vec<usize> = left.filter(|(_, head)| !after.contains(head)).map(|(i, _)| i).collect();
            place.attention = place.attention.clone().keep_heads(&kept);
            if !after.is_empty() {
                config.pruned_heads.insert(layer, after);
            }
        }
        Ok((self, config))
    }
}

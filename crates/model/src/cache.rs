//! Text embeddings that are kept: searches and labels come again.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use chinese_clip_preprocess::Encoding;
use lru::LruCache;

use crate::{Embeddings, Error};

/// Features by the token ids that they were computed of. Ids say all that the tower sees: the text in its dialect, cut to its length.
#[derive(Debug)]
pub(crate) struct TextCache(Mutex<LruCache<Vec<u32>, Arc<[f32]>>>);

impl TextCache {
    /// Room for so many texts.
    pub(crate) fn new(texts: NonZeroUsize) -> Self {
        Self(Mutex::new(LruCache::new(texts)))
    }

    /// Features of width `width`; `compute` gets the encodings that have none, each once.
    pub(crate) fn features(
        &self,
        encodings: &[Encoding],
        width: usize,
        compute: impl FnOnce(&[Encoding]) -> Result<Embeddings, Error>,
    ) -> Result<Embeddings, Error> {
        let mut known: BTreeMap<&[u32], Arc<[f32]>> = BTreeMap::new();
        let mut missing: BTreeMap<&[u32], Encoding> = BTreeMap::new();
        {
            let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for encoding in encodings {
                match cache.get(&encoding.ids) {
                    Some(row) => drop(known.insert(&encoding.ids, row.clone())),
                    None => drop(missing.insert(&encoding.ids, encoding.clone())),
                }
            }
        }
        if !missing.is_empty() {
            let (ids, missing): (Vec<&[u32]>, Vec<Encoding>) = missing.into_iter().unzip();
            let computed = compute(&missing)?;
            let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            for (ids, row) in ids.into_iter().zip(computed.values().chunks_exact(width)) {
                let row: Arc<[f32]> = row.into();
                cache.put(ids.to_vec(), row.clone());
                known.insert(ids, row);
            }
        }
        let rows = encodings.iter().filter_map(|encoding| known.get(encoding.ids.as_slice()));
        Ok(Embeddings::new(rows.flat_map(|row| row.iter().copied()).collect(), width))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(id: u32) -> Encoding {
        Encoding { ids: vec![2, id, 3], full_length: 3 }
    }

    /// The features of texts, and the texts that had to be computed for them.
    fn ask(cache: &TextCache, ids: &[u32]) -> (Vec<f32>, Vec<u32>) {
        let mut computed = Vec::new();
        let encodings: Vec<Encoding> = ids.iter().map(|id| encoding(*id)).collect();
        let features = cache.features(&encodings, 2, |missing| {
            computed = missing.iter().map(|encoding| encoding.ids[1]).collect();
            Ok(Embeddings::new(computed.iter().flat_map(|id| [*id as f32, -1.0]).collect(), 2))
        });
        computed.sort_unstable();
        (features.unwrap().values().chunks(2).map(|row| row[0]).collect(), computed)
    }

    #[test]
    fn a_text_is_computed_once_until_it_is_the_oldest() {
        let cache = TextCache::new(NonZeroUsize::new(3).unwrap());
        assert_eq!(ask(&cache, &[5, 6, 5]), (vec![5.0, 6.0, 5.0], vec![5, 6]));
        assert_eq!(ask(&cache, &[6, 7, 5]), (vec![6.0, 7.0, 5.0], vec![7]));
        assert_eq!(ask(&cache, &[8]), (vec![8.0], vec![8])); // 6 is the oldest
        assert_eq!(ask(&cache, &[5, 6, 7, 8]), (vec![5.0, 6.0, 7.0, 8.0], vec![6]));
        assert_eq!(ask(&cache, &[1, 2, 3, 4, 5]), (vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![1, 2, 3, 4, 5]));
    }

    #[test]
    fn an_error_is_handed_on_and_leaves_nothing() {
        let cache = TextCache::new(NonZeroUsize::MIN);
        let failed = cache.features(&[encoding(1)], 2, |_| Err(Error::Nothing { what: "texts" }));
        assert!(matches!(failed, Err(Error::Nothing { .. })));
        assert_eq!(ask(&cache, &[1]).1, [1]);
    }
}

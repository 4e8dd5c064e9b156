//! `--limit NAME=N`: the table of limits, each row by its name.

use chinese_clip::Limits;

/// A limit and its new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limit {
    name: String,
    value: u64,
}

type Set = fn(&mut Limits, u64);

const NAMES: [(&str, Set); 9] = [
    ("image-pixels", |limits, value| limits.image_pixels = value),
    ("image-bytes", |limits, value| limits.image_bytes = value),
    ("json-bytes", |limits, value| limits.json_bytes = value),
    ("vocabulary-bytes", |limits, value| limits.vocabulary_bytes = value),
    ("safetensors-header-bytes", |limits, value| limits.safetensors_header_bytes = value),
    ("pickle-bytes", |limits, value| limits.pickle_bytes = value),
    ("pickle-nodes", |limits, value| limits.pickle_nodes = value as usize),
    ("text-bytes", |limits, value| limits.text_bytes = value as usize),
    ("batch", |limits, value| limits.batch = value as usize),
];

/// Reads `NAME=N`.
pub(crate) fn parse(text: &str) -> Result<Limit, String> {
    let names = || NAMES.map(|(name, _)| name).join(", ");
    let (name, value) = text.split_once('=').ok_or_else(|| format!("write NAME=N; the names are {}", names()))?;
    if !NAMES.iter().any(|(known, _)| *known == name) {
        return Err(format!("no limit is called `{name}`; the names are {}", names()));
    }
    let value = value.parse().map_err(|_| format!("`{value}` is not a number"))?;
    Ok(Limit { name: name.into(), value })
}

/// Changes the table.
pub(crate) fn apply(changes: &[Limit], limits: &mut Limits) {
    for change in changes {
        if let Some((_, set)) = NAMES.iter().find(|(name, _)| *name == change.name) {
            set(limits, change.value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_have_names() {
        let mut limits = Limits::default();
        apply(&[parse("image-pixels=7").unwrap(), parse("batch=2").unwrap()], &mut limits);
        assert_eq!((limits.image_pixels, limits.batch), (7, 2));
        assert!(parse("image-pixels").is_err() && parse("pixels=3").is_err() && parse("batch=-1").is_err());
    }
}

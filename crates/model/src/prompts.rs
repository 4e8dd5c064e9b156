//! Prompt templates: a label becomes several sentences, a class the mean of their embeddings.
//!
//! Follows `cn_clip/eval/zeroshot_evaluation.py` (`zero_shot_classifier`): prompts are normalised, averaged and normalised
//! again.

use crate::Error;

/// Templates that suit photographs and drawings alike. An English one would change the scores.
pub const DEFAULT_TEMPLATES: [&str; 3] = ["{}", "一张{}的图片", "一张{}的照片"];

/// Sentences with one place, `{}`, for a label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Templates(Vec<String>);

impl Default for Templates {
    fn default() -> Self {
        Self(DEFAULT_TEMPLATES.map(str::to_string).to_vec())
    }
}

impl Templates {
    /// Templates of one's own; each must have `{}` exactly once, and there must be at least one.
    pub fn new<T: Into<String>>(templates: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let templates: Vec<String> = templates.into_iter().map(Into::into).collect();
        if templates.is_empty() {
            return Err(Error::Nothing { what: "templates" });
        }
        match templates.iter().map(|t| (t, t.matches("{}").count())).find(|(_, found)| *found != 1) {
            Some((template, found)) => Err(Error::Template { template: template.clone(), found }),
            None => Ok(Self(templates)),
        }
    }

    /// The prompts of one label.
    pub fn prompts(&self, label: &str) -> Vec<String> {
        self.0.iter().map(|template| template.replacen("{}", label, 1)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_has_one_place() {
        assert_eq!(Templates::new(["一张{}的图片"]).unwrap().prompts("猫{}"), ["一张猫{}的图片"]);
        for bad in ["猫", "{}{}"] {
            assert!(matches!(Templates::new([bad]), Err(Error::Template { .. })), "{bad}");
        }
        assert!(Templates::new(Vec::<String>::new()).is_err());
    }
}

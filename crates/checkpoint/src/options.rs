//! How a checkpoint is found and what it may cost. The defaults read the environment variables of `huggingface_hub`.

use std::fmt;
use std::path::{Path, PathBuf};

use chinese_clip_config::Limits;

/// The public hub.
const HUB: &str = "https://huggingface.co";

/// Options of [`Checkpoint::open`](crate::Checkpoint::open).
///
/// [`OpenOptions::default`] is [`OpenOptions::from_env`]; [`OpenOptions::isolated`] reads no variable.
#[derive(Clone)]
pub struct OpenOptions {
    /// Branch, tag, commit or `refs/pr/N` on the hub; `main` if absent. Means nothing for a directory.
    pub revision: Option<String>,
    /// Folder of the hub's cache, in the layout of `huggingface_hub`; `None` if no home directory is known.
    pub cache: Option<PathBuf>,
    /// Access token; sent to `endpoint` alone.
    pub token: Option<String>,
    /// The hub, or a mirror of it, without a slash at the end.
    pub endpoint: String,
    /// Ask nobody: take what the cache has.
    pub offline: bool,
    /// Draw a progress bar on standard error, where that is a terminal.
    pub progress: bool,
    /// What a file may cost.
    pub limits: Limits,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::from_env()
    }
}

impl fmt::Debug for OpenOptions {
    /// Everything but the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("revision", &self.revision)
            .field("cache", &self.cache)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("endpoint", &self.endpoint)
            .field("offline", &self.offline)
            .field("progress", &self.progress)
            .field("limits", &self.limits)
            .finish()
    }
}

impl OpenOptions {
    /// Reads `HF_HOME`, `HF_HUB_CACHE`, `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_TOKEN` and what they fall back to in
    /// `huggingface_hub` 0.34 (`constants.py`): `XDG_CACHE_HOME`, `HUGGINGFACE_HUB_CACHE`, `TRANSFORMERS_OFFLINE`,
    /// `HUGGING_FACE_HUB_TOKEN`, `HF_TOKEN_PATH` and the file `token` in `HF_HOME`.
    pub fn from_env() -> Self {
        Self::from_variables(
            |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()),
            std::env::home_dir().as_deref(),
        )
    }

    /// The public hub, this cache, no token, whatever the environment says.
    pub fn isolated(cache: impl Into<PathBuf>) -> Self {
        Self {
            revision: None,
            cache: Some(cache.into()),
            token: None,
            endpoint: HUB.into(),
            offline: false,
            progress: false,
            limits: Limits::default(),
        }
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>, home: Option<&Path>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| variable(name));
        let path = |text: String| match (text.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(text),
        };
        let hf_home = first(&["HF_HOME"]).map(path).or_else(|| {
            let cache = first(&["XDG_CACHE_HOME"]).map(path).or_else(|| Some(home?.join(".cache")));
            Some(cache?.join("huggingface"))
        });
        let token_file =
            first(&["HF_TOKEN_PATH"]).map(path).or_else(|| hf_home.as_ref().map(|folder| folder.join("token")));
        let token = first(&["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"])
            .or_else(|| std::fs::read_to_string(token_file?).ok())
            .map(|token| token.trim().to_string())
            .filter(|token| !token.is_empty());
        let is_on = |value: String| ["1", "on", "yes", "true"].contains(&value.trim().to_ascii_lowercase().as_str());
        Self {
            cache: first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"])
                .map(path)
                .or_else(|| Some(hf_home.as_ref()?.join("hub"))),
            token,
            endpoint: first(&["HF_ENDPOINT"]).map_or(HUB.into(), |url| url.trim().trim_end_matches('/').to_string()),
            offline: ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].into_iter().filter_map(&variable).any(is_on),
            ..Self::isolated("")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> OpenOptions {
        let variable = |name: &str| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_string());
        OpenOptions::from_variables(variable, Some(Path::new("/home/someone")))
    }

    #[test]
    fn cache_folder() {
        for (variables, cache) in [
            (&[][..], "/home/someone/.cache/huggingface/hub"),
            (&[("XDG_CACHE_HOME", "/x")], "/x/huggingface/hub"),
            (&[("HF_HOME", "/h"), ("XDG_CACHE_HOME", "/x")], "/h/hub"),
            (&[("HF_HOME", "~/h")], "/home/someone/h/hub"),
            (&[("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/old"),
            (&[("HF_HUB_CACHE", "/c"), ("HF_HOME", "/h"), ("HUGGINGFACE_HUB_CACHE", "/old")], "/c"),
        ] {
            assert_eq!(with(variables).cache.unwrap(), PathBuf::from(cache), "{variables:?}");
        }
        assert_eq!(OpenOptions::from_variables(|_| None, None).cache, None);
    }

    #[test]
    fn endpoint_offline_and_token() {
        let options = with(&[]);
        assert_eq!((options.endpoint.as_str(), options.offline, &options.token), (HUB, false, &None));
        let mirror =
            with(&[("HF_ENDPOINT", "https://hf-mirror.com/"), ("HF_HUB_OFFLINE", "1"), ("HF_TOKEN", " hf_secret\n")]);
        assert_eq!((mirror.endpoint.as_str(), mirror.offline), ("https://hf-mirror.com", true));
        assert_eq!(mirror.token.as_deref(), Some("hf_secret"));
        assert!(!format!("{mirror:?}").contains("secret"), "the token is not printed");
        for (value, offline) in [("0", false), ("off", false), ("", false), ("TRUE", true), ("yes", true)] {
            assert_eq!(with(&[("HF_HUB_OFFLINE", value)]).offline, offline, "{value}");
        }
        assert!(with(&[("TRANSFORMERS_OFFLINE", "1")]).offline);
    }

    #[test]
    fn token_file() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("token"), "hf_from_file\n").unwrap();
        let folder = home.path().to_str().unwrap();
        assert_eq!(with(&[("HF_HOME", folder)]).token.as_deref(), Some("hf_from_file"));
        assert_eq!(with(&[("HF_HOME", folder), ("HF_TOKEN", "hf_first")]).token.as_deref(), Some("hf_first"));
        let path = home.path().join("token");
        assert_eq!(with(&[("HF_TOKEN_PATH", path.to_str().unwrap())]).token.as_deref(), Some("hf_from_file"));
    }
}

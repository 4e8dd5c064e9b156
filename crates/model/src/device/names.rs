//! The names of devices, and what makes a build have them.

use crate::Error;

/// A backend of burn; its name is also its cargo feature.
struct Backend {
    name: &'static str,
    /// Whether a place may follow: `cuda:1`.
    places: bool,
}

const BACKENDS: [Backend; 10] = [
    Backend { name: "flex", places: false },
    Backend { name: "ndarray", places: false },
    Backend { name: "tch", places: true },
    Backend { name: "wgpu", places: true },
    Backend { name: "vulkan", places: true },
    Backend { name: "metal", places: true },
    Backend { name: "webgpu", places: false },
    Backend { name: "cuda", places: true },
    Backend { name: "rocm", places: true },
    Backend { name: "cpu", places: false },
];

/// A name taken apart: `tch:cuda:1` is the place `cuda:1` of `tch`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Name<'a> {
    pub(super) backend: &'static str,
    pub(super) place: Option<&'a str>,
}

pub(super) fn parse(name: &str) -> Result<Name<'_>, Error> {
    let (head, place) = name.split_once(':').map_or((name, None), |(head, place)| (head, Some(place)));
    let absent = |reason: &str, hint: String| Error::Device { name: name.into(), reason: reason.into(), hint };
    let Some(backend) = BACKENDS.iter().find(|backend| backend.name == head) else {
        let known = BACKENDS.map(|backend| backend.name).join(", ");
        return Err(absent(
            "unknown name",
            format!("known: {known}; `chinese-clip devices` lists those of this build"),
        ));
    };
    let numbered = |place: &str| place.parse::<usize>().is_ok();
    let of_torch = |place: &str| matches!(place, "mps" | "cuda") || place.strip_prefix("cuda:").is_some_and(numbered);
    match place {
        Some(_) if !backend.places => Err(absent("there is only one", format!("write `{head}`"))),
        Some(place) if head == "tch" && !of_torch(place) => {
            Err(absent("libtorch has no such place", "write `tch`, `tch:cuda:0` or `tch:mps`".into()))
        }
        Some(place) if head != "tch" && !numbered(place) => {
            Err(absent("not a number after the colon", format!("write `{head}` or `{head}:0`")))
        }
        place => Ok(Name { backend: backend.name, place }),
    }
}

/// How to get a build with `backend`.
pub(super) fn build_hint(backend: &str) -> String {
    format!("build it in: cargo build --release --features {backend}; docs/backends.md says what that needs")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_taken_apart() {
        for (name, backend, place) in [
            ("flex", "flex", None),
            ("tch:cuda:1", "tch", Some("cuda:1")),
            ("tch:mps", "tch", Some("mps")),
            ("wgpu:0", "wgpu", Some("0")),
            ("cuda", "cuda", None),
        ] {
            assert_eq!(parse(name).unwrap(), Name { backend, place });
        }
    }

    #[test]
    fn wrong_names_are_refused_with_a_way_out() {
        for (name, expected) in [
            ("", "known: flex"),
            ("gpu", "known: flex"),
            ("Flex", "known: flex"),
            ("flex:0", "write `flex`"),
            ("wgpu:", "write `wgpu` or `wgpu:0`"),
            ("cuda:-1", "write `cuda` or `cuda:0`"),
            ("tch:0", "`tch:cuda:0`"),
            ("tch:cuda:x", "`tch:cuda:0`"),
        ] {
            let hint = parse(name).unwrap_err().hint().unwrap();
            assert!(hint.contains(expected), "{name}: {hint}");
        }
    }
}

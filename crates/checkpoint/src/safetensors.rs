//! The safetensors format: the header of a mapped file, and the header of a file that is written.
//!
//! Follows the rules of the `safetensors` crate, 0.8 (`SafeTensors::read_metadata`): the header's length in 8 bytes, the header,
//! then the tensors without holes, overlaps or a rest. differs: names that occur twice are an error here, and so is a
//! metadata value that is no string; messages name file and tensor, which is why the header is parsed here.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use chinese_clip_config::Limits;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};

use crate::mmap::Region;
use crate::sniff::sniff;
use crate::weights::{Part, View};
use crate::{CheckpointError, Dtype};

const METADATA: &str = "__metadata__";
/// Bytes of the length field.
const PREFIX: usize = 8;

/// One tensor of a header.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    data_offsets: (usize, usize),
}

/// The header in the order of the file; a map would lose names that occur twice.
struct Header {
    metadata: BTreeMap<String, String>,
    tensors: Vec<(String, Entry)>,
}

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Header;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from names to tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header, A::Error> {
                let mut header = Header { metadata: BTreeMap::new(), tensors: Vec::new() };
                while let Some(name) = map.next_key::<String>()? {
                    if name == METADATA {
                        header.metadata = map.next_value()?;
                    } else {
                        header.tensors.push((name, map.next_value()?));
                    }
                }
                Ok(header)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

/// Maps and parses a file.
pub(crate) fn open(path: &Path, limits: &Limits) -> Result<Part, CheckpointError> {
    parse(Region::open(path)?, path, limits)
}

/// Parses the header of a region; `path` is for messages.
pub(crate) fn parse(region: Region, path: &Path, limits: &Limits) -> Result<Part, CheckpointError> {
    let bytes = region.bytes();
    sniff(path, bytes)?;
    let problem = |problem: String| CheckpointError::Header { path: path.into(), problem };
    let truncated =
        |expected: u64| CheckpointError::Truncated { path: path.into(), expected, found: bytes.len() as u64 };

    let Some((length, rest)) = bytes.split_first_chunk::<PREFIX>() else {
        return Err(truncated(PREFIX as u64));
    };
    let length = u64::from_le_bytes(*length);
    if rest.first().is_some_and(|&b| b != b'{') {
        return Err(problem("the header does not start with `{`, so this is no safetensors file".into()));
    }
    if length > limits.safetensors_header_bytes {
        let limit = limits.safetensors_header_bytes;
        return Err(CheckpointError::TooLarge { path: path.into(), what: "the header", found: length, limit });
    }
    let Some((header, data)) = usize::try_from(length).ok().and_then(|n| rest.split_at_checked(n)) else {
        return Err(truncated(length.saturating_add(PREFIX as u64)));
    };
    let header: Header = serde_json::from_slice(header).map_err(|error| problem(error.to_string()))?;

    let start = bytes.len() - data.len();
    let mut tensors = Vec::with_capacity(header.tensors.len());
    for (name, entry) in header.tensors {
        let view = view(&entry, start).map_err(|what| problem(format!("tensor `{name}` {what}")))?;
        tensors.push((name, view));
    }
    check_layout(&tensors, start, bytes.len(), path)?;
    check_names(&tensors, path)?;
    Ok(Part { path: path.into(), region, tensors, metadata: header.metadata })
}

fn view(entry: &Entry, data_start: usize) -> Result<View, String> {
    let dtype = Dtype::from_name(&entry.dtype).ok_or_else(|| format!("has the unsupported type {}", entry.dtype))?;
    let (begin, end) = entry.data_offsets;
    let size = entry.shape.iter().try_fold(dtype.size(), |size, &n| size.checked_mul(n));
    let size = size.ok_or_else(|| format!("has more elements than can be counted: shape {:?}", entry.shape))?;
    let length = end.checked_sub(begin).ok_or_else(|| format!("ends ({end}) before it begins ({begin})"))?;
    if length != size {
        return Err(format!("has {length} bytes, but {dtype} {:?} needs {size}", entry.shape));
    }
    let at = |offset: usize| data_start.checked_add(offset).ok_or_else(|| format!("has the offset {offset}"));
    Ok(View { dtype, shape: entry.shape.clone(), span: at(begin)?..at(end)?, strides: None })
}

/// The tensors must cover the data: no hole, no overlap, nothing behind the last one.
fn check_layout(tensors: &[(String, View)], start: usize, end: usize, path: &Path) -> Result<(), CheckpointError> {
    let problem = |problem: String| Err(CheckpointError::Header { path: path.into(), problem });
    let mut order: Vec<_> = tensors.iter().collect();
    order.sort_by_key(|(_, view)| (view.span.start, view.span.end));
    let mut reached = start;
    for (name, view) in order {
        let (found, expected) = (view.span.start - start, reached - start);
        if found < expected {
            return problem(format!(
                "tensor `{name}` overlaps the one before it: begins at {found}, not at {expected}"
            ));
        }
        if found > expected {
            return problem(format!("there is a hole before tensor `{name}`: begins at {found}, not at {expected}"));
        }
        reached = view.span.end;
    }
    match reached.cmp(&end) {
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Less => problem(format!("{} bytes follow the last tensor", end - reached)),
        std::cmp::Ordering::Greater => {
            Err(CheckpointError::Truncated { path: path.into(), expected: reached as u64, found: end as u64 })
        }
    }
}

fn check_names(tensors: &[(String, View)], path: &Path) -> Result<(), CheckpointError> {
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(CheckpointError::Duplicate { path: PathBuf::from(path), tensor: pair[0].into() }),
        None => Ok(()),
    }
}

/// The first bytes of a file with these tensors, in this order: length and header, padded to 8 bytes.
pub(crate) fn header<'a>(
    metadata: &BTreeMap<String, String>,
    tensors: impl Iterator<Item = (&'a str, Dtype, &'a [usize])>,
) -> Vec<u8> {
    let mut root = serde_json::Map::new();
    root.insert(METADATA.into(), serde_json::json!(metadata));
    let mut offset = 0;
    for (name, dtype, shape) in tensors {
        let end = offset + shape.iter().product::<usize>() * dtype.size();
        let entry = serde_json::json!({"dtype": dtype.name(), "shape": shape, "data_offsets": [offset, end]});
        root.insert(name.into(), entry);
        offset = end;
    }
    let mut json = serde_json::Value::Object(root).to_string().into_bytes();
    json.resize(json.len().next_multiple_of(PREFIX), b' ');
    let mut bytes = (json.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut json);
    bytes
}

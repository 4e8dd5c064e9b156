//! From the object of a pickle to views of the file: finds the table of weights and checks every claim against the storages.

use super::Archive;
use super::machine::{Object, TensorClaim, Value};
use crate::CheckpointError;
use crate::weights::View;

/// Key under which training scripts keep the weights.
pub(super) const STATE_DICT: &str = "state_dict";

/// The tensors of the object, which is a state dict or has one under `state_dict`.
pub(super) fn tensors(object: &Object<'_>, archive: &Archive<'_>) -> Result<Vec<(String, View)>, CheckpointError> {
    let problem = |problem: String| CheckpointError::Torch { path: archive.path.into(), problem };
    let Value::Dict(root) = object.root else {
        return Err(problem(format!("it holds {}, not a table of weights", object.root.kind())));
    };
    let nested = object.dicts[root].iter().find_map(|(key, value)| match (key, value) {
        (Value::Str(STATE_DICT), Value::Dict(index)) => Some(*index),
        _ => None,
    });
    let table = &object.dicts[nested.unwrap_or(root)];
    if table.is_empty() {
        return Err(problem("the table of weights is empty".into()));
    }
    let mut tensors = Vec::with_capacity(table.len());
    for (key, value) in table {
        let Value::Str(name) = *key else {
            return Err(problem(format!("a key of the table of weights is {}, not a name", key.kind())));
        };
        let Value::Tensor(index) = *value else {
            return Err(problem(format!("`{name}` is {}, not a tensor", value.kind())));
        };
        let view = view(&object.tensors[index], archive).map_err(|problem| CheckpointError::Tensor {
            path: archive.path.into(),
            tensor: name.into(),
            problem,
        })?;
        tensors.push((name.to_string(), view));
    }
    let mut names: Vec<&str> = tensors.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    match names.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => Err(CheckpointError::Duplicate { path: archive.path.into(), tensor: pair[0].into() }),
        None => Ok(tensors),
    }
}

/// Checks what the pickle says about a tensor against the bytes that are there.
fn view(claim: &TensorClaim<'_>, archive: &Archive<'_>) -> Result<View, String> {
    let (key, dtype) = (claim.storage.key, claim.storage.dtype);
    let storage = archive.entry(&format!("data/{key}")).ok_or_else(|| format!("its storage data/{key} is missing"))?;
    let held = storage.len() / dtype.size();
    let count = usize::try_from(claim.storage.count).ok().filter(|&count| count <= held).ok_or_else(|| {
        format!("its storage data/{key} should have {} elements of {dtype} and has {held}", claim.storage.count)
    })?;

    let sizes = |values: &[i64]| values.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<usize>>>();
    let (Some(shape), Some(mut strides), Ok(offset)) =
        (sizes(&claim.shape), sizes(&claim.strides), usize::try_from(claim.offset))
    else {
        let (shape, strides, offset) = (&claim.shape, &claim.strides, claim.offset);
        return Err(format!("a negative size: shape {shape:?}, strides {strides:?}, offset {offset}"));
    };
    if shape.len() != strides.len() {
        return Err(format!("{} dimensions and {} strides", shape.len(), strides.len()));
    }
    let elements = shape.iter().try_fold(1_usize, |product, &n| product.checked_mul(n));
    let elements = elements
        .filter(|&n| n <= count)
        .ok_or_else(|| format!("shape {shape:?} has more elements than its storage data/{key}, which has {count}"))?;
    if elements == 0 {
        return Ok(View { dtype, shape, span: storage.start..storage.start, strides: None });
    }
    let last = shape
        .iter()
        .zip(&strides)
        .try_fold(offset, |last, (&n, &stride)| last.checked_add((n - 1).checked_mul(stride)?));
    let last = last.filter(|&last| last < count).ok_or_else(|| {
        format!("offset {offset}, shape {shape:?}, strides {strides:?} lead out of its storage data/{key} of {count}")
    })?;
    // The stride of a dimension of one element means nothing and may be anything.
    let mut row = 1;
    let mut contiguous = true;
    for (stride, &n) in strides.iter_mut().zip(&shape).rev() {
        if n == 1 {
            *stride = 0;
        }
        contiguous &= n == 1 || *stride == row;
        row *= n;
    }
    let start = storage.start + offset * dtype.size();
    let span = start..storage.start + (last + 1) * dtype.size();
    Ok(View { dtype, shape, span, strides: if contiguous { None } else { Some(strides) } })
}

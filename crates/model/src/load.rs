//! Fills a module with the tensors of a checkpoint, exactly: nothing missing, nothing unused, nothing left random.
//!
//! burn's own loader leaves a module half loaded after an error, and takes square matrices untransposed without a word;
//! this one goes by name, transposes what lies in a `Linear` (or lays it out for the kernels, straight from the file), and hands
//! out the module only when everything fits.

use std::borrow::Cow;
use std::collections::HashSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use chinese_clip_checkpoint::{CheckpointError, Dtype, Misshapen, Weights};
use chinese_clip_nn::{Packing, PreparedLinear};
use rayon::prelude::*;

use crate::Error;
use crate::device::{check_dtype, guarded};

/// Values that a thread copies at a time.
const PIECE: usize = 1 << 16;

/// The one scalar: its shape in a checkpoint is `[]`.
pub(crate) const LOGIT_SCALE: &str = "logit_scale";

/// Gives every parameter of `module` the tensors of the names that `names_of` makes of its path, side by side.
pub(crate) fn load<M: Module>(
    module: M,
    weights: &Weights,
    names_of: fn(&str) -> Vec<String>,
    dtype: DType,
    device: &Device,
) -> Result<M, Error> {
    load_part(module, weights, "", names_of, dtype, device)
}

/// The same of one part of a model: tensors whose names do not begin with `part` are left alone.
pub(crate) fn load_part<M: Module>(
    module: M,
    weights: &Weights,
    part: &str,
    names_of: fn(&str) -> Vec<String>,
    dtype: DType,
    device: &Device,
) -> Result<M, Error> {
    fill(module, part, Loader::new(weights, names_of, dtype, device))
}

/// The same of a module that is going to be packed: where it will have panels, they are made straight from the file.
pub(crate) fn load_packed<M: Module>(
    module: M,
    weights: &Weights,
    names_of: fn(&str) -> Vec<String>,
    (dtype, packing): (DType, Packing),
    device: &Device,
) -> Result<M, Error> {
    let loader = Loader::new(weights, names_of, dtype, device);
    fill(module, "", Loader { panels: packing == Packing::Whole, ..loader })
}

fn fill<M: Module>(module: M, part: &str, mut loader: Loader<'_>) -> Result<M, Error> {
    let Loader { weights, device, dtype, .. } = loader;
    check_dtype(dtype, device)?;
    let module = guarded(device, || module.map(&mut loader))?;
    if let Some(error) = loader.unreadable {
        return Err(error.into());
    }
    let (mut missing, mut misshapen) = (loader.missing, loader.misshapen);
    missing.sort();
    misshapen.sort_by(|a, b| a.tensor.cmp(&b.tensor));
    let unused = |name: &&str| name.starts_with(part) && !loader.used.contains(*name);
    let unexpected: Vec<String> = weights.names().filter(unused).map(str::to_string).collect();
    if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
        Ok(module)
    } else {
        Err(CheckpointError::Coverage { missing, unexpected, misshapen }.into())
    }
}

/// Names of the fields down to a parameter, and the type that each is a field of.
#[derive(Default)]
pub(crate) struct Path(Vec<(String, String)>);

impl Path {
    pub(crate) fn enter(&mut self, name: &str, container: &str) {
        self.0.push((name.into(), container.into()));
    }

    pub(crate) fn exit(&mut self) {
        self.0.pop();
    }

    pub(crate) fn dotted(&self) -> String {
        self.0.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(".")
    }

    /// Whether the parameter lies in a `Linear`, which burn keeps as `[in, out]` and a checkpoint as `[out, in]`.
    pub(crate) fn in_linear(&self) -> bool {
        self.in_container("Linear")
    }

    fn in_prepared_linear(&self) -> bool {
        self.in_container("PreparedLinear")
    }

    fn in_container(&self, end: &str) -> bool {
        self.0.last().is_some_and(|(_, container)| container.ends_with(end))
    }

    fn in_field(&self, field: &str) -> bool {
        self.0.iter().any(|(name, _)| name == field)
    }
}

struct Loader<'a> {
    weights: &'a Weights,
    names_of: fn(&str) -> Vec<String>,
    dtype: DType,
    device: &'a Device,
    panels: bool,
    path: Path,
    used: HashSet<String>,
    missing: Vec<String>,
    misshapen: Vec<Misshapen>,
    unreadable: Option<CheckpointError>,
}

impl<'a> Loader<'a> {
    fn new(weights: &'a Weights, names_of: fn(&str) -> Vec<String>, dtype: DType, device: &'a Device) -> Self {
        Self {
            weights,
            names_of,
            dtype,
            device,
            panels: false,
            path: Path::default(),
            used: HashSet::new(),
            missing: Vec::new(),
            misshapen: Vec::new(),
            unreadable: None,
        }
    }

    /// The values of a parameter of `shape` in `dtype`, laid out as the module wants them; `None`, and the fault noted, where they
    /// cannot be had.
    fn read(&mut self, names: &[String], shape: &[usize], dtype: DType) -> Option<TensorData> {
        let mut part = shape.to_vec();
        if let Some(last) = part.last_mut() {
            *last /= names.len(); // parts stand side by side
        }
        let transposed = shape.len() == 2 && self.path.in_linear();
        if transposed {
            part.reverse();
        }
        let parts: Vec<_> = names.iter().map(|name| self.read_one(name, &part, dtype)).collect(); // all, to note every fault
        let parts = parts.into_iter().collect::<Option<Vec<_>>>()?;
        let parts: Vec<&[f32]> = parts.iter().map(|part| &**part).collect();
        let data = if transposed {
            let panels = || PreparedLinear::panels(&parts, part[1], dtype, self.device);
            let panels = if self.panels && self.path.in_prepared_linear() { panels() } else { None };
            panels.unwrap_or_else(|| TensorData::new(side_by_side(&parts, part[1]), shape.to_vec()))
        } else {
            let values = match parts[..] {
                [whole] => whole.par_iter().copied().with_min_len(PIECE).collect(),
                _ => parts.concat(),
            };
            TensorData::new(values, shape.to_vec())
        };
        for name in names {
            self.weights.release(name);
        }
        Some(data)
    }

    fn read_one(&mut self, name: &str, expected: &[usize], dtype: DType) -> Option<Cow<'a, [f32]>> {
        let Some(found) = self.weights.shape(name) else {
            self.missing.push(name.into());
            return None;
        };
        self.used.insert(name.into());
        let scalar = name == LOGIT_SCALE && found.is_empty() && expected == [1];
        let expected = match *expected {
            [outputs, inputs] if self.path.in_field("patch_embedding") => {
                let patch = (inputs / 3).isqrt(); // a convolution whose stride is its kernel
                vec![outputs, 3, patch, patch]
            }
            _ => expected.to_vec(),
        };
        if found != expected && !scalar {
            self.misshapen.push(Misshapen { tensor: name.into(), expected, found: found.into() });
            return None;
        }
        let values = self.weights.f32(name).and_then(|values| fits(name, values, dtype));
        values.map_err(|error| self.unreadable.get_or_insert(error)).ok()
    }
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (names, shape) = ((self.names_of)(&self.path.dotted()), param.lazy_shape().to_vec());
        // Logits are f32 always, and so is what they are multiplied by.
        let dtype = if self.path.in_field(LOGIT_SCALE) { DType::F32 } else { self.dtype };
        match self.read(&names, &shape, dtype) {
            Some(data) => Param::initialized(param.id, Tensor::from_data(data, (self.device, dtype))),
            None => param,
        }
    }
}

/// An error if a value is beyond the range of `dtype`.
fn fits<'a>(tensor: &str, values: Cow<'a, [f32]>, dtype: DType) -> Result<Cow<'a, [f32]>, CheckpointError> {
    if dtype != DType::F16 {
        return Ok(values);
    }
    match values.iter().position(|value| value.abs() > 65504.0) {
        None => Ok(values),
        Some(index) => {
            let value = values[index].into();
            Err(CheckpointError::Overflow { tensor: tensor.into(), index, value, dtype: Dtype::F16 })
        }
    }
}

/// The transposes of matrices `[out, in]` beside each other.
fn side_by_side(parts: &[&[f32]], inputs: usize) -> Vec<f32> {
    let stride = parts.iter().map(|part| part.len()).sum::<usize>() / inputs.max(1);
    let mut values = vec![0.0; inputs * stride];
    for (i, part) in parts.iter().enumerate() {
        transpose(part, inputs, &mut values, stride, i * (stride / parts.len()));
    }
    values
}

/// Writes `values`, `[out, in]`, transposed into `target`, `[in, stride]`, from column `first` on, in tiles that fit the cache.
pub(crate) fn transpose(values: &[f32], inputs: usize, target: &mut [f32], stride: usize, first: usize) {
    const TILE: usize = 16;
    if values.is_empty() {
        return;
    }
    let outputs = values.len() / inputs;
    target.par_chunks_mut(TILE * stride).enumerate().for_each(|(band, rows)| {
        for tile in (0..outputs).step_by(TILE) {
            for (i, row) in rows.chunks_exact_mut(stride).enumerate() {
                let input = band * TILE + i;
                for output in tile..(tile + TILE).min(outputs) {
                    row[first + output] = values[output * inputs + input];
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transpose_of_odd_sizes_beside_others() {
        for (inputs, outputs) in [(1, 1), (3, 5), (17, 33), (64, 16)] {
            let values: Vec<f32> = (0..inputs * outputs).map(|v| v as f32).collect();
            let stride = outputs + 2;
            let mut target = vec![-1.0; inputs * stride];
            transpose(&values, inputs, &mut target, stride, 1);
            for (input, row) in target.chunks(stride).enumerate() {
                assert_eq!((row[0], row[outputs + 1]), (-1.0, -1.0));
                for output in 0..outputs {
                    assert_eq!(row[1 + output], values[output * inputs + input]);
                }
            }
        }
    }
}

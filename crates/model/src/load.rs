//! Fills a module with the tensors of a checkpoint, exactly: nothing missing, nothing unused, nothing left random.
//!
//! burn's own loader leaves a module half loaded after an error, and takes square matrices untransposed without a word;
//! this one goes by name, transposes what lies in a `Linear`, and hands out the module only when everything fits.

use std::collections::HashSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Device, Tensor, TensorData};
use chinese_clip_checkpoint::{CheckpointError, Misshapen, Weights};
use rayon::prelude::*;

/// Gives every parameter of `module` the tensor of the name that `name_of` makes of its path.
pub(crate) fn load<M: Module>(
    module: M,
    weights: &Weights,
    name_of: fn(&str) -> String,
    dtype: DType,
    device: &Device,
) -> Result<M, CheckpointError> {
    let mut loader = Loader {
        weights,
        name_of,
        dtype,
        device,
        path: Vec::new(),
        used: HashSet::new(),
        missing: Vec::new(),
        misshapen: Vec::new(),
        unreadable: None,
    };
    let module = module.map(&mut loader);
    if let Some(error) = loader.unreadable {
        return Err(error);
    }
    let (missing, misshapen) = (loader.missing, loader.misshapen);
    let unexpected: Vec<String> =
        weights.names().filter(|name| !loader.used.contains(*name)).map(str::to_string).collect();
    if missing.is_empty() && misshapen.is_empty() && unexpected.is_empty() {
        Ok(module)
    } else {
        Err(CheckpointError::Coverage { missing, unexpected, misshapen })
    }
}

struct Loader<'a> {
    weights: &'a Weights,
    name_of: fn(&str) -> String,
    dtype: DType,
    device: &'a Device,
    /// Names of the fields down to the current parameter, and whether each is a field of a `Linear`.
    path: Vec<(String, bool)>,
    used: HashSet<String>,
    missing: Vec<String>,
    misshapen: Vec<Misshapen>,
    unreadable: Option<CheckpointError>,
}

impl Loader<'_> {
    fn name(&self) -> String {
        let path: Vec<&str> = self.path.iter().map(|(name, _)| name.as_str()).collect();
        (self.name_of)(&path.join("."))
    }

    /// Whether the parameter lies in a `Linear`, which burn keeps as `[in, out]` and a checkpoint as `[out, in]`.
    fn in_linear(&self) -> bool {
        self.path.last().is_some_and(|(_, in_linear)| *in_linear)
    }

    fn read(&mut self, name: &str, shape: &[usize]) -> Option<Vec<f32>> {
        let transposed = shape.len() == 2 && self.in_linear();
        let expected: Vec<usize> = if transposed { shape.iter().rev().copied().collect() } else { shape.to_vec() };
        let Some(found) = self.weights.shape(name) else {
            self.missing.push(name.into());
            return None;
        };
        self.used.insert(name.into());
        let scalar = expected == [1] && found.is_empty(); // logit_scale
        if found != expected && !scalar {
            self.misshapen.push(Misshapen { tensor: name.into(), expected, found: found.to_vec() });
            return None;
        }
        let values = match self.weights.to_f32(name) {
            Ok(values) => values,
            Err(error) => {
                self.unreadable.get_or_insert(error);
                return None;
            }
        };
        self.weights.release(name);
        Some(if transposed { transpose(&values, shape[0], shape[1]) } else { values })
    }
}

impl ModuleMapper for Loader<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push((name.into(), container == "Struct:Linear"));
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (name, shape) = (self.name(), param.lazy_shape().to_vec());
        match self.read(&name, &shape) {
            Some(values) => {
                let data = TensorData::new(values, shape);
                Param::initialized(param.id, Tensor::from_data(data, (self.device, self.dtype)))
            }
            None => param,
        }
    }
}

/// `[out, in]` to `[in, out]`, in tiles that fit the cache.
fn transpose(values: &[f32], inputs: usize, outputs: usize) -> Vec<f32> {
    const TILE: usize = 16;
    let mut result = vec![0.0; values.len()];
    if values.is_empty() {
        return result;
    }
    result.par_chunks_mut(TILE * outputs).enumerate().for_each(|(band, rows)| {
        for first in (0..outputs).step_by(TILE) {
            for (i, row) in rows.chunks_exact_mut(outputs).enumerate() {
                let input = band * TILE + i;
                for output in first..(first + TILE).min(outputs) {
                    row[output] = values[output * inputs + input];
                }
            }
        }
    });
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transpose_of_odd_sizes() {
        for (inputs, outputs) in [(1, 1), (3, 5), (17, 33), (64, 16)] {
            let values: Vec<f32> = (0..inputs * outputs).map(|v| v as f32).collect();
            let transposed = transpose(&values, inputs, outputs);
            for input in 0..inputs {
                for output in 0..outputs {
                    assert_eq!(transposed[input * outputs + output], values[output * inputs + input]);
                }
            }
        }
    }
}

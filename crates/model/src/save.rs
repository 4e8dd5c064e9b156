//! A module's parameters under the checkpoint's names and in its layout, for a file: the reverse of `load`.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor};
use chinese_clip_checkpoint::{Dtype, Parameter};

use crate::Error;
use crate::device::{guarded, label};
use crate::load::{LOGIT_SCALE, Path, transpose};

/// What is to be written of `module`, in whose form each path has one name. Values stay on the device until they are asked for.
pub(crate) fn parameters<M: Module>(
    module: &M,
    names_of: fn(&str) -> Vec<String>,
) -> Result<Vec<Parameter<Error>>, Error> {
    let mut collector = Collector { names_of, path: Path::default(), found: Vec::new() };
    match module.devices().first() {
        Some(device) => guarded(device, || module.visit(&mut collector))?,
        None => module.visit(&mut collector),
    }
    Ok(collector.found)
}

struct Collector {
    names_of: fn(&str) -> Vec<String>,
    path: Path,
    found: Vec<Parameter<Error>>,
}

impl ModuleVisitor for Collector {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.enter(name, container);
    }

    fn exit_module(&mut self, _: &str, _: &str) {
        self.path.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let tensor = param.val();
        let transposed = D == 2 && self.path.in_linear();
        let dtype = match tensor.dtype() {
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            _ => Dtype::F32,
        };
        for name in (self.names_of)(&self.path.dotted()) {
            let mut shape = if name == LOGIT_SCALE { Vec::new() } else { tensor.dims().to_vec() };
            if transposed {
                shape.reverse();
            }
            let tensor = tensor.clone();
            let values = Box::new(move || host(tensor, transposed));
            self.found.push(Parameter { name, dtype, shape, values });
        }
    }
}

/// The values in f32; of a `Linear`'s weight, `[in, out]`, those of the checkpoint's `[out, in]`.
fn host<const D: usize>(tensor: Tensor<D>, transposed: bool) -> Result<Vec<f32>, Error> {
    let (device, shape) = (tensor.device(), tensor.dims());
    let failed = |reason: String| Error::Backend { device: label(&device), reason };
    let data = guarded(&device, || tensor.cast(DType::F32).try_into_data())?;
    let data = data.map_err(|error| failed(error.to_string()))?;
    let values = data.try_to_vec::<f32>().map_err(|error| failed(format!("{error:?}")))?;
    if !transposed {
        return Ok(values);
    }
    let mut target = vec![0.0; values.len()];
    transpose(&values, shape[1], &mut target, shape[0], 0);
    Ok(target)
}

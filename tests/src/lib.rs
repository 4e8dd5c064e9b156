//! What the tests share: goldens, comparison of whole tensors, and the tolerances with their reasons.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)] // a test fails by panicking

use std::path::{Path, PathBuf};

use chinese_clip::checkpoint::{Checkpoint, OpenOptions};
use chinese_clip::{DType, Device, DeviceInfo, Tensor};
use safetensors::tensor::{Dtype, TensorView};

/// How far a tensor may lie from the reference's.
#[derive(Debug, Clone, Copy)]
pub struct Tolerance {
    /// Absolute part.
    pub atol: f32,
    /// Part of the root mean square of the reference's tensor.
    pub rtol: f32,
    /// Least cosine of each row.
    pub cosine: f32,
}

/// Inside the towers, by dtype: about twice the distance of the reference in that dtype from itself in a wider one, since
/// sums in another order may differ by as much again.
///
/// Measured on these goldens, worst over all intermediates, as a part of their rms, with the least cosine of a row:
/// f32 against f64 2.8e-5; f16 against f32 3.2e-2, 0.99982; bf16 against f32 3.0e-1, 0.9906.
pub fn tolerance(dtype: DType) -> Tolerance {
    match dtype {
        DType::F16 => Tolerance { atol: 1e-3, rtol: 6e-2, cosine: 0.9996 },
        DType::BF16 => Tolerance { atol: 1e-2, rtol: 6e-1, cosine: 0.984 },
        _ => Tolerance { atol: 1e-6, rtol: 6e-5, cosine: 0.999_999 },
    }
}

/// The devices that the suites run on: those that `CHINESE_CLIP_TEST_DEVICES` names, with commas between them, or all that
/// the build and the machine have.
pub fn devices() -> Vec<Device> {
    let names = match std::env::var("CHINESE_CLIP_TEST_DEVICES") {
        Ok(names) => names.split(',').map(str::to_string).collect(),
        Err(_) => chinese_clip::devices().into_iter().map(|info| info.name).collect::<Vec<_>>(),
    };
    names.iter().map(|name| chinese_clip::device(name).expect("a device of this build and machine")).collect()
}

/// The devices of the suites that have many shapes: all but a GPU that is only imitated, which takes minutes to compile the
/// kernels of each. The towers, their invariants, the activations and the pipeline run there too.
pub fn quick_devices() -> Vec<Device> {
    devices().into_iter().filter(|device| !imitated(device)).collect()
}

/// The number formats that the suites run in: all that the device computes in; f32 alone on a GPU that is only imitated, which
/// takes minutes to compile the kernels of each.
pub fn dtypes(device: &Device) -> Vec<DType> {
    let all = if imitated(device) { vec![DType::F32] } else { vec![DType::F32, DType::F16, DType::BF16] };
    all.into_iter().filter(|dtype| device.supports_dtype(*dtype)).collect()
}

/// Whether a device is a GPU imitated on the CPU.
pub fn imitated(device: &Device) -> bool {
    let is = |info: &DeviceInfo| chinese_clip::device(&info.name).is_ok_and(|listed| listed == *device);
    chinese_clip::devices().iter().any(|info| info.software && is(info))
}

/// The elements of a tensor in f32.
pub fn values<const D: usize>(tensor: &Tensor<D>) -> Vec<f32> {
    tensor.clone().cast(DType::F32).into_data().try_to_vec().expect("f32")
}

/// A file or directory under `tests/goldens`.
pub fn golden_path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens").join(name)
}

/// A golden model, opened.
pub fn golden_checkpoint(name: &str) -> Checkpoint {
    let path = golden_path(name);
    Checkpoint::open(path.to_str().expect("a path in UTF-8"), &OpenOptions::isolated("unused")).expect("a golden")
}

/// A tensor of a checkpoint: its name, elements and shape.
pub type Named = (String, Vec<f32>, Vec<usize>);

/// Writes a checkpoint of these tensors into `folder`, and opens it.
pub fn write_checkpoint(folder: &Path, config: &serde_json::Value, tensors: &[Named]) -> Checkpoint {
    std::fs::write(folder.join("config.json"), config.to_string()).expect("a configuration");
    let bytes = |values: &[f32]| values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>();
    let bytes: Vec<Vec<u8>> = tensors.iter().map(|(_, values, _)| bytes(values)).collect();
    let views = tensors.iter().zip(&bytes).map(|((name, _, shape), bytes)| {
        (name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes).expect("as many elements as the shape says"))
    });
    safetensors::serialize_to_file(views, None, &folder.join("model.safetensors")).expect("weights");
    Checkpoint::open(folder.to_str().expect("a path in UTF-8"), &OpenOptions::isolated("unused")).expect("a checkpoint")
}

/// Arrays of a safetensors file.
#[derive(Debug)]
pub struct Arrays {
    bytes: Vec<u8>,
}

impl Arrays {
    /// Reads `name` under `tests/goldens`.
    pub fn golden(name: &str) -> Self {
        Self::read(&golden_path(name))
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Self {
        Self { bytes: std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())) }
    }

    fn view<T>(&self, name: &str, convert: impl Fn(&[u8]) -> T) -> (Vec<T>, Vec<usize>) {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        let view = file.tensor(name).unwrap_or_else(|_| panic!("no array {name}"));
        let size = view.dtype().bitsize() / 8;
        (view.data().chunks_exact(size).map(convert).collect(), view.shape().to_vec())
    }

    /// The names of all arrays.
    pub fn names(&self) -> Vec<String> {
        let file = safetensors::SafeTensors::deserialize(&self.bytes).expect("a safetensors file");
        file.names().into_iter().map(str::to_string).collect()
    }

    /// An array of f32 and its shape.
    pub fn f32(&self, name: &str) -> (Vec<f32>, Vec<usize>) {
        self.view(name, |b| f32::from_le_bytes(b.try_into().expect("4 bytes")))
    }

    /// An array of i64 and its shape.
    pub fn i64(&self, name: &str) -> (Vec<i64>, Vec<usize>) {
        self.view(name, |b| i64::from_le_bytes(b.try_into().expect("8 bytes")))
    }
}

/// Fails with the worst element, its place and the name of the tensor.
pub fn assert_close(name: &str, found: &[f32], expected: &[f32], shape: &[usize], tolerance: Tolerance) {
    assert_eq!(found.len(), expected.len(), "{name}: number of elements");
    let mean_square = expected.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / expected.len().max(1) as f64;
    let bound = tolerance.atol + tolerance.rtol * mean_square.sqrt() as f32;
    let distance = |i: usize| if found[i].is_finite() { (found[i] - expected[i]).abs() } else { f32::INFINITY };
    let worst = (0..found.len()).max_by(|a, b| distance(*a).total_cmp(&distance(*b)));
    if let Some(worst) = worst {
        let at = unravel(worst, shape);
        let (f, e) = (found[worst], expected[worst]);
        assert!(distance(worst) <= bound, "{name}{at:?}: {f} instead of {e}, off by {} > {bound}", distance(worst));
    }
    let width = shape.last().copied().unwrap_or(1).max(1);
    for (row, (f, e)) in found.chunks(width).zip(expected.chunks(width)).enumerate() {
        let cosine = cosine(f, e);
        assert!(cosine >= f64::from(tolerance.cosine), "{name}, row {row}: cosine {cosine}");
    }
}

fn unravel(mut index: usize, shape: &[usize]) -> Vec<usize> {
    let mut at: Vec<usize> = shape
        .iter()
        .rev()
        .map(|size| {
            let here = index % size;
            index /= size;
            here
        })
        .collect();
    at.reverse();
    at
}

/// That rows of features in bf16 point where those in f32 do: products within 2^-8 leave a cosine above 0.9995.
pub fn assert_near(what: &str, short: &Tensor<2>, wide: &Tensor<2>) {
    let width = wide.dims()[1];
    for (row, (a, b)) in values(short).chunks(width).zip(values(wide).chunks(width)).enumerate() {
        let found = cosine(a, b);
        assert!(found > 0.9995, "{what}, row {row}: {found}");
    }
}

/// The cosine of two vectors; 1 of two vectors of zeros.
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms == 0.0 { 1.0 } else { dot(a, b) / norms }
}

//! Devices and number formats by name: the one place that names backends.

#[cfg(any(feature = "cuda", feature = "rocm"))]
mod cube;
mod names;
#[cfg(feature = "tch")]
mod tch;
#[cfg(feature = "wgpu")]
mod wgpu;

use std::panic::{AssertUnwindSafe, catch_unwind};

#[cfg(any(feature = "cuda", feature = "rocm"))]
use burn::tensor::DeviceType;
use burn::tensor::{DType, Device};
use chinese_clip_nn::Packing;

use crate::Error;
use names::Name;

/// A device that this build and this machine have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The name that [`device()`] takes.
    pub name: String,
    /// What it is.
    pub description: String,
    /// Whether it only imitates a GPU, on the CPU.
    pub software: bool,
}

impl DeviceInfo {
    #[allow(dead_code)] // in a build without backends
    fn new(name: &str, description: &str) -> Self {
        Self { name: name.into(), description: description.into(), software: false }
    }
}

/// Makes a device from its name: `flex`, `ndarray`, `tch`, `tch:cuda:N`, `tch:mps`, `wgpu`, `wgpu:N`, `vulkan`, `vulkan:N`,
/// `metal`, `metal:N`, `webgpu`, `cuda`, `cuda:N`, `rocm`, `rocm:N` or `cpu`. A GPU without a number is the best one of that
/// backend.
///
/// # Errors
/// If the name is unknown, the backend is not compiled in, or the machine has no such device; the hint says how to mend it.
pub fn device(name: &str) -> Result<Device, Error> {
    let Name { backend, place } = names::parse(name)?;
    let absent =
        |reason: &str, hint: &str| Error::Device { name: name.into(), reason: reason.into(), hint: hint.into() };
    match (backend, place) {
        #[cfg(feature = "flex")]
        ("flex", _) => Ok(Device::flex()),
        #[cfg(feature = "ndarray")]
        ("ndarray", _) => Ok(ndarray()),
        #[cfg(feature = "tch")]
        ("tch", _) => tch::open(place).ok_or_else(|| {
            let hint = "`tch` is its CPU; CUDA needs an NVIDIA driver and a libtorch built for CUDA, `tch:mps` a Mac";
            absent("libtorch does not see it", hint)
        }),
        #[cfg(feature = "wgpu")]
        ("wgpu", _) => wgpu::open(name, backend, place),
        #[cfg(feature = "vulkan")]
        ("vulkan", _) => wgpu::open(name, backend, place),
        #[cfg(feature = "metal")]
        ("metal", _) => wgpu::open(name, backend, place),
        #[cfg(feature = "webgpu")]
        ("webgpu", _) => wgpu::open(name, backend, place),
        #[cfg(feature = "cuda")]
        ("cuda", _) => cube::open(DeviceType::Cuda, place)
            .ok_or_else(|| absent("no driver offers it", "it needs an NVIDIA GPU and its driver (libcuda)")),
        #[cfg(feature = "rocm")]
        ("rocm", _) => cube::open(DeviceType::Rocm, place)
            .ok_or_else(|| absent("no driver offers it", "it needs an AMD GPU and ROCm (libamdhip64)")),
        #[cfg(feature = "cpu")]
        ("cpu", _) => Ok(Device::cpu()),
        (backend, _) => Err(absent("this build does not have it", &names::build_hint(backend))),
    }
}

/// The devices of this build on this machine.
pub fn devices() -> Vec<DeviceInfo> {
    let of_backends: Vec<Vec<DeviceInfo>> = vec![
        #[cfg(feature = "flex")]
        vec![DeviceInfo::new("flex", &format!("CPU, pure Rust, {} threads", rayon::current_num_threads()))],
        #[cfg(feature = "ndarray")]
        vec![DeviceInfo::new(
            "ndarray",
            &format!("CPU, pure Rust (ndarray), {} threads", rayon::current_num_threads()),
        )],
        #[cfg(feature = "tch")]
        tch::list(),
        #[cfg(feature = "wgpu")]
        wgpu::list(),
        #[cfg(feature = "cuda")]
        cube::list("cuda", DeviceType::Cuda),
        #[cfg(feature = "rocm")]
        cube::list("rocm", DeviceType::Rocm),
        #[cfg(feature = "cpu")]
        vec![DeviceInfo::new("cpu", "CPU, kernels compiled with LLVM")],
    ];
    of_backends.concat()
}

/// Number formats by name. `int8` is for inference on `flex`: the products of layers are computed in it, all else is f32.
const DTYPES: [(&str, DType); 4] =
    [("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16), ("int8", DType::I8)];

/// A number format from its name: `f32`, `f16`, `bf16`, `int8`.
pub fn dtype(name: &str) -> Result<DType, Error> {
    let found = DTYPES.into_iter().find(|(known, _)| *known == name);
    found.map(|(_, dtype)| dtype).ok_or_else(|| Error::UnknownDtype { name: name.into() })
}

/// The name that [`dtype()`] takes.
pub fn dtype_name(dtype: DType) -> &'static str {
    DTYPES.into_iter().find(|(_, known)| *known == dtype).map_or(dtype.name(), |(name, _)| name)
}

/// The number format to use where none is asked for: f16 on a GPU that computes in it, else f32.
pub fn default_dtype(device: &Device) -> DType {
    if !is_cpu(device) && device.supports_dtype(DType::F16) { DType::F16 } else { DType::F32 }
}

/// An error if the device does not compute in `dtype`, where burn would give garbage or panic.
pub(crate) fn check_dtype(dtype: DType, device: &Device) -> Result<(), Error> {
    let has = |dtype: DType| dtype.is_float() && device.supports_dtype(dtype);
    if has(dtype) {
        return Ok(());
    }
    let names: Vec<&str> = DTYPES.into_iter().filter(|(_, dtype)| has(*dtype)).map(|(name, _)| name).collect();
    let elsewhere = if dtype == DType::I8 { "; int8 is for inference on `flex`" } else { "" };
    Err(Error::UnsupportedDtype {
        dtype: dtype_name(dtype).into(),
        device: label(device),
        has: names.join(", ") + elsewhere,
    })
}

/// The format in which a prepared model for `dtype` is loaded, and how it is packed then: on `flex` the kernels shorten numbers
/// themselves.
pub(crate) fn stored(dtype: DType, device: &Device) -> (DType, Packing) {
    match dtype {
        DType::BF16 if is_flex(device) => (DType::F32, Packing::Bf16),
        DType::I8 if is_flex(device) => (DType::F32, Packing::Int8),
        _ => (dtype, Packing::Whole),
    }
}

pub(crate) fn is_flex(device: &Device) -> bool {
    cpus().iter().any(|(name, cpu)| *name == "flex" && cpu == device)
}

/// The result of `work`; burn tells of a device that failed by panicking.
pub(crate) fn guarded<T>(device: &Device, work: impl FnOnce() -> T) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Error::Backend { device: label(device), reason: said.unwrap_or("no reason given").into() }
    })
}

/// What to call a device in a message.
pub(crate) fn label(device: &Device) -> String {
    let found = cpus().into_iter().find(|(_, cpu)| cpu == device).map(|(name, _)| name.to_string());
    #[cfg(feature = "wgpu")]
    let found = found.or_else(|| wgpu::label(device));
    found.unwrap_or_else(|| format!("{device:?}"))
}

pub(crate) fn is_cpu(device: &Device) -> bool {
    #[cfg(feature = "wgpu")]
    if wgpu::is_software(device) {
        return true;
    }
    cpus().iter().any(|(_, cpu)| cpu == device)
}

fn cpus() -> Vec<(&'static str, Device)> {
    vec![
        #[cfg(feature = "flex")]
        ("flex", Device::flex()),
        #[cfg(feature = "ndarray")]
        ("ndarray", ndarray()),
        #[cfg(feature = "tch")]
        ("tch", tch::cpu()),
        #[cfg(feature = "cpu")]
        ("cpu", Device::cpu()),
    ]
}

#[cfg(feature = "ndarray")]
#[allow(deprecated)] // burn 0.22 deprecates this backend for a later release; in this one it works
fn ndarray() -> Device {
    Device::ndarray()
}

//! Devices and number formats by name: the one place that names backends.

use burn::tensor::{DType, Device};

use crate::Error;

/// A device that this build knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The name that [`device()`] takes.
    pub name: String,
    /// What it is.
    pub description: String,
}

/// Names that burn has backends for, with the cargo feature of each.
const KNOWN: [(&str, &str); 1] = [("flex", "flex")];

/// Makes a device from its name: `flex`, the CPU in pure Rust.
///
/// # Errors
/// If the name is unknown, or the backend is not compiled in; the hint names the cargo feature.
pub fn device(name: &str) -> Result<Device, Error> {
    match name {
        #[cfg(feature = "flex")]
        "flex" => Ok(Device::flex()),
        _ => Err(absent(name)),
    }
}

fn absent(name: &str) -> Error {
    let feature = KNOWN.iter().find(|(known, _)| *known == name).map(|(_, feature)| *feature);
    let (reason, hint) = match feature {
        Some(feature) => ("this build does not have it", format!("build with `--features {feature}`")),
        None => ("unknown name", format!("known: {}", KNOWN.map(|(known, _)| known).join(", "))),
    };
    Error::Device { name: name.into(), reason: reason.into(), hint }
}

/// The devices of this build.
pub fn devices() -> Vec<DeviceInfo> {
    let threads = rayon::current_num_threads();
    [
        #[cfg(feature = "flex")]
        DeviceInfo { name: "flex".into(), description: format!("CPU, pure Rust, {threads} threads") },
    ]
    .into()
}

/// A number format from its name, checked against the device: `f32`, `f16`, `bf16`.
pub fn dtype(name: &str, device: &Device) -> Result<DType, Error> {
    let dtype = match name {
        "f32" => DType::F32,
        "f16" => DType::F16,
        "bf16" => DType::BF16,
        _ => return Err(Error::Dtype { dtype: name.into(), device: format!("{device:?}") }),
    };
    if device.supports_dtype(dtype) {
        Ok(dtype)
    } else {
        Err(Error::Dtype { dtype: name.into(), device: format!("{device:?}") })
    }
}

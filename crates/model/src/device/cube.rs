//! The backends that compile kernels with LLVM: CUDA and ROCm.

use burn::tensor::{Device, DeviceType};

use super::DeviceInfo;

/// The `place`-th device, the first where none is named; `None` where the driver does not offer it.
pub(super) fn open(kind: DeviceType, place: Option<&str>) -> Option<Device> {
    let index: usize = place.unwrap_or("0").parse().ok()?;
    Device::enumerate(kind).get(index).cloned()
}

pub(super) fn list(backend: &str, kind: DeviceType) -> Vec<DeviceInfo> {
    let devices = Device::enumerate(kind).into_vec();
    devices
        .iter()
        .enumerate()
        .map(|(index, device)| {
            let description = device.identity().map_or_else(|| format!("{device:?}"), |identity| identity.name);
            DeviceInfo::new(&format!("{backend}:{index}"), &description)
        })
        .collect()
}

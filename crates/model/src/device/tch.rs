//! libtorch: its CPU, CUDA and Metal.

#![allow(deprecated)] // burn 0.22 deprecates this backend for a later release; in this one it works

use burn::tensor::{Device, DeviceType};

use super::DeviceInfo;

pub(super) fn cpu() -> Device {
    Device::libtorch()
}

/// `None` where libtorch does not see the device.
pub(super) fn open(place: Option<&str>) -> Option<Device> {
    match place {
        None => Some(cpu()),
        Some("mps") => cfg!(target_os = "macos").then(Device::libtorch_mps),
        Some(place) => {
            let index = place.strip_prefix("cuda:").unwrap_or("0").parse::<usize>().ok()?;
            (index < cuda_devices()).then(|| Device::libtorch_cuda(index))
        }
    }
}

pub(super) fn list() -> Vec<DeviceInfo> {
    let mut found = vec![DeviceInfo::new("tch", "CPU, libtorch")];
    found.extend((0..cuda_devices()).map(|index| DeviceInfo::new(&format!("tch:cuda:{index}"), "CUDA, libtorch")));
    if cfg!(target_os = "macos") {
        found.push(DeviceInfo::new("tch:mps", "Metal Performance Shaders, libtorch"));
    }
    found
}

fn cuda_devices() -> usize {
    Device::enumerate(DeviceType::LibTorch).len()
}

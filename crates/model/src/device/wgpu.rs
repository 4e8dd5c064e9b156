//! Adapters of wgpu: what there is, which one a name means, and which are software.

use std::sync::{Mutex, OnceLock, PoisonError};

use burn::tensor::wgpu::WgpuBackend;
use burn::tensor::wgpu::wgpu::{self, AdapterInfo, Backend, Backends, DeviceType};
use burn::tensor::{Device, DeviceKind};

use super::DeviceInfo;
use crate::Error;

/// All adapters on native graphics APIs. Asked once: the Vulkan loader crashes when instances come and go on several threads.
fn adapters() -> &'static [AdapterInfo] {
    static ADAPTERS: OnceLock<Vec<AdapterInfo>> = OnceLock::new();
    ADAPTERS.get_or_init(|| {
        let backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends,
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        });
        let found = pollster::block_on(instance.enumerate_adapters(backends));
        found.iter().map(wgpu::Adapter::get_info).filter(|info| kind(info, 0).is_some()).collect()
    })
}

/// Adapters of a backend: `wgpu` takes any graphics API, the others are bound to one.
fn of(backend: &str) -> Vec<usize> {
    let api = match backend {
        "vulkan" => Some(Backend::Vulkan),
        "metal" => Some(Backend::Metal),
        "webgpu" => Some(Backend::BrowserWebGpu),
        _ => None,
    };
    (0..adapters().len()).filter(|i| api.is_none_or(|api| adapters()[*i].backend == api)).collect()
}

/// Devices that were opened, by adapter: burn opens each once.
static OPEN: Mutex<Vec<(usize, Device)>> = Mutex::new(Vec::new());

/// Opens the `place`-th adapter of `backend`, or the best one.
pub(super) fn open(name: &str, backend: &str, place: Option<&str>) -> Result<Device, Error> {
    let absent = |reason: String, hint: &str| Error::Device { name: name.into(), reason, hint: hint.into() };
    let offered = of(backend);
    let chosen = match place.and_then(|place| place.parse::<usize>().ok()) {
        Some(index) => offered.get(index).copied(),
        None => offered.iter().copied().min_by_key(|i| rank(&adapters()[*i])),
    };
    let Some(chosen) = chosen else {
        let hint = match backend {
            "webgpu" => "it exists in a browser; elsewhere use `wgpu`",
            _ if cfg!(target_os = "linux") && offered.is_empty() => {
                "install the Vulkan driver of the GPU, or Mesa's software one (Debian: mesa-vulkan-drivers)"
            }
            _ => "`chinese-clip devices` lists the adapters",
        };
        return Err(absent(format!("this machine has {} of them", offered.len()), hint));
    };
    let info = &adapters()[chosen];
    if cfg!(feature = "vulkan") && info.device_type == DeviceType::Cpu && info.backend == Backend::Vulkan {
        let reason = format!("{} is software, and in a build with the feature `vulkan` burn crashes in it", info.name);
        return Err(absent(reason, "use flex, or build without that feature: cargo build --release --features wgpu"));
    }
    let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, device)) = open.iter().find(|(index, _)| *index == chosen) {
        return Ok(device.clone());
    }
    let nth = adapters()[..chosen]
        .iter()
        .filter(|other| (other.backend, other.device_type) == (info.backend, info.device_type))
        .count();
    let options = Device::wgpu_options().graphics_api(api(info)).device_kind(kind(info, nth).unwrap_or_default());
    let device = options.init().map_err(|error| absent(error.to_string(), "another one: `chinese-clip devices`"))?;
    open.push((chosen, device.clone()));
    Ok(device)
}

/// The adapters under every name that this build opens them by.
pub(super) fn list() -> Vec<DeviceInfo> {
    let names = [
        ("wgpu", true),
        ("vulkan", cfg!(feature = "vulkan")),
        ("metal", cfg!(feature = "metal")),
        ("webgpu", cfg!(feature = "webgpu")),
    ];
    let listed = names.into_iter().filter(|(_, built)| *built).flat_map(|(backend, _)| {
        of(backend).into_iter().enumerate().map(move |(index, adapter)| {
            let info = &adapters()[adapter];
            let software = info.device_type == DeviceType::Cpu;
            let what = if software { "software" } else { "GPU" };
            let description = format!("{} ({what}, {})", info.name, info.backend);
            DeviceInfo { name: format!("{backend}:{index}"), description, software }
        })
    });
    // An adapter that `open` refuses is no device of this build.
    listed.filter(|info| !(info.software && cfg!(feature = "vulkan"))).collect()
}

/// The adapter of a device that [`open`] made.
fn adapter(device: &Device) -> Option<&'static AdapterInfo> {
    let open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
    open.iter().find(|(_, opened)| opened == device).map(|(index, _)| &adapters()[*index])
}

pub(super) fn label(device: &Device) -> Option<String> {
    adapter(device).map(|info| info.name.clone())
}

pub(super) fn is_software(device: &Device) -> bool {
    adapter(device).is_some_and(|info| info.device_type == DeviceType::Cpu)
}

fn api(info: &AdapterInfo) -> WgpuBackend {
    match info.backend {
        Backend::Metal => WgpuBackend::Metal,
        Backend::Dx12 => WgpuBackend::Dx12,
        _ => WgpuBackend::Vulkan,
    }
}

/// Where burn finds an adapter: the n-th of its kind. Kinds that burn cannot name have none.
fn kind(info: &AdapterInfo, nth: usize) -> Option<DeviceKind> {
    match info.device_type {
        DeviceType::DiscreteGpu => Some(DeviceKind::DiscreteGpu(nth)),
        DeviceType::IntegratedGpu => Some(DeviceKind::IntegratedGpu(nth)),
        DeviceType::VirtualGpu => Some(DeviceKind::VirtualGpu(nth)),
        DeviceType::Cpu if nth == 0 => Some(DeviceKind::Cpu),
        _ => None,
    }
}

/// The best first.
fn rank(info: &AdapterInfo) -> u8 {
    match info.device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        _ => 3,
    }
}

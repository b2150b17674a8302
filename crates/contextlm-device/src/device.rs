// burn deprecates its LibTorch devices in favour of CubeCL's; here they are the fastest CPU backend, and the
// reference that the others are compared with.
#![allow(deprecated)]

use burn::tensor::Device;

use crate::DeviceError;

/// A backend by its name and the feature that brings it.
struct Backend {
    name: &'static str,
    feature: &'static str,
    built: bool,
    indexed: bool,
}

const BACKENDS: [Backend; 6] = [
    Backend { name: "cpu", feature: "flex", built: cfg!(feature = "flex"), indexed: false },
    Backend { name: "wgpu", feature: "wgpu", built: cfg!(feature = "wgpu"), indexed: true },
    Backend { name: "cuda", feature: "cuda-cpp (or cuda)", built: cfg!(feature = "cuda"), indexed: true },
    Backend { name: "libtorch", feature: "libtorch", built: cfg!(feature = "libtorch"), indexed: false },
    Backend { name: "libtorch-cuda", feature: "libtorch", built: cfg!(feature = "libtorch"), indexed: true },
    Backend { name: "cubecl-cpu", feature: "cpu", built: cfg!(feature = "cpu"), indexed: false },
];

/// The names of the backends in this build.
pub fn names() -> Vec<&'static str> {
    BACKENDS.iter().filter(|backend| backend.built).map(|backend| backend.name).collect()
}

/// The names of all backends, built in or not.
fn all_names() -> String {
    BACKENDS.map(|backend| backend.name).join(", ")
}

/// The device of a name such as `cpu`, `wgpu`, `cuda:0` or `libtorch`.
///
/// # Errors
/// [`DeviceError`] if there is no such name, the backend was not built in, or the machine lacks the device.
pub fn device(name: &str) -> Result<Device, DeviceError> {
    let (kind, index) = match name.split_once(':') {
        Some((kind, index)) => (kind, Some(index)),
        None => (name, None),
    };
    let known = || names().join(", ");
    let backend = BACKENDS.iter().find(|backend| backend.name == kind).ok_or_else(|| DeviceError::Unknown {
        name: name.into(),
        all: all_names(),
        known: known(),
    })?;
    if !backend.built {
        return Err(DeviceError::NotBuilt { name: name.into(), feature: backend.feature, known: known() });
    }
    if index.is_some() && !backend.indexed {
        return Err(DeviceError::NoIndex { name: name.into(), kind: kind.into() });
    }
    let index = index
        .map(|index| index.parse::<usize>())
        .transpose()
        .map_err(|_| DeviceError::Index { name: name.into(), kind: kind.into() })?;
    open(kind, index, name)
}

/// Opens a device of a backend that is built in.
#[allow(unused_variables)] // without GPU features nothing has an index
fn open(kind: &str, index: Option<usize>, name: &str) -> Result<Device, DeviceError> {
    #[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
    if ["wgpu", "cuda", "cubecl-cpu"].contains(&kind) {
        crate::kernels::keep();
    }
    match kind {
        #[cfg(feature = "flex")]
        "cpu" => Ok(Device::flex()),
        #[cfg(feature = "wgpu")]
        "wgpu" => {
            let found = listed(burn::tensor::DeviceType::Wgpu, index.unwrap_or(0), name)?;
            Ok(if index.is_some() { found } else { Device::wgpu(burn::tensor::DeviceKind::DefaultDevice) })
        }
        #[cfg(feature = "cuda")]
        "cuda" => {
            let found = listed(burn::tensor::DeviceType::Cuda, index.unwrap_or(0), name)?;
            #[cfg(feature = "cuda-cpp")]
            if !crate::toolkit::is_there() {
                return Err(DeviceError::NoToolkit { name: name.into() });
            }
            Ok(found)
        }
        #[cfg(feature = "libtorch")]
        "libtorch" => Ok(Device::libtorch()),
        #[cfg(feature = "libtorch")]
        "libtorch-cuda" => {
            let wanted = Device::libtorch_cuda(index.unwrap_or(0));
            let all = Device::enumerate(burn::tensor::DeviceType::LibTorch).into_vec();
            let found = all.iter().filter(|device| **device != Device::libtorch()).count();
            if all.contains(&wanted) { Ok(wanted) } else { Err(DeviceError::Missing { name: name.into(), found }) }
        }
        #[cfg(feature = "cpu")]
        "cubecl-cpu" => Ok(Device::cpu()),
        _ => Err(DeviceError::Unknown { name: name.into(), all: all_names(), known: names().join(", ") }),
    }
}

/// The device of this number among those that the backend finds.
#[cfg(any(feature = "wgpu", feature = "cuda"))]
fn listed(kind: burn::tensor::DeviceType, index: usize, name: &str) -> Result<Device, DeviceError> {
    let all = Device::enumerate(kind).into_vec();
    let found = all.len();
    all.into_iter().nth(index).ok_or_else(|| DeviceError::Missing { name: name.into(), found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_name_is_told_from_a_backend_that_is_not_built() {
        let error = |name: &str| device(name).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(error("gpu").contains("there is no such device"), "{}", error("gpu"));
        if !cfg!(feature = "cuda") {
            assert!(error("cuda:0").contains("--features cuda-cpp"), "{}", error("cuda:0"));
        }
        if cfg!(feature = "flex") {
            assert!(device("cpu").is_ok());
            assert!(error("cpu:1").contains("leave the number out"), "{}", error("cpu:1"));
        }
    }

    #[cfg(feature = "wgpu")]
    #[test]
    fn an_index_must_be_a_number_of_a_device_that_is_there() {
        assert!(matches!(device("wgpu:x"), Err(DeviceError::Index { .. })));
        assert!(matches!(device("wgpu:999"), Err(DeviceError::Missing { .. })));
    }
}

use burn::tensor::Device;

/// The name that a device gives itself, as `NVIDIA H100 80GB HBM3`; for the CPU backend that of the processor, where the
/// operating system tells (Linux). `None` for LibTorch, which does not say.
///
/// `device` is without autodiff.
#[allow(unused_variables)] // with LibTorch alone there is nobody to ask
pub fn hardware(device: &Device) -> Option<String> {
    #[cfg(any(feature = "wgpu", feature = "cuda", feature = "cpu"))]
    if let Some(identity) = device.identity() {
        return Some(identity.name);
    }
    #[cfg(feature = "flex")]
    if *device == Device::flex() {
        return processor(&std::fs::read_to_string("/proc/cpuinfo").ok()?);
    }
    None
}

/// The first model name in `/proc/cpuinfo`.
#[cfg(feature = "flex")]
fn processor(cpuinfo: &str) -> Option<String> {
    let (_, name) =
        cpuinfo.lines().find_map(|line| line.split_once(':').filter(|(key, _)| key.trim() == "model name"))?;
    Some(name.trim().into())
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;

    #[test]
    fn a_processor_has_its_name() {
        let text = "processor\t: 0\nmodel name\t: AMD EPYC 9R14\nmodel name\t: another\n";
        assert_eq!(processor(text).as_deref(), Some("AMD EPYC 9R14"));
        assert_eq!(processor("processor\t: 0\n"), None);
    }
}

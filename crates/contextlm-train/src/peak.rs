//! How fast a device can be at most: what model FLOPs utilisation is a share of.

use crate::TrainDtype;

/// Devices of one speed, in operations a second on dense matrices with f32 sums.
struct Peak {
    /// Whole names, as the driver gives them without `NVIDIA ` in front.
    names: &'static [&'static str],
    bf16: f64,
    tf32: f64,
}

/// From NVIDIA's data sheets, where "with sparsity" halved; GeForce from the architecture whitepapers, the rows with f32
/// accumulation.
const PEAKS: [Peak; 15] = [
    Peak { names: &["H100 80GB HBM3", "H200", "GH200 480GB", "GH200 120GB"], bf16: 989.4e12, tf32: 494.7e12 },
    Peak { names: &["H100 NVL", "H200 NVL"], bf16: 835.5e12, tf32: 417.5e12 },
    Peak { names: &["H100 PCIe"], bf16: 756e12, tf32: 378e12 },
    Peak { names: &["B200"], bf16: 2250e12, tf32: 1125e12 },
    Peak {
        names: &["A100-SXM4-40GB", "A100-SXM4-80GB", "A100-PCIE-40GB", "A100-PCIE-80GB", "A100 80GB PCIe"],
        bf16: 312e12,
        tf32: 156e12,
    },
    Peak { names: &["A30"], bf16: 165e12, tf32: 82e12 },
    Peak { names: &["A40"], bf16: 149.7e12, tf32: 74.8e12 },
    Peak { names: &["RTX A6000"], bf16: 154.8e12, tf32: 77.4e12 },
    Peak { names: &["A10"], bf16: 125e12, tf32: 62.5e12 },
    Peak { names: &["L40S"], bf16: 362.05e12, tf32: 183e12 },
    Peak { names: &["L40"], bf16: 181.05e12, tf32: 90.5e12 },
    Peak { names: &["L4"], bf16: 121e12, tf32: 60e12 },
    Peak { names: &["GeForce RTX 3090"], bf16: 71e12, tf32: 35.6e12 },
    Peak { names: &["GeForce RTX 4090"], bf16: 165.2e12, tf32: 82.6e12 },
    Peak { names: &["GeForce RTX 5090"], bf16: 209.5e12, tf32: 104.8e12 },
];

/// The peak of a device by the name that its driver gives it, in operations a second; `None` for a device that is not in the
/// table, which holds data-centre cards since Ampere and a few others. Processors are not in it.
///
/// f32 counts as TF32, the fastest that the card has for it; products in full f32, as ours are on CUDA, cannot come near that
/// peak, by six products in bf16 instead of one not nearer than a third.
///
/// ```
/// use contextlm_train::{TrainDtype, peak_flops};
/// assert_eq!(peak_flops("NVIDIA A100-SXM4-80GB", TrainDtype::Bf16), Some(312e12));
/// assert_eq!(peak_flops("NVIDIA A100-SXM4-80GB MIG 1g.10gb", TrainDtype::Bf16), None);
/// ```
pub fn peak_flops(hardware: &str, dtype: TrainDtype) -> Option<f64> {
    let name = hardware.trim();
    let name = name.strip_prefix("NVIDIA ").unwrap_or(name);
    let peak = PEAKS.iter().find(|peak| peak.names.contains(&name))?;
    Some(match dtype {
        TrainDtype::Bf16 => peak.bf16,
        TrainDtype::F32 => peak.tf32,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_devices_have_a_peak_and_others_none() {
        for (name, bf16, f32) in [
            ("NVIDIA H100 80GB HBM3", Some(989.4e12), Some(494.7e12)),
            ("NVIDIA H100 PCIe", Some(756e12), Some(378e12)),
            ("A100-SXM4-40GB", Some(312e12), Some(156e12)),
            ("NVIDIA A10", Some(125e12), Some(62.5e12)),
            ("NVIDIA A10G", None, None),
            ("NVIDIA H100", None, None),
            ("llvmpipe (LLVM 15.0.6, 256 bits)", None, None),
            ("", None, None),
        ] {
            assert_eq!(peak_flops(name, TrainDtype::Bf16), bf16, "{name}");
            assert_eq!(peak_flops(name, TrainDtype::F32), f32, "{name}");
        }
    }

    #[test]
    fn no_name_stands_twice() {
        let mut names: Vec<_> = PEAKS.iter().flat_map(|peak| peak.names).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}

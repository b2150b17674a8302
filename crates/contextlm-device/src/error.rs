use thiserror::Error;

/// Why there is no device of a given name.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceError {
    /// No backend has this name.
    #[error("device {name}: there is no such device; there are {all} (in this build: {known})")]
    Unknown {
        /// The name that was given.
        name: String,
        /// The names that there are.
        all: String,
        /// The names that this build has.
        known: String,
    },
    /// The backend was not built in.
    #[error("device {name}: this program was built without it; build with --features {feature} (here: {known})")]
    NotBuilt {
        /// The name that was given.
        name: String,
        /// The feature that brings it.
        feature: &'static str,
        /// The names that this build has.
        known: String,
    },
    /// What follows the colon is not an index.
    #[error("device {name}: what follows the colon must be the number of a device, as in {kind}:0")]
    Index {
        /// The name that was given.
        name: String,
        /// The part before the colon.
        kind: String,
    },
    /// The backend takes no index.
    #[error("device {name}: {kind} is one device; leave the number out")]
    NoIndex {
        /// The name that was given.
        name: String,
        /// The part before the colon.
        kind: String,
    },
    /// The machine does not have the device.
    #[error("device {name}: this machine has {found} of its kind; check the driver, or use cpu")]
    Missing {
        /// The name that was given.
        name: String,
        /// How many there are.
        found: usize,
    },
    /// There is no CUDA toolkit, which a program with the feature `cuda-cpp` needs.
    #[error(
        "device {name}: this machine has no CUDA toolkit, whose compiler (NVRTC) and headers this program needs; \
         set CUDA_PATH to where it is, or build with --features cuda instead of cuda-cpp"
    )]
    NoToolkit {
        /// The name that was given.
        name: String,
    },
}

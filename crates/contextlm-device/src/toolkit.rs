//! Whether there is a CUDA toolkit, whose compiler (NVRTC) and headers CubeCL needs for kernels in C++. Without one it panics at
//! the first kernel.

use std::path::{Path, PathBuf};

/// Where CubeCL looks where `CUDA_PATH` is not set (cubecl-cuda 0.11, `install`).
const PLACES: [&str; 4] =
    ["/usr/local/cuda", "/opt/cuda", "/usr/bin/nvcc", "C:/Program Files/NVIDIA GPU Computing Toolkit/CUDA"];

/// Whether CubeCL finds it on this machine.
#[cfg(feature = "cuda-cpp")]
pub(crate) fn is_there() -> bool {
    found(std::env::var_os("CUDA_PATH").map(PathBuf::from), Path::exists)
}

fn found(cuda_path: Option<PathBuf>, exists: impl Fn(&Path) -> bool) -> bool {
    match cuda_path {
        Some(path) => exists(&path.join("include")),
        None => PLACES.iter().any(|place| exists(Path::new(place))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuda_path_counts_before_the_usual_places() {
        let usual = |path: &Path| path == Path::new("/opt/cuda");
        assert!(found(None, usual));
        assert!(!found(None, |_| false));
        assert!(!found(Some("/nowhere".into()), usual));
        assert!(found(Some("/own".into()), |path| path == Path::new("/own/include")));
    }
}

use burn::module::{Param, ParamId};
use burn::tensor::{Device, Shape, Tensor, TensorData};
use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::{Distribution, StandardNormal};

/// Where the initial values of parameters come from: a seed and the parameter's own path.
///
/// Every parameter draws from a stream of its own, chosen by the seed and its path
/// (`backbone.h.0.attn.output.weight`), on the host. So the values do not depend on the backend, on the order
/// in which parameters are created, or on what else the model has: a ContextLM and its plain backbone start
/// from the same backbone when their seeds are equal. Parameters are lazy: counting them allocates nothing.
#[derive(Debug, Clone)]
pub struct Init {
    seed: u64,
    path: String,
}

impl Init {
    /// The root of a model.
    pub fn new(seed: u64) -> Self {
        Self { seed, path: String::new() }
    }

    /// The same seed, one level deeper.
    pub fn at(&self, name: impl AsRef<str>) -> Self {
        Self { seed: self.seed, path: join(&self.path, name.as_ref()) }
    }

    /// A parameter drawn from normal(0, `std`).
    pub fn normal<const R: usize>(&self, name: &str, shape: [usize; R], std: f64, device: &Device) -> Param<Tensor<R>> {
        let path = join(&self.path, name);
        let seed = self.seed;
        lazy(shape, device, move || {
            let mut rng = stream(seed, &path);
            let count = shape.iter().product();
            (0..count)
                .map(|_| {
                    let z: f64 = StandardNormal.sample(&mut rng);
                    (z * std) as f32
                })
                .collect()
        })
    }

    /// A parameter with one value everywhere.
    pub fn constant<const R: usize>(&self, shape: [usize; R], value: f32, device: &Device) -> Param<Tensor<R>> {
        lazy(shape, device, move || vec![value; shape.iter().product()])
    }

    /// A parameter whose element at a row-major index is `value(index)`.
    pub fn from_fn<const R: usize>(
        &self,
        shape: [usize; R],
        value: impl Fn(usize) -> f32 + Send + Sync + 'static,
        device: &Device,
    ) -> Param<Tensor<R>> {
        lazy(shape, device, move || (0..shape.iter().product()).map(&value).collect())
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
}

/// The generator of one parameter: ChaCha with the seed and the path's FNV-1a hash as its key.
fn stream(seed: u64, path: &str) -> ChaCha8Rng {
    let hash = path
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let mut key = [0; 32];
    key[..8].copy_from_slice(&seed.to_le_bytes());
    key[8..16].copy_from_slice(&hash.to_le_bytes());
    ChaCha8Rng::from_seed(key)
}

fn lazy<const R: usize>(
    shape: [usize; R],
    device: &Device,
    values: impl Fn() -> Vec<f32> + Send + Sync + 'static,
) -> Param<Tensor<R>> {
    Param::uninitialized(
        ParamId::new(),
        move |device, require_grad| {
            let tensor = Tensor::from_data(TensorData::new(values(), shape), device);
            if require_grad { tensor.require_grad() } else { tensor }
        },
        device.clone(),
        true,
        Shape::from(shape),
    )
}

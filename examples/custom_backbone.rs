//! A backbone that is not a transformer, trained for a few steps as a ContextLM.
//!
//! Every block mixes a token with an average of the tokens before it, then runs an MLP. Which tokens are "before"
//! comes from `Positions::bias`, so that the network is causal and keeps to its document, and extra entries (the
//! `interleave` fusion) just work.

use std::ops::Range;

use burn::module::Param;
use burn::nn::Linear;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::{gelu, softmax};
use contextlm_core::{Backbone, BackboneSpec, ContextConfig, ContextLm, Device, Init, Int, Module, Positions, Tensor};

#[derive(Module, Debug)]
struct Averager {
    embedding: Param<Tensor<2>>, // [V, D], the head too
    layers: Vec<Layer>,
}

#[derive(Module, Debug)]
struct Layer {
    up: Linear,   // [2D, 4D]: the token beside the average
    down: Linear, // [4D, D]
}

impl Averager {
    fn new(vocabulary: usize, width: usize, layers: usize, device: &Device) -> Self {
        let init = Init::new(0).at("averager");
        let linear = |init: &Init, from: usize, to: usize| Linear {
            weight: init.normal("weight", [from, to], 0.02, device),
            bias: Some(init.constant([to], 0.0, device)),
        };
        let layer = |i: usize| Layer {
            up: linear(&init.at(format!("layers.{i}.up")), 2 * width, 4 * width),
            down: linear(&init.at(format!("layers.{i}.down")), 4 * width, width),
        };
        Self {
            embedding: init.normal("embedding", [vocabulary, width], 0.02, device),
            layers: (0..layers).map(layer).collect(),
        }
    }
}

impl Backbone for Averager {
    type Cache = (); // decoding runs the whole sequence again

    fn spec(&self) -> BackboneSpec {
        let [vocabulary, width] = self.embedding.dims();
        BackboneSpec::new(width, self.layers.len(), vocabulary, usize::MAX)
    }

    fn embed(&self, tokens: Tensor<2, Int>, _at: &Positions) -> Tensor<3> {
        burn::tensor::module::embedding(self.embedding.val(), tokens)
    }

    fn blocks(
        &self,
        x: Tensor<3>,
        range: Range<usize>,
        at: &Positions,
        _caches: Option<&mut [Self::Cache]>,
    ) -> Tensor<3> {
        let [rows, entries, _] = x.dims();
        let bias = at.bias(); // 0 where entry t may see entry s, a large negative number elsewhere
        let average = softmax(bias, 3).squeeze_dim::<3>(1).expand([rows, entries, entries]);
        self.layers[range].iter().fold(x, |x, layer| {
            let before = average.clone().matmul(x.clone());
            let mixed = gelu(layer.up.forward(Tensor::cat(vec![x.clone(), before], 2)));
            x + layer.down.forward(mixed)
        })
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        x.clone() / (x.square().mean_dim(2) + 1e-5).sqrt()
    }

    fn head(&self) -> Tensor<2> {
        self.embedding.val()
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let device = contextlm_device::device("cpu")?.autodiff();
    let text = include_bytes!("custom_backbone.rs"); // a vocabulary of 256 bytes, and this file to learn
    let (length, rows) = (64, 16);

    let backbone = Averager::new(256, 64, 3, &device);
    let mut model = ContextLm::wrap(backbone, ContextConfig::measured(), &device)?;
    println!("{:?}", model.parameters());

    let mut optimizer = AdamWConfig::new().init();
    for step in 0..60 {
        let windows = (0..rows).map(|row| (step * 131 + row * 257) % (text.len() - length - 1));
        let bytes: Vec<i64> = windows.flat_map(|at| text[at..=at + length].iter().map(|&byte| byte.into())).collect();
        let windows = Tensor::<1, Int>::from_ints(bytes.as_slice(), &device).reshape([rows, length + 1]);
        let loss = model.loss(windows.clone().narrow(1, 0, length), windows.narrow(1, 1, length));
        if step % 10 == 9 {
            println!("step {:2}: {:.3} nats a byte", step + 1, loss.clone().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(3e-3, model, gradients);
    }
    Ok(())
}

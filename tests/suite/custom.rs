//! A backbone that is not a transformer.

use std::ops::Range;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use contextlm_core::{Backbone, BackboneSpec, ContextConfig, ContextLm, Init, Positions};
use contextlm_tests::{FUSIONS, cpu, disturb};

/// Causal convolutions over an entry and the one before it, of one document a row.
#[derive(Module, Debug)]
struct Convolutions {
    embedding: Param<Tensor<2>>,
    now: Vec<Param<Tensor<2>>>,
    before: Vec<Param<Tensor<2>>>,
}

impl Convolutions {
    fn new(vocabulary: usize, width: usize, layers: usize, device: &Device) -> Self {
        let maps = |name: &str| {
            let init = Init::new(1).at(name);
            (0..layers).map(|i| init.normal(&i.to_string(), [width, width], 0.3, device)).collect()
        };
        let embedding = Init::new(1).normal("embedding", [vocabulary, width], 0.5, device);
        Self { embedding, now: maps("now"), before: maps("before") }
    }
}

impl Backbone for Convolutions {
    type Cache = ();

    fn spec(&self) -> BackboneSpec {
        let [vocabulary, width] = self.embedding.dims();
        BackboneSpec::new(width, self.now.len(), vocabulary, usize::MAX)
    }

    fn embed(&self, tokens: Tensor<2, Int>, _at: &Positions) -> Tensor<3> {
        burn::tensor::module::embedding(self.embedding.val(), tokens)
    }

    fn blocks(&self, x: Tensor<3>, range: Range<usize>, _at: &Positions, _caches: Option<&mut [()]>) -> Tensor<3> {
        range.fold(x, |x, layer| {
            let [rows, entries, width] = x.dims();
            let start = Tensor::zeros([rows, 1, width], &x.device());
            let before = Tensor::cat(vec![start, x.clone()], 1).narrow(1, 0, entries);
            let now = x.clone().matmul(self.now[layer].val().unsqueeze());
            x + (now + before.matmul(self.before[layer].val().unsqueeze())).tanh()
        })
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        x.clone() / (x.square().mean_dim(2) + 1e-5).sqrt()
    }

    fn head(&self) -> Tensor<2> {
        self.embedding.val()
    }
}

#[test]
fn every_fusion_is_causal() {
    let device = cpu();
    for fusion in FUSIONS {
        for chunk_size in 1..=3 {
            let context = ContextConfig { fusion, chunk_size, ..ContextConfig::default() };
            let model = ContextLm::wrap(Convolutions::new(11, 8, 3, &device), context, &device).unwrap();
            let what = format!("{fusion:?}, w = {chunk_size}");
            crate::causality::check(&disturb(model), 2 * chunk_size + 2, 11, &device, &what);
        }
    }
}

#[test]
fn it_is_plain_without_a_context() {
    let device = cpu();
    let backbone = Convolutions::new(11, 8, 3, &device);
    let plain = ContextLm::plain(backbone);
    crate::causality::check(&plain, 5, 11, &device, "plain");
    assert_eq!(plain.parameters().total, 11 * 8 + 6 * 64);
    assert!(plain.flops_per_token(8).is_none());
}

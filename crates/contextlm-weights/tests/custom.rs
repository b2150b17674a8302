//! A backbone of one's own has its tensors under their paths, as they are.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::ops::Range;

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use common::{cpu, write_file};
use contextlm_core::{Backbone, BackboneSpec, ContextConfig, ContextLm, Init, Int, Positions};
use contextlm_weights::load_into;

#[derive(Module, Debug)]
struct Tiny {
    table: Param<Tensor<2>>,
    maps: Vec<Linear>,
}

impl Backbone for Tiny {
    type Cache = ();

    fn spec(&self) -> BackboneSpec {
        BackboneSpec::new(2, self.maps.len(), 3, 16)
    }

    fn embed(&self, tokens: Tensor<2, Int>, _at: &Positions) -> Tensor<3> {
        burn::tensor::module::embedding(self.table.val(), tokens)
    }

    fn blocks(&self, x: Tensor<3>, range: Range<usize>, _: &Positions, _: Option<&mut [()]>) -> Tensor<3> {
        self.maps[range].iter().fold(x, |x, map| map.forward(x))
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        x
    }

    fn head(&self) -> Tensor<2> {
        self.table.val()
    }
}

#[test]
fn a_custom_backbone_is_loaded_by_its_paths() {
    let device = cpu();
    let table = Init::new(0).constant([3, 2], 0.0, &device);
    let backbone = Tiny { table, maps: vec![LinearConfig::new(2, 2).init(&device)] };
    let context = ContextConfig { predictor_layers: 0, ..ContextConfig::default() };
    let model = ContextLm::wrap(backbone, context, &device).unwrap();

    let dir = tempfile::tempdir().unwrap();
    let mut tensors = BTreeMap::from(
        [
            ("backbone.table", vec![3, 2], vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0]),
            ("backbone.maps.0.weight", vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]),
            ("backbone.maps.0.bias", vec![2], vec![5.0, 6.0]),
            ("context.initial", vec![2], vec![7.0, 8.0]),
        ]
        .map(|(name, shape, values)| (name.to_string(), (shape, values))),
    );
    for norm in ["predictor.norm", "fusion.norm_tokens", "fusion.norm_context"] {
        tensors.insert(format!("context.{norm}.weight"), (vec![2], vec![1.0; 2]));
        tensors.insert(format!("context.{norm}.bias"), (vec![2], vec![0.0; 2]));
    }
    write_file(&dir.path().join("model.safetensors"), &tensors);

    let loaded = load_into(model, dir.path()).unwrap();
    let [table, weight] = [&loaded.backbone.table, &loaded.backbone.maps[0].weight].map(|param| {
        let values: Vec<f32> = param.val().into_data().try_to_vec().unwrap();
        values
    });
    assert_eq!((table, weight), (vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![1.0, 2.0, 3.0, 4.0]));
}

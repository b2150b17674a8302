//! Attention probabilities, which are there to look at, are those that the blocks use.

use contextlm_core::{Backbone, BackboneConfig, Block, Init, Positions, Tensor};
use contextlm_nn::{QkvLayout, QueryKeyValue, Rotary};
use contextlm_tests::{assert_close, backbones, cpu, ids, tokens, values};

/// Values by head, [B, H, T, Dh], as the block's projections give them.
fn values_by_head(block: &Block, x: Tensor<3>, layout: QkvLayout, heads: usize) -> Tensor<4> {
    let [rows, length, width] = x.dims();
    match &block.attention.qkv {
        QueryKeyValue::Fused(map) if layout == QkvLayout::PerHead => {
            let each = width / heads;
            let all = map.forward(x).reshape([rows, length, heads, 3 * each]);
            all.narrow(3, 2 * each, each).swap_dims(1, 2)
        }
        QueryKeyValue::Fused(map) => {
            map.forward(x).narrow(2, 2 * width, width).reshape([rows, length, heads, width / heads]).swap_dims(1, 2)
        }
        QueryKeyValue::Separate(maps) => {
            let all = maps.value.forward(x);
            let [.., inner] = all.dims();
            let (each, shared) = (8, inner / 8); // heads of the Llama here
            let all = all.reshape([rows, length, shared, 1, each]).expand([rows, length, shared, heads / shared, each]);
            all.reshape([rows, length, heads, each]).swap_dims(1, 2)
        }
    }
}

#[test]
fn they_give_what_attention_gives() {
    let device = cpu();
    for config in backbones() {
        let model = config.init(&Init::new(1), &device).unwrap();
        let (layout, heads) = match config {
            BackboneConfig::Gpt2(_) => (QkvLayout::Concatenated, 2),
            BackboneConfig::GptNeoX(_) => (QkvLayout::PerHead, 2),
            BackboneConfig::Llama(_) => (QkvLayout::Separate, 4),
        };
        let (rows, length) = (2, 7);
        let at = Positions::causal(length, &device);
        let x = model.embed(ids(&tokens(rows, length, 23, 5), rows, &device), &at);
        let block = &model.own_blocks().unwrap()[1];
        let rotary: Option<Rotary> = block.rotary(&at);
        let weights = block.attention_weights(x.clone(), &at, rotary.as_ref());
        assert_eq!(weights.dims(), [rows, heads, length, length]);
        let found = values(weights.clone());
        for (row, weights) in found.chunks(length).enumerate() {
            let t = row % length;
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-5, "{weights:?}");
            assert!(weights[t + 1..].iter().all(|&weight| weight == 0.0), "{weights:?}");
        }

        let normed = block.norm_1.forward(x);
        let mixed = weights.matmul(values_by_head(block, normed.clone(), layout, heads)).swap_dims(1, 2);
        let [.., each] = mixed.dims();
        let output = block.attention.output.forward(mixed.reshape([rows, length, heads * each]));
        let expected = block.attention.forward(normed, &at, rotary.as_ref(), None);
        assert_close(output, expected, 1e-5, &format!("{layout:?}"));
    }
}

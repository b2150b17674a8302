//! What each choice of the context table computes, against sums by hand.

use burn::tensor::{Device, Int, Tensor};
use contextlm_core::{
    Backbone, ChunkGrid, ContextConfig, ContextLm, ContextLmConfig, Documents, FusionKind, Pooling, Positions,
    PredictorPositions,
};
use contextlm_embedding::Pool;
use contextlm_nn::{Init, Norm};
use contextlm_tests::{VOCABULARY, contextlm, cpu, gpt2, ids, neox, tokens, values};

/// Two chunks of three states of two dimensions.
fn chunks(device: &Device) -> Tensor<4> {
    Tensor::from_floats([[[[1.0, -2.0], [4.0, 0.0], [-2.0, 5.0]], [[7.0, 7.0], [7.0, 1.0], [3.0, 7.0]]]], device)
}

fn pool(pooling: Pooling) -> Pool {
    pooling.init(&Init::new(0), 2, 3, &cpu())
}

#[test]
fn poolings() {
    let pooled = |pooling| values(pool(pooling).forward(chunks(&cpu())));
    let mean = [1.0, 1.0, 17.0 / 3.0, 5.0];
    for pooling in [Pooling::Mean, Pooling::Learned] {
        let found = pooled(pooling);
        assert!(found.iter().zip(mean).all(|(a, b)| (a - b).abs() < 1e-6), "{pooling:?}: {found:?}");
    }
    assert_eq!(pooled(Pooling::First), [1.0, -2.0, 7.0, 7.0]);
    assert_eq!(pooled(Pooling::Last), [-2.0, 5.0, 3.0, 7.0]);
    assert_eq!(pooled(Pooling::Max), [4.0, 5.0, 7.0, 7.0]);
}

#[test]
fn learned_pooling_reads_the_states_oldest_first() {
    // Column j*D + d is dimension d of the j-th state.
    let mut pool = pool(Pooling::Learned);
    let weight = [[100.0, 0.0, 10.0, 0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 10.0, 0.0, 100.0]];
    pool.weight = pool.weight.map(|param| param.map(|_| Tensor::from_floats(weight, &cpu())));
    let by_hand = [100.0 + 40.0 - 2.0, -2.0 + 0.0 + 500.0, 700.0 + 70.0 + 3.0, 7.0 + 10.0 + 700.0];
    assert_eq!(values(pool.forward(chunks(&cpu()))), by_hand);
}

#[test]
fn the_first_of_several_maxima_takes_the_gradient() {
    let device = cpu().autodiff();
    let input = chunks(&device).require_grad();
    let gradients = pool(Pooling::Max).forward(input.clone()).sum().backward();
    let taken = [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0];
    assert_eq!(values(input.grad(&gradients).unwrap()), taken);
}

#[test]
fn a_chunk_has_the_position_of_its_first_token() {
    let ids = |grid: ChunkGrid| grid.positions(&cpu()).ids().into_data().convert::<i64>().try_to_vec::<i64>().unwrap();
    assert_eq!(ids(ChunkGrid::uniform(14, 4)), [0, 4, 8]);
    // It counts from the document.
    let documents = Documents::new(vec![vec![0, 9]], 14).unwrap();
    assert_eq!(ids(ChunkGrid::packed(&documents, 2)), [0, 2, 4, 6, 0, 2]);
}

/// 1, 2, 3, ... times `scale`, [1, 1, 16].
fn ramp(scale: f32) -> Tensor<3> {
    Tensor::<1>::from_floats(row(scale).as_slice(), &cpu()).unsqueeze()
}

fn row(scale: f32) -> Vec<f32> {
    (1..=16).map(|i| scale * i as f32).collect()
}

/// A disturbed model, and what its fusion makes of a state and a context.
fn fused(fusion: FusionKind) -> (ContextLm, Vec<f32>) {
    let context = ContextConfig { fusion, chunk_size: 1, ..ContextConfig::default() };
    let model = contextlm(gpt2(), context, &cpu());
    let contexts = Tensor::cat(vec![ramp(9.0), ramp(-0.5)], 1); // w = 1: position 0 is guided by the second
    let out = model.context.as_ref().unwrap().decoder.fusion.forward(ramp(1.0), contexts, &ChunkGrid::uniform(1, 1));
    (model, values(out))
}

#[test]
fn fusions() {
    let sum = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a + b).collect::<Vec<_>>();
    let close = |found: &[f32], expected: &[f32]| {
        let largest = expected.iter().fold(1.0_f32, |largest, x| largest.max(x.abs()));
        let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0_f32, f32::max);
        assert!(found.len() == expected.len() && off < 1e-5 * largest, "{found:?}\n{expected:?}");
    };
    close(&fused(FusionKind::Add).1, &sum(&row(1.0), &row(-0.5)));

    let (model, found) = fused(FusionKind::GatedAdd);
    let gate = values(model.context.unwrap().decoder.fusion.gate.unwrap().val())[0];
    close(&found, &sum(&row(1.0), &row(-0.5 * gate)));

    let (model, found) = fused(FusionKind::NormedAdd);
    let fusion = model.context.unwrap().decoder.fusion;
    let normed = |norm: &Option<Norm>, x| values(norm.as_ref().unwrap().forward(x));
    close(&found, &sum(&normed(&fusion.norm_tokens, ramp(1.0)), &normed(&fusion.norm_context, ramp(-0.5))));

    // Our maps are [inputs, outputs].
    let map = |x: &[f32], weight: &[f32]| -> Vec<f32> {
        (0..16).map(|out| x.iter().enumerate().map(|(i, x)| x * weight[i * 16 + out]).sum()).collect()
    };
    for (kind, input) in [(FusionKind::ProjectedAdd, row(-0.5)), (FusionKind::Concat, [row(1.0), row(-0.5)].concat())] {
        let (model, found) = fused(kind);
        let proj = model.context.unwrap().decoder.fusion.proj.unwrap();
        let mapped = sum(&map(&input, &values(proj.weight.val())), &values(proj.bias.unwrap().val()));
        close(&found, &if kind == FusionKind::Concat { mapped } else { sum(&row(1.0), &mapped) });
    }
}

/// With no block, the prediction is the context embedding, or its norm.
#[test]
fn a_predictor_without_layers_is_the_identity_and_its_norm() {
    for predictor_norm in [true, false] {
        let context = ContextConfig { predictor_layers: 0, predictor_norm, chunk_size: 3, ..ContextConfig::default() };
        let model = contextlm(gpt2(), context, &cpu());
        let path = model.context.as_ref().unwrap();
        let row = ids(&tokens(1, 7, VOCABULARY, 5), 1, &cpu());
        let found = model.predicted_contexts(row.clone()).unwrap().narrow(1, 1, 2);
        let at = Positions::causal(7, &cpu());
        let states = model.backbone.blocks(model.backbone.embed(row, &at), 0..1, &at, None);
        let pooled = path.embedding.forward(states, &ChunkGrid::uniform(7, 3)).unwrap();
        let norm = path.predictor.as_ref().unwrap().norm.as_ref();
        assert_eq!(norm.is_some(), predictor_norm);
        let expected = match norm {
            Some(norm) => norm.forward(pooled.clone()),
            None => pooled.clone(),
        };
        assert!(values(found) == values(expected.clone()));
        assert_eq!(values(expected) == values(pooled), !predictor_norm);
    }
}

/// The ids of chunks matter with rotary positions and only with them.
#[test]
fn positions_of_the_predictor() {
    let predict = |positions, ids: [i64; 3]| {
        let context = ContextConfig { predictor_positions: Some(positions), ..ContextConfig::default() };
        let model = ContextLmConfig::new(neox()).with_context(context).init(&cpu()).unwrap();
        let contexts: Vec<f32> = (0..48).map(|i| ((i * 7 % 11) as f32) - 5.0).collect();
        let contexts = Tensor::<1>::from_floats(contexts.as_slice(), &cpu()).reshape([1, 3, 16]);
        let at = Positions::with_ids(Tensor::<1, Int>::from_ints(ids, &cpu()).unsqueeze(), 0);
        values(model.context.unwrap().predictor.unwrap().forward(contexts, &at))
    };
    let (none, rotary) = (PredictorPositions::None, PredictorPositions::Rotary);
    assert_eq!(predict(none, [0, 4, 8]), predict(none, [0, 1, 2]));
    assert_ne!(predict(rotary, [0, 4, 8]), predict(rotary, [0, 1, 2]));
    assert_ne!(predict(rotary, [0, 4, 8]), predict(none, [0, 4, 8]));
}

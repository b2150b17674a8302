//! Short sequences, and rows of a batch.

use contextlm_core::ContextConfig;
use contextlm_tests::{
    FUSIONS, POOLINGS, VOCABULARY, assert_close, backbones, contextlm, cpu, gpt2, ids, tokens, values,
};

#[test]
fn any_length_runs() {
    let device = cpu();
    for fusion in FUSIONS {
        for chunk_size in [1, 3, 4, 100] {
            let context = ContextConfig { chunk_size, fusion, ..ContextConfig::default() };
            let model = contextlm(gpt2(), context, &device.clone().autodiff());
            for (rows, length) in [(1, 1), (1, 2), (2, 3), (1, 4), (2, 7), (1, 8)] {
                let device = device.clone().autodiff();
                let input = ids(&tokens(rows, length, VOCABULARY, 1), rows, &device);
                let logits = model.forward(input.clone());
                assert_eq!(logits.dims(), [rows, length, VOCABULARY]);
                assert!(values(logits).iter().all(|logit| logit.is_finite()), "{fusion:?}, T = {length}");
                let contexts = model.predicted_contexts(input.clone()).unwrap();
                assert_eq!(contexts.dims(), [rows, length / chunk_size + 1, 16]);
                let loss = model.loss(input.clone(), input);
                let gradients = contextlm_tests::gradients(&model, loss);
                assert!(contextlm_tests::global_norm(&gradients).is_finite(), "{fusion:?}, T = {length}");
            }
        }
    }
}

#[test]
fn rows_are_independent() {
    let device = cpu();
    for backbone in backbones() {
        for fusion in FUSIONS {
            for pooling in POOLINGS {
                let context = ContextConfig { chunk_size: 3, fusion, pooling, ..ContextConfig::default() };
                let model = contextlm(backbone.clone(), context, &device);
                let (length, row) = (11, 11 * VOCABULARY);
                let batch = tokens(3, length, VOCABULARY, 9);
                let mut changed = batch.clone();
                changed[length..2 * length].copy_from_slice(&tokens(1, length, VOCABULARY, 10));

                let logits = model.forward(ids(&batch, 3, &device));
                let (before, after) = (values(logits.clone()), values(model.forward(ids(&changed, 3, &device))));
                assert!(before[..row] == after[..row] && before[2 * row..] == after[2 * row..], "{fusion:?}");
                assert!(before[row..2 * row] != after[row..2 * row], "{fusion:?}: the changed row");

                let alone = model.forward(ids(&batch[2 * length..], 1, &device));
                assert_close(logits.narrow(0, 2, 1), alone, 1e-5, &format!("{fusion:?} {pooling:?}: a row alone"));
            }
        }
    }
}

//! Cached logits without the fused operations. Its own process, since the switch is that of the process.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use contextlm_core::{ContextConfig, FusionKind};
use contextlm_generate::{Beyond, DecoderState};
use contextlm_kernels::set_fused;

#[test]
fn without_the_fused_operations_cached_logits_are_those_of_the_full_pass() {
    set_fused(false);
    for fusion in [None, Some(FusionKind::NormedAdd), Some(FusionKind::Concat), Some(FusionKind::Interleave)] {
        for backbone in [gpt2, neox, llama] {
            let context = fusion.map(|fusion| ContextConfig { fusion, chunk_size: 3, ..ContextConfig::default() });
            let model = model(backbone(64), context);
            for prompt in [1, 3, 10] {
                let tokens = tokens(prompt + 12, prompt);
                let mut state = DecoderState::new(&model, 1, 8, Beyond::Stop, &cpu()).unwrap();
                let mut found = rows(state.feed_all(&[&tokens[..prompt]]).unwrap());
                for token in tokens[prompt..].chunks(1) {
                    found.extend(rows(state.feed(&[token]).unwrap().unsqueeze_dim(1)));
                }
                assert_equal(&found, &full(&model, &tokens), &format!("{fusion:?}, prompt {prompt}"));
            }
        }
    }
}

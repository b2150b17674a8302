//! Parameters and arithmetic, from shapes alone.

use contextlm_core::{
    BackboneConfig, ContextConfig, ContextLmConfig, FusionKind, Gpt2Config, InitialContextKind, LlamaConfig, LlamaKind,
    Parameters, Pooling, Source,
};
use contextlm_tests::{cpu, gpt2, llama};

/// (name, width, parameters)
const PRESETS: [(&str, usize, usize); 11] = [
    ("gpt2", 768, 124_439_808),
    ("gpt2-medium", 1024, 354_823_168),
    ("gpt2-large", 1280, 774_030_080),
    ("gpt2-xl", 1600, 1_557_611_200),
    ("pythia-14m", 128, 14_067_712),
    ("pythia-31m", 256, 30_494_720),
    ("pythia-70m", 512, 70_426_624),
    ("pythia-160m", 768, 162_322_944),
    ("pythia-410m", 1024, 405_334_016),
    ("pythia-1b", 2048, 1_011_781_632),
    ("pythia-1.4b", 2048, 1_414_647_808),
];

fn count(config: ContextLmConfig) -> Parameters {
    config.init(&cpu()).unwrap().parameters()
}

#[test]
fn every_preset() {
    assert_eq!(ContextLmConfig::presets(), PRESETS.map(|(name, ..)| name));
    for (name, width, backbone) in PRESETS {
        let config = ContextLmConfig::preset(name).unwrap();
        assert_eq!(count(config.clone()), Parameters { backbone, context: 0, total: backbone }, "{name}");
        // Two blocks, the predictor's norm, the initial context, the two norms of normed_add.
        let context = 2 * (12 * width * width + 13 * width) + 2 * width + width + 4 * width;
        let expected = Parameters { backbone, context, total: backbone + context };
        assert_eq!(count(config.with_context(ContextConfig::default())), expected, "{name}");
    }
}

#[test]
fn every_choice() {
    let d = 16;
    let context = |change: fn(&mut ContextConfig)| {
        let mut context = ContextConfig { fusion: FusionKind::Add, ..ContextConfig::default() };
        change(&mut context);
        count(ContextLmConfig::new(gpt2()).with_context(context)).context
    };
    let add = 2 * (12 * d * d + 13 * d) + 2 * d + d;
    assert_eq!(context(|_| ()), add);
    assert_eq!(context(|c| c.fusion = FusionKind::NormedAdd), add + 4 * d);
    assert_eq!(context(|c| c.fusion = FusionKind::GatedAdd), add + 1);
    assert_eq!(context(|c| c.fusion = FusionKind::ProjectedAdd), add + d * d + d);
    assert_eq!(context(|c| c.fusion = FusionKind::Concat), add + 2 * d * d + d);
    assert_eq!(context(|c| c.fusion = FusionKind::Interleave), add);
    for pooling in [|c: &mut ContextConfig| c.pooling = Pooling::Last, |c: &mut ContextConfig| c.pooling = Pooling::Max]
    {
        assert_eq!(context(pooling), add);
    }
    assert_eq!(context(|c| c.pooling = Pooling::Learned), add + 4 * d * d);
    assert_eq!(context(|c| c.predictor_layers = 0), 3 * d);
    assert_eq!(context(|c| c.predictor_norm = false), add - 2 * d);
    assert_eq!(context(|c| c.initial_context = InitialContextKind::Zero), add - d);
    assert_eq!(context(|c| (c.source, c.pooling) = (Source::Constant, Pooling::Learned)), d);
}

#[test]
fn a_tied_head_counts_once() {
    let BackboneConfig::Gpt2(config) = gpt2() else { unreachable!() };
    let head = config.vocab_size * config.n_embd;
    let untied = BackboneConfig::Gpt2(Gpt2Config { tie_word_embeddings: false, ..config });
    let (tied, untied) = (count(ContextLmConfig::new(gpt2())), count(ContextLmConfig::new(untied)));
    assert_eq!(untied.total, tied.total + head);
}

/// (config, parameters) of published models; the numbers are those of their model cards.
#[test]
fn published_models_of_the_llama_family() {
    let llama = LlamaConfig::default();
    let llama_3_2_1b = LlamaConfig {
        vocab_size: 128256,
        hidden_size: 2048,
        intermediate_size: 8192,
        num_hidden_layers: 16,
        num_key_value_heads: Some(8),
        tie_word_embeddings: true,
        ..llama.clone()
    };
    let mistral_7b = LlamaConfig { max_position_embeddings: 4096, ..LlamaConfig::of(LlamaKind::Mistral) };
    let qwen2_half_b = LlamaConfig {
        hidden_size: 896,
        intermediate_size: 4864,
        num_hidden_layers: 24,
        num_attention_heads: 14,
        num_key_value_heads: Some(2),
        tie_word_embeddings: true,
        ..LlamaConfig::of(LlamaKind::Qwen2)
    };
    for (config, parameters) in [
        (llama, 6_738_415_616),
        (llama_3_2_1b, 1_235_814_400),
        (mistral_7b, 7_241_732_096),
        (qwen2_half_b, 494_032_768),
    ] {
        assert_eq!(count(ContextLmConfig::new(BackboneConfig::Llama(config))).total, parameters);
    }
}

/// A block has four maps of attention, three of the MLP, and two norms without biases; the predictor's are like it.
#[test]
fn every_part_of_a_llama() {
    let (d, heads, kv_heads, head_dim, inner, vocabulary) = (16, 4, 2, 8, 40, 23);
    let block = 2 * d * head_dim * (heads + kv_heads) + 3 * d * inner + 2 * d;
    let found = count(ContextLmConfig::new(llama()).with_default_context());
    assert_eq!(found.backbone, vocabulary * d + 2 * block + d);
    // Two blocks, the predictor's norm, the initial context, the two norms of normed_add.
    assert_eq!(found.context, 2 * block + 4 * d);
    let BackboneConfig::Llama(config) = llama() else { unreachable!() };
    let with = |config| count(ContextLmConfig::new(BackboneConfig::Llama(config))).total;
    let plain = with(config.clone());
    assert_eq!(with(LlamaConfig { tie_word_embeddings: false, ..config.clone() }), plain + vocabulary * d);
    let biases = |attention, mlp| 2 * (attention + mlp);
    let qkv = head_dim * (heads + 2 * kv_heads);
    assert_eq!(with(LlamaConfig { attention_bias: true, ..config.clone() }), plain + biases(qkv + d, 0));
    assert_eq!(with(LlamaConfig { mlp_bias: true, ..config.clone() }), plain + biases(0, 2 * inner + d));
    assert_eq!(with(LlamaConfig { model_type: LlamaKind::Qwen2, ..config }), plain + biases(qkv, 0));
}

#[test]
fn arithmetic_of_gpt2() {
    let flops = |context: Option<ContextConfig>| {
        let config = ContextLmConfig { context, ..ContextLmConfig::preset("gpt2").unwrap() };
        config.init(&cpu()).unwrap().flops_per_token(1024).unwrap()
    };
    let (d, n, layers, vocabulary) = (768u64, 1024u64, 12u64, 50257u64);
    let block = 2 * 12 * d * d + 4 * d * n;
    let backbone = layers * block + 2 * vocabulary * d;
    assert_eq!(backbone, 284_812_800);
    let plain = flops(None);
    assert_eq!((plain.backbone, plain.context, plain.total), (backbone, 0, backbone));

    // Two blocks of the predictor over 256 chunks, once in four tokens.
    let predictor = 2 * (2 * 12 * d * d + 4 * d * (n / 4)) / 4;
    assert_eq!(predictor, 7_471_104);
    let with = |fusion, pooling| {
        flops(Some(ContextConfig { fusion, pooling, ..ContextConfig::default() })).context - predictor
    };
    assert_eq!(with(FusionKind::NormedAdd, Pooling::Mean), 0);
    assert_eq!(with(FusionKind::ProjectedAdd, Pooling::Mean), 2 * d * d);
    assert_eq!(with(FusionKind::Concat, Pooling::Mean), 4 * d * d);
    assert_eq!(with(FusionKind::Add, Pooling::Learned), 2 * d * d);
    assert_eq!(with(FusionKind::Interleave, Pooling::Mean), 11 * block / 4);
    let constant = ContextConfig { source: Source::Constant, ..ContextConfig::default() };
    assert_eq!(flops(Some(constant)).context, 0);
}

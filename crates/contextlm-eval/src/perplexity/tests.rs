use contextlm_core::{BackboneConfig, ContextConfig, ContextLmConfig, GptNeoXConfig, Int, Tensor};

use super::*;

const VOCABULARY: usize = 23;

fn cpu() -> Device {
    contextlm_device::device("cpu").unwrap()
}

fn model() -> ContextLm {
    let backbone = BackboneConfig::GptNeoX(GptNeoXConfig {
        vocab_size: VOCABULARY,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: 16,
        initializer_range: 0.3,
        ..GptNeoXConfig::default()
    });
    let context = Some(ContextConfig::default());
    ContextLmConfig { context, ..ContextLmConfig::new(backbone) }.init(&cpu()).unwrap()
}

fn tokens(length: usize) -> Vec<u32> {
    (0..length).map(|i| ((i * i * 7 + i * 3 + i / 5) % VOCABULARY) as u32).collect()
}

/// Negative log-probability of tokens[first..end] where tokens[start..] goes before, by the full pass.
fn nll(model: &ContextLm, tokens: &[u32], [start, first, end]: [usize; 3]) -> f64 {
    let inputs: Vec<i64> = tokens[start..end - 1].iter().map(|&token| token.into()).collect();
    let logits = model.forward(Tensor::<1, Int>::from_ints(inputs.as_slice(), &cpu()).unsqueeze());
    let logits: Vec<f32> = logits.into_data().try_to_vec().unwrap();
    let rows = logits.chunks(VOCABULARY).skip(first - start - 1).zip(&tokens[first..end]);
    rows.map(|(row, &target)| {
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        sum.ln() - f64::from(row[target as usize])
    })
    .sum()
}

fn options(window: usize, stride: usize, batch_tokens: usize) -> PerplexityOptions {
    PerplexityOptions { window: Some(window), stride: Some(stride), batch_tokens }
}

#[test]
fn disjoint_and_strided_windows_add_up_by_hand() {
    let (model, tokens) = (model(), tokens(10));
    let by_hand = |windows: &[[usize; 3]]| windows.iter().map(|&window| nll(&model, &tokens, window)).sum::<f64>();
    for (stride, windows) in
        [(4, &[[0, 1, 5], [4, 5, 9], [8, 9, 10]][..]), (2, &[[0, 1, 4], [2, 4, 6], [4, 6, 8], [6, 8, 10]][..])]
    {
        for batch_tokens in [1, 8, 4096] {
            let sequences = [Tokens::from(tokens.clone())];
            let found = perplexity(&model, &sequences, &options(4, stride, batch_tokens), &cpu(), |_| true).unwrap();
            let expected = by_hand(windows);
            assert!((found.nll - expected).abs() < 1e-5 * expected, "stride {stride}: {} {expected}", found.nll);
            assert_eq!((found.tokens, found.window, found.stride), (9, 4, stride));
        }
    }
}

#[test]
fn documents_are_scored_each_on_its_own() {
    let (model, tokens) = (model(), tokens(30));
    let parts = [&tokens[..20], &tokens[20..21], &[], &tokens[21..], &tokens[..1]];
    let sequences: Vec<Tokens> = parts.iter().map(|part| Tokens::from(part.to_vec())).collect();
    let run = |sequences: &[Tokens]| perplexity(&model, sequences, &options(16, 16, 64), &cpu(), |_| true).unwrap();
    let found = run(&sequences);
    let alone: f64 = [0, 3].map(|number| run(&sequences[number..=number]).nll).iter().sum();
    assert_eq!((found.tokens, found.documents), (19 + 8, 5));
    assert!((found.nll - alone).abs() < 1e-5 * alone);
    assert!((run(&[Tokens::from(tokens.clone())]).nll - alone).abs() > 0.1, "one stream is something else");
}

#[test]
fn per_token_per_word_and_per_byte() {
    let found = Perplexity { tokens: 4, nll: 8.0, bytes: Some(16), words: Some(2), documents: 1, window: 4, stride: 4 };
    assert_eq!(found.perplexity(), 2.0_f64.exp());
    assert_eq!(found.word_perplexity(), Some(4.0_f64.exp()));
    assert_eq!(found.bits_per_byte(), Some(0.5 / std::f64::consts::LN_2));
    let shards = Perplexity { bytes: None, words: None, ..found };
    assert_eq!(
        (&shards.to_json()["bits_per_byte"], &shards.to_json()["word_perplexity"]),
        (&Value::Null, &Value::Null)
    );
}

#[test]
fn what_cannot_be_run_is_an_error() {
    let model = model();
    let run = |tokens: Vec<u32>, options| {
        let sequences = [Tokens::from(tokens)];
        perplexity(&model, &sequences, &options, &cpu(), |_| true).unwrap_err().to_string()
    };
    assert!(run(tokens(9), options(17, 4, 64)).contains("window = 17: must be from 1 to the model's 16"));
    assert!(run(tokens(9), options(4, 5, 64)).contains("stride = 5: must be from 1 to the window's 4"));
    assert!(run(tokens(9), options(4, 0, 64)).contains("stride = 0"));
    assert!(run(vec![3], options(4, 4, 64)).contains("there is none to score"));
    assert!(run(vec![3, 99], options(4, 4, 64)).contains("token 99"));
    let sequences = [Tokens::from(tokens(9))];
    let stopped = perplexity(&model, &sequences, &options(4, 4, 1), &cpu(), |done| done < 4).unwrap_err().to_string();
    assert!(stopped.contains("interrupted after 4 of 8"), "{stopped}");
}

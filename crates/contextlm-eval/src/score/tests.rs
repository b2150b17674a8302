use contextlm_core::{BackboneConfig, ContextConfig, ContextLmConfig, FusionKind, GptNeoXConfig};

use super::*;

const VOCABULARY: usize = 23;
const WINDOW: usize = 32;

fn cpu() -> Device {
    contextlm_device::device("cpu").unwrap()
}

fn model(context: Option<ContextConfig>) -> ContextLm {
    let backbone = BackboneConfig::GptNeoX(GptNeoXConfig {
        vocab_size: VOCABULARY,
        hidden_size: 16,
        num_hidden_layers: 2,
        num_attention_heads: 2,
        intermediate_size: 32,
        max_position_embeddings: WINDOW,
        initializer_range: 0.3,
        ..GptNeoXConfig::default()
    });
    ContextLmConfig { context, ..ContextLmConfig::new(backbone) }.init(&cpu()).unwrap()
}

fn tokens(length: usize, seed: usize) -> Vec<u32> {
    (0..length).map(|i| ((i * i * 7 + i * 3 + seed * 11 + i / 5) % VOCABULARY) as u32).collect()
}

/// Questions of different lengths: choices of one token and of many, contexts that differ, contexts too long for the
/// window, choices that begin alike or are the same.
fn groups() -> Vec<Vec<Request>> {
    let request = |context: &[u32], continuation: Vec<u32>| Request { context: context.to_vec(), continuation };
    let mut groups = vec![
        vec![request(&[3], vec![4]), request(&[3], vec![5])],
        vec![request(&[3], tokens(6, 1)), request(&[4], tokens(6, 1))],
        vec![request(&tokens(50, 2), tokens(4, 3)), request(&tokens(50, 2), tokens(7, 4))],
        vec![request(&tokens(1, 2), tokens(32, 3))],
        vec![
            request(&tokens(9, 2), vec![1, 2, 3]),
            request(&tokens(9, 2), vec![1, 2, 4, 5]),
            request(&tokens(9, 2), vec![1, 2]),
        ],
        vec![request(&tokens(7, 2), vec![1, 2]), request(&tokens(7, 2), vec![1, 2])],
    ];
    // Every token behind the same context: one of them is the likeliest.
    groups.push((0..VOCABULARY as u32).map(|token| request(&tokens(5, 1), vec![token])).collect());
    groups
        .extend((0..9).map(|n| (0..3).map(|i| request(&tokens(3 + 2 * n, n), tokens(1 + i + n % 4, i + n))).collect()));
    groups
}

/// By the full forward pass and a softmax in f64, one request at a time.
fn expected(model: &ContextLm, request: &Request) -> Likelihood {
    let inputs: Vec<i64> = request.inputs(WINDOW).into_iter().map(i64::from).collect();
    let logits = model.forward(Tensor::<1, Int>::from_ints(inputs.as_slice(), &cpu()).unsqueeze());
    let logits: Vec<f32> = logits.into_data().try_to_vec().unwrap();
    let first = inputs.len() - request.continuation.len();
    let mut likelihood = Likelihood::default();
    for (row, &target) in logits.chunks(VOCABULARY).skip(first).zip(&request.continuation) {
        let sum: f64 = row.iter().map(|&logit| f64::from(logit).exp()).sum();
        likelihood.log_likelihood += f64::from(row[target as usize]) - sum.ln();
        likelihood.greedy &= row.iter().all(|&logit| logit <= row[target as usize]);
    }
    likelihood
}

fn run(model: &ContextLm, groups: &[Vec<Request>], batch_tokens: usize) -> Vec<Vec<Likelihood>> {
    let scorer = RequestScorer::new(model, WINDOW, &cpu()).unwrap();
    let mut found = vec![Vec::new(); groups.len()];
    for batch in scorer.batches(groups, batch_tokens) {
        for (number, likelihoods) in scorer.run(&batch).unwrap() {
            assert!(found[number].is_empty());
            found[number] = likelihoods;
        }
    }
    found
}

#[test]
fn any_batch_size_gives_what_the_full_pass_gives_request_by_request() {
    let context = |fusion, chunk_size| ContextConfig { fusion, chunk_size, ..ContextConfig::default() };
    for context in [None, Some(context(FusionKind::NormedAdd, 3)), Some(context(FusionKind::Interleave, 2))] {
        let (model, groups) = (model(context), groups());
        let mut greedy = 0;
        let expected: Vec<Vec<Likelihood>> =
            groups.iter().map(|group| group.iter().map(|request| expected(&model, request)).collect()).collect();
        for batch_tokens in [1, 20, 64, 4096] {
            for (group, (found, expected)) in run(&model, &groups, batch_tokens).iter().zip(&expected).enumerate() {
                assert_eq!(found.len(), expected.len());
                for (found, expected) in found.iter().zip(expected) {
                    let off = (found.log_likelihood - expected.log_likelihood).abs();
                    let allowed = 1e-5 * expected.log_likelihood.abs().max(1.0);
                    assert!(off <= allowed, "group {group}, {batch_tokens} tokens: {found:?}, not {expected:?}");
                    assert_eq!(found.greedy, expected.greedy, "group {group}");
                    greedy += usize::from(found.greedy);
                }
            }
        }
        assert!(greedy > 0, "no request is greedy: the test would not see a wrong flag");
    }
}

#[test]
fn a_batch_holds_its_tokens_and_every_group_is_in_one() {
    let (model, groups) = (model(None), groups());
    let scorer = RequestScorer::new(&model, WINDOW, &cpu()).unwrap();
    let batches = scorer.batches(&groups, 60);
    let mut numbers: Vec<usize> = batches.iter().flat_map(Batch::numbers).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..groups.len()).collect::<Vec<_>>());
    assert_eq!(batches.iter().map(Batch::requests).sum::<usize>(), groups.concat().len());
    for batch in &batches {
        let prefix = batch.groups.iter().map(|group| group.prefix.len()).max().unwrap();
        let suffix = batch.groups.iter().map(|group| group.longest_suffix()).max().unwrap();
        let rows: usize = batch.groups.iter().map(|group| group.rows()).sum();
        assert!(batch.groups.len() == 1 || rows * (prefix + suffix) <= 60);
    }
    assert!(batches.len() < groups.len());
}

#[test]
fn choices_of_one_token_need_one_pass_over_their_context() {
    let groups = groups();
    let group = group::Group::new(0, &groups[0], WINDOW);
    assert_eq!((group.prefix.len(), group.longest_suffix(), group.rows()), (1, 0, 1));
    let group = group::Group::new(0, &groups[4], WINDOW);
    // Context and "1": what follows the last input is scored, but no input itself.
    assert_eq!((group.prefix.len(), group.longest_suffix()), (10, 2));
}

#[test]
fn what_cannot_be_run_is_an_error() {
    let model = model(None);
    for window in [0, WINDOW + 1] {
        let error = RequestScorer::new(&model, window, &cpu()).unwrap_err().to_string();
        assert!(error.contains(&format!("window = {window}: must be from 1 to the model's 32")), "{error}");
    }
    let scorer = RequestScorer::new(&model, WINDOW, &cpu()).unwrap();
    for request in [[1, 23, 2], [23, 1, 2], [1, 2, 23]] {
        let groups = vec![vec![Request { context: vec![request[0]], continuation: request[1..].to_vec() }]];
        let error = scorer.run(&scorer.batches(&groups, 64)[0]).unwrap_err().to_string();
        assert!(error.contains("token 23"), "{error}");
    }
}

#[test]
fn values_that_are_no_numbers_are_an_error() {
    let model = model(None);
    let nan = Tensor::<2>::full([1, 16], f32::NAN, &cpu());
    assert!(matches!(TokenScorer::new(&model).score(nan, &[1]), Err(EvalError::NotFinite { .. })));
}

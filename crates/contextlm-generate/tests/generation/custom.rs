//! A backbone of one's own, without caches, that counts how often it is run.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use burn::module::{Module, Param};
use burn::tensor::{Device, Int, Tensor};
use contextlm_core::{Backbone, BackboneSpec, ContextConfig, ContextLm, Init, Positions};
use contextlm_generate::{
    Beyond, CacheBytes, Cancel, DecoderState, Finish, GenerateOptions, Generator, TextStream, generate,
};

use crate::common::*;
use crate::{letters, options};

/// A backbone without caches: every block adds a mapped state of the entry before.
#[derive(Module, Debug)]
struct Shifts {
    embedding: Param<Tensor<2>>,
    maps: Vec<Param<Tensor<2>>>,
    /// How often tokens were run, of all copies.
    #[module(skip)]
    runs: Arc<AtomicUsize>,
}

impl Shifts {
    fn new(device: &Device) -> Self {
        let init = Init::new(1);
        let maps = (0..3).map(|i| init.normal(&i.to_string(), [8, 8], 0.5, device)).collect();
        Self { embedding: init.normal("embedding", [VOCABULARY, 8], 0.5, device), maps, runs: Arc::default() }
    }
}

impl Backbone for Shifts {
    type Cache = ();

    fn spec(&self) -> BackboneSpec {
        BackboneSpec::new(8, self.maps.len(), VOCABULARY, usize::MAX)
    }

    fn embed(&self, tokens: Tensor<2, Int>, _at: &Positions) -> Tensor<3> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        burn::tensor::module::embedding(self.embedding.val(), tokens)
    }

    fn blocks(&self, x: Tensor<3>, range: Range<usize>, _at: &Positions, _caches: Option<&mut [()]>) -> Tensor<3> {
        range.fold(x, |x, layer| {
            let [rows, entries, width] = x.dims();
            let start = Tensor::zeros([rows, 1, width], &x.device());
            let before = Tensor::cat(vec![start, x.clone()], 1).narrow(1, 0, entries);
            x + before.matmul(self.maps[layer].val().unsqueeze()).tanh()
        })
    }

    fn norm(&self, x: Tensor<3>) -> Tensor<3> {
        x
    }

    fn head(&self) -> Tensor<2> {
        self.embedding.val()
    }
}

#[test]
fn a_backbone_without_caches_recomputes() {
    let device: Device = cpu();
    let backbone = Shifts::new(&device);
    for fusion in FUSIONS {
        let context = ContextConfig { fusion, chunk_size: 2, ..ContextConfig::default() };
        let model = ContextLm::wrap(backbone.clone(), context, &device).unwrap();
        let mut state = DecoderState::new(&model, 2, 4, Beyond::Stop, &device).unwrap();
        assert!(state.recomputes());
        let texts = [tokens(12, 1), tokens(12, 2)];
        state.feed(&[&texts[0][..3], &texts[1][..6]]).unwrap();
        for step in 0..5 {
            let found = state.feed(&[&texts[0][3 + step..4 + step], &texts[1][6 + step..7 + step]]).unwrap();
            let found = rows(found.unsqueeze_dim(1));
            for (row, end) in [4 + step, 7 + step].into_iter().enumerate() {
                let ids: Vec<i32> = texts[row][..end].iter().map(|&token| token as i32).collect();
                let ids = Tensor::<1, Int>::from_ints(ids.as_slice(), &device).unsqueeze();
                assert_equal(&found[row..=row], &rows(model.forward(ids))[end - 1..], &format!("{fusion:?}"));
            }
        }
        assert!(CacheBytes::of(&model, &device).is_none());
    }
}

/// The model, and how often it was run.
fn counted() -> (ContextLm<Shifts>, Arc<AtomicUsize>) {
    let backbone = Shifts::new(&cpu());
    let runs = backbone.runs.clone();
    (ContextLm::wrap(backbone, ContextConfig { chunk_size: 2, ..ContextConfig::default() }, &cpu()).unwrap(), runs)
}

#[test]
fn a_stream_works_when_it_is_asked_and_stops_when_it_is_dropped() {
    let (model, runs) = counted();
    let mut stream = TextStream::new(&model, &[4, 2], options(50), letters, &cpu()).unwrap();
    assert_eq!(runs.load(Ordering::SeqCst), 0, "it runs before it is asked");
    for asked in 1..=5 {
        stream.next().unwrap().unwrap();
        assert_eq!(runs.load(Ordering::SeqCst), asked);
    }
    drop(stream);
    // Work that went on behind it, on any thread, would be counted in this time.
    thread::sleep(Duration::from_millis(50));
    assert_eq!(runs.load(Ordering::SeqCst), 5);
    // The same of several prompts in one batch.
    let mut generator = Generator::new(&model, &[&[4, 2], &[3]], options(50), letters, &cpu()).unwrap();
    assert!(generator.step().unwrap() && generator.step().unwrap());
    drop(generator);
    thread::sleep(Duration::from_millis(50));
    assert_eq!(runs.load(Ordering::SeqCst), 7);
}

#[test]
fn another_thread_ends_what_runs() {
    let (model, runs) = counted();
    let cancel = Cancel::default();
    let options = GenerateOptions { cancel: cancel.clone(), ..options(1500) };
    let generated = thread::scope(|scope| {
        let running = scope.spawn(|| generate(&model, &[&[4, 2], &[3]], options, letters, &cpu()).unwrap());
        while runs.load(Ordering::SeqCst) < 5 {
            thread::yield_now();
        }
        cancel.cancel();
        running.join().unwrap()
    });
    for sample in generated {
        assert_eq!(sample.finish, Some(Finish::Cancelled));
        // What was there when it ended is given.
        assert!(sample.tokens.len() >= 4 && sample.text == letters(&sample.tokens).unwrap());
    }
}

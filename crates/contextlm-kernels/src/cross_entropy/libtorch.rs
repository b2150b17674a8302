//! The loss on LibTorch. On the CPU the logits of a slice become the gradient of the loss in the pass that flex has, on GPUs by
//! PyTorch's log-softmax; both gradients are written, or added up, where they belong by the matrix products themselves.

use burn::backend::LibTorch;
use burn::backend::tensor::IntTensor;
use tch::{Device, Kind, Tensor};

use super::ops::{LinearCrossEntropyOps, LossAndGradients, composed, scaled};
use super::slices::softmax;
use super::{IGNORE_INDEX, libtorch_cuda};
use crate::fused;
use crate::libtorch::{TorchTensor, all_cpu_f32, owned, values_mut};

impl LinearCrossEntropyOps for LibTorch {
    fn linear_cross_entropy_with_gradients(
        hidden: TorchTensor,
        weight: TorchTensor,
        targets: IntTensor<Self>,
        scale: f64,
        z_loss: f64,
        slice_rows: usize,
        wanted: [bool; 2],
    ) -> (TorchTensor, TorchTensor, Option<TorchTensor>, Option<TorchTensor>) {
        if !fused() {
            return composed::<Self>(hidden, weight, targets, scale, z_loss, slice_rows, wanted);
        }
        let loss = Loss { hidden: hidden.tensor, weight: weight.tensor, scale, z_loss, slice_rows, wanted };
        let targets = targets.tensor.to_kind(Kind::Int64);
        if loss.hidden.device() != Device::Cpu {
            return libtorch_cuda::on_device(&loss, &targets);
        }
        match Vec::try_from(&targets) {
            Ok(targets) => in_place(&loss, &targets),
            Err(_) => unreachable!("targets are a row of i64"),
        }
    }

    /// Mostly the factor is 1.
    fn scaled_gradient(gradient: TorchTensor, upstream: TorchTensor) -> TorchTensor {
        if !fused() {
            return scaled::<Self>(gradient, upstream);
        }
        if all_cpu_f32([&upstream]) && upstream.tensor.double_value(&[0]) == 1.0 {
            return gradient;
        }
        let mut gradient = owned(gradient);
        let _ = gradient.tensor.g_mul_(&upstream.tensor);
        gradient
    }
}

/// What a body is given.
pub(super) struct Loss {
    /// [N, D]
    pub hidden: Tensor,
    /// [V, D], of the type of `hidden`.
    pub weight: Tensor,
    pub scale: f64,
    pub z_loss: f64,
    pub slice_rows: usize,
    /// The gradients of which of the two.
    pub wanted: [bool; 2],
}

/// The gradient of the weight [V, D] while the slices add to it. Sums are in f32 whatever the type of the products.
pub(super) struct WeightGradient {
    sum: Option<Tensor>,
}

impl WeightGradient {
    pub fn new() -> Self {
        Self { sum: None }
    }

    /// Adds gradient^T hidden.
    pub fn add(&mut self, gradient: &Tensor, hidden: &Tensor) {
        let low = gradient.kind() != Kind::Float;
        match &mut self.sum {
            None => self.sum = Some(gradient.tr().mm(hidden).to_kind(Kind::Float)),
            Some(sum) if low => drop(sum.g_add_(&gradient.tr().mm(hidden))),
            Some(sum) => drop(sum.addmm_(&gradient.tr(), hidden)),
        }
    }

    /// The sum times `factor`, in the type of the weight; zeros where nothing was added.
    pub fn finish(self, factor: f64, weight: &Tensor) -> Tensor {
        let Some(mut sum) = self.sum else { return weight.zeros_like() };
        if factor != 1.0 {
            let _ = sum.g_mul_scalar_(factor);
        }
        sum.to_kind(weight.kind())
    }
}

/// On the CPU. Where the products are of bf16 or f16, what enters them is the gradient without `scale`, from -1 to 1 as in
/// [`composed`], and the scale follows.
fn in_place(loss: &Loss, targets: &[i64]) -> LossAndGradients<LibTorch> {
    let Loss { hidden, weight, scale, z_loss, slice_rows, wanted: [want_hidden, want_weight] } = loss;
    let (kind, vocabulary) = (hidden.kind(), weight.size()[0]);
    let low = kind != Kind::Float;
    let (inside, after) = if low { (1.0, *scale) } else { (*scale, 1.0) };
    let rows_of_slice = (*slice_rows).min(targets.len());
    let room = Tensor::empty([rows_of_slice as i64, vocabulary], (Kind::Float, Device::Cpu));
    let mut for_hidden = want_hidden.then(|| Tensor::empty(hidden.size(), (kind, Device::Cpu)));
    let mut for_weight = want_weight.then(WeightGradient::new);
    let (mut nll, mut z, mut start) = (0.0, 0.0, 0);
    for targets in targets.chunks(*slice_rows) {
        debug_assert!(targets.iter().all(|target| *target == IGNORE_INDEX || (0..vocabulary).contains(target)));
        let rows = targets.len() as i64;
        let hidden = hidden.narrow(0, start, rows);
        let mut logits = room.narrow(0, 0, rows);
        match low {
            true => logits.copy_(&hidden.mm(&weight.tr())),
            false => drop(hidden.mm_out(&logits, &weight.tr())),
        }
        let factors = [inside as f32, *z_loss as f32];
        let losses =
            softmax(values_mut(&mut logits), vocabulary as usize, targets, factors, *want_hidden || *want_weight);
        for [of_target, of_z] in losses {
            nll += f64::from(of_target);
            z += f64::from(of_z);
        }
        let gradient = logits.to_kind(kind);
        if let Some(for_hidden) = &for_hidden {
            let _ = gradient.mm_out(&for_hidden.narrow(0, start, rows), weight);
        }
        if let Some(for_weight) = &mut for_weight {
            for_weight.add(&gradient, &hidden);
        }
        start += rows;
    }
    if let Some(for_hidden) = for_hidden.as_mut().filter(|_| low) {
        let _ = for_hidden.g_mul_scalar_(after);
    }
    let single = |value: f64| TorchTensor::new(Tensor::from_slice(&[(after * value) as f32]));
    (
        single(nll + z),
        single(nll),
        for_hidden.map(TorchTensor::new),
        for_weight.map(|sum| TorchTensor::new(sum.finish(after, weight))),
    )
}

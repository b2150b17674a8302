//! The optimizer's step in one pass against its formula in f64.

use burn::tensor::{Device, Tensor};
use contextlm_kernels::{AdamWStep, adamw};

use crate::{assert_near, noise, values};

#[test]
fn steps_are_the_formula() {
    let device = Device::flex();
    for (rows, columns) in [(1, 1), (3, 33), (300, 401)] {
        let tensor = |seed: u64| noise(rows, columns, seed, &device);
        let (mut x, mut m, mut v) =
            (tensor(1), Tensor::zeros([rows, columns], &device), Tensor::zeros([rows, columns], &device));
        let mut expected: Vec<[f64; 3]> = values(x.clone()).into_iter().map(|x| [x, 0.0, 0.0]).collect();
        for time in 1..4 {
            let step = AdamWStep { lr: 0.02, beta_1: 0.875, beta_2: 0.9375, eps: 1e-3, weight_decay: 0.25, time };
            let gradient = tensor(1 + time as u64);
            let held = m.clone(); // somebody else's tensors stay as they are
            let before = values(held.clone());
            adamw(&mut x, gradient.clone(), [&mut m, &mut v], step).unwrap();
            assert_eq!(values(held), before);
            for ([x, m, v], g) in expected.iter_mut().zip(values(gradient)) {
                *m = 0.875 * *m + 0.125 * g;
                *v = 0.9375 * *v + 0.0625 * g * g;
                let power = time as i32;
                let (m, v) = (*m / (1.0 - 0.875f64.powi(power)), *v / (1.0 - 0.9375f64.powi(power)));
                *x = *x * (1.0 - 0.02 * 0.25) - 0.02 * m / (v.sqrt() + 1e-3);
            }
            let of = |index: usize| expected.iter().map(|all| all[index]).collect::<Vec<_>>();
            for (what, index, found) in [("x", 0, &x), ("m", 1, &m), ("v", 2, &v)] {
                assert_near(what, &values(found.clone()), &of(index), 1e-6);
            }
        }
    }
}

#[test]
fn what_has_no_kernel_is_left_alone() {
    let tensor = |device: &Device| noise(2, 3, 1, device);
    let step = AdamWStep { lr: 0.1, beta_1: 0.9, beta_2: 0.9, eps: 1e-8, weight_decay: 0.0, time: 1 };
    let device = Device::flex().autodiff();
    let (mut x, mut m, mut v) = (tensor(&device), tensor(&device), tensor(&device));
    assert!(adamw(&mut x, tensor(&device), [&mut m, &mut v], step).is_none());
    assert_eq!(values(x), values(tensor(&device)));
}

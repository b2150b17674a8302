//! Lists of tensors, and clipping, which is made of them, on every device of this build.

use burn::module::{Module, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor};
use contextlm_kernels::{l2_norm, listed, scale};
use contextlm_train::clip_grad_norm;

use crate::backends::devices;
use crate::fused_attention::{noise, values};

/// Of one part and of several, whole vectors or not, turned, and from the middle of another one.
fn tensors(device: &Device) -> Vec<Tensor<1>> {
    let turned: Tensor<2> = noise([60, 70], 4.0, device);
    let parts: Tensor<2> = noise([3, 4097], 5.0, device);
    vec![
        noise([1], 1.0, device),
        noise([4096], 2.0, device) * 3.0,
        noise([4097], 3.0, device) * 0.1,
        turned.transpose().reshape([4200]),
        parts.narrow(0, 1, 1).reshape([4097]),
        noise([20_003], 6.0, device).narrow(0, 3, 20_000),
    ]
}

fn norm_of<'a>(values: impl IntoIterator<Item = &'a f64>) -> f64 {
    values.into_iter().map(|value| value * value).sum::<f64>().sqrt()
}

#[test]
fn a_norm_of_all() {
    for (name, device) in devices() {
        let all = tensors(&device);
        assert_eq!(all.iter().all(listed), name != "libtorch", "{name}");
        let before: Vec<_> = all.iter().cloned().map(values).collect();
        let mut lists = vec![all.clone(), all[..1].to_vec(), all[2..3].to_vec()];
        // More than a thousand parts, whose sums are of several parts themselves.
        lists.push(vec![noise([4_200_001], 7.0, &device), noise([3], 8.0, &device), noise([600_000], 9.0, &device)]);
        for list in lists {
            let [found, again] = [&list; 2].map(|list| values(l2_norm(list).unwrap())[0]);
            let expected = norm_of(&list.iter().cloned().flat_map(values).collect::<Vec<_>>());
            assert!((found - expected).abs() <= 1e-6 * expected, "{name}: {found} instead of {expected}");
            assert!(name == "libtorch" || found == again, "{name}: {found} and {again}");
        }
        for (tensor, before) in all.iter().zip(&before) {
            assert_eq!(&values(tensor.clone()), before, "{name}");
        }
        let scaled = scale(all, 0.5);
        for (found, before) in scaled.into_iter().zip(before) {
            assert_eq!(values(found), before.iter().map(|value| value * 0.5).collect::<Vec<_>>(), "{name}");
        }
        assert!(l2_norm(&[]).is_none());
    }
}

#[test]
fn no_elements() {
    // wgpu has no tensors without elements.
    for (name, device) in devices().into_iter().filter(|(name, _)| name != "wgpu") {
        let (none, some) = (Tensor::<1>::zeros([0], &device), Tensor::<1>::from_floats([3.0, 4.0], &device));
        assert_eq!(values(l2_norm(std::slice::from_ref(&none)).unwrap()), [0.0], "{name}");
        assert_eq!(values(l2_norm(&[none.clone(), some, none]).unwrap()), [5.0], "{name}");
    }
}

#[derive(Module, Debug)]
struct Model {
    matrix: Param<Tensor<2>>,
    unused: Param<Tensor<1>>,
    vector: Param<Tensor<1>>,
}

#[test]
fn gradients_are_clipped_together() {
    for (name, device) in devices() {
        let (matrix, vector): (Tensor<2>, Tensor<1>) = (noise([70, 65], 1.0, &device), noise([5000], 2.0, &device));
        let model = Model {
            matrix: Param::from_tensor(matrix.clone()),
            unused: Param::from_tensor(vector.clone()),
            vector: Param::from_tensor(vector.clone()),
        };
        let before = [values(matrix.clone()), values(vector.clone())];
        let norm = norm_of(before.iter().flatten());
        for max_norm in [0.0, 2.0 * norm, 1.0] {
            let mut gradients = GradientsParams::new();
            gradients.register(model.matrix.id, matrix.clone());
            gradients.register(model.vector.id, vector.clone());
            let found = clip_grad_norm(&model, &mut gradients, max_norm);
            assert!((found - norm).abs() <= 1e-6 * norm, "{name}: {found} instead of {norm}");
            let factor = if max_norm == 1.0 { 1.0 / (norm + 1e-6) } else { 1.0 };
            let matrix = gradients.get::<2>(model.matrix.id).unwrap();
            assert_eq!(matrix.dims(), [70, 65]);
            let clipped = [values(matrix), values(gradients.get::<1>(model.vector.id).unwrap())];
            for (found, before) in clipped.iter().flatten().zip(before.iter().flatten()) {
                let expected = before * factor;
                assert!((found - expected).abs() <= 1e-6 * before.abs() * factor, "{name}: {found}, {expected}");
            }
            assert!(gradients.get::<1>(model.unused.id).is_none());
        }
    }
}

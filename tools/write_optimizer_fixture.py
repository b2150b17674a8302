#!/usr/bin/env python3
"""Writes what PyTorch's clipping and AdamW make of given parameters and gradients, step after step.

    python3 tools/write_optimizer_fixture.py > crates/contextlm-train/tests/fixtures/adamw.json

A matrix with weight decay and a vector without, six steps, some of them clipped. Needs PyTorch; tools/install_libtorch.sh
sets one up.
"""

import json

import torch

OPTIONS = {"betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "grad_clip": 1.0}
RATES = [1e-2, 2e-2, 3e-2, 2e-2, 1e-2, 5e-3]
SCALES = [1.0, 0.01, 30.0, 0.2, 1e-4, 3.0]  # of the gradients: the second, fourth and fifth are not clipped


def numbers(tensor):
    return [float(value) for value in tensor.detach().flatten()]


def main():
    torch.manual_seed(0)
    matrix = torch.nn.Parameter(torch.randn(3, 4))
    vector = torch.nn.Parameter(torch.randn(4))
    groups = [
        {"params": [matrix], "weight_decay": OPTIONS["weight_decay"]},
        {"params": [vector], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=RATES[0], betas=tuple(OPTIONS["betas"]), eps=OPTIONS["eps"])
    start = {"matrix": numbers(matrix), "vector": numbers(vector)}
    steps = []
    for rate, scale in zip(RATES, SCALES):
        matrix.grad, vector.grad = torch.randn(3, 4) * scale, torch.randn(4) * scale
        step = {"lr": rate, "matrix_gradient": numbers(matrix.grad), "vector_gradient": numbers(vector.grad)}
        step["norm"] = float(torch.nn.utils.clip_grad_norm_([matrix, vector], OPTIONS["grad_clip"]))
        step |= {"matrix_clipped": numbers(matrix.grad), "vector_clipped": numbers(vector.grad)}
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()
        steps.append(step | {"matrix": numbers(matrix), "vector": numbers(vector)})
    print(json.dumps({"torch": torch.__version__, **OPTIONS, "start": start, "steps": steps}))


if __name__ == "__main__":
    main()

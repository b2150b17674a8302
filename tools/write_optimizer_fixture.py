#!/usr/bin/env python3
"""Writes what PyTorch's clipping, AdamW and Muon make of given parameters and gradients, step after step.

    python3 tools/write_optimizer_fixture.py adamw > crates/contextlm-train/tests/fixtures/adamw.json
    python3 tools/write_optimizer_fixture.py muon > crates/contextlm-train/tests/fixtures/muon.json

AdamW: a matrix with weight decay and a vector without, six steps, some of them clipped. Muon: matrices of several shapes
under several settings, four steps each. Needs PyTorch 2.9, the first with `torch.optim.Muon`; tools/install_libtorch.sh sets
one up.
"""

import json
import sys

import torch

OPTIONS = {"betas": [0.9, 0.95], "eps": 1e-8, "weight_decay": 0.1, "grad_clip": 1.0}
RATES = [1e-2, 2e-2, 3e-2, 2e-2, 1e-2, 5e-3]
SCALES = [1.0, 0.01, 30.0, 0.2, 1e-4, 3.0]  # of the gradients: the second, fourth and fifth are not clipped

MUON_CASES = [
    {"momentum": 0.95, "nesterov": True, "ns_steps": 5, "weight_decay": 0.1, "adjust_lr_fn": "match_rms_adamw"},
    {"momentum": 0.8, "nesterov": False, "ns_steps": 3, "weight_decay": 0.3, "adjust_lr_fn": "original"},
]
MUON_SHAPES = {"tall": [6, 3], "wide": [2, 5], "square": [4, 4], "tiny": [4, 3]}  # [outputs, inputs]
MUON_SCALES = {"tall": 1.0, "wide": 30.0, "square": 1e-3, "tiny": 1e-7}  # of the gradients; eps shows in the last


def numbers(tensor):
    return [float(value) for value in tensor.detach().flatten()]


def adamw():
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
    return {"torch": torch.__version__, **OPTIONS, "start": start, "steps": steps}


def short(tensor):
    """Nine digits, which give every f32 again."""
    return [float(f"{value:.9g}") for value in numbers(tensor)]


def muon_steps(options, start, gradients):
    """Every matrix after every step."""
    matrices = {name: torch.nn.Parameter(tensor.clone()) for name, tensor in start.items()}
    optimizer = torch.optim.Muon(matrices.values(), lr=RATES[0], **options)
    steps = []
    for rate, step in zip(RATES, gradients):
        for name, matrix in matrices.items():
            matrix.grad = step[name].clone()
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        steps.append({name: short(matrix) for name, matrix in matrices.items()})
    return steps


def muon():
    """PyTorch orthogonalises in bf16. Its numbers are written as they are ("bf16"), and as they are where that one cast is
    left out ("f32"), since bf16 would hide a wrong constant."""
    torch.manual_seed(0)
    start = {name: torch.randn(shape) for name, shape in MUON_SHAPES.items()}
    gradients = [
        {name: torch.randn(shape) * MUON_SCALES[name] for name, shape in MUON_SHAPES.items()} for _ in range(4)
    ]
    cases = [options | {"bf16": muon_steps(options, start, gradients)[-1]} for options in MUON_CASES]
    torch.Tensor.bfloat16 = torch.Tensor.clone
    for options, case in zip(MUON_CASES, cases):
        case["f32"] = muon_steps(options, start, gradients)
    return {
        "torch": torch.__version__, "shapes": MUON_SHAPES, "rates": RATES[:4],
        "start": {name: short(tensor) for name, tensor in start.items()},
        "gradients": [{name: short(tensor) for name, tensor in step.items()} for step in gradients],
        "cases": cases,
    }


if __name__ == "__main__":
    print(json.dumps({"adamw": adamw, "muon": muon}[sys.argv[1]]()))

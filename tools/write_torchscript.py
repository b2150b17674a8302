#!/usr/bin/env python3
"""Writes crates/contextlm-kernels/src/libtorch/operations.pt: PyTorch's operations that tch does not export, as TorchScript.

    python3 tools/write_torchscript.py           # with torch 2.9.0; --check only says whether the file is as written here

The file is an archive of a few lines of code (`unzip -p operations.pt operations/code/__torch__.py`), without tensors.
"""

import io
import pathlib
import sys
import zipfile
from typing import List, Tuple

import torch
from torch import Tensor

OUT = pathlib.Path(__file__).resolve().parent.parent / "crates/contextlm-kernels/src/libtorch/operations.pt"
# What a reader needs; the rest tells lines of this file, and names the archive.
KEPT = {"data.pkl", "code/__torch__.py", "constants.pkl", "version", "byteorder"}


class Operations(torch.nn.Module):
    """A method for each of them; `src/libtorch/script.rs` calls them by name."""

    def forward(self):
        pass

    @torch.jit.export
    def adamw(
        self,
        x: List[Tensor],
        gradients: List[Tensor],
        m: List[Tensor],
        v: List[Tensor],
        times: List[Tensor],
        lr: float,
        beta_1: float,
        beta_2: float,
        weight_decay: float,
        eps: float,
    ):
        """A step of AdamW for a list of tensors, in place."""
        torch._fused_adamw_(
            x,
            gradients,
            m,
            v,
            [],
            times,
            lr=lr,
            beta1=beta_1,
            beta2=beta_2,
            weight_decay=weight_decay,
            eps=eps,
            amsgrad=False,
            maximize=False,
        )

    @torch.jit.export
    def norms(self, tensors: List[Tensor]) -> List[Tensor]:
        """The L2 norm of every tensor of a list."""
        return torch._foreach_norm(tensors, 2)

    @torch.jit.export
    def scale(self, tensors: List[Tensor], factor: float):
        """Every tensor of a list times a number, in place."""
        torch._foreach_mul_(tensors, factor)

    @torch.jit.export
    def layer_norm_backward(
        self, upstream: Tensor, x: Tensor, mean: Tensor, rstd: Tensor, weight: Tensor, bias: Tensor
    ) -> Tuple[Tensor, Tensor, Tensor]:
        """Gradients of x, weight and bias."""
        return torch.ops.aten.native_layer_norm_backward(
            upstream, x, weight.shape, mean, rstd, weight, bias, [True, True, True]
        )

    @torch.jit.export
    def flash_attention(
        self, q: Tensor, k: Tensor, v: Tensor, causal: bool, scale: float
    ) -> Tuple[Tensor, Tensor]:
        """The mix of values, and the logarithms of the softmax's sums, without dropout."""
        out = torch._scaled_dot_product_flash_attention(q, k, v, 0.0, causal, False, scale=scale)
        return out[0], out[1]


def archive() -> bytes:
    """The module as torch saves it, with what a reader needs alone and without times: always the same bytes."""
    saved, out = io.BytesIO(), io.BytesIO()
    torch.jit.save(torch.jit.script(Operations()), saved)
    with zipfile.ZipFile(saved) as whole, zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as slim:
        for entry in whole.infolist():
            name = entry.filename.split("/", 1)[1]
            if name in KEPT:
                slim.writestr(zipfile.ZipInfo(f"operations/{name}"), whole.read(entry))
    return out.getvalue()


if "--check" not in sys.argv:
    OUT.write_bytes(archive())
elif OUT.read_bytes() != archive():
    sys.exit(f"{OUT} is not what this script writes: run it, with torch 2.9.0")

"""A model as ONNX: `estimate = D(x, sigma)`, for any number of images of the model's size."""

import warnings
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from noiseworth.errors import UserError, first_line
from noiseworth.runs.model import RunModel

_WITHIN = 1e-4  # of the estimates, by which onnxruntime's may differ


class _Unconditional(nn.Module):
    """The denoiser without labels."""

    def __init__(self, denoiser: nn.Module) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        estimate: Tensor = self.denoiser(x, sigma)
        return estimate


def export_onnx(model: RunModel, path: Path) -> None:
    """Write the denoiser with inputs `x` (B, C, H, W) and `sigma` (B,), and check it with onnxruntime where that is installed.

    Raises:
        UserError: onnx is not installed, the network cannot be exported, or onnxruntime computes something else.
    """
    denoiser = _Unconditional(model.denoiser.cpu())
    x, sigma = torch.zeros(2, *model.shape), torch.tensor([0.3, 0.5])
    batch = torch.export.Dim("batch")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                denoiser, (x, sigma), path, input_names=["x", "sigma"], output_names=["estimate"], dynamo=True,
                dynamic_shapes={"x": {0: batch}, "sigma": {0: batch}}, external_data=False, verbose=False,
            )  # fmt: skip
    except ImportError:
        raise UserError("--onnx: needs onnx and onnxscript: pip install 'noiseworth[onnx]'") from None
    except Exception as error:  # the exporter raises whatever it runs into
        raise UserError(
            f"--onnx: the network {model.config.preset} cannot be exported ({first_line(error)})"
        ) from None
    _check(denoiser, path, model.shape)


@torch.no_grad()
def _check(denoiser: nn.Module, path: Path, shape: tuple[int, int, int]) -> None:
    try:
        import onnxruntime
    except ImportError:
        return
    generator = torch.Generator().manual_seed(0)
    x, sigma = torch.randn(3, *shape, generator=generator), torch.tensor([0.05, 0.5, 5.0])
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {"x": x.numpy(), "sigma": sigma.numpy()})
    off = float(np.abs(made - denoiser(x, sigma).numpy()).max())
    if not off < _WITHIN:
        raise UserError(f"--onnx: onnxruntime's estimates differ by {off:.1e}; give neither this file away")

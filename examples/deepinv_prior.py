"""A model as the prior of deepinv's plug-and-play algorithms. `python examples/deepinv_prior.py` (needs `pip install deepinv`).

deepinv calls a denoiser as `denoiser(x, sigma)`, with images in [0, 1] and the noise in the same units; here they are in [-1, 1],
so that `D_01(x, s) = (D(2 x - 1, 2 s) + 1) / 2`.
"""

from pathlib import Path

import torch
from torch import Tensor, nn

import noiseworth as nw


class Prior(nn.Module):
    """A run, or a shared model, as a denoiser in deepinv's conventions."""

    def __init__(self, run: str | Path) -> None:
        super().__init__()
        model = nw.load_run(run)
        self.denoiser, self.lowest = model.denoiser, max(model.trained_from, 0.002)

    def forward(self, x: Tensor, sigma: float | Tensor) -> Tensor:
        """Estimate the clean images, (B, C, H, W) in [0, 1], from noisy ones of noise `sigma`, one number or (B,)."""
        level = torch.as_tensor(sigma, dtype=torch.float32, device=x.device).reshape(-1).expand(len(x))
        estimate: Tensor = self.denoiser(2 * x - 1, (2 * level).clamp(min=self.lowest))
        return (estimate + 1) / 2


def main(run: str = "runs/demo/mixed") -> Tensor:
    """Restore a masked, noisy digit by plug-and-play proximal gradient descent; returns it."""
    import deepinv

    physics = deepinv.physics.Inpainting((1, 8, 8), mask=0.6)
    physics.noise_model = deepinv.physics.GaussianNoise(sigma=0.05)
    torch.manual_seed(0)
    from sklearn.datasets import load_digits

    x = torch.from_numpy(load_digits().images[:1]).float()[:, None] / 16
    algorithm = deepinv.optim.optim_builder(
        iteration="PGD",
        prior=deepinv.optim.prior.PnP(denoiser=Prior(run)),
        data_fidelity=deepinv.optim.data_fidelity.L2(),
        max_iter=50,
        params_algo={"stepsize": 1.0, "g_param": 0.1},
    )
    with torch.no_grad():
        restored: Tensor = algorithm(physics(x), physics)
    error, before = (float((image - x).square().mean().sqrt()) for image in (restored, physics(x)))
    print(f"error {error:.3f}, of the masked image {before:.3f}")
    return restored


if __name__ == "__main__":
    main()

"""noiseworth's objective with flow matching (rectified flow). `python examples/flow_matching.py`

`x_t = (1 - t) x + t z` is `1 - t` times an image at level `sigma = t / (1 - t)`; the network predicts the
velocity `z - x`.
"""

from collections.abc import Callable

import torch
from sklearn.datasets import load_digits
from torch import Tensor

import noiseworth as nw

SEED, BATCH = 0, 128


def main(steps: int = 500) -> Callable[[Tensor, Tensor], Tensor]:
    """Train on digits, a tenth of them clean; returns the denoiser."""
    y = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    s = 0.5 * (torch.arange(len(y)) >= len(y) // 10)  # the noise of each image
    y = y + s[:, None, None, None] * torch.randn(y.shape, generator=torch.Generator().manual_seed(SEED))

    velocity = nw.make_backbone(
        "medium", (1, 8, 8), seed=SEED
    )  # maps (x_t, one number per image) to an image
    v = nw.PosteriorVariance(nw.spectrum(y, s)[0])
    sampler = nw.PairSampler(
        s, nw.LogNormalLevels(mean=0.0, std=1.0), v
    )  # sigma log-normal is t logit-normal
    optimizer = torch.optim.Adam(velocity.parameters(), lr=2e-3)
    for step in range(steps):
        pairs = sampler.draw(SEED, torch.arange(step * BATCH, (step + 1) * BATCH))
        x_sigma, target = nw.ambient_pair(
            y[pairs.index], s[pairs.index], pairs.sigma, torch.randn(BATCH, *y.shape[1:])
        )
        sigma = pairs.sigma.float()[:, None, None, None]
        t = sigma / (1 + sigma)
        wanted = (x_sigma - target) / sigma - target  # z - x, unbiased
        loss = (
            pairs.weight.float()
            * (velocity((1 - t) * x_sigma, t.flatten()) - wanted).square().flatten(1).mean(1)
        ).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 64 == 63:
            sampler.refresh((step + 1) * BATCH)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        t = (sigma / (1 + sigma))[:, None, None, None]
        return (1 - t) * x - t * velocity((1 - t) * x, t.flatten())

    return denoise


if __name__ == "__main__":
    main()

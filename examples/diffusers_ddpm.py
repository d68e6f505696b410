"""noiseworth's objective with a variance-preserving diffusers model and scheduler. `python examples/diffusers_ddpm.py`

`x_t = alpha_t x + sigma_t z` is `alpha_t` times an image at level `sigma = sigma_t / alpha_t`; the network
predicts `z`.
"""

from collections.abc import Callable

import torch
from diffusers import DDPMScheduler, UNet2DModel
from sklearn.datasets import load_digits
from torch import Tensor

import noiseworth as nw

SEED, BATCH = 0, 128


def main(steps: int = 500) -> Callable[[Tensor, Tensor], Tensor]:
    """Train on digits, a tenth of them clean; returns the denoiser."""
    y = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    s = 0.5 * (torch.arange(len(y)) >= len(y) // 10)  # the noise of each image
    y = y + s[:, None, None, None] * torch.randn(y.shape, generator=torch.Generator().manual_seed(SEED))

    torch.manual_seed(SEED)
    model = UNet2DModel(
        sample_size=8, in_channels=1, out_channels=1, layers_per_block=1, block_out_channels=(32, 48), norm_num_groups=8,
        down_block_types=("DownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "UpBlock2D"), add_attention=False,
    )  # fmt: skip
    alpha_bar = DDPMScheduler(num_train_timesteps=1000).alphas_cumprod.double()
    alpha, levels = (
        alpha_bar.sqrt(),
        (1 / alpha_bar - 1).sqrt(),
    )  # of each time step; the level is sigma_t / alpha_t

    v = nw.PosteriorVariance(nw.spectrum(y, s)[0])
    sampler = nw.PairSampler(s, nw.LogNormalLevels(), v)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for step in range(steps):
        pairs = sampler.draw(SEED, torch.arange(step * BATCH, (step + 1) * BATCH))
        time = torch.searchsorted(levels, pairs.sigma).clamp(max=len(levels) - 1)  # the next level above
        sigma = levels[time]
        x_sigma, target = nw.ambient_pair(
            y[pairs.index], s[pairs.index], sigma, torch.randn(BATCH, *y.shape[1:])
        )
        noise = (x_sigma - target) / sigma.float()[:, None, None, None]  # unbiased, as the target is
        predicted = model(x_sigma * alpha[time].float()[:, None, None, None], time).sample
        loss = (pairs.weight.float() * (predicted - noise).square().flatten(1).mean(1)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % 64 == 63:
            sampler.refresh((step + 1) * BATCH)

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        time = torch.searchsorted(levels, sigma.double()).clamp(max=len(levels) - 1)
        return (
            x - sigma[:, None, None, None] * model(x * alpha[time].float()[:, None, None, None], time).sample
        )

    return denoise


if __name__ == "__main__":
    main()

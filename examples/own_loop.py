"""noiseworth's objective in a plain PyTorch loop, for images (N, C, H, W) of any noise: `python examples/own_loop.py`."""

import torch
from sklearn.datasets import load_digits

import noiseworth as nw

SEED, BATCH = 0, 128


def main(steps: int = 500) -> nw.PreconditionedDenoiser:
    """Train on digits, a tenth of them clean."""
    y = torch.from_numpy(load_digits().images).float()[:, None] / 8 - 1
    s = 0.5 * (torch.arange(len(y)) >= len(y) // 10)  # the noise of each image
    y = y + s[:, None, None, None] * torch.randn(y.shape, generator=torch.Generator().manual_seed(SEED))

    variances, sigma_data = nw.spectrum(y, s)
    v = nw.PosteriorVariance(variances)
    sampler = nw.PairSampler(s, nw.LogNormalLevels(), v)
    network = nw.make_backbone("medium", (1, 8, 8), seed=SEED)  # or any network of yours
    denoiser = nw.PreconditionedDenoiser(network, sigma_data)
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-3)
    for step in range(steps):
        ids = torch.arange(step * BATCH, (step + 1) * BATCH)
        pairs = sampler.draw(SEED, ids)
        noise = torch.randn(BATCH, *y.shape[1:])
        batch = (y[pairs.index], s[pairs.index], pairs.sigma, noise)
        loss = nw.ambient_loss(denoiser, *batch, sigma_data, pairs.weight)
        optimizer.zero_grad()
        loss.weighted.mean().backward()
        optimizer.step()
        v.observe(pairs.sigma, s[pairs.index], loss.residual)
        if step % 64 == 63:  # what was learned so far decides what is drawn next
            v.refresh()
            sampler.refresh((step + 1) * BATCH)
    return denoiser  # maps (x_sigma, sigma) to E[x | x_sigma]


if __name__ == "__main__":
    main()

"""noiseworth's objective in a plain PyTorch loop: any images (N, C, H, W), each with its own noise. `python examples/own_loop.py`"""

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
    law = nw.PairLaw(s, nw.LogNormalLevels(), v)
    denoiser = nw.PreconditionedDenoiser(nw.make_backbone("digits", channels=1, seed=SEED), sigma_data)  # or any network of yours
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=2e-3)
    for step in range(steps):
        ids = torch.arange(step * BATCH, (step + 1) * BATCH)
        pairs = law.draw(SEED, ids)
        noise = torch.randn(BATCH, *y.shape[1:])
        loss = nw.ambient_loss(denoiser, y[pairs.index], s[pairs.index], pairs.sigma, noise, sigma_data, pairs.weight)
        optimizer.zero_grad()
        loss.weighted.mean().backward()
        optimizer.step()
        v.observe(pairs.sigma, s[pairs.index], loss.residual)
        if step % 64 == 63:  # what was learnt so far decides what is drawn next
            v.refresh()
            law.refresh((step + 1) * BATCH)
    return denoiser  # maps (x_sigma, sigma) to E[x | x_sigma]


if __name__ == "__main__":
    main()

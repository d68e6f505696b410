"""The worth of a noisy image at a level, and what follows from it: `N_eff`, and the price of a noisy image.

    a(sigma, s) = 1 - s^2 / sigma^2
    w(sigma, s) = v / (v + s^2 / a)    for sigma > s, else 0;  w(sigma, 0) = 1
    N_eff(sigma) = sum_i w(sigma, s_i)

where `s` is the noise of an image, `sigma` a level, and `v(sigma)` the mean over pixels of the variance of a
clean pixel given `x_sigma`. An unbiased target from a noisy image has variance `v + s^2 / a` where one from a
clean image has `v`; in the best linear combination each counts by its inverse variance, hence `w`
(docs/architecture.md).
"""

import math

import torch
from torch import Tensor

# Below this `a` the variance of the target's noise is over 20 times that of the image's own noise: worth is
# negligible, and float32 loses precision.
MIN_A = 0.05

NEED, NEED_BY_HEART = 0.5, 0.1  # of an imputed image's noise (`imputed_worth`)


def trust(sigma: Tensor, s: Tensor, min_a: float = MIN_A) -> Tensor:
    """`a = 1 - s^2 / sigma^2` where it is at least `min_a`, else 0; float64; `sigma` and `s` broadcast."""
    a = 1 - (s.to(torch.float64) / sigma.to(torch.float64)) ** 2
    return torch.where(a >= min_a, a, torch.zeros_like(a))


def worth(sigma: Tensor, s: Tensor, v: Tensor, min_a: float = MIN_A) -> Tensor:
    """The worth of images of noise `s` at levels `sigma`, relative to a clean image.

    Args:
        sigma: levels, positive.
        s: noise levels of images, 0 or more.
        v: `v(sigma)`, positive; the three broadcast against each other.
        min_a: images with a smaller `a` are given worth 0.

    Returns:
        float64 in [0, 1].
    """
    a = trust(sigma, s, min_a)
    noise = s.to(torch.float64) ** 2 / torch.where(a > 0, a, torch.ones_like(a))
    return torch.where(a > 0, v / (v + noise), torch.zeros_like(a))


def n_effective(sigma: Tensor, s: Tensor, v: Tensor) -> Tensor:
    """`N_eff` at levels (K,) of images of noise `s` (N,), given `v` at these levels: (K,) float64."""
    values, counts = torch.unique(s.to(torch.float64), return_counts=True)
    total: Tensor = (counts * worth(sigma[:, None], values[None], v[:, None])).sum(1)
    return total


def imputed_worth(
    sigma: Tensor, s: Tensor, noisiest: Tensor | None = None, memorised: Tensor | None = None
) -> Tensor:
    """The worth of an imputed image (`diffusion/imputation.py`) at levels, relative to a clean one.

    What a noisy image tells of the variance of a coefficient that is as strong as the level is, in clean images,
    `(sigma^2 / (sigma^2 + s^2))^2` (the ratio of Fisher informations). Imputed images also hold the model to what it had learned
    before, and so it pays to trust them further down: as if their noise was `NEED` of what it is; and where the model knows
    its clean images by heart, `NEED_BY_HEART` of it. Both were chosen on digits and Fashion-MNIST.
    The worth is 0 where the noisy image itself gives a target.

    Args:
        sigma: levels, positive.
        s: noise of the images that were imputed, positive; the two broadcast against each other.
        noisiest: if given, the result is the most that images with noise from `s` to `noisiest` are worth.
        memorised: share of the clean images' detail that is known by heart at `sigma`, of its shape; by default 0.

    Returns:
        float64 in [0, 1].
    """
    square = sigma.to(torch.float64) ** 2
    share = torch.zeros_like(square) if memorised is None else memorised
    noise = (NEED + (NEED_BY_HEART - NEED) * share) * s
    believed = square**2 / (square + noise**2) ** 2
    return torch.where(
        trust(sigma, s if noisiest is None else noisiest) > 0, torch.zeros_like(believed), believed
    )


class PosteriorVariance:
    """`v(sigma)` on a grid of levels, log-linear between them.

    It starts at the linear-Gaussian bound, and falls to what the network's residuals show.

    The bound is `mean_j lambda_j sigma^2 / (lambda_j + sigma^2)`, the error of the best linear denoiser that
    treats coefficients alone; no posterior variance exceeds it. The network's squared residual against an
    unbiased target, less the target's known noise `s^2 / a`, estimates `v` plus the network's own squared
    error; it replaces the bound where it is smaller. Residuals come from training images: where few of them
    are seen many times and the network memorises them, the estimate of `v` is too low, and so is the worth of
    noisy images.

    `v` changes only in `refresh`, and is rounded to steps of 2^(1/8): runs that differ in the last bit then
    draw the same pairs.
    """

    LOW, HIGH, BINS = 1e-3, 100.0, 64
    _MEMORY = 0.5  # share of the past that a refresh keeps
    _FLOOR = 1e-3  # of the bound
    _PRIOR = 64.0  # the bound counts as this many residuals of clean images

    def __init__(self, eigenvalues: Tensor) -> None:
        """`eigenvalues`: variances of the clean data's coefficients in an orthonormal basis; any shape."""
        step = math.log(self.HIGH / self.LOW) / self.BINS
        self.grid = torch.exp(
            math.log(self.LOW) + step * (torch.arange(self.BINS, dtype=torch.float64) + 0.5)
        )
        self._step = step
        flat = eigenvalues.to(torch.float64).flatten()
        square = self.grid[:, None] ** 2
        bound = (flat * square / (flat + square)).mean(dim=1)
        self.bound = bound.clamp(min=torch.finfo(torch.float32).tiny)
        self.value = self.bound.clone()
        self.sums = torch.zeros(2, self.BINS, dtype=torch.float64)  # weighted residuals, weights
        self._waiting: list[Tensor] = []  # (3, B), what is not in the sums yet

    def __call__(self, sigma: Tensor) -> Tensor:
        """`v` at levels of any shape; float64; constant above the grid, as `sigma^2` below it."""
        position = (torch.log(sigma.to(torch.float64).cpu() / self.LOW) / self._step - 0.5).clamp(
            0, self.BINS - 1
        )
        left = position.floor().to(torch.int64).clamp(max=self.BINS - 2)
        log_v = torch.log(self.value)
        value = torch.exp(log_v[left] + (position - left) * (log_v[left + 1] - log_v[left]))
        # Below the grid nothing but noise is left to remove: v = sigma^2, as at its lowest level.
        below = (sigma.to(torch.float64).cpu() / self.grid[0]).clamp(max=1.0) ** 2
        return (value * below).to(sigma.device)

    def observe(self, sigma: Tensor, s: Tensor, residual: Tensor) -> None:
        """Record residuals for the next `refresh`.

        Args:
            sigma: (B,) levels.
            s: (B,) noise of the images.
            residual: (B,) mean over pixels of `(D - T)^2`.
        """
        # The rows of a stretch of steps are summed at once, which costs less.
        self._waiting.append(
            torch.stack([t.detach().to(residual.device, torch.float64) for t in (sigma, s, residual)])
        )

    def _sum_up(self) -> None:
        if not self._waiting:
            return
        sigma, s, residual = torch.cat(self._waiting, dim=1).cpu()
        self._waiting = []
        # At levels below its noise, an image gives no information about v.
        is_informative = (trust(sigma, s) > 0) & torch.isfinite(residual)
        sigma, s, residual = sigma[is_informative], s[is_informative], residual[is_informative]
        a = 1 - (s / sigma) ** 2
        weight = worth(sigma, s, self(sigma)) ** 2  # inverse variance of a residual, up to a constant
        cell = (torch.log(sigma / self.LOW) / self._step).floor().to(torch.int64).clamp(0, self.BINS - 1)
        self.sums[0].index_add_(0, cell, weight * (residual - s**2 / a))
        self.sums[1].index_add_(0, cell, weight)

    def refresh(self) -> None:
        """Update `v` from the recorded residuals, and halve the weight of these."""
        self._sum_up()
        estimate = (self._PRIOR * self.bound + self.sums[0]) / (self._PRIOR + self.sums[1])
        estimate = torch.minimum(torch.maximum(estimate, self._FLOOR * self.bound), self.bound)
        self.value = torch.exp2(torch.round(torch.log2(estimate) * 8) / 8)
        self.sums *= self._MEMORY

    def state(self) -> dict[str, list[float]]:
        """Everything that `load_state` needs, as plain numbers."""
        self._sum_up()
        return {
            "bound": self.bound.tolist(),
            "value": self.value.tolist(),
            "residuals": self.sums[0].tolist(),
            "weights": self.sums[1].tolist(),
        }

    def load_state(self, state: dict[str, list[float]]) -> None:
        """Go on from `state()`."""
        bound, value, residuals, weights = (
            torch.tensor(state[k], dtype=torch.float64) for k in ("bound", "value", "residuals", "weights")
        )
        self.bound, self.value, self.sums = bound, value, torch.stack([residuals, weights])
        self._waiting = []


def spectrum(images: Tensor, s: Tensor, power: Tensor | None = None) -> tuple[Tensor, float]:
    """The spectrum of the clean signal, from images of mixed noise.

    The basis is the orthonormal cosine transform over (C, H, W): it nearly diagonalises natural images of any
    size, and white noise stays white in it. Images count by `1 / (1 + s^2)^2`, roughly their inverse
    variance.

    Args:
        images: (N, C, H, W) in model units.
        s: (N,) their noise.
        power: (N, C, H, W), the variance of its coefficients at `s = 1`, where it is not white.

    Returns:
        Variances (C, H, W) of the coefficients, noise removed, 0 or more; and `sigma_data`, the root mean
        square of clean pixels. Neither the mean variance nor the mean square is smaller than the standard error
        that noise gives it: one noisy image, or copies of one, do not show that there is nothing to learn.
    """
    from scipy.fft import dctn

    weight = (1 / (1 + s.to(torch.float64) ** 2) ** 2)[:, None, None, None]
    weight = weight / weight.sum()
    coefficients = torch.from_numpy(dctn(images.to(torch.float64).numpy(), axes=(1, 2, 3), norm="ortho"))
    own = weight * s.to(torch.float64)[:, None, None, None] ** 2
    noise = own.sum() if power is None else (own * power).sum(0)
    mean = (weight * coefficients).sum(0)
    variance = ((weight * (coefficients - mean) ** 2).sum(0) - noise).clamp(min=0)
    error = (2 * (weight.flatten() ** 2 * s.to(torch.float64) ** 4).sum() / variance.numel()).sqrt()
    variance = variance + (error - variance.mean()).clamp(min=0)
    mean_square = float(((weight * coefficients**2).sum(0) - noise).mean())
    return variance, math.sqrt(max(mean_square, float(error), 1e-6))

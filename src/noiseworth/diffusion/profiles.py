"""The worth of images whose noise is not white: diagonal in an orthonormal basis (`diagonal.py`), or with missing pixels.

A *profile* is how an image's noise is spread over its coordinates: few values `r_q`, each of a share of the coordinates,
so that the noise of an image is `s r_q` where its root mean square is `s`; infinite where nothing was measured. Each
coordinate has its own worth; that of the image is their mean, weighted by `v_q(sigma)`, what is left to learn there:

    w(sigma) = sum_q share_q v_q worth(sigma, s r_q, v_q) / sum_q share_q v_q,   v_q proportional to lambda_q sigma^2 / (lambda_q + sigma^2)

with `lambda_q` the variance of the clean signal in these coordinates. At levels where any coordinate cannot be lifted, the
image is drawn as an imputed one, in which coordinates that can count as above, and the others by the trust in imputed ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from noiseworth.diffusion.memorisation import Memorisation
from noiseworth.diffusion.worth import imputed_worth, trust, worth

_VALUES = 8  # of a profile


@dataclass(frozen=True)
class Profile:
    """How noise is spread over the coordinates of an image; all (Q,) float64.

    Attributes:
        relative: noise over the root mean square of all measured coordinates; infinite: not measured.
        share: of the coordinates; the sum is 1.
        signal: variance of the clean signal.
        highest: the greatest `relative` of any coordinate.
    """

    relative: Tensor
    share: Tensor
    signal: Tensor
    highest: float

    @staticmethod
    def of(variance: Tensor, signal: Tensor) -> "Profile":
        """Of relative variances, and those of the clean signal, in the same coordinates; any shape."""
        order = torch.argsort(variance.flatten(), stable=True)
        ranked, lit = variance.flatten()[order].to(torch.float64), signal.flatten()[order].to(torch.float64)
        measured = int(torch.isfinite(ranked).sum())
        groups = [g for g in torch.arange(measured).tensor_split(min(_VALUES, measured)) if len(g)]
        columns: tuple[list[float], ...] = ([], [], [])

        def add(*row: float) -> None:
            for column, value in zip(columns, row, strict=True):
                column.append(value)

        for group in groups:
            add(float(ranked[group].mean()) ** 0.5, len(group) / len(ranked), float(lit[group].mean()))
        if measured < len(ranked):
            add(torch.inf, 1 - measured / len(ranked), float(lit[measured:].mean()))
        relative, share, power = (torch.tensor(values, dtype=torch.float64) for values in columns)
        return Profile(relative, share, power, float(ranked[-1]) ** 0.5)


class Profiles:
    """The worth of images of several profiles; profile 0 is white noise.

    Args:
        profiles: those of kinds 1, 2, ...
        signal: mean variance of the clean signal.
        sigma_data: root mean square of clean pixels; imputed coordinates are trusted as if their noise was at most this.
        memorisation: what of the clean images is known by heart; by default nothing.
    """

    def __init__(
        self,
        profiles: Sequence[Profile],
        signal: float,
        sigma_data: float,
        memorisation: Memorisation | None = None,
    ) -> None:
        self.memorisation = Memorisation() if memorisation is None else memorisation
        one = torch.ones(1, dtype=torch.float64)
        rows = [Profile(one, one, signal * one, 1.0), *profiles]
        most = max(len(row.share) for row in rows)

        def table(columns: list[Tensor]) -> Tensor:  # (kinds, Q), the last value again where there are fewer
            return torch.stack([torch.cat([c, c[-1:].expand(most - len(c))]) for c in columns])

        self.relative = table([row.relative for row in rows])
        self.signal = table([row.signal for row in rows]).clamp(min=1e-12)
        self.share = torch.zeros(len(rows), most, dtype=torch.float64)
        for number, row in enumerate(rows):
            self.share[number, : len(row.share)] = row.share
        self.top = torch.tensor([row.highest for row in rows], dtype=torch.float64)
        self._cap, self._all_white = sigma_data, not profiles

    def highest(self, kind: Tensor, s: Tensor) -> Tensor:
        """The greatest noise of any coordinate of images of some kinds and noise; infinite with missing pixels."""
        top = self.top[kind]
        return torch.where(torch.isfinite(top), s * top, top)

    def worth(self, sigma: Tensor, kind: Tensor, s: Tensor, v: Tensor) -> Tensor:
        """Worth of images that are not imputed; 0 where a coordinate cannot be lifted.

        Args:
            sigma: levels; broadcasts against kind and s, the images' kinds and noise.
            v: `v(sigma)`, of the shape of sigma.
        """
        if self._all_white:
            return worth(sigma, s, v)
        noise, share, part = self._parts(sigma, kind, s, v)
        total = (share * worth(sigma[..., None], noise, part)).sum(-1)
        return torch.where(trust(sigma, self.highest(kind, s)) > 0, total, torch.zeros_like(total))

    def imputed(
        self, sigma: Tensor, kind: Tensor, s: Tensor, v: Tensor, noisiest: Tensor | None = None
    ) -> Tensor:
        """Worth of images whose coordinates above the level are imputed; 0 where none is, as the image itself serves.

        Args:
            noisiest: if given, the result is no less than what any image of noise from s to this is worth.
        """
        if self._all_white:
            return imputed_worth(sigma, s, noisiest, self.memorisation(sigma))
        noise, share, part = self._parts(sigma, kind, s, v)
        level = sigma[..., None]
        direct = worth(level, noise, part)
        anyway = torch.full_like(noise, torch.inf)
        unknown = imputed_worth(level, noise.clamp(max=self._cap), anyway, self.memorisation(level))
        as_is = trust(level, noise) > 0
        each = torch.where(as_is, direct, unknown)
        if noisiest is not None:
            # Of some images of the group a coordinate can be lifted, of others it cannot: the greater of the two bounds both.
            worst = trust(level, self._parts(sigma, kind, noisiest, v)[0]) > 0
            each = torch.where(as_is & ~worst, torch.maximum(direct, unknown), each)
        total = (share * each).sum(-1)
        is_whole = trust(sigma, self.highest(kind, s if noisiest is None else noisiest)) > 0
        return torch.where(is_whole, torch.zeros_like(total), total)

    def _parts(self, sigma: Tensor, kind: Tensor, s: Tensor, v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noise, weight and posterior variance of each value of the profile."""
        relative, signal = self.relative[kind], self.signal[kind]
        noise = torch.where(torch.isfinite(relative), s[..., None] * relative, relative)
        square = sigma[..., None].to(torch.float64) ** 2
        left = signal * square / (signal + square)
        mean = (self.share[kind] * left).sum(-1, keepdim=True)
        return noise, self.share[kind] * left / mean, v[..., None] * left / mean

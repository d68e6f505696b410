"""What training knows of noise that is not white: the variance of each coordinate of an image's noise, and its worth.

The mathematics is in `diffusion/diagonal.py` and `diffusion/profiles.py`.
"""

from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from noiseworth.data.augment import augment, undo_augment
from noiseworth.data.dataset import Dataset
from noiseworth.diffusion.diagonal import (
    DiagonalNoise,
    coordinate_weight,
    diagonal_loss,
    diagonal_pair,
)
from noiseworth.diffusion.memorisation import Memorisation
from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.objective import Loss
from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.pairs import Pairs
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.diffusion.profiles import Profile, Profiles
from noiseworth.diffusion.worth import PosteriorVariance, imputed_worth, spectrum
from noiseworth.errors import UserError
from noiseworth.train.config import TrainConfig
from noiseworth.train.own_noise import OwnNoise
from noiseworth.train.trainable import require_trainable

_ENOUGH = 100  # images of white noise, from which the spectrum of the clean signal is taken
_SHARES = 16  # steps of the share of pixels that were measured, in which images are of one kind
_CHUNK = 1024
_MADE_UP = 8192  # images whose missing pixels are made up, where none is whole
_DRAWS = 256  # of noise, for its spectrum


class NoiseStructure:
    """The noise of a data set's images, where it is not white everywhere.

    Args:
        data: its images.
        config: of the training.
        some: images from which the spectrum of the clean signal is taken.
        memorisation: what of the clean images is known by heart; by default nothing.

    Attributes:
        kind: (N,) of each image, in `profiles`; `words` say what each is.
        profiles: what the kinds are worth.
        highest: (N,) the greatest noise of any coordinate of an image; infinite where pixels are missing.
        eigenvalues: (C, H, W) variances of the clean signal, as of `spectrum`.
        sigma_data: root mean square of clean pixels.

    Raises:
        UserError: the noise depends on the signal, has both a spectrum and missing pixels, or the settings do not go with it.
    """

    def __init__(
        self,
        data: Dataset,
        config: TrainConfig,
        some: NDArray[np.int64],
        memorisation: Memorisation | None = None,
    ) -> None:
        self.data = data
        self.memorisation = Memorisation() if memorisation is None else memorisation
        self._model = torch.from_numpy(data.kind)
        self._s = torch.from_numpy(data.sigma.astype(np.float32))
        require_trainable(data, config)
        self._own = OwnNoise(data)
        self._variance, self._is_fourier = self._own.variance, self._own.is_fourier  # by model
        shares = self._shares_measured()
        images, s, structured = self._looked_at(some)
        self.eigenvalues, self.sigma_data = spectrum(images, s, self._noise_power(structured))
        self._mean = images.mean(0)
        self._signal = self._fourier_signal(images, s, structured)
        self._make_profiles(shares)

    def _shares_measured(self) -> Tensor:
        """(N,) share of each image's pixels that were measured, in steps."""
        shares = torch.ones(len(self.data), dtype=torch.float64)
        rows = np.flatnonzero(self.data.may_miss)
        for chunk in np.array_split(rows, max(len(rows) // _CHUNK, 1)):
            if len(chunk):
                measured = np.isfinite(self.data.read(chunk)).reshape(len(chunk), -1).mean(1)
                if not measured.all():
                    number = int(self.data.ids[chunk[measured == 0][0]])
                    raise UserError(
                        f"{self.data.path}: no pixel of image {number} was measured; leave it out"
                    )
                shares[chunk] = torch.from_numpy(np.ceil(measured * _SHARES) / _SHARES)
        return shares

    def _looked_at(self, some: NDArray[np.int64]) -> tuple[Tensor, Tensor, Tensor]:
        """Images for the spectrum of the clean signal, their noise, and their models: those of white noise, if there are enough."""
        is_plain = (self.data.kind == 0) & ~self.data.may_miss
        plain = some[is_plain[some]]
        rows = plain if len(plain) >= _ENOUGH else some
        images = torch.from_numpy(self.data.read(rows))
        is_measured = torch.isfinite(images)
        mean = torch.nan_to_num(images).sum(0) / is_measured.sum(0).clamp(min=1)
        # Where pixels are missing, deviations are made up for, so that the variance is that of whole images.
        share = is_measured.flatten(1).double().mean(1).to(images.dtype).reshape(-1, 1, 1, 1)
        images = mean + torch.where(is_measured, images - mean, 0) / share.sqrt()
        return images, self._s[rows], self._model[rows]

    def _noise_power(self, models: Tensor) -> Tensor:
        """(M, C, H, W): for each model, the variance of its noise in the cosine basis of `spectrum`, at sigma 1; by drawing some."""
        from scipy.fft import dctn

        powers = torch.ones(len(self._variance), *self.data.shape)
        for number in torch.unique(models).tolist():
            if number == 0:
                continue
            variance, generator = self._variance[number], torch.Generator().manual_seed(0)
            white = torch.randn(_DRAWS, *self.data.shape, generator=generator)
            own = DiagonalNoise(
                torch.where(torch.isfinite(variance), variance, 0).expand_as(white),
                self._is_fourier[number].expand(_DRAWS),
            )
            drawn = own.turned(own.variance.sqrt() * white).double().numpy()
            powers[number] = torch.from_numpy(
                (dctn(drawn, axes=(1, 2, 3), norm="ortho") ** 2).mean(0)
            ).float()
        return powers[models]

    def _fourier_signal(self, images: Tensor, s: Tensor, models: Tensor) -> Tensor:
        """(C, H, W): variance of the clean signal in Fourier's basis."""
        if not bool(self._is_fourier.any()):
            return torch.ones(self.data.shape)
        own = DiagonalNoise(images, torch.ones(len(images), dtype=torch.bool))
        power = own.turned(images - images.mean(0)).square()
        mean = torch.nan_to_num(self._variance, posinf=torch.nan).nanmean((1, 2, 3), keepdim=True)
        as_fourier = torch.where(self._is_fourier.reshape(-1, 1, 1, 1), self._variance, mean)
        signal = (power - s.square().reshape(-1, 1, 1, 1) * as_fourier[models]).mean(0)
        opposite = torch.roll(signal.flip(-2, -1), (1, 1), (-2, -1))
        signal = (signal + opposite) / 2
        return signal.clamp(min=1e-4 * float(signal.mean().clamp(min=1e-12)))

    def _make_profiles(self, shares: Tensor) -> None:
        flat = torch.full(self.data.shape, float(self.eigenvalues.mean()))
        combined = self._model.double() * 2 + shares
        values, self.kind = torch.unique(combined, return_inverse=True)
        profiles, numbers = [], torch.zeros(len(values), dtype=torch.int64)
        self.words = [""]
        for number, value in enumerate(values.tolist()):
            model = int(value - 1e-9) // 2
            share = value - 2 * model
            if model == 0 and share == 1:
                continue
            is_fourier = bool(self._is_fourier[model])
            variance, signal = self._variance[model], self._signal if is_fourier else flat
            if share < 1:  # which pixels are missing differs from image to image
                missing = torch.arange(variance.numel()) >= share * variance.numel()
                variance = variance.flatten().masked_fill(missing, torch.inf)
                signal = signal.flatten()
            profiles.append(Profile.of(variance, signal))
            self.words.append(_words(is_fourier, model > 0, share))
            numbers[number] = len(profiles)
        self.kind = numbers[self.kind]
        self.profiles = Profiles(profiles, float(self.eigenvalues.mean()), self.sigma_data, self.memorisation)
        self.highest = self.profiles.highest(self.kind, self._s.double())

    def pair_sampler(
        self, levels: LogNormalLevels, v: PosteriorVariance, presentations: float
    ) -> PairSampler:
        """Draws the pairs; where no image is whole, the first images are imputed from the beginning."""
        whole = bool(torch.isfinite(self.highest).any())
        return PairSampler(
            self._s.double(),
            levels,
            v,
            presentations=presentations,
            kind=self.kind,
            profiles=self.profiles,
            imputed=None if whole else torch.arange(min(len(self._s), _MADE_UP)),
            memorisation=self.memorisation,
        )

    def noise_of(self, rows: Tensor, y: Tensor) -> DiagonalNoise:
        """The noise of the images at `rows` (B,), which are `y` (B, C, H, W)."""
        return self._own.of(rows, y)

    def first_filled(self, y: Tensor, noise: Tensor) -> Tensor:
        """Images (B, C, H, W) in which pixels that were not measured are drawn around the mean image, for want of a model."""
        spread = self.eigenvalues.mean().sqrt().to(y.dtype)
        return torch.where(torch.isnan(y), self._mean + spread * noise, y)

    def _left(self, sigma: Tensor, v: Tensor, own: DiagonalNoise) -> Tensor:
        """(B, C, H, W): the posterior variance of each coordinate."""
        level = sigma.reshape(-1, 1, 1, 1) ** 2
        signal = self._signal.to(sigma.device)
        left = signal * level / (signal + level)
        relative = left / left.mean(dim=(1, 2, 3), keepdim=True)
        relative = torch.where(own.is_fourier.reshape(-1, 1, 1, 1), relative, torch.ones_like(relative))
        return v.reshape(-1, 1, 1, 1) * relative

    def loss(
        self,
        denoiser: Denoiser,
        pairs: Pairs,
        y: Tensor,
        filled: Tensor,
        noise: Tensor,
        ids: Tensor,
        v: PosteriorVariance,
        config: TrainConfig,
    ) -> tuple[Loss, Tensor]:
        """The loss of a batch, and what a residual says about v: the noise (B,) of images of white noise, else NaN.

        Args:
            denoiser: the network that is trained.
            pairs: as drawn.
            y: (B, C, H, W) the images.
            filled: (B, C, H, W) imputed images, where pairs are imputed.
            noise: (B, C, H, W) standard normal.
            ids: (B,) of the slots.
            v: the posterior variance.
            config: for the augmentation.
        """
        kind, sigma = self.kind[pairs.index].to(y.device), pairs.sigma.to(y.device, torch.float32)
        is_imputed = pairs.imputed.to(y.device)
        is_white = kind == 0
        own_noise = self.noise_of(pairs.index, y)
        # An imputed image of white noise is taken for a clean one; of other noise, what cannot be lifted is taken from it.
        replaced = (is_white & is_imputed).reshape(-1, 1, 1, 1)
        own_noise = DiagonalNoise(
            torch.where(replaced, torch.zeros_like(own_noise.variance), own_noise.variance),
            own_noise.is_fourier,
        )
        y = torch.where(replaced, filled, y)
        pair = diagonal_pair(y, own_noise, sigma, noise, torch.nan_to_num(filled))
        at = pairs.sigma
        image = self._s[pairs.index].double()
        worths = torch.where(
            pairs.imputed,
            self.profiles.imputed(at, self.kind[pairs.index], image, v(at)),
            self.profiles.worth(at, self.kind[pairs.index], image, v(at)),
        ).to(y.device, torch.float32)
        level = sigma.reshape(-1, 1, 1, 1)
        trusted = imputed_worth(
            level,
            own_noise.variance.sqrt().clamp(max=self.sigma_data),
            torch.full_like(own_noise.variance, torch.inf),
            self.memorisation(level),
        ).to(torch.float32)
        left = self._left(sigma, v(at).to(y.device, torch.float32), own_noise)
        coordinate = coordinate_weight(own_noise.variance, pair.own, sigma, left, trusted)
        coordinate = coordinate / worths.clamp(min=1e-6).reshape(-1, 1, 1, 1)
        coordinate = torch.where(is_white.reshape(-1, 1, 1, 1), torch.ones_like(coordinate), coordinate)
        moved = partial(self._moved, denoiser, ids, config)
        loss = diagonal_loss(moved, pair, own_noise, sigma, self.sigma_data, coordinate, pairs.weight)
        known = torch.where(pairs.imputed, torch.zeros_like(image), image)
        return loss, torch.where(is_white, known.to(y.device), torch.nan)

    @staticmethod
    def _moved(denoiser: Denoiser, ids: Tensor, config: TrainConfig, x: Tensor, sigma: Tensor) -> Tensor:
        """The denoiser of moved images, moved back: a spectrum or a map stays where it belongs."""
        moved = augment([x], config.augment, ids, config.seed)[0]
        if config.channels_last:
            moved = moved.contiguous(memory_format=torch.channels_last)
        return undo_augment(denoiser(moved, sigma), config.augment, ids, config.seed)


def _words(is_fourier: bool, is_modelled: bool, share: float) -> str:
    """What kind of noise it is."""
    noise = "correlated" if is_fourier else "different from pixel to pixel" if is_modelled else ""
    missing = f"{1 - share:.0%} of the pixels missing" if share < 1 else ""
    return ", ".join(filter(None, (noise, missing)))

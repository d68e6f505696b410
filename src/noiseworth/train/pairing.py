"""What draws the training pairs of a run, from the spectrum and the noise of its images."""

from dataclasses import dataclass

import numpy as np
import torch

from noiseworth.data.dataset import Dataset
from noiseworth.diffusion.memorisation import Memorisation
from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.published import PublishedPairSampler
from noiseworth.diffusion.worth import PosteriorVariance, spectrum
from noiseworth.train.config import TrainConfig
from noiseworth.train.structure import NoiseStructure

_SPECTRUM_IMAGES = 10_000


@dataclass(frozen=True)
class Pairing:
    """The pair sampler; `v(sigma)` and what is known by heart, which it draws by; `sigma_data`; and noise that is not white, or None."""

    pair_sampler: PairSampler | PublishedPairSampler
    v: PosteriorVariance
    sigma_data: float
    structure: NoiseStructure | None
    memorisation: Memorisation


def make_pairing(config: TrainConfig, data: Dataset) -> Pairing:
    """`v(sigma)` from the spectrum of some images, and the pair sampler on it.

    Raises:
        UserError: the noise cannot be trained on, or not with these settings.
    """
    some = np.unique(np.linspace(0, len(data) - 1, min(len(data), _SPECTRUM_IMAGES)).astype(np.int64))
    memorisation = Memorisation()
    s, levels = torch.from_numpy(data.sigma), LogNormalLevels(*config.levels)
    if not data.is_white:
        structure = NoiseStructure(data, config, some, memorisation)
        v = PosteriorVariance(structure.eigenvalues)
        drawn = structure.pair_sampler(levels, v, config.presentations)
        return Pairing(drawn, v, structure.sigma_data, structure, memorisation)
    eigenvalues, sigma_data = spectrum(torch.from_numpy(data.read(some)), s[torch.from_numpy(some)])
    v = PosteriorVariance(eigenvalues)
    if config.objective == "published":
        return Pairing(PublishedPairSampler(s, levels), v, sigma_data, None, memorisation)
    drawn = PairSampler(s, levels, v, presentations=config.presentations, memorisation=memorisation)
    return Pairing(drawn, v, sigma_data, None, memorisation)

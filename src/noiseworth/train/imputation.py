"""What noisy images teach a run below their own noise: keeping imputed images, or making consistent pairs.

The mathematics is in `diffusion/imputation.py`.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from noiseworth.data.dataset import Dataset
from noiseworth.diffusion.conditional import impute_given
from noiseworth.diffusion.imputation import consistent_pair, impute
from noiseworth.diffusion.objective import ambient_pair
from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.pairs import Pairs
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.diffusion.published import PublishedPairSampler
from noiseworth.rng import Stream, normal, permutation
from noiseworth.train.config import TrainConfig
from noiseworth.train.structure import NoiseStructure

# Images seen before the model imputes: a tenth of a run within these bounds, or a quarter of one that is too short for them.
_EARLIEST, _LATEST = 4_000, 40_000
_ROUNDS = 8  # while as many images are seen as were seen before
# Images imputed in a round. Where nothing else speaks below the noise, or no image is whole, each round has the most.
_LEAST, _PER_ROUND = 64, 2048
_MOST_BYTES = 2**28  # of memory that imputed images take
_CHUNK = 512
_COST = 20  # images trained on per image imputed, at least: 11 calls forward against 20 steps of about 3 calls each


class Imputation:
    """Keeps the imputed images of a run, and replaces the pairs that are to be drawn from them.

    Attributes:
        rows: (M,) positions of the imputed images in the data set, the newest last: about those of the latest half of the training.
        images: (M, C, H, W) these images; None with "consistency", which makes its pairs anew each time.
    """

    def __init__(
        self,
        config: TrainConfig,
        data: Dataset,
        pair_sampler: PairSampler | PublishedPairSampler,
        denoiser: Callable[[Tensor, Tensor, Tensor | None], Tensor],
        labels: Tensor | None,
        device: torch.device,
        structure: NoiseStructure | None = None,
    ) -> None:
        self.structure = structure
        self.config, self.data, self.pair_sampler, self.device = config, data, pair_sampler, device
        self._denoiser, self._labels = denoiser, labels
        self.rows = torch.zeros(0, dtype=torch.int64)
        self.images: Tensor | None = None
        self.rounds = self._imputed = 0
        self._next_round_at = min(config.n_images // 4, max(_EARLIEST, min(_LATEST, config.n_images // 10)))
        noise = pair_sampler.s if structure is None else structure.highest
        noisy = torch.nonzero(noise > 0)[:, 0]
        # In no particular order: of many images only some are ever imputed, and files are often sorted by what they show.
        self._noisy = noisy[permutation(config.seed, Stream.IMPUTE_ORDER, len(noisy))]
        is_alone = isinstance(pair_sampler, PairSampler) and (
            pair_sampler.trained_from > 0 or len(pair_sampler.imputed_rows) > 0
        )
        self._least = _PER_ROUND if is_alone else _LEAST
        self._fits = max(_PER_ROUND, _MOST_BYTES // (4 * math.prod(data.shape)))
        self._position = torch.zeros(0, dtype=torch.int64)
        if isinstance(pair_sampler, PairSampler) and len(
            pair_sampler.imputed_rows
        ):  # no image is whole: what is missing is made up until the model can tell
            self.rows = pair_sampler.imputed_rows
            self.images = torch.cat([self._made_up(part) for part in torch.split(self.rows, _CHUNK)])
            self._update_pair_sampler()

    def _made_up(self, rows: Tensor) -> Tensor:
        if self.structure is None:
            raise AssertionError("images of white noise are whole")
        y = torch.from_numpy(self.data.read(rows.numpy()))
        return self.structure.first_filled(y, normal(self.config.seed, Stream.IMPUTE, rows, y.shape[1:]))

    def prepare(self, n_images: int) -> None:
        """Impute, if it is time to: the pair sampler asks for it, and enough images were seen since the last time."""
        if (
            self.config.below_noise == "none"
            or isinstance(self.pair_sampler, PublishedPairSampler)
            or n_images < self._next_round_at
            or not len(self._noisy)
        ):
            return
        if not len(self.rows) and not self.pair_sampler.wants_imputed():
            return
        if self.config.below_noise == "consistency":
            self.rows, self._next_round_at = self._noisy, 2**62
        else:
            count = min(max(n_images // (_ROUNDS * _COST), self._least), _PER_ROUND, len(self._noisy))
            rows = self._noisy[(self._imputed + torch.arange(count)) % len(self._noisy)]
            imputed = torch.cat([self._impute(rows[i : i + _CHUNK]) for i in range(0, len(rows), _CHUNK)])
            kept = torch.nonzero(~torch.isin(self.rows, rows))[:, 0]
            most = min(max(n_images // (2 * _COST), self._least), self._fits)
            kept = kept[max(0, len(kept) + count - most) :]
            self.images = imputed if self.images is None else torch.cat([self.images[kept], imputed])
            self.rows = torch.cat([self.rows[kept], rows])
            self.rounds, self._imputed = self.rounds + 1, self._imputed + count
            self._next_round_at = n_images + _COST * len(rows)
        self._update_pair_sampler()
        self.pair_sampler.refresh(n_images)

    def _denoiser_of(self, rows: Tensor) -> Denoiser:
        """The denoiser for the images at `rows`, with their classes."""
        labels = None if self._labels is None else self._labels[rows].to(self.device)
        return lambda x, sigma: self._denoiser(x, sigma, labels)

    def _impute(self, rows: Tensor) -> Tensor:
        y = torch.from_numpy(self.data.read(rows.numpy())).to(self.device)
        ids = (rows + self.rounds * len(self.data)).to(self.device)
        if self.structure is not None and bool((self.structure.kind[rows] > 0).any()):
            return impute_given(
                self._denoiser_of(rows),
                y,
                self.structure.noise_of(rows, y),
                ids,
                seed=self.config.seed,
                sigma_data=self.structure.sigma_data,
            ).cpu()
        return impute(
            self._denoiser_of(rows),
            y,
            self.pair_sampler.s[rows].to(self.device),
            ids,
            seed=self.config.seed,
            trained_from=self.pair_sampler.trained_from,
        ).cpu()

    def _update_pair_sampler(self) -> None:
        if not isinstance(self.pair_sampler, PairSampler):
            raise AssertionError("only the pair sampler by worth draws imputed images")
        self.pair_sampler.set_imputed(self.rows)
        self._position = torch.full((len(self.data),), -1, dtype=torch.int64)
        self._position[self.rows] = torch.arange(len(self.rows))

    def fill(self, pairs: Pairs, y: Tensor) -> Tensor:
        """The images of a batch, with imputed ones in place of those whose pairs are to be imputed."""
        if self.images is None or not bool(pairs.imputed.any()):
            return y
        y = y.clone()
        y[pairs.imputed.to(self.device)] = self.images[self._position[pairs.index[pairs.imputed]]].to(
            self.device
        )
        return y

    def replace(
        self, pairs: Pairs, y: Tensor, s: Tensor, noise: Tensor, ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Inputs and targets of a batch some of whose pairs are to be imputed; arguments as in `ambient_pair`."""
        marked = pairs.imputed.to(self.device)
        sigma = pairs.sigma.to(self.device)
        if self.images is not None:
            return ambient_pair(
                self.fill(pairs, y), torch.where(marked, torch.zeros_like(s), s), sigma, noise
            )
        x_sigma, target = torch.empty_like(y), torch.empty_like(y)
        x_sigma[~marked], target[~marked] = ambient_pair(
            y[~marked], s[~marked], sigma[~marked], noise[~marked]
        )
        x_sigma[marked], target[marked] = consistent_pair(
            self._denoiser_of(pairs.index[pairs.imputed]),
            y[marked],
            s[marked],
            sigma[marked],
            ids.to(self.device)[marked],
            seed=self.config.seed,
        )
        return x_sigma, target

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {
            "rows": self.rows,
            "counters": torch.tensor([self.rounds, self._next_round_at, self._imputed]),
            **({} if self.images is None else {"images": self.images}),
        }

    def load_state(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()`."""
        self.rows, self.images = state["rows"], state.get("images")
        counters = [int(n) for n in np.asarray(state["counters"])]
        self.rounds, self._next_round_at = counters[:2]
        self._imputed = counters[2] if len(counters) > 2 else 0  # of a run of an earlier release
        if len(self.rows):
            self._update_pair_sampler()

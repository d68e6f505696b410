"""What a training reads: its images, their labels, and held-out images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.errors import UserError
from noiseworth.evaluate.risk import noise_is_measurable
from noiseworth.train.config import NONE, OWN, TrainConfig

_OF, _HELD_BACK = 10, 32  # a tenth of the clean images, at most so many: a few show what is known by heart


@dataclass(frozen=True)
class TrainingData:
    """`data` to train on; `held_out` images that are not, clean or else noisy ones, or None; `labels` (N,) to condition on, or None."""

    data: Dataset
    held_out: Dataset | None
    labels: Tensor | None

    @property
    def classes(self) -> int:
        """Number of classes that the model is conditioned on; 0: none."""
        return 0 if self.labels is None else int(self.labels.max()) + 1


def open_training_data(config: TrainConfig) -> TrainingData:
    """Open all of it now: a mistake in the held-out images should not wait for the first use of the monitors.

    Raises:
        UserError: there is no such data set, or it cannot be trained on with these settings.
    """
    whole = open_dataset(config.data)
    if config.augment == "turns" and whole.shape[1] != whole.shape[2]:
        size = f"{whole.shape[2]}x{whole.shape[1]}"
        raise UserError(f"--augment turns: needs square images, {config.data} has {size}; use flip")
    whole.require_known_sigma()
    data = whole.use(config.use)
    held_out = None
    if config.held_out not in (None, OWN, NONE):
        held_out = _open_held_out(config, data)
    elif config.held_out == OWN and config.objective == "worth":
        data, held_out = hold_back(data)
    return TrainingData(data, held_out, _read_labels(config, data))


def hold_back(data: Dataset) -> tuple[Dataset, Dataset | None]:
    """The images without a tenth of the clean ones, at most `_HELD_BACK`, and these; or all of them and None, where few are clean."""
    clean = np.flatnonzero(data.is_clean)
    count = min(len(clean) // _OF, _HELD_BACK)
    if count < 1:
        return data, None
    count = max(count, 2)  # the least that a risk can be measured with
    chosen = clean[((np.arange(count) + 0.5) * len(clean) / count).astype(np.int64)]
    return data.select(~np.isin(np.arange(len(data)), chosen)), data.select(chosen)


def _open_held_out(config: TrainConfig, data: Dataset) -> Dataset:
    whole = open_dataset(str(config.held_out))
    if whole.record.stabilised != data.record.stabilised:
        raise UserError(
            f"--held-out {config.held_out}: is not in the units of {config.data}, whose noise was stabilised, or the other way round;"
            " stabilise both by the same model"
        )
    clean = whole.select(whole.is_clean)
    if not len(clean) and whole.is_white and whole.shape == data.shape and noise_is_measurable(whole.sigma):
        return whole
    if whole.shape != data.shape or len(clean) < 2:
        has = f"images of {whole.shape}, {len(clean)} of them clean"
        needed = (
            f"at least 2 clean ones of {data.shape}, or noisy ones of known noise below the highest level,"
        )
        raise UserError(f"--held-out {config.held_out}: has {has}; {needed} are needed")
    return clean


def _read_labels(config: TrainConfig, data: Dataset) -> Tensor | None:
    if not config.labels:
        return None
    if data.labels is None:
        raise UserError(f"{config.data}: has no labels; leave out --labels, or pack it again with them")
    return torch.from_numpy(data.labels)

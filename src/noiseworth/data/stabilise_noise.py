"""`noise stabilise`: a data set whose noise depends on the signal, in units in which it is Gaussian and of one level."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.damage import read_noise_model
from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.made_by import Making
from noiseworth.data.measured import require_finite
from noiseworth.data.noise_config import StabiliseConfig
from noiseworth.data.writer import Columns, ImageWriter, Part, new_directory, part_folder, write_dataset
from noiseworth.errors import UserError
from noiseworth.noise.base import NoiseModel
from noiseworth.noise.stabilise import Stabiliser
from noiseworth.options import with_options
from noiseworth.records import StabilisedRecord, StabiliseRecord

_PIXELS = 1 << 22  # at once
_LOOKED_AT = 500  # noisy images, for how even their noise is now


@with_options(StabiliseConfig)
def stabilise_noise(config: StabiliseConfig) -> StabiliseRecord:
    """Transform noisy images so that their noise is Gaussian, and clean ones to the means of noisy ones.

    Raises:
        UserError: the data set has no noise model, or several, or a model that does not depend on the signal; or `out`
            holds something else.
    """
    making = Making("noise stabilise", config)
    if (earlier := making.found(StabiliseRecord)) is not None:
        return earlier
    dataset = open_dataset(config.data)
    r, out = dataset.record, Path(config.out)
    if r.stabilised is not None:
        raise UserError(f"{config.data}: its noise is stabilised already")
    if any(part.scale is not None for part in r.parts):
        raise UserError(
            f"{config.data}: its parts have different raw units; stabilise each data set, then join them"
        )
    model = _model_of(dataset, config)
    stabiliser = Stabiliser(model)
    is_clean = dataset.is_clean
    _require_of_one_model(dataset, is_clean, config)
    low, high = (float(stabiliser.mean(np.array(r.offset + end * r.scale))) for end in (-1, 1))
    if not high > low:
        raise UserError(
            f"{config.data}: its range ends at {r.offset + r.scale:g} raw units, and no light is {float(stabiliser.zero):g}; pack it again"
            " with the range of its values"
        )
    offset, scale = (low + high) / 2, (high - low) / 2
    spreads: list[NDArray[np.float64]] = []
    with new_directory(out) as folder:
        parts: list[Part] = []
        for rows in (np.flatnonzero(is_clean), np.flatnonzero(~is_clean)):
            if not len(rows):
                continue
            directory = part_folder(folder, len(parts))
            directory.mkdir()
            writer = ImageWriter(directory / "images.npy", dataset.shape, "float32")
            step = max(_PIXELS // int(np.prod(dataset.shape)), 1)
            for start in range(0, len(rows), step):
                chunk = rows[start : start + step]
                raw = dataset.read_raw(chunk, "float64")
                require_finite(dataset, chunk, raw)
                new = stabiliser.mean(raw) if is_clean[chunk[0]] else stabiliser.forward(raw)
                writer.add(new.astype(np.float32))
                if not is_clean[chunk[0]] and start < _LOOKED_AT:
                    spreads.append(np.sqrt(stabiliser.variance(stabiliser.inverse(new[:_LOOKED_AT]))).ravel())
            writer.close()
            sigma = np.full(len(rows), 0.0 if is_clean[rows[0]] else 1 / scale, np.float32)
            labels = None if dataset.labels is None else dataset.labels[rows]
            parts.append(Part(Columns(sigma, dataset.ids[rows], labels)))
        least, most = np.quantile(np.concatenate(spreads), [0.05, 0.95]) if spreads else (1.0, 1.0)
        record = StabiliseRecord(
            str(out), int((~is_clean).sum()), int(is_clean.sum()), 1 / scale, float(least), float(most)
        )
        before = StabilisedRecord(model.to_json(), r.offset, r.scale, r.units)
        provenance = {
            "command": "noise stabilise",
            "noise": model.describe(),
            "source_fingerprint": r.fingerprint,
        }
        write_dataset(
            folder, parts, name=f"{r.name}-stabilised", offset=offset, scale=scale, units="stabilised",
            provenance=[*r.provenance, provenance], stabilised=before,
        )  # fmt: skip
        making.note(folder, record)
    return record


def _model_of(dataset: Dataset, config: StabiliseConfig) -> NoiseModel:
    own = [model for model in dataset.noise_models[1:] if model is not None]
    given = None if config.noise is None else read_noise_model(config.noise)
    models = own + ([given] if given is not None and all(given.to_json() != m.to_json() for m in own) else [])
    if not models:
        raise UserError(
            f"{config.data}: says no noise model; give one with --noise (`noiseworth noise calibrate` makes it)"
        )
    if len(models) > 1:
        words = "; ".join(model.describe() for model in models)
        raise UserError(
            f"{config.data}: has several noise models ({words}); one transform serves one: stabilise each, then join them"
        )
    return models[0]


def _require_of_one_model(dataset: Dataset, is_clean: NDArray[np.bool_], config: StabiliseConfig) -> None:
    """Raises UserError where an image has noise of its own, that is not of the model."""
    other = ~is_clean & ((dataset.kind == 0) & ~np.isnan(dataset.sigma) | dataset.may_miss)
    if other.any():
        number = int(dataset.ids[other.argmax()])
        raise UserError(
            f"{config.data}: image {number} has white noise, or missing pixels, and not noise of the model; leave such images out"
        )
    if config.noise is None and (~is_clean & (dataset.kind == 0)).any():
        raise UserError(
            f"{config.data}: some images are of unknown noise, and have no noise model; say with --noise that they have it"
        )

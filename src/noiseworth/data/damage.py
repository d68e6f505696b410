"""Simulated damage that is not white noise: noise by a model, pixels that are lost, blur. Drawn once for each image, and then fixed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.config import CorruptConfig
from noiseworth.data.dataset import Dataset
from noiseworth.data.made_by import Making
from noiseworth.data.writer import Columns, ImageWriter, Part, new_directory, part_folder, write_dataset
from noiseworth.errors import UserError
from noiseworth.noise.base import NoiseModel
from noiseworth.noise.models import CorrelatedNoise, GaussianNoise, VariableNoise, from_json
from noiseworth.records import DatasetRecord
from noiseworth.rng import Stream, uniform

_CHUNK = 256
Rows = NDArray[np.int64]


def read_noise_model(path: Path | str) -> NoiseModel:
    """The noise model in a JSON file: one by itself, or what `noise calibrate` wrote.

    Raises:
        UserError: there is no such file, or no noise model in it.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; give the JSON file of a noise model") from None
    except ValueError:
        values = None
    if isinstance(values, dict) and isinstance(values.get("model"), dict):
        values = values["model"]
    if not isinstance(values, dict) or "kind" not in values:
        raise UserError(f"{path}: holds no noise model; `noiseworth noise calibrate` writes one")
    try:
        return from_json(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def of_sigma_one(model: NoiseModel) -> tuple[NoiseModel | None, float]:
    """How a part of a data set says its noise: the model of noise of sigma 1 (None: white), and sigma in model units.

    Noise that depends on the signal has no sigma: NaN, with the model itself.
    """
    if isinstance(model, GaussianNoise):
        return None, model.sigma
    if isinstance(model, VariableNoise | CorrelatedNoise):
        sigma = model.sigma
        return (model.scaled(1 / sigma) if sigma > 0 else None), sigma
    return model, np.nan


def damage(
    dataset: Dataset, clean: Rows, damaged: Rows, config: CorruptConfig, making: Making
) -> DatasetRecord:
    """Write a data set of some images as they are, and others damaged as the settings say.

    Raises:
        UserError: the noise model is for images of another size, or its values are no numbers.
    """
    model = None if config.noise is None else read_noise_model(config.noise)
    if config.sigma is not None:
        try:
            model = GaussianNoise(float(config.sigma))
        except ValueError:
            raise UserError(f"--sigma {config.sigma}: with --missing, give one number") from None
    stored, sigma = (None, np.nan if config.blur else 0.0) if model is None else of_sigma_one(model)
    said: dict[str, Any] = {
        "command": "corrupt",
        "clean_fraction": config.clean_fraction,
        "noise": None if model is None else model.describe(),
        "missing": config.missing,
        "blur": config.blur,
        "seed": config.seed,
    }
    r, out = dataset.record, Path(config.out)
    may_miss = bool(config.missing) or (isinstance(model, VariableNoise) and not np.isfinite(model.map).all())
    with new_directory(out) as folder:
        parts: list[Part] = []
        for rows, is_clean in ((clean, True), (damaged, False)):
            if not len(rows):
                continue
            directory = part_folder(folder, len(parts))
            directory.mkdir()
            labels = None if dataset.labels is None else dataset.labels[rows]
            columns = Columns(
                np.full(len(rows), 0.0 if is_clean else sigma, np.float32), dataset.ids[rows], labels
            )
            if is_clean:
                copy_images(dataset, rows, directory / "images.npy")
                parts.append(Part(columns))
                continue
            writer = ImageWriter(directory / "images.npy", dataset.shape, "float32")
            for start in range(0, len(rows), _CHUNK):
                chunk = rows[start : start + _CHUNK]
                raw = dataset.read_raw(chunk, "float64")
                writer.add(_damaged(raw, dataset.ids[chunk], model, r.scale, config).astype(np.float32))
            writer.close()
            parts.append(Part(columns, noise=stored, missing=may_miss))
        source = {"source_fingerprint": r.fingerprint}
        record = write_dataset(
            folder, parts, name=f"{r.name}-corrupted", offset=r.offset, scale=r.scale, units=r.units,
            provenance=[*r.provenance, said | source], stabilised=r.stabilised,
        )  # fmt: skip
        making.note(folder, record)
    return record


def _damaged(
    raw: NDArray[np.float64], ids: Rows, model: NoiseModel | None, scale: float, config: CorruptConfig
) -> NDArray[np.float64]:
    if config.blur:
        from scipy.ndimage import gaussian_filter

        raw = gaussian_filter(raw, (0, 0, config.blur, config.blur))
    if isinstance(model, GaussianNoise | VariableNoise | CorrelatedNoise):  # for model units
        raw = raw + scale * model.sample(np.zeros_like(raw), config.seed, ids)
    elif model is not None:
        raw = model.sample(raw, config.seed, ids)
    if config.missing:
        count, _, height, width = raw.shape  # a pixel is lost in all channels
        u = uniform(config.seed, Stream.MISSING, torch.from_numpy(ids), height * width).numpy()
        raw = np.where(u.reshape(count, 1, height, width) < config.missing, np.nan, raw)
    return raw


def copy_images(dataset: Dataset, rows: Rows, path: Path) -> None:
    """Write images as they are, in the type of the data set."""
    writer = ImageWriter(path, dataset.shape, str(dataset.dtype))
    for start in range(0, len(rows), _CHUNK):
        writer.add(dataset.read_raw(rows[start : start + _CHUNK], str(dataset.dtype)))
    writer.close()

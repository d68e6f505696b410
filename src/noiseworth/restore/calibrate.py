"""What intervals are calibrated on: some of the noisy images, or of clean ones; and which images are refused."""

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_clean
from noiseworth.data.measured import evenly
from noiseworth.diffusion.diagonal import DiagonalNoise
from noiseworth.errors import UserError
from noiseworth.process import lock
from noiseworth.records import load_record, to_json, write_atomically
from noiseworth.restore.calibration import (
    Calibration,
    of_other_noise,
    on_clean,
    residual_correlation,
    without_clean,
)
from noiseworth.restore.config import RestoreConfig
from noiseworth.restore.inputs import Inputs, Noisy, require_units
from noiseworth.restore.restorer import Restorer
from noiseworth.restore.tiles import corners
from noiseworth.runs.model import RunModel

Array = NDArray[np.float32]

CALIBRATION = ".calibration.json"
_LOOKED_AT = 256  # tiles that intervals are calibrated on, at most
_WAIT = 1.0  # seconds


def calibrated(config: RestoreConfig, inputs: Inputs, restorer: Restorer) -> "Calibrated":
    """How intervals are made: found by the first process, for all."""
    path = Path(config.out) / CALIBRATION
    while not path.is_file():
        with lock(Path(config.out) / ".locks" / "calibration") as is_mine:
            if is_mine and not path.is_file():
                write_atomically(path, to_json(_calibrate(config, inputs, restorer)) + "\n")
                break
        time.sleep(_WAIT)
    return load_record(Calibrated, path)


@dataclass(frozen=True)
class Calibrated:
    """`calibration.Calibration`, the noise that was there, and how what was taken off goes together; in model units."""

    factor: float
    way: str
    count: int
    error: float
    error_ratio: float | None
    noise: float
    left: list[float] | None


def _calibrate(config: RestoreConfig, inputs: Inputs, restorer: Restorer) -> Calibrated:
    noisy = _some_tiles(inputs, restorer)
    noise = float(np.sqrt(np.mean(noisy.s**2)))
    if noisy.own is not None:
        clean = None
        if config.clean is not None:
            clean = _tiles_of(restorer, open_clean(config.clean), len(noisy.s), inputs.model)[0]
            noisy = noisy.rows(np.arange(len(clean)))
        assert noisy.own is not None
        made = of_other_noise(restorer, noisy.images, noisy.own, noisy.s, noisy.ids, config.seed, clean)
        return Calibrated(**asdict(made), noise=noise, left=None)
    if config.clean is None:
        found = without_clean(restorer, noisy.images, noisy.s, noisy.ids, config.seed)
    else:
        found = _on_clean(restorer, open_clean(config.clean), noisy, config.seed, inputs.model)
    left = residual_correlation(restorer, noisy.images, noisy.s, noisy.ids, config.seed)
    return Calibrated(**asdict(found), noise=noise, left=list(left))


def _on_clean(restorer: Restorer, clean: Dataset, noisy: Noisy, seed: int, model: RunModel) -> Calibration:
    images, ids = _tiles_of(restorer, clean, _LOOKED_AT, model)
    s = np.resize(noisy.s, len(images))  # levels as those of the noisy images, in turn
    return on_clean(restorer, images, s, ids, seed)


def _tiles_of(
    restorer: Restorer, clean: Dataset, most: int, model: RunModel
) -> tuple[Array, NDArray[np.int64]]:
    """Clean images of the model's size, and their numbers."""
    height, width = restorer.tile
    if clean.shape[1:] != (height, width):
        raise UserError(
            f"{clean.path}: has images of {clean.shape[2]}x{clean.shape[1]}; clean ones of the {width}x{height} that the run was trained"
            " on are needed to calibrate on"
        )
    require_units(clean, model)
    rows = evenly(np.arange(len(clean)), most)
    return clean.read(rows), clean.ids[rows]


def _some_tiles(inputs: Inputs, restorer: Restorer) -> Noisy:
    """Tiles of the model's size, from all over the noisy images."""
    pieces = [inputs.names[i] for i in evenly(np.arange(len(inputs.names)), _LOOKED_AT)]
    most = -(-_LOOKED_AT // len(pieces))
    parts: list[tuple[Array, NDArray[np.float64], NDArray[np.int64]]] = []
    structured: list[Noisy] = []
    for name in pieces:
        for noisy, count in _of_piece(inputs, name, most):
            structured += [] if noisy.own is None else [_some_images(noisy, count)]
            parts += [] if noisy.own is not None else _tiles_in(noisy, restorer, count)
    if sum(len(part.s) for part in structured):
        return _together(structured)
    if not parts:
        raise UserError("all images are clean; there is nothing to restore")
    images, s, ids = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Noisy(images, s, ids * _LOOKED_AT + np.arange(len(s)))


def _of_piece(inputs: Inputs, name: str, most: int) -> Iterator[tuple[Noisy, int]]:
    """Some parts of a piece, and how many tiles are wanted of each."""
    parts = evenly(np.arange(inputs.parts(name)), most)
    for part in parts:
        noisy = inputs.checked(name, int(part))
        if noisy is not None:
            yield noisy, -(-most // len(parts))


def _some_images(noisy: Noisy, most: int) -> Noisy:
    """Some of the images of the model's size, whose noise is not white."""
    some = np.flatnonzero(noisy.s > 0)
    return noisy.rows(some[evenly(np.arange(len(some)), most)])


def _tiles_in(
    noisy: Noisy, restorer: Restorer, most: int
) -> list[tuple[Array, NDArray[np.float64], NDArray[np.int64]]]:
    """Some tiles of noisy images, with their noise and numbers; nothing if all are clean."""
    size, (height, width) = noisy.images.shape[2:], restorer.tile
    places = corners((size[0], size[1]), restorer.tile)
    wanted = [(i, place) for i in np.flatnonzero(noisy.s > 0) for place in places]
    if not wanted:
        return []
    chosen = [wanted[k] for k in evenly(np.arange(len(wanted)), most)]
    tiles = [noisy.images[i, :, r : r + height, c : c + width] for i, (r, c) in chosen]
    rows = [i for i, _ in chosen]
    return [(np.stack(tiles), noisy.s[rows], noisy.ids[rows])]


def _together(parts: list[Noisy]) -> Noisy:
    """Images of several pieces, whose noise is not white."""
    owns = [part.own for part in parts if part.own is not None]
    own = DiagonalNoise(
        torch.cat([own.variance for own in owns]), torch.cat([own.is_fourier for own in owns])
    )
    return Noisy(
        np.concatenate([part.images for part in parts]),
        np.concatenate([part.s for part in parts]),
        np.concatenate([part.ids for part in parts]),
        own,
    )

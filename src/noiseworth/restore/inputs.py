"""Noisy images in pieces that are restored one after another: the images of a data set, or files."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset
from noiseworth.data.measured import require_finite
from noiseworth.data.noise_levels import resolve_sigma
from noiseworth.data.writer import Columns, Part, new_directory, write_dataset
from noiseworth.diffusion.diagonal import DiagonalNoise
from noiseworth.errors import UserError
from noiseworth.process import directory_beside, file_beside
from noiseworth.progress import notice
from noiseworth.restore.config import RestoreConfig
from noiseworth.restore.file import File
from noiseworth.restore.files import can_be_written, open_file
from noiseworth.restore.restorer import Restorer
from noiseworth.runs.model import RunModel
from noiseworth.runs.own_units import in_own_units
from noiseworth.train.own_noise import OwnNoise

Array = NDArray[np.float32]

_CHUNK = 256  # images of a data set in one piece
_LEAST = 0.02  # noise of images of which parts are missing, the others clean
_PLANES = 4096  # of a file, that are numbered apart
_WIDEST = 2.0  # ratio of the ends of a measured level's interval
MAPS = ("std", "low", "high", "share")


@dataclass(frozen=True)
class Noisy:
    """Images of one piece.

    Attributes:
        images: (N, C, H, W) in model units, NaN where nothing was measured.
        s: (N,) their noise, in root mean square; 0 of those that are clean and whole.
        ids: (N,) their numbers.
        own: the noise of each coordinate, where that of some images is not white, or pixels are missing.
    """

    images: Array
    s: NDArray[np.float64]
    ids: NDArray[np.int64]
    own: DiagonalNoise | None = None

    def rows(self, rows: NDArray[np.int64]) -> "Noisy":
        """Some of the images."""
        own = self.own
        if own is not None:
            own = DiagonalNoise(own.variance[rows], own.is_fourier[rows])
        return Noisy(self.images[rows], self.s[rows], self.ids[rows], own)


@dataclass(frozen=True)
class Result:
    """What was found of the images of one piece, in raw units: `restored` (N, C, H, W), `draws` (S, N, C, H, W), and `maps` by name, each
    (N, C, H, W)."""

    restored: Array
    draws: Array
    maps: dict[str, Array]


class Inputs(ABC):
    """Noisy images, in pieces that have names."""

    def __init__(self, names: list[str], model: RunModel) -> None:
        self.names, self.model = names, model

    @abstractmethod
    def digest(self) -> str:
        """Of what is read, so that a change of it shows."""

    @abstractmethod
    def load(self, name: str) -> Noisy:
        """The images of one piece. Raises UserError where they cannot be restored."""

    @abstractmethod
    def write(self, name: str, out: Path, result: Result) -> None:
        """Write what was found of one piece; each file appears whole or not at all."""

    @abstractmethod
    def finish(self, out: Path) -> None:
        """Once all pieces are written: put together what belongs together."""


class DatasetInputs(Inputs):
    """The images of a packed data set.

    Raises:
        UserError: they are of other channels or smaller than the model's, in other units, or of unknown noise; or larger, and their noise
            is not white.
    """

    def __init__(self, dataset: Dataset, model: RunModel) -> None:
        pieces = range(0, len(dataset), _CHUNK)
        super().__init__([f"{number:06d}" for number in range(len(pieces))], model)
        self._dataset = dataset
        dataset.require_known_sigma()
        require_shape(dataset.shape, model, str(dataset.path))
        self._own = None
        if dataset.unusual():
            self._own = OwnNoise(dataset)
            if dataset.shape != model.shape:
                raise UserError(
                    f"{dataset.path}: has noise that is not white, or missing pixels; such images are restored at the size that the run was"
                    " trained on alone"
                )
        units, own = (dataset.record.offset, dataset.record.scale), (model.offset, model.scale)
        if not np.allclose(units, own, rtol=1e-5) or dataset.record.stabilised != model.stabilised:
            raise UserError(
                f"{dataset.path}: its model units are not the run's (raw {own[0] - own[1]:g} to {own[0] + own[1]:g}, here"
                f" {units[0] - units[1]:g} to {units[0] + units[1]:g}); pack it with the same --range, or, where noise was"
                " stabilised, stabilise it likewise"
            )

    def digest(self) -> str:
        """As `Inputs.digest`."""
        return self._dataset.record.fingerprint

    def _rows(self, name: str) -> NDArray[np.int64]:
        start = int(name) * _CHUNK
        return np.arange(start, min(start + _CHUNK, len(self._dataset)))

    def load(self, name: str) -> Noisy:
        """As `Inputs.load`."""
        rows = self._rows(name)
        images, s, ids = (
            self._dataset.read(rows),
            self._dataset.sigma[rows].astype(np.float64),
            self._dataset.ids[rows],
        )
        if self._own is None:
            require_finite(self._dataset, rows, images)
            return Noisy(images, s, ids)
        own = self._own.of(torch.from_numpy(rows), torch.from_numpy(images))
        variance = own.variance.flatten(1).numpy()
        is_measured = np.isfinite(variance)
        mean = np.where(is_measured, variance, 0).sum(1) / np.maximum(is_measured.sum(1), 1)
        # An image that is clean where it was measured is not whole, and so is restored.
        s = np.maximum(np.sqrt(mean), np.where(is_measured.all(1), 0.0, _LEAST))
        return Noisy(images, s, ids, own)

    def write(self, name: str, out: Path, result: Result) -> None:
        """As `Inputs.write`."""
        place = out / ".pieces" / f"{name}.npz"
        place.parent.mkdir(exist_ok=True)
        arrays = {"restored": result.restored, **result.maps}
        if len(result.draws):
            arrays["samples"] = result.draws.swapaxes(0, 1)
        with file_beside(place) as file:
            np.savez(file, allow_pickle=False, **arrays)

    def finish(self, out: Path) -> None:
        """As `Inputs.finish`: a data set called `restored`, whose noise counts as unknown, since nobody should train on it as clean."""
        pieces = [out / ".pieces" / f"{name}.npz" for name in self.names]
        with np.load(pieces[0]) as first:
            kinds = {name: first[name].shape[1:] for name in first.files}
        count, dataset = len(self._dataset), self._dataset
        for kind, shape in kinds.items():
            if kind == "restored":
                continue
            with file_beside(out / f"{kind}.npy") as file:
                np.lib.format.write_array_header_1_0(
                    file, {"descr": "<f4", "fortran_order": False, "shape": (count, *shape)}
                )
                for piece in pieces:
                    with np.load(piece) as arrays:
                        file.write(np.ascontiguousarray(arrays[kind], "<f4").tobytes())
        images = np.empty((count, *kinds["restored"]), np.float32)
        for name, piece in zip(self.names, pieces, strict=True):
            with np.load(piece) as arrays:
                images[self._rows(name)] = arrays["restored"]
        units = self.model.stabilised or self.model
        columns = Columns(np.full(count, np.nan, np.float32), dataset.ids.copy(), dataset.labels)
        with new_directory(out / "restored", replace=True) as folder:
            write_dataset(
                folder, [Part(columns, images)], name=f"{dataset.record.name}-restored", offset=units.offset,
                scale=units.scale, units="raw",
                provenance=[*dataset.record.provenance, {"command": "restore", "weights": self.model.sha256}],
            )  # fmt: skip
        for piece in pieces:
            piece.unlink()


class FileInputs(Inputs):
    """The files of a folder, or one file.

    Raises:
        UserError: there are none, or the run's noise was stabilised.
    """

    def __init__(self, path: Path, model: RunModel, config: RestoreConfig, restorer: Restorer) -> None:
        self._folder = path if path.is_dir() else path.parent
        names = [path.name]
        if path.is_dir():
            files = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith("."))
            names = [p.relative_to(path).as_posix() for p in files if can_be_written(p)]
            if others := len(files) - len(names):
                notice(f"{path}: {others:,} other file{'s' * (others > 1)} left out")
        super().__init__(names, model)
        if not names:
            raise UserError(
                f"{path}: holds no files of a kind that is restored (TIFF, PNG, FITS, MRC, NIfTI, .npy)"
            )
        if model.stabilised is not None:
            raise UserError(
                f"{path}: the run was trained on stabilised noise; pack these images, stabilise them likewise (`noiseworth noise"
                " stabilise`), and restore the data set"
            )
        self._config, self._restorer = config, restorer
        self._opened: tuple[str, File] | None = None  # the last one

    def digest(self) -> str:
        """As `Inputs.digest`: of names, sizes and times."""
        whole = hashlib.sha256()
        for name in self.names:
            status = (self._folder / name).stat()
            whole.update(f"{status.st_size} {status.st_mtime_ns} {name}\0".encode(errors="surrogateescape"))
        return whole.hexdigest()

    def _file(self, name: str) -> File:
        if self._opened is None or self._opened[0] != name:
            self._opened = name, open_file(self._folder / name)
        return self._opened[1]

    def load(self, name: str) -> Noisy:
        """As `Inputs.load`."""
        planes, where = self._file(name).planes, str(self._folder / name)
        require_shape(planes[0].shape, self.model, where)
        if len({plane.shape for plane in planes}) > 1:
            raise UserError(f"{where}: holds images of several sizes; restore each as a file of its own")
        images = ((np.stack(planes) - self.model.offset) / self.model.scale).astype(np.float32)
        ids = self.names.index(name) * _PLANES + np.arange(len(images))
        return Noisy(images, self._sigma(name, where, images), ids)

    def _sigma(self, name: str, where: str, images: Array) -> NDArray[np.float64]:
        if self._config.sigma is not None:
            called = [name] * len(images)
            s = resolve_sigma(self._config.sigma, called, [None] * len(images))
            if np.isnan(s).any():
                raise UserError(f"{where}: --sigma says nothing of it; without --sigma its noise is measured")
            return s / (self.model.scale if self._config.sigma_units == "raw" else 1)
        levels = [self._restorer.level(image, i) for i, image in enumerate(images)]
        if any(level.high > _WIDEST * level.low for level in levels):
            raise UserError(f"{where}: cannot say what its noise is to within a factor of 2; give --sigma")
        return np.array([level.sigma for level in levels])

    def write(self, name: str, out: Path, result: Result) -> None:
        """As `Inputs.write`."""
        file = self._file(name)
        stem = name.removesuffix(file.own_suffix)
        kinds = {**result.maps, **{f"sample-{i + 1}": draw for i, draw in enumerate(result.draws)}}
        for kind, values in kinds.items():
            _write_whole(
                out / kind / f"{stem}{file.map_suffix}", partial(file.write_map, planes=list(values))
            )
        _write_whole(out / f"{stem}{file.suffix}", partial(file.write, planes=list(result.restored)))

    def finish(self, out: Path) -> None:
        """As `Inputs.finish`: nothing is left to be done."""


def require_shape(shape: tuple[int, ...], model: RunModel, where: str) -> None:
    """Raises UserError where images (C, H, W) have other channels than those that the model was trained on, or are smaller."""
    channels, height, width = model.shape
    if shape[0] != channels:
        raise UserError(
            f"{where}: has {shape[0]} channel{'s' * (shape[0] > 1)}, and the run was trained on images of {channels}; restore with a"
            " run of such images"
        )
    if shape[1] < height or shape[2] < width:
        raise UserError(
            f"{where}: is {shape[2]}x{shape[1]}, smaller than the {width}x{height} that the run was trained on; train on smaller images"
            " (`noiseworth pack --fit`)"
        )


def in_raw(images: Array, model: RunModel) -> Array:
    """Images (N, C, H, W) in model units as raw values, before noise was stabilised."""
    return in_own_units(images, model.offset, model.scale, model.stabilised)


def _write_whole(place: Path, write: Callable[[Path], None]) -> None:
    """Write a file under a name beside its own, whose ending libraries go by, and rename it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with directory_beside(place) as beside:
        write(beside / place.name)
        (beside / place.name).replace(place)

"""Noisy images in pieces that are restored one after another: the images of a data set, or files."""

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset
from noiseworth.data.measured import require_finite
from noiseworth.data.writer import Columns, ImageWriter, Part, new_directory, part_folder, write_dataset
from noiseworth.diffusion.diagonal import DiagonalNoise
from noiseworth.errors import UserError
from noiseworth.process import file_beside
from noiseworth.runs.model import RunModel
from noiseworth.runs.own_units import in_own_units
from noiseworth.train.own_noise import OwnNoise

Array = NDArray[np.float32]

T = TypeVar("T")

_log = logging.getLogger("noiseworth")
_CHUNK = 256  # images of a data set in one piece
_BEYOND = 6.0  # standard deviations of the noise beyond the range of clean values, where few pixels can be
_FEW = 0.01  # of the pixels may be
_LEAST = 0.02  # noise of images of which parts are missing, the others clean


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
    """Noisy images, in pieces that have names, in an order, and numbers by it.

    Args:
        skips: whether a piece that cannot be restored is left out.
    """

    def __init__(self, names: list[str], model: RunModel, *, skips: bool = False) -> None:
        self.names, self.model, self._skips = names, model, skips
        self._told: set[str] = set()  # of pieces that are left out
        self.number = {name: number for number, name in enumerate(names)}

    @abstractmethod
    def digest(self) -> str:
        """Of what is read, so that a change of it shows."""

    def parts(self, name: str) -> int:
        """The number of parts of a piece that are restored one after another, so that memory does not grow with it; 0 where the piece is
        left out.

        Raises:
            UserError: it cannot be restored, and pieces are not left out.
        """
        del name
        return 1

    @abstractmethod
    def load(self, name: str, part: int) -> Noisy:
        """The images of one part of a piece. Raises UserError where they cannot be restored."""

    def checked(self, name: str, part: int) -> Noisy | None:
        """The images of one part of a piece; None where the piece is left out.

        Raises:
            UserError: they cannot be restored, and pieces are not left out.
        """
        return self._unless_refused(name, lambda: self._alike(name, part))

    def _alike(self, name: str, part: int) -> Noisy:
        noisy = self.load(name, part)
        require_alike(noisy, self.model, name)
        return noisy

    def _unless_refused(self, name: str, what: Callable[[], T]) -> T | None:
        """What a function returns; None where it refuses and such pieces are left out, which is told once."""
        try:
            return what()
        except UserError as error:
            if not self._skips:
                raise
            if name not in self._told:
                _log.warning("skipped: %s", error)
            self._told.add(name)
            return None

    @abstractmethod
    def write(self, name: str, part: int, out: Path, result: Result) -> None:
        """Write what was found of one part of a piece; each file appears whole or not at all."""

    def is_written(self, name: str, part: int, out: Path) -> bool:
        """Whether a part of a piece was written by a process that did not end the piece."""
        del name, part, out
        return False

    def put_together(self, name: str, out: Path) -> None:  # noqa: B027 - most pieces have one part
        """Once all parts of a piece are written."""

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
        require_units(dataset, model)

    def digest(self) -> str:
        """As `Inputs.digest`."""
        return self._dataset.record.fingerprint

    def _rows(self, name: str) -> NDArray[np.int64]:
        start = int(name) * _CHUNK
        return np.arange(start, min(start + _CHUNK, len(self._dataset)))

    def load(self, name: str, part: int) -> Noisy:
        """As `Inputs.load`."""
        del part
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

    def write(self, name: str, part: int, out: Path, result: Result) -> None:
        """As `Inputs.write`."""
        del part
        save(out / ".pieces" / f"{name}.npz", result)

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
        units = self.model.stabilised or self.model
        columns = Columns(np.full(count, np.nan, np.float32), dataset.ids.copy(), dataset.labels)
        channels, height, width = kinds["restored"]
        with new_directory(out / "restored", replace=True) as folder:
            part_folder(folder, 0).mkdir()
            writer = ImageWriter(part_folder(folder, 0) / "images.npy", (channels, height, width), "float32")
            for piece in pieces:
                with np.load(piece) as arrays:
                    writer.add(arrays["restored"])
            writer.close()
            write_dataset(
                folder, [Part(columns)], name=f"{dataset.record.name}-restored", offset=units.offset,
                scale=units.scale, units="raw",
                provenance=[*dataset.record.provenance, {"command": "restore", "weights": self.model.sha256}],
            )  # fmt: skip
        for piece in pieces:
            piece.unlink()


def save(place: Path, result: Result) -> None:
    """Keep what was found of some images until all is there: `restored`, the maps, and `samples` (N, S, C, H, W) if there are any."""
    place.parent.mkdir(parents=True, exist_ok=True)
    arrays = {"restored": result.restored, **result.maps}
    if len(result.draws):
        arrays["samples"] = result.draws.swapaxes(0, 1)
    with file_beside(place) as file:
        np.savez(file, allow_pickle=False, **arrays)


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


def require_units(dataset: Dataset, model: RunModel) -> None:
    """Raises UserError where a data set has other model units than the run."""
    units, own = (dataset.record.offset, dataset.record.scale), (model.offset, model.scale)
    if not np.allclose(units, own, rtol=1e-5) or dataset.record.stabilised != model.stabilised:
        raise UserError(
            f"{dataset.path}: its model units are not the run's (raw {own[0] - own[1]:g} to {own[0] + own[1]:g}, here"
            f" {units[0] - units[1]:g} to {units[0] + units[1]:g}); pack it with the same --range, or, where noise was"
            " stabilised, stabilise it likewise"
        )


def require_alike(noisy: Noisy, model: RunModel, name: str) -> None:
    """Raises UserError where a level is none that the model knows, or values are far from those that it was trained on."""
    lowest = float(noisy.s[noisy.s > 0].min(initial=np.inf))
    if lowest < 0.98 * model.trained_from:
        raise UserError(
            f"{name}: has noise {lowest:.3g} (model units), and the run knows no level below {model.trained_from:.3g}, as it saw no clean"
            " images; train with some clean images, or with less noisy ones"
        )
    limit = 1 + _BEYOND * noisy.s.reshape(-1, 1, 1, 1)
    share = float((np.abs(noisy.images) > limit).mean())
    if share > _FEW:
        low, high = (
            v * model.scale + model.offset for v in (np.nanmin(noisy.images), np.nanmax(noisy.images))
        )
        ends = f"{model.offset - model.scale:g} to {model.offset + model.scale:g}"
        raise UserError(
            f"{name}: its values, {low:.4g} to {high:.4g}, are not those of the training data, whose black and white are {ends}; bring"
            " them to the same scale first"
        )

"""`restore`: noisy images in, clean ones out, with what is known of each pixel."""

import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_clean, open_dataset
from noiseworth.data.measured import evenly
from noiseworth.errors import UserError
from noiseworth.options import with_options
from noiseworth.process import lock
from noiseworth.progress import notice, progress_bar
from noiseworth.records import RestoreRecord, load_record, to_json, write_atomically
from noiseworth.records.directory import claim
from noiseworth.report.restore import write_restore_page
from noiseworth.restore.calibration import Calibration, on_clean, residual_correlation, without_clean
from noiseworth.restore.config import RestoreConfig
from noiseworth.restore.inputs import DatasetInputs, FileInputs, Inputs, Noisy, Result, in_raw
from noiseworth.restore.restorer import Restored, Restorer
from noiseworth.restore.share import data_share
from noiseworth.restore.show import show
from noiseworth.restore.tiles import corners
from noiseworth.runs.model import RunModel, load_run

Array = NDArray[np.float32]

_LOOKED_AT = 256  # tiles that intervals are calibrated on, at most
_BEYOND = (
    6.0  # standard deviations of the noise beyond the range of clean values, where hardly a pixel can be
)
_FEW = 0.01  # of the pixels may be
_SURE, _ODD = 4.0, 0.03  # standard errors, and the size, from which on what was taken off is not white noise
_NOTE, _CALIBRATION, _RECORD = ".restore.json", ".calibration.json", "restore.json"
_WAIT = 1.0  # seconds


@with_options(RestoreConfig)
def restore_images(config: RestoreConfig) -> RestoreRecord:
    """Restore images with the averaged weights of a run's newest checkpoint.

    What is there already, of the same command, is not made again. Several processes with the same command share the work.

    Raises:
        UserError: there is no such run, an image cannot be restored with it, or `out` holds something else.
    """
    out, model = Path(config.out), load_run(config.run)
    restorer = Restorer(model, config.batch, config.seed)
    inputs = _inputs(config, model, restorer)
    if (
        not (out / ".done").exists() and not (out / _RECORD).exists()
    ):  # an attempt that failed before anything was made
        (out / _NOTE).unlink(missing_ok=True)
        (out / _CALIBRATION).unlink(missing_ok=True)
    claim(out, _NOTE, _settings(config, model, inputs), what="restored images", fresh=None)
    is_there = (out / _RECORD).is_file()
    if is_there:
        notice(f"{out}: is there already, made by the same command")
    calibration = _calibrated(config, inputs, restorer) if config.maps else None
    record = (
        load_record(RestoreRecord, out / _RECORD)
        if is_there
        else _make(config, inputs, restorer, calibration)
    )
    if config.page is not None:
        shown = show(inputs, restorer, None if calibration is None else calibration.factor, config.samples)
        write_restore_page(record, Path(config.page), shown, name=Path(config.images).name)
    return record


def _make(
    config: RestoreConfig, inputs: Inputs, restorer: Restorer, calibration: "_Calibrated | None"
) -> RestoreRecord:
    """Restore all pieces that are not done, and put them together."""
    out, model = Path(config.out), inputs.model
    for name in progress_bar(inputs.names, unit=" pieces", desc="restoring"):
        with lock(out / ".locks" / f"{inputs.names.index(name)}") as is_mine:
            done = out / ".done" / f"{inputs.names.index(name)}"
            if not is_mine or done.is_file():
                continue
            noisy = inputs.load(name)
            _require_alike(noisy, model, name)
            inputs.write(name, out, _result(config, restorer, model, noisy, calibration))
            done.parent.mkdir(exist_ok=True)
            write_atomically(done, f"{len(noisy.s)}\n")
    with lock(out / ".locks" / "end") as is_mine:
        counts = [(out / ".done" / f"{i}") for i in range(len(inputs.names))]
        if not is_mine or not all(path.is_file() for path in counts):
            raise UserError(f"{out}: another process restores the rest; this one has nothing left to do")
        record = _record(config, inputs, calibration, sum(int(path.read_text()) for path in counts))
        inputs.finish(out)
        write_atomically(out / _RECORD, to_json(record) + "\n")
        for rest in (".done", ".locks", ".pieces"):
            shutil.rmtree(out / rest, ignore_errors=True)
    return record


def _inputs(config: RestoreConfig, model: RunModel, restorer: Restorer) -> Inputs:
    images = Path(config.images)
    is_files = images.is_file() or (images.is_dir() and not any(images.glob("dataset.json")))
    if is_files and not any(images.glob("*/dataset.json")):
        return FileInputs(images, model, config, restorer)
    if config.sigma is not None:
        raise UserError(f"--sigma: is for files; the data set {images} has its own levels")
    return DatasetInputs(open_dataset(config.images), model)


def _settings(config: RestoreConfig, model: RunModel, inputs: Inputs) -> dict[str, Any]:
    """What must be the same for two commands to go on with each other."""
    given = {k: v for k, v in asdict(config).items() if k not in ("run", "images", "out", "page", "batch")}
    given["clean"] = None if config.clean is None else open_dataset(config.clean).record.fingerprint
    return {**given, "sigma": str(config.sigma), "weights": model.sha256, "images": inputs.digest()}


def _require_alike(noisy: Noisy, model: RunModel, name: str) -> None:
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
        low, high = (v * model.scale + model.offset for v in (noisy.images.min(), noisy.images.max()))
        ends = f"{model.offset - model.scale:g} to {model.offset + model.scale:g}"
        raise UserError(
            f"{name}: its values, {low:.4g} to {high:.4g}, are not those of the training data, whose black and white are {ends}; bring"
            " them to the same scale first"
        )


def _calibrated(config: RestoreConfig, inputs: Inputs, restorer: Restorer) -> "_Calibrated":
    """How intervals are made: found by the first process, for all."""
    path = Path(config.out) / _CALIBRATION
    while not path.is_file():
        with lock(Path(config.out) / ".locks" / "calibration") as is_mine:
            if is_mine and not path.is_file():
                write_atomically(path, to_json(_calibrate(config, inputs, restorer)) + "\n")
                break
        time.sleep(_WAIT)
    return load_record(_Calibrated, path)


@dataclass(frozen=True)
class _Calibrated:
    """`calibration.Calibration`, the noise that was there, and how what was taken off goes together; in model units."""

    factor: float
    way: str
    count: int
    error: float
    error_ratio: float | None
    noise: float
    left: list[float]


def _calibrate(config: RestoreConfig, inputs: Inputs, restorer: Restorer) -> _Calibrated:
    noisy = _some_tiles(inputs, restorer)
    if config.clean is None:
        found = without_clean(restorer, noisy.images, noisy.s, noisy.ids, config.seed)
    else:
        found = _on_clean(restorer, open_clean(config.clean), noisy, config.seed)
    left = residual_correlation(restorer, noisy.images, noisy.s, noisy.ids, config.seed)
    return _Calibrated(**asdict(found), noise=float(np.sqrt(np.mean(noisy.s**2))), left=list(left))


def _on_clean(restorer: Restorer, clean: Dataset, noisy: Noisy, seed: int) -> Calibration:
    height, width = restorer.tile
    if clean.shape[1:] != (height, width):
        raise UserError(
            f"{clean.path}: has images of {clean.shape[2]}x{clean.shape[1]}; clean ones of the {width}x{height} that the run was trained"
            " on are needed to calibrate on"
        )
    rows = evenly(np.arange(len(clean)), _LOOKED_AT)
    s = np.resize(noisy.s, len(rows))  # levels as those of the noisy images, in turn
    return on_clean(restorer, clean.read(rows), s, clean.ids[rows], seed)


def _some_tiles(inputs: Inputs, restorer: Restorer) -> Noisy:
    """Tiles of the model's size, from all over the noisy images."""
    pieces = [inputs.names[i] for i in evenly(np.arange(len(inputs.names)), _LOOKED_AT)]
    most = -(-_LOOKED_AT // len(pieces))
    parts = []
    for name in pieces:
        noisy = inputs.load(name)
        _require_alike(noisy, inputs.model, name)
        size, (height, width) = noisy.images.shape[2:], restorer.tile
        places = corners((size[0], size[1]), restorer.tile)
        wanted = [(i, p) for i in np.flatnonzero(noisy.s > 0) for p in places]
        chosen = [wanted[k] for k in evenly(np.arange(len(wanted)), most)] if wanted else []
        tiles = [noisy.images[i, :, r : r + height, c : c + width] for i, (r, c) in chosen]
        rows = [i for i, _ in chosen]
        if tiles:
            parts.append((np.stack(tiles), noisy.s[rows], noisy.ids[rows]))
    if not parts:
        raise UserError("all images are clean; there is nothing to restore")
    images, s, ids = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Noisy(images, s, ids * _LOOKED_AT + np.arange(len(s)))


def _result(
    config: RestoreConfig, restorer: Restorer, model: RunModel, noisy: Noisy, calibration: _Calibrated | None
) -> Result:
    rows = np.flatnonzero(noisy.s > 0)
    shape = noisy.images.shape
    mean, std = noisy.images.copy(), np.zeros(shape, np.float32)
    share = np.full(shape, np.nan, np.float32)
    draws = np.repeat(noisy.images[None], config.samples, axis=0)
    found = Restored(mean[:0], mean[:0], draws[:, :0])
    if len(rows):
        s = noisy.s[rows]
        found = restorer(
            noisy.images[rows], s, noisy.ids[rows], maps=calibration is not None, draws=config.samples
        )
        mean[rows], draws[:, rows] = found.mean, found.draws
        if calibration is not None:
            std[rows] = found.std(s)
            for row, y, m, v in zip(rows, noisy.images[rows], found.mean, found.variance, strict=True):
                share[row] = data_share(y, m, v, float(noisy.s[row]))[0]
    maps = {}
    if calibration is not None:
        half = calibration.factor * std
        low, high = in_raw(mean - half, model), in_raw(mean + half, model)
        own = (
            std * np.float32(model.scale)
            if model.stabilised is None
            else (high - low) / (2 * calibration.factor)
        )
        maps = {"std": own.astype(np.float32), "low": low, "high": high, "share": share}
    in_own = [in_raw(draw, model) for draw in draws]
    return Result(in_raw(mean, model), np.stack(in_own) if in_own else draws, maps)


def _is_odd(left: list[float]) -> bool:
    found, expected, error = left
    return abs(found - expected) > max(_SURE * error, _ODD)


def _record(config: RestoreConfig, inputs: Inputs, c: _Calibrated | None, count: int) -> RestoreRecord:
    if c is None:
        return RestoreRecord(str(config.out), count, None, None, None, 0, None, None, None, False)
    scale = inputs.model.scale
    return RestoreRecord(
        path=str(config.out),
        count=count,
        noise=c.noise * scale,
        error=c.error * scale,
        way=c.way,
        looked_at=c.count,
        factor=c.factor,
        error_ratio=c.error_ratio,
        left=c.left,
        odd=_is_odd(c.left),
    )

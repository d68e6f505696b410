"""`restore`: noisy images in, clean ones out, with what is known of each pixel."""

import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.dataset import open_dataset
from noiseworth.errors import UserError
from noiseworth.options import with_options
from noiseworth.process import shared_work
from noiseworth.progress import notice, progress_bar
from noiseworth.records import RestoreRecord, load_record, to_json, write_atomically
from noiseworth.records.directory import claim
from noiseworth.report.restore import write_restore_page
from noiseworth.restore.calibrate import CALIBRATION, Calibrated, calibrated
from noiseworth.restore.config import RestoreConfig
from noiseworth.restore.file_inputs import FileInputs
from noiseworth.restore.inputs import DatasetInputs, Inputs, Noisy, Result, in_raw
from noiseworth.restore.restorer import Restored, Restorer
from noiseworth.restore.share import data_share
from noiseworth.restore.show import show
from noiseworth.runs.model import RunModel, load_run

Array = NDArray[np.float32]

_SURE, _ODD = 4.0, 0.03  # standard errors, and the size, from which on what was taken off is not white noise
_NOT_SETTINGS = ("run", "images", "out", "page", "batch", "on", "address")  # which do not change what is made
_MANY_PARTS = 2  # of a piece, from which its progress is shown, too
_NOTE, _RECORD = ".restore.json", "restore.json"


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
    if not (out / ".done").exists() and not (out / _RECORD).exists():
        # An attempt that failed before anything was made.
        (out / _NOTE).unlink(missing_ok=True)
        (out / CALIBRATION).unlink(missing_ok=True)
    claim(out, _NOTE, _settings(config, model, inputs), what="restored images", fresh=None)
    is_there = (out / _RECORD).is_file()
    if is_there:
        notice(f"{out}: is there already, made by the same command")
    calibration = calibrated(config, inputs, restorer) if config.maps else None
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
    config: RestoreConfig, inputs: Inputs, restorer: Restorer, calibration: Calibrated | None
) -> RestoreRecord:
    """Restore all pieces that are not done, and put them together."""
    out = Path(config.out)

    def is_done(piece: str) -> bool:
        # Who ends the work writes the record before it removes what says which pieces are done.
        return (out / ".done" / piece).is_file() or (out / _RECORD).is_file()

    if config.on == "ray":
        from noiseworth.restore.on_ray import restore_on_ray

        restore_on_ray(config, len(inputs.names), lambda: len(list((out / ".done").glob("*"))))
    with progress_bar(total=len(inputs.names), unit=" pieces", desc="restoring") as bar:
        for piece, is_mine in shared_work(
            [str(i) for i in range(len(inputs.names))], out / ".locks", is_done
        ):
            if is_mine:
                count = _restore_piece(config, inputs, inputs.names[int(piece)], restorer, calibration)
                (out / ".done").mkdir(exist_ok=True)
                write_atomically(out / ".done" / piece, f"{count}\n")
            bar.update()
    for _, is_mine in shared_work(["end"], out / ".locks", lambda _: (out / _RECORD).is_file()):
        if is_mine:
            counts = [int((out / ".done" / str(i)).read_text()) for i in range(len(inputs.names))]
            inputs.finish(out)
            write_atomically(out / _RECORD, to_json(_record(config, inputs, calibration, sum(counts))) + "\n")
    for rest in (".done", ".locks", ".pieces"):
        shutil.rmtree(out / rest, ignore_errors=True)
    return load_record(RestoreRecord, out / _RECORD)


def _restore_piece(
    config: RestoreConfig, inputs: Inputs, name: str, restorer: Restorer, calibration: Calibrated | None
) -> int:
    """Restore one piece, part by part; the number of its images, 0 where it is left out."""
    out, count = Path(config.out), 0
    parts = inputs.parts(name)
    for part in progress_bar(range(parts), unit=" parts", desc=name, disable=parts < _MANY_PARTS):
        noisy = inputs.checked(name, part)
        if noisy is None:
            return 0
        count += len(noisy.s)
        if not inputs.is_written(name, part, out):
            inputs.write(name, part, out, _result(config, restorer, inputs.model, noisy, calibration))
    if parts:
        inputs.put_together(name, out)
    return count


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
    given = {k: v for k, v in asdict(config).items() if k not in _NOT_SETTINGS}
    given["clean"] = None if config.clean is None else open_dataset(config.clean).record.fingerprint
    return {**given, "sigma": str(config.sigma), "weights": model.sha256, "images": inputs.digest()}


def _result(
    config: RestoreConfig, restorer: Restorer, model: RunModel, noisy: Noisy, calibration: Calibrated | None
) -> Result:
    rows = np.flatnonzero(noisy.s > 0)
    shape = noisy.images.shape
    mean, std = noisy.images.copy(), np.zeros(shape, np.float32)
    share = np.full(shape, np.nan, np.float32)
    draws = np.repeat(noisy.images[None], config.samples, axis=0)
    found = Restored(mean[:0], mean[:0], draws[:, :0])
    if len(rows):
        s, some = noisy.s[rows], noisy.rows(rows)
        if some.own is not None:
            found = restorer.given(some.images, some.own, some.ids, draws=config.samples)
        else:
            found = restorer(some.images, s, some.ids, maps=calibration is not None, draws=config.samples)
        mean[rows], draws[:, rows] = found.mean, found.draws
        if calibration is not None:
            std[rows] = found.std(s)
        if calibration is not None and noisy.own is None:
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


def _is_odd(left: list[float] | None) -> bool:
    if left is None:
        return False
    found, expected, error = left
    return abs(found - expected) > max(_SURE * error, _ODD)


def _record(config: RestoreConfig, inputs: Inputs, c: Calibrated | None, count: int) -> RestoreRecord:
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

"""Generating images with a run, into a data set of their own: in pieces, which several processes share."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.image_grid import grid_png
from noiseworth.data.writer import Columns, ImageWriter, Part, new_directory, part_folder, write_dataset
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.errors import UserError
from noiseworth.options import with_options
from noiseworth.process import (
    DiskFullError,
    file_beside,
    is_disk_full,
    pieces_beside,
    remove_rests,
    shared_work,
)
from noiseworth.progress import progress_bar
from noiseworth.records import DatasetRecord, load_record
from noiseworth.runs.config import SampleConfig
from noiseworth.runs.guidance import guided
from noiseworth.runs.model import RunModel, load_run, own_device
from noiseworth.runs.own_units import in_own_units

_GRID = 96  # images in grid.png


@with_options(SampleConfig)
def sample_run(config: SampleConfig) -> Dataset:
    """Generate images with the averaged weights of a run's newest checkpoint.

    For the same seed, image `i` does not depend on `n` nor, up to rounding, on `batch`. Processes with the same command share the
    work, and go on where one was interrupted. The same images may be in `out` already.

    Returns:
        The new data set, opened.

    Raises:
        UserError: there is no such run or class, or `out` holds something else.
    """
    return _sampled(load_run(config.run), config)


def samples_of(
    model: RunModel, run: Path, *, n: int, steps: int, seed: int, schedule: Literal["data", "edm"] = "data"
) -> Dataset:
    """The images under `run/samples`, by Heun's method, generated unless they were made by these weights and settings.

    Raises:
        UserError: a setting is out of range; the images that are there stay.
    """
    config = SampleConfig(
        str(run), str(run / "samples"), n=n, steps=steps, seed=seed, schedule=schedule, sampler="heun"
    )
    return _sampled(model, config, replace=True)


def _sampled(model: RunModel, config: SampleConfig, *, replace: bool = False) -> Dataset:
    """The images in `out`, generated if they are not there; with `replace`, in the place of an earlier data set."""
    out = Path(config.out)
    denoiser, guide = guided(model, config)
    provenance = _provenance(model, config, guide)
    if _is_there(out, config.n, provenance):
        remove_rests(out)  # of a process that was killed after it had replaced what was in `out` before
        return open_dataset(out)
    if (out.exists() or out.is_symlink()) and not replace:
        raise UserError(f"{out}: exists already; choose another place or remove it first")
    settings = {"provenance": provenance, "n": config.n, "batch": config.batch}
    with pieces_beside(out, json.dumps(settings)) as pieces:
        _make_pieces(model, denoiser, config, pieces, provenance)
        for _, is_mine in shared_work(
            ["end"], pieces / "locks", lambda _: _is_there(out, config.n, provenance)
        ):
            if is_mine:
                _put_together(model, config, pieces, provenance, replace=replace)
        shutil.rmtree(pieces, ignore_errors=True)
    return open_dataset(out)


def _starts(config: SampleConfig) -> range:
    """The first image of each piece."""
    return range(0, config.n, config.batch)


def _make_pieces(
    model: RunModel, denoiser: Denoiser, config: SampleConfig, pieces: Path, provenance: dict[str, Any]
) -> None:
    """Generate the images of all pieces that nobody has made."""
    device = own_device()
    sampler = SamplerConfig(config.steps, config.sampler, config.churn)

    def is_done(piece: str) -> bool:
        return _file(pieces, int(piece)).is_file() or _is_there(Path(config.out), config.n, provenance)

    with progress_bar(total=config.n, unit="img", desc=f"{Path(config.run).name}: sampling") as bar:
        for piece, is_mine in shared_work([str(s) for s in _starts(config)], pieces / "locks", is_done):
            ids = torch.arange(int(piece), min(int(piece) + config.batch, config.n), device=device)
            if is_mine:
                images = sample(
                    denoiser,
                    ids,
                    model.shape,
                    config=sampler,
                    v=model.v if config.schedule == "data" else None,
                    trained_from=model.trained_from if config.stop_at is None else config.stop_at,
                    seed=config.seed,
                )
                _save(_file(pieces, int(piece)), images.clamp(-1, 1).cpu().numpy())
            bar.update(len(ids))


def _file(pieces: Path, start: int) -> Path:
    return pieces / f"{start:012d}.npy"


def _save(path: Path, images: NDArray[np.float32]) -> None:
    try:
        with file_beside(path) as file:
            np.save(file, images, allow_pickle=False)
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(
                f"{path.parent}: no space left on the disk; make room, and the same command goes on"
            ) from None
        raise


def _put_together(
    model: RunModel, config: SampleConfig, pieces: Path, provenance: dict[str, Any], *, replace: bool
) -> None:
    """Make the data set of all pieces."""
    units = model.stabilised or model
    shown: list[NDArray[np.float32]] = []
    with new_directory(Path(config.out), replace=replace) as folder:
        part_folder(folder, 0).mkdir()
        writer = ImageWriter(part_folder(folder, 0) / "images.npy", model.shape, "float32")
        for start in _starts(config):
            images = np.load(_file(pieces, start))
            if start < _GRID:
                shown.append(images[: _GRID - start])
            writer.add(in_own_units(images, model.offset, model.scale, model.stabilised))
        writer.close()
        (folder / "grid.png").write_bytes(grid_png(np.concatenate(shown)))
        write_dataset(
            folder,
            [Part(Columns(np.zeros(config.n, np.float32), np.arange(config.n)))],
            name=f"{Path(config.run).name}-samples",
            offset=units.offset,
            scale=units.scale,
            units="raw",
            provenance=[provenance],
        )


def _provenance(model: RunModel, config: SampleConfig, guide: str | None) -> dict[str, Any]:
    """What generated images say of how they were made."""
    given = asdict(config)
    usual = {"guidance": 1.0, "sampler": "heun", "stop_at": None, "schedule": "edm"}
    changed = {name: given[name] for name, value in usual.items() if given[name] != value}
    if config.sampler == "churn":
        changed["churn"] = config.churn
    return {
        "command": "sample",
        "weights": model.sha256,
        "n_images": model.n_images,
        "steps": config.steps,
        "seed": config.seed,
        "label": config.label,
        "trained_from": model.trained_from,
        **({} if guide is None else {"guide": guide}),
        **changed,
    }


def _is_there(out: Path, n: int, provenance: dict[str, Any]) -> bool:
    """Whether the images in `out` are those that would be generated: a kill may have come after all was done."""
    if not (out / "dataset.json").is_file():
        return False
    record = load_record(DatasetRecord, out / "dataset.json")
    return record.count == n and record.provenance == [provenance]

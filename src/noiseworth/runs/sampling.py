"""Generating images with a run, into a data set of their own."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.image_grid import grid_png
from noiseworth.data.writer import Columns, Part, new_directory, write_dataset
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.errors import UserError
from noiseworth.options import with_options
from noiseworth.process import remove_rests
from noiseworth.progress import progress_bar
from noiseworth.records import DatasetRecord, load_record
from noiseworth.runs.config import SampleConfig
from noiseworth.runs.model import RunModel, load_run
from noiseworth.runs.own_units import in_own_units

_GRID = 96  # images in grid.png


@with_options(SampleConfig)
def sample_run(config: SampleConfig) -> Dataset:
    """Generate images with the averaged weights of a run's newest checkpoint.

    For the same seed, image `i` does not depend on `n` nor, up to rounding, on `batch`. The same images may be
    in `out` already.

    Returns:
        The new data set, opened.

    Raises:
        UserError: there is no such run or class, or `out` holds something else.
    """
    model = load_run(config.run)
    return _kept(model, config) or _write(model, config)


def _of_class(model: RunModel, label: int | None, guidance: float) -> Denoiser:
    """The run's denoiser; for one class, with guidance, if `label` is given."""
    if label is None:
        return model.denoiser
    if not 0 <= label < model.classes:
        if not model.classes:
            raise UserError(f"--label {label}: the run was trained without --labels")
        raise UserError(f"--label {label}: the classes are 0 to {model.classes - 1}")

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        chosen = model.denoiser(x, sigma, torch.full((len(x),), label, device=x.device))
        return chosen if guidance == 1 else torch.lerp(model.denoiser(x, sigma), chosen, guidance)

    return denoise


def _write(model: RunModel, config: SampleConfig, *, replace: bool = False) -> Dataset:
    """Generate the images into a data set; with `replace`, in the place of an earlier one once they are complete."""
    out, n, name = Path(config.out), config.n, Path(config.run).name
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.denoiser.to(device)
    denoiser = _of_class(model, config.label, config.guidance)
    sampler = SamplerConfig(config.steps, config.sampler, config.churn)
    images = np.empty((n, *model.shape), np.float32)
    with new_directory(out, replace=replace) as folder:
        with progress_bar(total=n, unit="img", desc=f"{name}: sampling") as bar:
            for start in range(0, n, config.batch):
                ids = torch.arange(start, min(start + config.batch, n), device=device)
                batch = sample(
                    denoiser,
                    ids,
                    model.shape,
                    config=sampler,
                    v=model.v if config.schedule == "data" else None,
                    trained_from=model.trained_from if config.stop_at is None else config.stop_at,
                    seed=config.seed,
                )
                images[start : start + len(ids)] = batch.cpu().numpy()
                bar.update(len(ids))
        images = images.clip(-1, 1)
        (folder / "grid.png").write_bytes(grid_png(images[:_GRID]))
        raw, units = (
            in_own_units(images, model.offset, model.scale, model.stabilised),
            model.stabilised or model,
        )
        part = Part(Columns(np.zeros(n, np.float32), np.arange(n)), raw)
        write_dataset(
            folder,
            [part],
            name=f"{name}-samples",
            offset=units.offset,
            scale=units.scale,
            units="raw",
            provenance=[_provenance(model, config)],
        )
    return open_dataset(out)


def _provenance(model: RunModel, config: SampleConfig) -> dict[str, Any]:
    """What generated images say of how they were made."""
    guidance = {} if config.guidance == 1 else {"guidance": config.guidance}
    return (
        {
            "command": "sample",
            "weights": model.sha256,
            "n_images": model.n_images,
            "steps": config.steps,
            "seed": config.seed,
            "label": config.label,
            "trained_from": model.trained_from,
        }
        | guidance
        | ({} if config.sampler == "heun" else {"sampler": config.sampler})
        | ({} if config.stop_at is None else {"stop_at": config.stop_at})
        | ({"churn": config.churn} if config.sampler == "churn" else {})
        | ({} if config.schedule == "edm" else {"schedule": config.schedule})
    )


def _kept(model: RunModel, config: SampleConfig) -> Dataset | None:
    """The images in `out`, if they are those that would be generated: a kill may have come after all was done."""
    out = Path(config.out)
    if not (out / "dataset.json").is_file():
        return None
    remove_rests(out)  # of a process that was killed after it had replaced what was in `out` before
    record = load_record(DatasetRecord, out / "dataset.json")
    is_same = record.count == config.n and record.provenance == [_provenance(model, config)]
    return open_dataset(out) if is_same else None


def samples_of(
    model: RunModel, run: Path, *, n: int, steps: int, seed: int, schedule: Literal["data", "edm"] = "data"
) -> Dataset:
    """The images under `run/samples`, generated unless they were made by these weights and settings.

    Raises:
        UserError: a setting is out of range; the images that are there stay.
    """
    config = SampleConfig(str(run), str(run / "samples"), n=n, steps=steps, seed=seed, schedule=schedule)
    return _kept(model, config) or _write(model, config, replace=True)

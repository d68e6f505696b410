"""Generating images with a run, into a data set of their own."""

import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.pictures import grid_png
from noiseworth.data.writer import Columns, Part, new_directory, write_dataset
from noiseworth.diffusion.precondition import Denoiser
from noiseworth.diffusion.sampler import SamplerConfig, sample
from noiseworth.errors import UserError
from noiseworth.records import DatasetRecord, load_record
from noiseworth.train.run import RunModel, load_run

_GRID = 96


def sample_run(
    run: Path | str,
    out: Path | str,
    *,
    n: int = 64,
    steps: int = 18,
    batch: int = 500,
    seed: int = 0,
    label: int | None = None,
    guidance: float = 1.0,
    quiet: bool = False,
) -> Dataset:
    """Generate images with the averaged weights of a run's newest checkpoint.

    Image `i` of a seed is the same whatever `n` and, up to rounding, whatever `batch`.

    Args:
        run: a run's directory.
        out: the new data set: raw values in float32, clipped to the range of the data, and `grid.png` of the first 96.
        n: number of images.
        steps: steps of Heun's method; the network is called about twice in each.
        batch: images at a time.
        label: the class to generate, for a run trained with labels; by default any.
        guidance: how far to go from what any class would give to what this one does; 1 is the model as trained, more is purer and
            less varied (classifier-free guidance, arXiv 2207.12598).

    Raises:
        UserError: there is no such run or class, or `out` exists.
    """
    model = load_run(run)
    chosen: dict[str, Any] = {"label": label, "guidance": guidance}
    return _write(model, Path(run), Path(out), n=n, steps=steps, batch=batch, seed=seed, quiet=quiet, **chosen)


def _of_class(model: RunModel, label: int | None, guidance: float) -> Denoiser:
    """The run's denoiser for one class."""
    if label is None:
        if guidance != 1:
            raise UserError(f"--guidance {guidance:g}: leads towards a class; say which with --label")
        return model.denoiser
    if not 0 <= label < model.classes:
        known = f"the classes are 0 to {model.classes - 1}" if model.classes else "the run was trained without --labels"
        raise UserError(f"--label {label}: {known}")
    if not (math.isfinite(guidance) and guidance >= 0):
        raise UserError(f"--guidance {guidance:g}: must be a finite number, 0 or more")

    def denoise(x: Tensor, sigma: Tensor) -> Tensor:
        chosen = model.denoiser(x, sigma, torch.full((len(x),), label, device=x.device))
        return chosen if guidance == 1 else torch.lerp(model.denoiser(x, sigma), chosen, guidance)

    return denoise


def _write(
    model: RunModel,
    run: Path,
    out: Path,
    *,
    n: int,
    steps: int,
    batch: int,
    seed: int,
    quiet: bool,
    label: int | None = None,
    guidance: float = 1.0,
) -> Dataset:
    if n < 1 or batch < 1:
        raise UserError(f"--n {n} --batch {batch}: must be at least 1")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.denoiser.to(device)
    denoiser, config = _of_class(model, label, guidance), SamplerConfig(steps=steps)
    images = np.empty((n, *model.shape), np.float32)
    with new_directory(out) as folder:
        with tqdm(total=n, unit="img", desc=f"{run.name}: sampling", disable=quiet, leave=False, dynamic_ncols=True) as bar:
            for start in range(0, n, batch):
                ids = torch.arange(start, min(start + batch, n), device=device)
                made = sample(denoiser, ids, model.shape, config=config, trained_from=model.trained_from, seed=seed)
                images[start : start + len(ids)] = made.cpu().numpy()
                bar.update(len(ids))
        images = images.clip(-1, 1)
        (folder / "grid.png").write_bytes(grid_png(images[:_GRID]))
        part = Part(Columns(np.zeros(n, np.float32), np.arange(n)), images * np.float32(model.scale) + np.float32(model.offset))
        write_dataset(
            folder,
            [part],
            name=f"{run.name}-samples",
            offset=model.offset,
            scale=model.scale,
            units="raw",
            provenance=[
                {
                    "command": "sample",
                    "weights": model.sha256,
                    "n_images": model.n_images,
                    "steps": steps,
                    "seed": seed,
                    "label": label,
                    "trained_from": model.trained_from,
                }
            ],
        )
    return open_dataset(out)


def samples_of(run: Path, *, n: int, seed: int, steps: int = 18, quiet: bool = False) -> Dataset:
    """The images under `run/samples`, generated now unless those that lie there are the ones asked for."""
    place = run / "samples"
    model = load_run(run)
    if (place / "dataset.json").is_file():
        record = load_record(DatasetRecord, place / "dataset.json")
        made = record.provenance[-1]
        if (record.count, made.get("weights"), made.get("seed"), made.get("steps")) == (n, model.sha256, seed, steps):
            return open_dataset(place)
    shutil.rmtree(place, ignore_errors=True)
    return _write(model, run, place, n=n, steps=steps, batch=500, seed=seed, quiet=quiet)

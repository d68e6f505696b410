"""Generating images with a run, into a data set of their own."""

import shutil
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.pictures import grid_png
from noiseworth.data.writer import Part, new_directory, write_dataset
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

    Raises:
        UserError: there is no such run, or `out` exists.
    """
    model = load_run(run)
    return _write(model, Path(run), Path(out), n=n, steps=steps, batch=batch, seed=seed, quiet=quiet)


def _write(model: RunModel, run: Path, out: Path, *, n: int, steps: int, batch: int, seed: int, quiet: bool) -> Dataset:
    if n < 1 or batch < 1:
        raise UserError(f"--n {n} --batch {batch}: must be at least 1")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model.denoiser.to(device)
    config = SamplerConfig(steps=steps)
    images = np.empty((n, *model.shape), np.float32)
    with new_directory(out) as folder:
        with tqdm(total=n, unit="img", desc=f"{run.name}: sampling", disable=quiet, leave=False, dynamic_ncols=True) as bar:
            for start in range(0, n, batch):
                ids = torch.arange(start, min(start + batch, n), device=device)
                made = sample(model.denoiser, ids, model.shape, config=config, trained_from=model.trained_from, seed=seed)
                images[start : start + len(ids)] = made.cpu().numpy()
                bar.update(len(ids))
        images = images.clip(-1, 1)
        (folder / "grid.png").write_bytes(grid_png(images[:_GRID]))
        part = Part(images * np.float32(model.scale) + np.float32(model.offset), np.zeros(n, np.float32), np.arange(n))
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

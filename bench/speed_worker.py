"""One training, measured on the way: `python bench/speed_worker.py SETTINGS.json`, with any checkout of noiseworth on the path.

SETTINGS has `train` (settings of a training), `held_out` (images to measure the risk on, or null), `points` (numbers of images seen at
which to measure), and `sample` (numbers of images and steps, or null). Prints JSON.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """See the module's docstring."""
    began = time.perf_counter()
    from noiseworth.data.dataset import open_dataset, read_all
    from noiseworth.evaluate.risk import denoising_risk
    from noiseworth.train.config import TrainConfig
    from noiseworth.train.trainer import Trainer

    settings = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    trainer = Trainer(TrainConfig(**settings["train"]))
    held_out = read_all(open_dataset(settings["held_out"])) if settings["held_out"] else None
    points, seconds, curve, first = settings["points"], 0.0, [], None
    last = time.perf_counter()
    for record in trainer.steps():
        now = time.perf_counter()
        if first is None:
            first = now - began
        if (
            held_out is not None
            and points
            and (record.n_images >= points[0] or trainer.step == trainer.config.steps)
        ):
            seconds += now - last
            risk = denoising_risk(trainer.averaged, held_out, device=trainer.device)
            curve.append([record.n_images, seconds, risk.relative])
            points = [point for point in points if point > record.n_images]
            last = time.perf_counter()
    sampled = timed_sample(trainer, **settings["sample"]) if settings["sample"] else None
    # Not getrusage's: a child begins with the peak of its parent.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    print(json.dumps({"curve": curve, "first_step": first, "sample": sampled, "peak_mib": peak}))


def timed_sample(trainer: Any, n: int, steps: int) -> float:
    """Images a second of sampling, as `noiseworth sample` computes it."""
    import torch

    from noiseworth.diffusion.sampler import SamplerConfig, sample

    config = SamplerConfig(steps)
    for count in (8, n):  # the first time is not timed
        began = time.perf_counter()
        with torch.no_grad():
            sample(trainer.ema.module, torch.arange(count), trainer.data.shape, config=config)
        seconds = time.perf_counter() - began
    return n / seconds


if __name__ == "__main__":
    main()

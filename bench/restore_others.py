"""Other denoisers, beside which restored images are held."""

import importlib
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset
from noiseworth.networks import make_backbone
from noiseworth.records import DoneRecord, load_record
from noiseworth.train.run_directory import load_config

Array = NDArray[np.float32]
_HIDDEN = 0.05  # of the pixels, in each step of the blind-spot network
_BATCH, _RATE = 64, 1e-3


def best_classical(clean: Array, noisy: Array, sigma: float) -> dict[str, Array]:
    """Name -> noisy images (N, C, H, W) restored by scikit-image's denoisers, each with the settings that are best on clean images with
    noise of the same level added."""
    skimage: Any = importlib.import_module("skimage.restoration")
    rng = np.random.default_rng(0)
    tuning = (clean + sigma * rng.standard_normal(clean.shape)).astype(np.float32)
    ways: dict[str, list[Callable[[Array], Array]]] = {
        "total variation": [
            lambda a, w=w: skimage.denoise_tv_chambolle(a, weight=w)  # type: ignore[misc]
            for w in sigma * np.array([0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.3])
        ],
        "non-local means": [
            lambda a, h=h, p=p: skimage.denoise_nl_means(  # type: ignore[misc]
                a, h=h, sigma=sigma, patch_size=p, patch_distance=9, fast_mode=False
            )
            for h in sigma * np.array([0.6, 0.8, 1.0, 1.2])
            for p in (3, 5)
        ],
        "wavelets": [
            lambda a, w=w, m=m: skimage.denoise_wavelet(a, sigma=sigma, wavelet=w, method=m)  # type: ignore[misc]
            for w in ("db1", "db2", "sym4")
            for m in ("BayesShrink", "VisuShrink")
        ],
    }

    def applied(way: Callable[[Array], Array], images: Array) -> Array:
        return np.stack([np.stack([way(channel) for channel in image]) for image in images])

    found = {}
    for name, settings in ways.items():
        errors = [float(np.mean((applied(way, tuning) - clean) ** 2)) for way in settings]
        found[name] = applied(settings[int(np.argmin(errors))], noisy)
    return found


def blind_spot(data: Dataset, run: Path, noisy: Array) -> Array:
    """Noisy images restored by a network that was trained on noisy images alone to guess pixels from those around (Krull, Buchholz and Jug,
    "Noise2Void", CVPR 2019): the run's network, for as many seconds as the run took."""
    seconds = load_record(DoneRecord, run / "DONE.json").seconds
    images = torch.from_numpy(data.read(np.flatnonzero(data.sigma > 0)))
    config = load_config(run)
    assert config.preset is not None
    network = make_backbone(config.preset, data.shape, 0)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(network.parameters(), lr=_RATE)
    scale = float(images.std())
    began = monotonic()
    while monotonic() - began < seconds:
        y = images[torch.randint(len(images), (_BATCH,), generator=generator)]
        hidden = torch.rand(y.shape, generator=generator) < _HIDDEN
        # A hidden pixel shows one of those around it.
        row, column = (int(torch.randint(-2, 3, (1,), generator=generator)) for _ in range(2))
        if row == column == 0:
            continue
        shown = torch.where(hidden, torch.roll(y, (row, column), (-2, -1)), y)
        guess = scale * network(shown / scale, torch.zeros(len(y)))
        loss = ((guess - y)[hidden] ** 2).mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        for group in optimizer.param_groups:
            group["lr"] = _RATE * max(1 - (monotonic() - began) / seconds, 0.0)
        optimizer.step()
    network.eval()
    with torch.no_grad():
        parts = [
            scale * network(part / scale, torch.zeros(len(part)))
            for part in torch.split(torch.from_numpy(noisy), 64)
        ]
    restored: Array = torch.cat(parts).numpy()
    return restored

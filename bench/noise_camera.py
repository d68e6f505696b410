"""A part of `bench/noise.py`: simulated cameras, measured from their dark frames and flats."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from checks import Checklist
from noiseworth.errors import UserError
from noiseworth.noise.camera import measure_camera
from noiseworth.noise.line import measure_singles
from noiseworth.noise.sensors import PoissonGaussianNoise

Array = NDArray[np.float64]
CAMERAS, SIZE, FRAMES, LEVELS = 200, 64, 16, (150.0, 600.0)


def _frames(model: PoissonGaussianNoise, light: float, seed: int, stripes: float) -> Array:
    signal = np.broadcast_to(model.offset + light, (FRAMES, 1, SIZE, SIZE))
    raw = model.sample(signal, seed, np.arange(FRAMES))[:, 0]
    rows = stripes * np.random.default_rng(seed).standard_normal((FRAMES, SIZE, 1))
    return np.asarray(np.round(raw + rows))


def check_pictures(checklist: Checklist, pictures: Array) -> dict[str, Any]:
    """The same cameras from 100 single photographs (N, H, W) of values in [-1, 1], a thousand raw units between black and white."""
    errors, covered, refused = [], [], 0
    for number in range(CAMERAS):
        rng = np.random.default_rng(number)
        gain, offset, read = (
            np.exp(rng.uniform(np.log(0.3), np.log(3))),
            rng.uniform(80, 120),
            rng.uniform(2, 8),
        )
        model = PoissonGaussianNoise(gain, offset, read)
        clean = offset + 500 * (
            1 + pictures[rng.choice(len(pictures), 100, replace=False)].astype(np.float64)
        )
        raw = np.round(model.sample(clean[:, None], number, np.arange(100))[:, 0])
        try:
            line = measure_singles(raw)
        except UserError:
            refused += 1
            continue
        signal = np.quantile(clean, np.linspace(0.05, 0.95, 19))[None]
        true = np.sqrt(model.variance(signal) + 1 / 12)
        errors.append(float(np.median(np.abs(np.sqrt(line.model.variance(signal)) / true - 1))))
        covered.append(line.gain.low < gain < line.gain.high)
    what = f"of {CAMERAS} simulated cameras from 100 single photographs of 32x32 (CIFAR-10-JPEG): "
    checklist.add(
        "noise/camera", what + "median error of sigma", float(np.median(errors)), 0.05, "max", "ratio"
    )
    share = float(np.mean(covered))
    checklist.add("noise/camera", what + "95% intervals that cover, gain", share, 0.92, "min", "share")
    checklist.add(
        "noise/camera", what + "refused, as they do not say", refused / CAMERAS, 0.2, "max", "share"
    )
    return {"errors": errors, "refused": refused}


def check_cameras(checklist: Checklist) -> dict[str, Any]:
    """Cameras of gain 0.3 to 3, read noise 2 to 8 raw units, half of them with maps, a tenth with noise of rows."""
    covered: dict[str, list[bool]] = {"gain": [], "read noise": []}
    errors: list[float] = []
    striped: list[bool] = []
    false_alarms: list[bool] = []
    for number in range(CAMERAS):
        rng = np.random.default_rng(number)
        drawn: list[Any] = [rng.uniform(*ends) for ends in ((np.log(0.3), np.log(3)), (80, 120), (2, 8))]
        gain, offset, read = np.exp(drawn[0]), drawn[1], drawn[2]
        if number % 2:
            gain = gain * np.exp(0.05 * rng.standard_normal((SIZE, SIZE)))
            offset = offset + 2 * rng.standard_normal((SIZE, SIZE))
            read = read * np.exp(0.2 * rng.standard_normal((SIZE, SIZE)))
        model = PoissonGaussianNoise(gain, offset, read)
        has_stripes = number % 10 == 0
        stripes = 0.3 * float(np.mean(read)) if has_stripes else 0.0
        dark, *flats = (
            _frames(model, light, 10 * number + k, stripes) for k, light in enumerate((0.0, *LEVELS))
        )
        camera = measure_camera(dark, flats)
        (striped if has_stripes else false_alarms).append(camera.stripes > 0)
        if has_stripes:
            continue
        # Rounding adds a variance of a twelfth.
        truth = {
            "gain": float(np.mean(gain)),
            "read noise": float(np.sqrt(np.mean(np.square(read)) + 1 / 12)),
        }
        for name, measured in (("gain", camera.gain), ("read noise", camera.read_noise)):
            covered[name].append(measured.low < truth[name] < measured.high)
        signal = np.broadcast_to(np.mean(offset) + np.geomspace(1, 1000, 64), (1, 64))
        flat = [PoissonGaussianNoise(float(np.mean(g)), float(np.mean(o)), r).variance(signal) for g, o, r in (
            (truth["gain"], offset, truth["read noise"]),
            (camera.gain.value, camera.offset.value, camera.read_noise.value),
        )]  # fmt: skip
        errors.append(float(np.median(np.abs(np.sqrt(flat[1] / flat[0]) - 1))))
    for name, hits in covered.items():
        what = f"{len(hits)} simulated cameras, 16 dark frames and two flats of 16: 95% intervals that cover, {name}"
        checklist.add("noise/camera", what, float(np.mean(hits)), 0.92, "min", "share")
        checklist.add("noise/camera", what, float(np.mean(hits)), 0.98, "max", "share")
    checklist.add(
        "noise/camera",
        "median error of sigma, from 1 to 1,000 raw units of light",
        float(np.median(errors)),
        0.02,
        "max",
        "ratio",
    )
    checklist.add(
        "noise/camera",
        "cameras with noise of rows (0.3 of the read noise) that are flagged",
        float(np.mean(striped)),
        0.95,
        "min",
        "share",
    )
    checklist.add(
        "noise/camera",
        "cameras without it that are flagged",
        float(np.mean(false_alarms)),
        0.05,
        "max",
        "share",
    )
    return {"errors": errors}

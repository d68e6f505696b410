"""`noise calibrate`: a camera's gain, offset and read noise, from packed frames, into a file."""

from pathlib import Path

import numpy as np

from noiseworth.data.dataset import Dataset, open_dataset
from noiseworth.data.noise_config import CalibrateConfig
from noiseworth.data.stated_noise import stated_noise
from noiseworth.errors import UserError
from noiseworth.noise.camera import Measured, measure_camera
from noiseworth.noise.line import measure_scenes, measure_singles
from noiseworth.noise.magnitude import measure_magnitude
from noiseworth.noise.sensors import RicianNoise
from noiseworth.options import with_options
from noiseworth.records import CameraRecord, to_json, write_atomically

_MOST = 2**28  # values of all frames of a kind


@with_options(CalibrateConfig)
def calibrate_camera(config: CalibrateConfig) -> CameraRecord:
    """Measure a camera from frames without light and frames of even light, or from ordinary pictures, and write its numbers.

    Raises:
        UserError: frames are too few, too small, saturated or of different sizes, or have colours; or pictures do not say how
            noise grows with brightness; or a header does not state the camera's numbers.
    """
    if config.header is not None:
        record = _of_headers(config, config.header)
    elif config.magnitude:
        record = _of_magnitudes(config)
    else:
        record = _of_pictures(config) if config.dark is None else _of_frames(config, config.dark)
    Path(config.out).parent.mkdir(parents=True, exist_ok=True)
    write_atomically(Path(config.out), to_json(record) + "\n")
    return record


def _of_headers(config: CalibrateConfig, keywords: str) -> CameraRecord:
    camera = stated_noise(config.flats, keywords)
    stated = (float(value) for value in (camera.gain, camera.offset, camera.read_noise))
    gain, offset, read_noise = ((value, value, value) for value in stated)
    return CameraRecord(
        path=str(config.out),
        gain=gain,
        offset=offset,
        read_noise=read_noise,
        sigma=[],
        stripes=0.0,
        hot=0,
        pixels=0,
        has_maps=False,
        model=camera.to_json(),
    )


def _of_magnitudes(config: CalibrateConfig) -> CameraRecord:
    images = _of_one_size(config)
    sigma = measure_magnitude(images)
    return CameraRecord(
        path=str(config.out),
        gain=None,
        offset=None,
        read_noise=None,
        sigma=[[0.0, *_ends(sigma)]],
        stripes=0.0,
        hot=0,
        pixels=0,
        has_maps=False,
        model=RicianNoise(sigma.value).to_json(),
    )


def _of_one_size(config: CalibrateConfig) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    stacks = [_frames(source) for source in config.flats]
    if len({stack.shape[1:] for stack in stacks}) > 1:
        raise UserError(
            f"{config.flats[0]}: has pictures of another size than the others; give those of one size"
        )
    return np.concatenate(stacks)


def _of_pictures(config: CalibrateConfig) -> CameraRecord:
    scenes = [_frames(source) for source in config.flats] if config.same_scene else []
    line = measure_scenes(scenes) if scenes else measure_singles(_of_one_size(config))
    return CameraRecord(
        path=str(config.out),
        gain=_ends(line.gain),
        offset=None,
        read_noise=None,
        sigma=[[float(s), *_ends(m)] for s, m in zip(line.signals, line.sigma, strict=True)],
        stripes=0.0,
        hot=0,
        pixels=0,
        has_maps=False,
        model=line.model.to_json(),
    )


def _of_frames(config: CalibrateConfig, of_dark: Path | str) -> CameraRecord:
    dark = _frames(of_dark)
    flats = [_frames(flat) for flat in config.flats]
    camera = measure_camera(dark, flats)
    return CameraRecord(
        path=str(config.out),
        gain=_ends(camera.gain),
        offset=_ends(camera.offset),
        read_noise=_ends(camera.read_noise),
        sigma=[],
        stripes=camera.stripes,
        hot=int(camera.hot.sum()),
        pixels=camera.hot.size,
        has_maps=bool(np.ndim(camera.model.read_noise)),
        model=camera.model.to_json(),
    )


def _frames(path: Path | str) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """All frames (N, H, W) of a data set, in raw units.

    Raises:
        UserError: they have colours, are too many to hold, or have values that are not finite.
    """
    dataset: Dataset = open_dataset(path)
    channels, height, width = dataset.shape
    if channels != 1:
        raise UserError(
            f"{path}: frames of {channels} channels; calibrate each colour by itself, from raw frames"
        )
    if len(dataset) * height * width > _MOST:
        raise UserError(
            f"{path}: {len(dataset):,} frames of {width}x{height} are more than can be held; take some"
            f" (noiseworth subset {path} OUT --take {max(_MOST // (height * width), 2)})"
        )
    frames = dataset.read_raw(np.arange(len(dataset)), "float64")[:, 0]
    if not np.isfinite(frames).all():
        raise UserError(f"{path}: has NaN or infinite pixels; take raw frames")
    return frames


def _ends(number: Measured) -> tuple[float, float, float]:
    return number.value, number.low, number.high

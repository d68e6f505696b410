"""`restore`: data sets and files, in their own format, of the same bytes after interruptions; and what is refused."""

import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from noiseworth.noise.models import CorrelatedNoise
from noiseworth.records import RestoreRecord, load_record
from noiseworth.restore import command
from noiseworth.restore.command import _result, restore_images
from noiseworth.restore.level import Level
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training

S = 0.4  # in raw units of the digits, 3.2


@pytest.fixture(scope="module")
def run(mixed: Path) -> Path:
    """A short run on digits: good enough to be better than the noise."""
    path = mixed.parent / "restoring-run"
    run_training(TrainConfig(data=str(mixed), out=str(path), n_images=12_800, preset="light"))
    return path


@pytest.fixture(scope="module")
def noisy(digits: Path) -> Path:
    """The held-out digits with noise."""
    corrupt(digits / "held-out", digits.parent / "to-restore", clean_fraction=0.0, sigma=S)
    return digits.parent / "to-restore"


def _clean(digits: Path, noisy: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
    """The clean digits, in the order of the noisy ones."""
    clean = open_dataset(digits / "held-out")
    place = {number: row for row, number in enumerate(clean.ids.tolist())}
    return clean.read(np.array([place[i] for i in open_dataset(noisy).ids.tolist()]))


def test_a_data_set_is_restored_with_intervals_that_cover(
    run: Path, digits: Path, noisy: Path, tmp_path: Path, capsys: Captured
) -> None:
    truth = (_clean(digits, noisy) + 1) * 8  # raw: 0 to 16
    words = ["restore", str(run), str(noisy), str(tmp_path / "out"), "--samples", "2"]
    assert main([*words, "--page", str(tmp_path / "page.html")]) == 0
    assert "297 images restored" in capsys.readouterr().out
    page = (tmp_path / "page.html").read_text()
    assert page.count("<img") == 6 * 7  # before, after, two maps, two draws, what was taken off
    assert "without any clean image" in page
    restored = open_dataset(tmp_path / "out" / "restored")
    assert np.isnan(restored.sigma).all()  # not to be trained on as clean
    mean = restored.read_raw(np.arange(297))
    record = load_record(RestoreRecord, tmp_path / "out" / "restore.json")
    error = np.sqrt(np.mean((mean - truth) ** 2))
    assert error < 0.75 * 8 * S
    assert record.error is not None
    assert abs(record.error / error - 1) < 0.1
    assert record.factor is not None
    low, high, std, share = (np.load(tmp_path / "out" / f"{n}.npy") for n in ("low", "high", "std", "share"))
    assert low.shape == mean.shape == share.shape
    assert abs(((truth >= low) & (truth <= high)).mean() - 0.9) < 0.05
    np.testing.assert_allclose(high - low, 2 * record.factor * std, rtol=1e-3, atol=1e-4)
    samples = np.load(tmp_path / "out" / "samples.npy")
    assert samples.shape == (297, 2, 1, 8, 8)
    # Mean squared distance of two draws is twice the variance: the model's, as its standard deviations say.
    distance = np.mean((samples[:, 0] - samples[:, 1]) ** 2) / 2
    assert 0.5 < distance / np.mean(std**2) < 2
    assert not list((tmp_path / "out").glob(".[dlp]*"))
    assert main(words) == 0
    assert "there already" in capsys.readouterr().err
    assert "other settings; choose another OUT" in refusal([*words[:-1], "1"], capsys)


def test_clean_images_calibrate(run: Path, digits: Path, noisy: Path, tmp_path: Path) -> None:
    """With noise of their own, which is not that of the images that are restored."""
    record = restore_images(run, noisy, tmp_path / "out", clean=digits / "held-out")
    assert record.way == "clean images"
    truth = (_clean(digits, noisy) + 1) * 8
    low, high = (np.load(tmp_path / "out" / f"{n}.npy") for n in ("low", "high"))
    assert abs(((truth >= low) & (truth <= high)).mean() - 0.9) < 0.03


@pytest.mark.parametrize("kind", ["missing", "coloured"])
def test_noise_that_is_not_white_and_missing_pixels(
    run: Path, digits: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of the pixels missing, or noise that goes together: restored given what was measured, with intervals that cover."""
    monkeypatch.setattr("noiseworth.restore.restorer._FEWEST_DRAWS", 6)
    monkeypatch.setattr("noiseworth.restore.restorer.STEPS", 8)
    if kind == "missing":
        corrupt(digits / "held-out", tmp_path / "noisy", clean_fraction=0.0, sigma=0.1, missing=0.5)
    else:
        f = np.fft.fftfreq(8)
        spectrum = 1 / (0.1 + np.hypot(f[:, None], f[None])) ** 2
        model = CorrelatedNoise(S**2 * spectrum / spectrum.mean())
        (tmp_path / "noise.json").write_text(json.dumps(model.to_json()))
        corrupt(digits / "held-out", tmp_path / "noisy", clean_fraction=0.0, noise=tmp_path / "noise.json")
    truth = _clean(digits, tmp_path / "noisy")
    record = restore_images(
        run, tmp_path / "noisy", tmp_path / "out", clean=digits / "held-out", page=tmp_path / "p.html"
    )
    noisy = open_dataset(tmp_path / "noisy").read(np.arange(len(truth)))
    restored = open_dataset(tmp_path / "out" / "restored").read(np.arange(len(truth)))
    # Without the noisy images: the mean digit, in what is missing.
    plain = np.where(np.isnan(noisy), truth.mean(0), noisy)
    assert np.mean((restored - truth) ** 2) < 0.6 * np.mean((plain - truth) ** 2)
    low, high = (np.load(tmp_path / "out" / f"{n}.npy") / 8 - 1 for n in ("low", "high"))
    # Pixels of an image go together: of 80 images and as many that are calibrated on.
    assert abs(((truth >= low) & (truth <= high)).mean() - 0.9) < 0.05
    assert record.left is None
    assert np.isnan(np.load(tmp_path / "out" / "share.npy")).all()
    assert "without" not in (tmp_path / "p.html").read_text()


def _picture(noisy: Path) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    """Two pictures (2, 24, 40) of noisy digits beside each other, in raw units."""
    raw = open_dataset(noisy).read_raw(np.arange(30), "float64")[:, 0]
    return raw.reshape(2, 3, 5, 8, 8).transpose(0, 1, 3, 2, 4).reshape(2, 24, 40)


def _restore(run: Path, files: Path, out: Path, **settings: Any) -> None:
    restore_images(run, files, out, sigma=8 * S, **settings)


def test_tiff_keeps_its_type_tags_and_axes(run: Path, noisy: Path, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    stack = _picture(noisy)
    files = tmp_path / "in"
    files.mkdir()
    tifffile.imwrite(files / "plain.tif", stack[0].astype("f4"), resolution=(300, 300), description="a scope")
    tifffile.imwrite(files / "packed.tif", stack.astype("f4"), compression="zlib", metadata={"axes": "ZYX"})
    tifffile.imwrite(files / "s.ome.tif", stack.astype("f4"), metadata={"axes": "ZYX", "PhysicalSizeX": 0.5})
    tifffile.imwrite(
        files / "ij.tif", stack.astype("f4"), imagej=True, metadata={"axes": "ZYX", "unit": "um"}
    )
    _restore(run, files, tmp_path / "out")
    for name in ("plain.tif", "packed.tif", "s.ome.tif", "ij.tif"):
        with tifffile.TiffFile(files / name) as a, tifffile.TiffFile(tmp_path / "out" / name) as b:
            assert [(s.shape, s.dtype, s.axes) for s in a.series] == [
                (s.shape, s.dtype, s.axes) for s in b.series
            ]
            assert a.ome_metadata == b.ome_metadata
            assert a.imagej_metadata == b.imagej_metadata
            assert [p.aspage().description for p in a.pages] == [p.aspage().description for p in b.pages]
            assert [p.compression for p in a.pages] == [p.compression for p in b.pages]
            assert [p.aspage().resolution for p in a.pages] == [p.aspage().resolution for p in b.pages]
            change = np.std(a.asarray() - b.asarray())
            assert 0.3 * 8 * S < change < 1.5 * 8 * S
        for kind in ("std", "low", "high", "share"):
            made = tifffile.imread(tmp_path / "out" / kind / name)
            assert made.dtype == np.float32
            assert made.shape == b.series[0].shape


def test_scientific_files_keep_what_they_say(run: Path, noisy: Path, tmp_path: Path) -> None:
    fits = pytest.importorskip("astropy.io.fits")
    nibabel = pytest.importorskip("nibabel")
    mrcfile = pytest.importorskip("mrcfile")
    stack = _picture(noisy)
    files, out = tmp_path / "in", tmp_path / "out"
    files.mkdir()
    header = fits.Header({"OBJECT": "M31", "BUNIT": "adu"})
    fits.PrimaryHDU(stack[0].astype("f4"), header).writeto(files / "a.fits")
    scaled = fits.PrimaryHDU(np.round(stack[0] * 100).astype("i4"), header)
    scaled.header["BSCALE"] = 0.01
    scaled.writeto(files / "b.fits")
    with fits.open(files / "b.fits", mode="update", do_not_scale_image_data=True) as units:
        units[0].header["BSCALE"] = 0.01
    affine = np.diag([2.0, 2.0, 3.0, 1.0])
    volume = np.moveaxis(stack, 0, -1).swapaxes(0, 1)
    nibabel.Nifti1Image(volume.astype("f4"), affine).to_filename(files / "a.nii.gz")
    integers = nibabel.Nifti1Image(np.round((volume - 1) / 0.01).astype(np.int16), affine)
    integers.header.set_slope_inter(0.01, 1.0)
    integers.to_filename(files / "b.nii")
    with mrcfile.new(files / "a.mrc") as file:
        file.set_data(stack.astype("f4"))
        file.voxel_size = 1.3
    np.save(files / "a.npy", stack.astype("f4"))
    _restore(run, files, out)
    for name in ("a.fits", "b.fits"):
        with (
            fits.open(files / name, do_not_scale_image_data=True) as a,
            fits.open(out / name, do_not_scale_image_data=True) as b,
        ):
            assert repr(a[0].header) == repr(b[0].header)
            assert a[0].data.dtype == b[0].data.dtype
    with (
        fits.open(out / "a.fits") as a,
        fits.open(out / "b.fits") as b,
        fits.open(out / "std" / "a.fits") as c,
    ):
        np.testing.assert_allclose(a[0].data, b[0].data, atol=0.06)  # rounded to 0.01 before and after
        assert c[0].header["OBJECT"] == "M31"
        assert c[0].data.dtype.kind == "f"
        expected = np.array(a[0].data)
    for name in ("a.nii.gz", "b.nii"):
        before, after = nibabel.load(files / name), nibabel.load(out / name)
        assert np.array_equal(before.affine, after.affine)
        assert before.get_data_dtype() == after.get_data_dtype()
        np.testing.assert_allclose(np.asarray(after.dataobj)[:, :, 0].T, expected, atol=0.06)
    assert nibabel.load(out / "b.nii").dataobj.slope == pytest.approx(0.01, rel=1e-3)
    with mrcfile.open(files / "a.mrc") as a, mrcfile.open(out / "a.mrc") as b:
        assert a.voxel_size == b.voxel_size
        np.testing.assert_allclose(b.data[0], expected, atol=1e-4)
    assert mrcfile.validate(out / "std" / "a.mrc")
    np.testing.assert_allclose(np.load(out / "a.npy")[0], expected, atol=1e-4)


def test_pictures_keep_their_words(tmp_path: Path, noisy: Path) -> None:
    """A run on 8-bit pictures; a photo is restored into a PNG, since JPEG would lose it again."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:16, :16]
    (tmp_path / "clean").mkdir()
    for number in range(200):
        a, b = rng.uniform(4, 12, 2)
        picture = 60 + 130 * (np.hypot(y - a, x - b) < 4)
        Image.fromarray(picture.astype(np.uint8)).save(tmp_path / "clean" / f"{number}.png")
    pack(tmp_path / "clean", tmp_path / "data", sigma=0.0)
    corrupt(tmp_path / "data", tmp_path / "mixed", clean_fraction=0.5, sigma=0.3)
    config = TrainConfig(
        data=str(tmp_path / "mixed"), out=str(tmp_path / "run"), n_images=2560, preset="light"
    )
    run_training(config)
    big = 60 + 130 * (np.hypot(*(np.mgrid[:40, :48] - 20)) < 12) + 25 * rng.standard_normal((40, 48))
    image = Image.fromarray(big.clip(0, 255).round().astype(np.uint8))
    words = PngInfo()
    words.add_text("Author", "somebody")
    (tmp_path / "in" / "deeper").mkdir(parents=True)
    image.save(tmp_path / "in" / "a.png", pnginfo=words, dpi=(300, 300))
    image.save(tmp_path / "in" / "deeper" / "b.jpg", quality=95)
    (tmp_path / "in" / "notes.txt").write_text("of the day")
    image.save(tmp_path / "in" / "deeper" / "b.png")
    out = tmp_path / "in" / "out"
    for _ in range(2):  # the second time OUT lies in the folder that is read
        record = restore_images(tmp_path / "run", tmp_path / "in", out, maps=False, sigma=25.0)
    assert record.count == 3
    assert record.error is None
    with Image.open(out / "a.png") as made:
        assert made.mode == "L"
        assert made.size == (48, 40)
        assert made.info["Author"] == "somebody"
        assert round(made.info["dpi"][0]) == 300
        assert np.std(np.asarray(made).astype(float) - big) > 5
    assert (out / "deeper" / "b.png").is_file()
    assert (out / "deeper" / "b.jpg.png").is_file()
    assert not (out / "std").exists()


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_killed_and_shared_it_ends_with_the_same_bytes(run: Path, noisy: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(6):
        np.save(tmp_path / "in" / f"{number}.npy", np.roll(_picture(noisy), number, axis=1).astype("f4"))
    _restore(run, tmp_path / "in", tmp_path / "whole")
    command = [sys.executable, "-m", "noiseworth.cli", "restore", str(run), str(tmp_path / "in")]
    command += [str(tmp_path / "out"), "--sigma", str(8 * S)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    waited = time.monotonic()
    while not list((tmp_path / "out").glob("[0-9].npy")) and time.monotonic() < waited + 100:
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "restore.json").exists()
    both = [subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait() for process in both] == [0, 0]
    whole, made = _bytes(tmp_path / "whole"), _bytes(tmp_path / "out")
    for name in whole.keys() | made.keys():
        if name.endswith(".npy"):
            assert whole[name] == made[name], name
    assert len([name for name in made if name.endswith(".npy")]) == 6 * 5
    assert not [path for path in (tmp_path / "out").iterdir() if path.name in (".done", ".locks", ".pieces")]


def test_a_stack_is_restored_part_by_part_and_gone_on_with_in_its_middle(
    run: Path, noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = np.concatenate([np.roll(_picture(noisy), 3 * i, axis=1) for i in range(3)]).astype("f4")
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "stack.npy", stack)
    _restore(run, tmp_path / "in", tmp_path / "whole", samples=1)
    monkeypatch.setattr("noiseworth.restore.file_inputs._PIXELS", 2 * stack[0].size)
    made: list[int] = []

    def fails(*arguments: Any) -> Any:
        if len(made) == 2:
            raise KeyboardInterrupt
        made.append(len(arguments[3].s))
        return _result(*arguments)

    monkeypatch.setattr(command, "_result", fails)
    with pytest.raises(KeyboardInterrupt):
        _restore(run, tmp_path / "in", tmp_path / "out", samples=1)
    assert not (tmp_path / "out" / "stack.npy").exists()
    made.clear()
    made.append(0)

    def counts(*arguments: Any) -> Any:
        made.append(len(arguments[3].s))
        return _result(*arguments)

    monkeypatch.setattr(command, "_result", counts)
    _restore(run, tmp_path / "in", tmp_path / "out", samples=1)
    assert made == [0, 2]  # one part of three was left
    for kind in (".", "std", "sample-1", "share"):
        a, b = (np.load(tmp_path / out / kind / "stack.npy") for out in ("whole", "out"))
        np.testing.assert_allclose(a, b, rtol=5e-3, atol=1e-3)  # rounding, in differences
    assert not (tmp_path / "out" / ".pieces").exists()


def test_a_stack_of_which_a_part_is_refused_is_left_out(
    run: Path, noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = np.concatenate([_picture(noisy), 1000 * _picture(noisy)]).astype("f4")
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "bad.npy", stack)
    np.save(tmp_path / "in" / "good.npy", stack[:2])
    monkeypatch.setattr("noiseworth.restore.file_inputs._PIXELS", 2 * stack[0].size)
    record = restore_images(run, tmp_path / "in", tmp_path / "out", sigma=8 * S, on_error="skip")
    assert record.count == 2
    assert [path.name for path in (tmp_path / "out").glob("*.npy")] == ["good.npy"]


def test_on_ray_it_is_the_same(run: Path, noisy: Path, tmp_path: Path) -> None:
    """Also at a cluster that is there already."""
    ray = pytest.importorskip("ray")
    for number in range(3):
        (tmp_path / "in").mkdir(exist_ok=True)
        np.save(tmp_path / "in" / f"{number}.npy", np.roll(_picture(noisy), number, axis=1).astype("f4"))
    _restore(run, tmp_path / "in", tmp_path / "here", maps=False)
    _restore(run, tmp_path / "in", tmp_path / "there", maps=False, on="ray")
    assert not ray.is_initialized()
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        _restore(run, tmp_path / "in", tmp_path / "again", maps=False, on="ray", address="auto")
        assert ray.is_initialized()
    finally:
        ray.shutdown()
    assert (tmp_path / "again" / "2.npy").is_file()
    here, there = _bytes(tmp_path / "here"), _bytes(tmp_path / "there")
    assert len([name for name in here if name.endswith(".npy")]) == 3
    for name in here:
        if name.endswith(".npy"):
            a, b = (np.load(io.BytesIO(files[name])) for files in (here, there))
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)  # of one thread, and of two
    np.save(tmp_path / "in" / "3.npy", 1000 * _picture(noisy)[0].astype("f4"))
    with pytest.raises(UserError, match="are not those of the training data"):
        _restore(run, tmp_path / "in", tmp_path / "more", maps=False, on="ray")


@pytest.mark.parametrize(
    ("make", "answer"),
    [
        (lambda a: np.zeros((2, 3, 24, 40), "f4"), "has 3 channels, and the run was trained on images of 1"),
        (lambda a: a[:, :4, :4], "smaller than the 8x8"),
        (lambda a: a * 1000, "are not those of the training data"),
        (lambda a: np.where(a > 10, np.nan, a), "NaN"),
    ],
)
def test_what_cannot_be_restored_is_refused(
    run: Path, noisy: Path, tmp_path: Path, capsys: Captured, make: object, answer: str
) -> None:
    np.save(tmp_path / "a.npy", make(_picture(noisy)).astype("f4"))  # type: ignore[operator]
    words = ["restore", str(run), str(tmp_path / "a.npy"), str(tmp_path / "out"), "--sigma", "3.2"]
    assert answer in refusal(words, capsys)
    assert not list((tmp_path / "out").glob("*.npy"))


def test_a_file_that_cannot_be_restored_is_left_out_if_wanted(
    run: Path, noisy: Path, tmp_path: Path, capsys: Captured
) -> None:
    (tmp_path / "in").mkdir()
    np.save(tmp_path / "in" / "good.npy", _picture(noisy).astype("f4"))
    np.save(tmp_path / "in" / "bad.npy", np.full((2, 24, 40), np.nan, np.float32))
    words = ["restore", str(run), str(tmp_path / "in"), str(tmp_path / "out"), "--sigma", "3.2"]
    assert "NaN" in refusal(words, capsys)
    assert main([*words, "--on-error", "skip"]) == 0
    printed = capsys.readouterr()
    assert "2 images restored" in printed.out
    assert "skipped: " in printed.err
    assert sorted(p.name for p in (tmp_path / "out").glob("*.npy")) == ["good.npy"]


def test_files_without_noise_are_told(
    run: Path, digits: Path, tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They stay as they are; a run that knows no low level cannot tell, and refuses."""
    clean = (read_all(open_dataset(digits / "held-out"))[:30, 0] + 1) * 8
    np.save(tmp_path / "clean.npy", clean.reshape(1, 5, 6, 8, 8).transpose(0, 1, 3, 2, 4).reshape(1, 40, 48))
    words = ["restore", str(run), str(tmp_path / "clean.npy"), str(tmp_path / "out"), "--no-maps"]
    monkeypatch.setattr("noiseworth.restore.restorer.own_level", lambda *_, **__: Level(0.0, 0.0, 0.0))
    assert main(words) == 0
    assert "no noise was found" in capsys.readouterr().err
    assert np.array_equal(np.load(tmp_path / "out" / "clean.npy"), np.load(tmp_path / "clean.npy"))
    state = next((run / "checkpoints").glob("step-*/state.json"))
    shutil.copytree(run, tmp_path / "noisy-run")
    for path in (tmp_path / "noisy-run" / "checkpoints").glob("step-*/state.json"):
        path.write_text(state.read_text().replace('"trained_from": 0.0', '"trained_from": 0.3'))
    words = ["restore", str(tmp_path / "noisy-run"), str(tmp_path / "clean.npy"), str(tmp_path / "out2")]
    assert "less noise than any level that the run knows (0.3" in refusal(words, capsys)


def test_wrong_sources_are_refused(
    run: Path, digits: Path, noisy: Path, tmp_path: Path, capsys: Captured
) -> None:
    out = str(tmp_path / "out")
    assert "its own levels" in refusal(["restore", str(run), str(noisy), out, "--sigma", "1"], capsys)
    assert "not a run" in refusal(["restore", str(noisy), str(noisy), out], capsys)
    assert "nothing to restore" in refusal(["restore", str(run), str(digits / "held-out"), out], capsys)
    shutil.copytree(noisy, tmp_path / "unknown")
    sigma = tmp_path / "unknown" / "part-00000" / "sigma.npy"
    np.save(sigma, np.full_like(np.load(sigma), np.nan))
    assert "noise estimate" in refusal(["restore", str(run), str(tmp_path / "unknown"), out], capsys)
    np.savez(tmp_path / "other.npz", images=read_all(open_dataset(noisy))[:, 0])
    pack(str(tmp_path / "other.npz"), tmp_path / "other", sigma=0.0, range=(-1.0, 1.0))
    for words in (
        ["restore", str(run), str(tmp_path / "other"), out],
        ["restore", str(run), str(noisy), out, "--clean", str(tmp_path / "other")],
    ):
        assert "its model units are not the run's" in refusal(words, capsys)
    np.savez(tmp_path / "a.npz", images=read_all(open_dataset(noisy))[:, 0])
    words = ["restore", str(run), str(tmp_path / "a.npz"), out]
    assert "pack it" in refusal(words, capsys)


def test_the_commands_of_the_page(
    run: Path, noisy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).parent.parent / "docs" / "restore.md").read_text(encoding="utf-8")
    for link, target in (("runs/scope", run), ("data/test", noisy)):
        (tmp_path / link).parent.mkdir()
        (tmp_path / link).symlink_to(target)
    (tmp_path / "new").mkdir()
    np.save(tmp_path / "new" / "a.npy", _picture(noisy).astype("f4"))
    monkeypatch.chdir(tmp_path)
    commands = [
        line for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL) for line in block.splitlines()
    ]
    assert len(commands) >= 3
    for words in commands:
        assert main(words.split()[1:]) == 0, words

"""Data sets: bits survive packing, noise is fixed by (seed, id), nothing is left behind by a failure."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn.datasets import load_digits

from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.inspect import inspect, snr_db
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from noiseworth.rng import Stream, normal

RNG = np.random.default_rng(0)
ARRAYS: dict[str, np.ndarray] = {
    "uint8": RNG.integers(0, 256, (7, 5, 4), dtype=np.uint8),
    "uint16": RNG.integers(0, 65536, (7, 3, 5, 4), dtype=np.uint16),
    "float16": RNG.normal(size=(7, 1, 5, 4)).astype(np.float16),
    "float32": RNG.normal(size=(7, 5, 4, 3)).astype(np.float32),
}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 9),
    shape=st.tuples(st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)),
    dtype=st.sampled_from(["uint8", "uint16", "float16", "float32"]),
    clean=st.floats(0, 1),
    seed=st.integers(0, 2**31),
)
def test_every_image_comes_through_with_its_bits_and_its_sigma(
    tmp_path: Path, count: int, shape: tuple[int, int, int], dtype: str, clean: float, seed: int
) -> None:
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    rng = np.random.default_rng(seed)
    array = (
        rng.integers(0, 2000, (count, *shape)).astype(dtype)
        if "int" in dtype
        else rng.normal(size=(count, *shape)).astype(dtype)
    )
    np.save(folder / "in.npy", array)
    pack(str(folder / "in.npy"), folder / "clean", sigma=0.0, range=(0.0, 8.0), axes="NCHW")
    corrupt(folder / "clean", folder / "out", clean_fraction=clean, sigma=0.25, seed=seed)
    dataset = open_dataset(folder / "out")
    assert sorted(dataset.ids) == list(range(count))
    raw = dataset.read_raw(np.arange(count))
    changed = (raw != array[dataset.ids].astype(np.float32)).reshape(count, -1).any(axis=1)
    assert (changed == (dataset.sigma > 0)).all()
    assert set(dataset.sigma.tolist()) <= {0.0, 0.25}
    assert (dataset.sigma == 0).sum() == round(clean * count)


@pytest.mark.parametrize("kind", ARRAYS)
def test_packing_an_array_keeps_every_bit(tmp_path: Path, kind: str) -> None:
    array = ARRAYS[kind]
    np.savez(tmp_path / "in.npz", images=array, labels=np.arange(7))
    pack(str(tmp_path / "in.npz"), tmp_path / "out", sigma=0.25, range=(-3.0, 5.0))
    dataset = open_dataset(tmp_path / "out")
    channels_first = (
        array[:, None] if array.ndim == 3 else array.transpose(0, 3, 1, 2) if array.shape[3] == 3 else array
    )
    raw = dataset.read_raw(np.arange(7), kind)
    assert raw.dtype == array.dtype
    assert raw.tobytes() == np.ascontiguousarray(channels_first).tobytes()
    assert dataset.sigma.tolist() == [0.25] * 7
    assert dataset.labels is not None
    assert dataset.labels.tolist() == list(range(7))
    model = (channels_first.astype(np.float32) - np.float32(1)) / np.float32(4)
    np.testing.assert_array_equal(dataset.read(np.array([6, 0, 6])), model[[6, 0, 6]])


@pytest.mark.parametrize(
    ("mode", "dtype"), [("L", np.uint8), ("RGB", np.uint8), ("I;16", np.uint16), ("F", np.float32)]
)
def test_packing_files_keeps_every_bit(tmp_path: Path, mode: str, dtype: type) -> None:
    pictures = []
    for i in range(4):
        shape = (6, 5, 3) if mode == "RGB" else (6, 5)
        pixels: np.ndarray = (
            RNG.normal(size=shape).astype(dtype)
            if mode == "F"
            else RNG.integers(0, np.iinfo(dtype).max, shape).astype(dtype)
        )
        folder = tmp_path / "in" / ("a" if i < 2 else "b")
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / f"{i}.{'tiff' if mode == 'F' else 'png'}")
        pictures.append(pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1))
    pack(str(tmp_path / "in"), tmp_path / "out", sigma=0.0, range=(0.0, 1.0))
    dataset = open_dataset(tmp_path / "out")
    raw = dataset.read_raw(np.arange(4), np.dtype(dtype).name)
    np.testing.assert_array_equal(raw, np.stack(pictures))
    assert dataset.labels is not None
    assert dataset.labels.tolist() == [0, 0, 1, 1]


def test_digits_are_the_digits_and_the_split_shares_none(digits: Path) -> None:
    train, held_out = open_dataset(digits / "train"), open_dataset(digits / "held-out")
    assert (len(train), len(held_out)) == (1500, 297)
    assert sorted([*train.ids, *held_out.ids]) == list(range(1797))
    source = load_digits()
    np.testing.assert_array_equal(train.read_raw(np.arange(1500))[:, 0], source.images[train.ids])
    assert train.labels is not None
    np.testing.assert_array_equal(train.labels, source.target[train.ids])
    assert train.read(np.arange(1500)).min() == -1
    assert train.read(np.arange(1500)).max() == 1


def test_corruption_is_a_function_of_seed_and_id(tmp_path: Path, digits: Path, mixed: Path) -> None:
    dataset = open_dataset(mixed)
    clean, noisy = dataset.use("clean"), dataset.use("noisy")
    assert (len(clean), len(noisy)) == (150, 1350)
    source = open_dataset(digits / "train")
    row_of = {int(i): row for row, i in enumerate(source.ids)}
    rows = np.array([row_of[int(i)] for i in noisy.ids])
    noise = normal(0, Stream.CORRUPT, torch.from_numpy(noisy.ids), (1, 8, 8)).numpy()
    expected = (source.read_raw(rows) + np.float32(4.0) * noise).astype(np.float16)
    assert noisy.read_raw(np.arange(1350), "float16").tobytes() == expected.tobytes()
    # The clean part is the source's own, bit for bit; the noisy images' clean pixels are nowhere.
    kept = np.array([row_of[int(i)] for i in clean.ids])
    np.testing.assert_array_equal(clean.read_raw(np.arange(150)), source.read_raw(kept))
    assert not set(clean.ids) & set(noisy.ids)
    assert noisy.labels is not None
    assert source.labels is not None
    np.testing.assert_array_equal(noisy.labels, source.labels[rows])
    # The same image gets the same noise in another mix.
    corrupt(digits / "train", tmp_path / "all", clean_fraction=0.0, sigma=0.5)
    every = open_dataset(tmp_path / "all")
    where = {int(i): row for row, i in enumerate(every.ids)}
    same = every.read_raw(np.array([where[int(i)] for i in noisy.ids]), "float16")
    assert same.tobytes() == expected.tobytes()


def test_the_noise_is_white_gaussian_of_the_stated_size(digits: Path, mixed: Path) -> None:
    noisy, source = open_dataset(mixed).use("noisy"), open_dataset(digits / "train")
    row_of = {int(i): row for row, i in enumerate(source.ids)}
    clean = source.read(np.array([row_of[int(i)] for i in noisy.ids]))
    noise = (noisy.read(np.arange(len(noisy))) - clean).astype(np.float64)
    n = noise.size
    assert abs(noise.std() / 0.5 - 1) < 4.5 / (2 * n) ** 0.5
    neighbours = noise[..., :-1] * noise[..., 1:]
    assert abs(neighbours.mean()) < 4.5 * 0.25 / neighbours.size**0.5
    assert abs((noise * clean).mean()) < 4.5 * (noise * clean).std() / n**0.5
    rounding = open_dataset(mixed).record.provenance[-1]["rounding_over_sigma"]
    assert 0 < rounding < 1e-3


def test_large_raw_values_keep_their_noise_in_float32(tmp_path: Path) -> None:
    np.save(tmp_path / "in.npy", np.full((4, 6, 6), 60_000, np.uint16))
    pack(str(tmp_path / "in.npy"), tmp_path / "clean", sigma=0.0)
    record = corrupt(tmp_path / "clean", tmp_path / "noisy", clean_fraction=0.0, sigma=0.01)
    assert record.parts[0].dtype == "float32"


def test_inspect_counts(mixed: Path) -> None:
    inspection = inspect(open_dataset(mixed))
    assert [(g.sigma, g.count) for g in inspection.noise] == [(0.0, 150), (0.5, 1350)]
    assert inspection.unknown == 0
    assert inspection.label_counts is not None
    assert sum(inspection.label_counts) == 1500
    assert snr_db(0.2) == pytest.approx(14.15, abs=0.005)  # the paper's number


def _broken_image(folder: Path) -> str:
    folder.mkdir()
    Image.fromarray(ARRAYS["uint8"][0]).save(folder / "a.png")
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:-25])
    return str(folder)


def _mixed_sizes(folder: Path) -> str:
    folder.mkdir()
    for i, side in enumerate((8, 9)):
        Image.fromarray(np.zeros((side, side), np.uint8)).save(folder / f"{i}.png")
    return str(folder)


def _empty(folder: Path) -> str:
    folder.mkdir()
    return str(folder)


def _with_alpha(folder: Path) -> str:
    folder.mkdir()
    Image.fromarray(np.zeros((8, 8, 4), np.uint8)).save(folder / "a.png")
    return str(folder)


def _array(values: Any) -> Callable[[Path], str]:
    def make(folder: Path) -> str:
        folder.mkdir()
        np.save(folder / "x.npy", values, allow_pickle=True)
        return str(folder / "x.npy")

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_broken_image, "b.png: damaged or"),
        (_mixed_sizes, "1.png: is 9x9"),
        (_empty, "no images in it"),
        (_with_alpha, "100% of its pixels are transparent"),
        (_array(np.array([[None]], dtype=object)), "never loaded"),
        (_array(np.full((2, 3, 3), np.nan, np.float32)), "image 0: has NaN"),
        (_array(np.zeros((2, 3, 3), np.float32)), "--range 0 0"),
        (_array(np.full((2, 3, 3), 2**40 + 1, np.int64)), "do not fit into float32"),
        (_array(np.zeros((5,), np.uint8)), "is no picture"),
        (lambda folder: str(folder / "nothing"), "no such file"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_sources_are_refused_and_leave_nothing(
    tmp_path: Path, make: Callable[[Path], str], message: str
) -> None:
    source = make(tmp_path / "in")
    with pytest.raises(UserError, match=message):
        pack(source, tmp_path / "out", sigma=0.0)
    assert not [p for p in tmp_path.iterdir() if p.name != "in"]


def test_existing_output_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("x")
    with pytest.raises(UserError, match="exists already"):
        pack("sklearn:digits", tmp_path / "out", sigma=0.0)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["precious"]


@pytest.mark.parametrize("sigma", [-0.1, float("nan"), float("inf")])
def test_bad_sigma_is_refused(tmp_path: Path, sigma: float) -> None:
    with pytest.raises(UserError, match="--sigma"):
        pack("sklearn:digits", tmp_path / "out", sigma=sigma)


def test_unknown_noise_stays_unknown(tmp_path: Path) -> None:
    pack("sklearn:digits", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    assert np.isnan(dataset.sigma).all()
    with pytest.raises(UserError, match="noise level of 1797 of 1797 images is unknown"):
        dataset.require_known_sigma()
    with pytest.raises(UserError, match="1,797 of its 1,797 images are noisy, or of unknown noise"):
        corrupt(tmp_path / "out", tmp_path / "noisy", clean_fraction=0.5, sigma=0.1)
    assert not (tmp_path / "noisy").exists()


def test_damage_is_named(tmp_path: Path) -> None:
    pack("sklearn:digits", tmp_path / "out", sigma=0.0)
    np.save(tmp_path / "out" / "part-00000" / "sigma.npy", np.zeros(3, np.float32))
    with pytest.raises(UserError, match=r"sigma.npy: is float32 \(3,\), dataset.json says float32 \(1797,\)"):
        open_dataset(tmp_path / "out")


def test_fingerprint_changes_with_content(tmp_path: Path) -> None:
    a = pack("sklearn:digits", tmp_path / "a", sigma=0.0)[0]
    b = pack("sklearn:digits", tmp_path / "b", sigma=0.0)[0]
    c = pack("sklearn:digits", tmp_path / "c", sigma=0.1)[0]
    assert a == b
    assert a.fingerprint != c.fingerprint

"""Out again: images as files in their own units; and splits that keep groups together and noise levels in proportion."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseworth.cli import main
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.unpack import unpack
from noiseworth.data.views import split
from noiseworth.errors import UserError

RNG = np.random.default_rng(31)


def _raw(path: Path) -> np.ndarray:
    data = open_dataset(path)
    return data.read_raw(np.arange(len(data)))


@pytest.mark.parametrize(
    ("dtype", "channels", "format", "expected"),
    [
        ("uint8", 1, None, "png"),
        ("uint8", 3, None, "png"),
        ("uint16", 1, None, "png"),
        ("uint16", 3, None, "tif"),
        ("uint8", 2, None, "tif"),
        ("float32", 1, None, "tif"),
        ("float32", 3, "npy", "npy"),
        ("uint8", 1, "tif", "tif"),
    ],
)
def test_what_is_unpacked_and_packed_again_is_the_same(
    tmp_path: Path, dtype: str, channels: int, format: str | None, expected: str
) -> None:
    values = RNG.integers(0, 60_000 if dtype == "uint16" else 256, (12, channels, 9, 10)).astype(dtype)
    np.save(tmp_path / "x.npy", values)
    levels = RNG.uniform(0.1, 0.5, 12).astype(np.float32)
    (tmp_path / "t.csv").write_text(
        "sigma,label\n" + "\n".join(f"{s!r},{i % 3}" for i, s in enumerate(levels.tolist()))
    )
    table = str(tmp_path / "t.csv")
    ends = (0.0, 65535.0 if dtype == "uint16" else 255.0)
    options = {"by_row": True, "range": ends, "axes": "NCHW"}
    pack(tmp_path / "x.npy", tmp_path / "d", sigma=table, labels=table, **options)  # type: ignore[arg-type]
    record = unpack(tmp_path / "d", tmp_path / "files", format=format)  # type: ignore[arg-type]
    assert (record.count, record.format, record.dtype, record.rounding) == (12, expected, dtype, 0)
    again = str(tmp_path / "files" / "images.csv")
    axes = "CHW" if expected == "npy" else None
    pack(tmp_path / "files", tmp_path / "e", sigma=again, labels=again, range=ends, axes=axes)
    np.testing.assert_array_equal(_raw(tmp_path / "e"), values)
    back = open_dataset(tmp_path / "e")
    np.testing.assert_array_equal(back.sigma, levels)
    assert back.labels is not None
    assert back.labels.tolist() == [i % 3 for i in range(12)]


def test_generated_images_are_rounded_to_what_they_were_learned_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "x.npy", RNG.uniform(-3, 258, (4, 1, 9, 10)).astype(np.float32))
    pack(tmp_path / "x.npy", tmp_path / "d", sigma=0.0, range=(0.0, 255.0))
    assert main(["unpack", str(tmp_path / "d"), str(tmp_path / "out")]) == 0
    assert "by rounding and cutting off to uint8" in capsys.readouterr().err
    expected = np.rint(_raw(tmp_path / "d")).clip(0, 255)
    for i in range(4):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "out" / f"{i}.png")), expected[i, 0])


def test_noisy_images_are_not_rounded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", RNG.integers(0, 256, (4, 9, 10), dtype=np.uint8))
    pack(tmp_path / "x.npy", tmp_path / "d", sigma=0.0)
    corrupt(tmp_path / "d", tmp_path / "m", clean_fraction=0.5, sigma=0.3)
    assert unpack(tmp_path / "m", tmp_path / "out").dtype == "float32"
    with pytest.raises(UserError, match="give --format tif, or npy, or --dtype uint8"):
        unpack(tmp_path / "m", tmp_path / "png", format="png")
    assert not (tmp_path / "png").exists()


@pytest.mark.parametrize(("channels", "dtype"), [(1, None), (3, "uint8"), (3, "float32"), (2, None)])
def test_one_file_of_all_images_is_packed_again(tmp_path: Path, channels: int, dtype: str | None) -> None:
    values = RNG.integers(0, 256, (300, channels, 9, 10), dtype=np.uint8)
    np.save(tmp_path / "x.npy", values)
    pack(tmp_path / "x.npy", tmp_path / "clean", sigma=0.0, axes="NCHW")
    corrupt(tmp_path / "clean", tmp_path / "d", clean_fraction=0.5, sigma=0.2)
    data = open_dataset(tmp_path / "d")
    record = unpack(tmp_path / "d", tmp_path / "out", format="npz", dtype=dtype)  # type: ignore[arg-type]
    assert record.dtype == (dtype or "float32")
    with np.load(tmp_path / "out" / "images.npz") as file:
        images = file["images"]
        np.testing.assert_array_equal(file["sigma"], data.sigma)
        np.testing.assert_array_equal(file["ids"], data.ids)
    assert images.shape == (300, 9, 10) if channels == 1 else (300, 9, 10, channels)
    expected = _raw(tmp_path / "d")
    if dtype == "uint8":
        expected = np.rint(expected).clip(0, 255)
        assert record.rounding > 0.5
    np.testing.assert_array_equal(images.reshape(300, 9, 10, channels).transpose(0, 3, 1, 2), expected)
    axes = "NHW" if channels == 1 else "NHWC"
    ends = (0.0, 255.0)
    pack(tmp_path / "out" / "images.npz", tmp_path / "again", axes=axes, range=ends)  # its own levels
    np.testing.assert_array_equal(open_dataset(tmp_path / "again").sigma, data.sigma)


def test_black_and_white_fill_a_type_that_is_asked_for(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.linspace(0.2, 0.6, 64, dtype=np.float32).reshape(1, 1, 8, 8))
    pack(tmp_path / "x.npy", tmp_path / "d", sigma=0.0, range=(0.0, 0.5))
    for dtype, most in (("uint8", 255), ("uint16", 65535)):
        record = unpack(tmp_path / "d", tmp_path / dtype, dtype=dtype)  # type: ignore[arg-type]
        assert (record.format, record.dtype) == ("png", dtype)
        assert record.rounding == pytest.approx(0.1, rel=1e-4)  # what lay above white
        pixels = np.asarray(Image.open(tmp_path / dtype / "0.png")).astype(float)
        expected = np.rint(_raw(tmp_path / "d")[0, 0].astype(float) / 0.5 * most).clip(0, most)
        np.testing.assert_array_equal(pixels, expected)
    assert unpack(tmp_path / "d", tmp_path / "float", dtype="float32").format == "tif"


def _numbered(tmp_path: Path, count: int = 40) -> None:
    values = np.arange(count, dtype=np.float32)[:, None, None] + np.zeros((1, 8, 8), np.float32)
    np.save(tmp_path / "x.npy", values)


def _held_out(folder: Path) -> list[int]:
    return sorted(_raw(folder / "held-out")[:, 0, 0, 0].astype(int).tolist())


def test_groups_stay_together_when_packing_and_when_splitting(tmp_path: Path) -> None:
    _numbered(tmp_path)
    (tmp_path / "g.csv").write_text("id,group\n" + "\n".join(f"{i},patient {i // 4}" for i in range(40)))
    groups = str(tmp_path / "g.csv")
    pack(tmp_path / "x.npy", tmp_path / "a", sigma=0.0, range=(0.0, 40.0), held_out=10, groups=groups)
    pack(tmp_path / "x.npy", tmp_path / "d", sigma=0.0, range=(0.0, 40.0))
    split(tmp_path / "d", tmp_path / "b", held_out=10, groups=groups)
    for folder in (tmp_path / "a", tmp_path / "b"):
        chosen = _held_out(folder)
        assert len(chosen) == 8  # two whole patients; a third would be too much
        assert len({i // 4 for i in chosen}) == 2


def test_groups_by_folder(tmp_path: Path) -> None:
    for i in range(12):
        path = tmp_path / "in" / f"slide{i // 3}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 20 * i, np.uint8)).save(path)
    pack(tmp_path / "in", tmp_path / "out", sigma=0.0, held_out=6, groups="folders")
    chosen = [i // 20 for i in _held_out(tmp_path / "out")]
    assert len(chosen) == 6
    assert len({i // 3 for i in chosen}) == 2


def test_copies_join_groups(tmp_path: Path) -> None:
    """Image 0 of one patient is image 39 of another: the two are one group."""
    values = np.arange(40, dtype=np.float32)[:, None, None] + np.zeros((1, 8, 8), np.float32)
    values[39] = values[0]
    np.save(tmp_path / "x.npy", values)
    (tmp_path / "g.csv").write_text("id,group\n" + "\n".join(f"{i},{i // 20}" for i in range(40)))
    with pytest.raises(UserError, match="every group is larger than this"):
        pack(
            tmp_path / "x.npy",
            tmp_path / "a",
            sigma=0.0,
            range=(0.0, 40.0),
            held_out=20,
            groups=str(tmp_path / "g.csv"),
        )


def test_each_noise_level_gives_its_share(tmp_path: Path) -> None:
    _numbered(tmp_path, 50)
    (tmp_path / "s.csv").write_text("sigma\n" + "\n".join(["0"] * 10 + ["0.1"] * 30 + ["0.2"] * 10))
    pack(tmp_path / "x.npy", tmp_path / "d", sigma=str(tmp_path / "s.csv"), by_row=True, range=(0.0, 50.0))
    split(tmp_path / "d", tmp_path / "out", held_out=10, by_noise=True)
    sigma = open_dataset(tmp_path / "out" / "held-out").sigma
    np.testing.assert_allclose(np.sort(sigma), [0] * 2 + [0.1] * 6 + [0.2] * 2, rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "words"),
    [("group\na\n", "needs the columns id and group"), ("id,group\n0,a\n", "no group for the image of id 1")],
)
def test_bad_groups_are_one_line(tmp_path: Path, text: str, words: str) -> None:
    _numbered(tmp_path, 4)
    pack(tmp_path / "x.npy", tmp_path / "d", sigma=0.0, range=(0.0, 50.0))
    (tmp_path / "g.csv").write_text(text)
    with pytest.raises(UserError, match=words):
        split(tmp_path / "d", tmp_path / "out", held_out=1, groups=str(tmp_path / "g.csv"))

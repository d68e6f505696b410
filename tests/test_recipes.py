"""The recipes that are shipped, from small files of the form in which their owners distribute them to a trained model."""

import gzip
import io
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.errors import UserError
from noiseworth.runs.recipe import load_recipe

RECIPES = Path(__file__).parent.parent / "recipes"
RNG = np.random.default_rng(2)
SETTINGS = ("n_images=8", "monitor_every=0", "batch=4", "preset=digits", "precision=fp32")
TASTE = [word for setting in SETTINGS for word in ("--set", f"train.{setting}")]


def _cifar(folder: Path) -> list[str]:
    images = RNG.integers(0, 256, (30, 3 * 32 * 32 + 1), dtype=np.uint8)
    images[:, 0] %= 10
    with tarfile.open(folder / "cifar-10-binary.tar.gz", "w:gz") as archive:
        for name, rows in (("data_batch_1", images[:20]), ("test_batch", images[20:])):
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}.bin")
            info.size = rows.nbytes
            archive.addfile(info, io.BytesIO(rows.tobytes()))
    return ["--source", str(folder / "cifar-10-binary.tar.gz")]


def _celeba(folder: Path) -> list[str]:
    for i in range(12):
        Image.fromarray(RNG.integers(0, 256, (1024, 1024, 3), dtype=np.uint8)).save(folder / f"{i}.jpg")
    return ["--source", str(folder), "--set", "pack.held_out=2"]


def _imagenet(folder: Path) -> list[str]:
    for k in (1, 2):
        data = RNG.integers(0, 256, (10, 3 * 64 * 64), dtype=np.uint8)
        np.savez(
            folder / f"train_data_batch_{k}.npz",
            data=data,
            labels=RNG.integers(1, 1001, 10),
            mean=data.mean(0),
        )
    return ["--source", str(folder)]


def _fashion(folder: Path) -> list[str]:
    for split, n in (("train", 20), ("t10k", 8)):
        images, labels = (
            RNG.integers(0, 256, (n, 28, 28), dtype=np.uint8),
            RNG.integers(0, 10, n).astype(np.uint8),
        )
        for kind, values in (("images-idx3", images), ("labels-idx1", labels)):
            head = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
            (folder / f"{split}-{kind}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes()))
    return ["--source", str(folder)]


def _tiff(folder: Path) -> list[str]:
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(
        folder / "stack.tif", RNG.integers(100, 4000, (12, 16, 16), dtype=np.uint16), photometric="minisblack"
    )
    return ["--source", str(folder / "stack.tif"), "--set", "pack.sigma=140"]


@pytest.mark.parametrize(
    ("name", "make", "count", "shape"),
    [
        ("cifar10", _cifar, 20, (3, 32, 32)),
        ("celeba-hq-64", _celeba, 10, (3, 64, 64)),
        ("imagenet-64", _imagenet, 20, (3, 64, 64)),
        ("fashion-mnist", _fashion, 20, (1, 28, 28)),
        ("my-tiff-stack", _tiff, 12, (1, 16, 16)),
    ],
)
def test_a_recipe_goes_from_the_owners_files_to_a_model(
    name: str, make: Callable[[Path], list[str]], count: int, shape: tuple[int, int, int], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    words = [
        "recipe",
        str(RECIPES / f"{name}.yaml"),
        *make(tmp_path / "in"),
        "--out",
        str(tmp_path / "out"),
        *TASTE,
    ]
    assert main(words) == 0
    assert (tmp_path / "out" / "run" / "DONE.json").is_file()
    assert main(words) == 0  # all is there: it goes on and ends at once
    trained = open_dataset(tmp_path / "out" / ("data" if name == "my-tiff-stack" else "mixed"))
    assert (len(trained), trained.shape) == (count, shape)
    if name == "my-tiff-stack":
        assert trained.sigma.tolist() == pytest.approx([140 / trained.record.scale] * count)
    else:
        assert (trained.sigma == 0).sum() == count // 10
    assert (RECIPES / f"{name}.md").read_text(encoding="utf-8").count("```") >= 2


def test_bad_recipes_are_refused(tmp_path: Path) -> None:
    for changes, words in (
        (["train.speed=3"], "train has no option 'speed'"),
        (["pack=3"], "must be pack.KEY=VALUE"),
        (["pack.out=x"], "pack has no option 'out'"),
    ):
        with pytest.raises(UserError, match=words):
            load_recipe(RECIPES / "cifar10.yaml", changes)
    (tmp_path / "x.yaml").write_text("pack: {}\ntrain: {}\nfly: 1\n")
    with pytest.raises(UserError, match="unknown key 'fly'"):
        load_recipe(tmp_path / "x.yaml", [])
    with pytest.raises(UserError, match="no such recipe"):
        load_recipe(tmp_path / "nowhere.yaml", [])

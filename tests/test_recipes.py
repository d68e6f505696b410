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


def _stack(folder: Path) -> Path:
    """A recipe of noisy pictures of one's own, and its files."""
    np.save(folder / "x.npy", RNG.integers(0, 256, (16, 8, 8), dtype=np.uint8))
    (folder / "mine.yaml").write_text(
        f"source: {folder / 'x.npy'}\npack: {{sigma: 0.0}}\ncorrupt: {{clean_fraction: 0.5, sigma: 5e-1}}\n"
        "train: {n_images: 8, batch: 4, monitor_every: 0, device: cpu}\n"
    )
    return folder / "mine.yaml"


@pytest.mark.parametrize(
    "change",
    [
        "train.lr=[", "train.lr=fast", "train.n_images=1e400", "train.n_images=1.5", "train.n_images=[1]", "train.batch=0",
        "train.preset=3", "train.labels=maybe", "train.use=some", "train.level_mean=.nan", "train.seed=-1", "train.power_ema=0.1",
        "train.power_ema=[9]", "pack.sigma=[1]", "pack.sigma=null2", "pack.range=[1]", "pack.range=[2, 1]", "pack.range=[a, b]",
        "pack.held_out=many", "pack.shape={}", "pack.splits=2", "corrupt.clean_fraction=2", "corrupt.sigma={}", "corrupt.sigma=",
        "corrupt.seed=x", "train.keep=2001-01-01", "train.augment=&a [*a]", "train.ema=" + "9" * 400,
    ],
)  # fmt: skip
def test_wrong_values_are_told_in_a_line_before_anything_is_done(
    change: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = _stack(tmp_path)
    assert main(["recipe", str(recipe), "--out", str(tmp_path / "out"), "--set", change]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "noiseworth: error:" in error
    assert not (tmp_path / "out" / "run").exists()
    if change != "pack.sigma=null2":  # a rule on names, which only the images can refuse
        assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "pack: {}\ntrain: []\n", "pack: 3\ntrain: {}\n", "pack: {}\ntrain: {}\nuse: [a]\n", "pack: {}\ntrain: {}\n1: 2\n",
     "pack: {}\ntrain: {}\nsource: {}\n", "pack: {}\ntrain: {}\nuse: ../..\n", "pack: {1: 2}\ntrain: {}\n", "pack: {}\ntrain: {\n",
     "pack: " + "[" * 5000 + "]" * 5000 + "\ntrain: {}\n", "pack: {}\ntrain: {}\ncorrupt: {sigma: 1}\n"],
)  # fmt: skip
def test_wrong_recipes_are_told_in_a_line(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "r.yaml").write_text(text)
    words = [
        "recipe",
        str(tmp_path / "r.yaml"),
        "--out",
        str(tmp_path / "out"),
        "--source",
        "x",
        "--set",
        "train.lr=0.1",
    ]
    assert main(words) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_numbers_are_what_an_option_wants(tmp_path: Path) -> None:
    """YAML takes 1e2 and 1e-3 for text; a whole number stays one, so that what is written can be read."""
    recipe = load_recipe(
        _stack(tmp_path), ["train.n_images=1e2", "train.lr=1e-3", "train.batch=4.0", "pack.name=1e2"]
    )
    assert {key: recipe["train"][key] for key in ("n_images", "lr", "batch")} == {
        "n_images": 100,
        "lr": 1e-3,
        "batch": 4,
    }
    assert isinstance(recipe["train"]["n_images"], int)
    assert recipe["corrupt"]["sigma"] == 0.5
    assert recipe["pack"]["name"] == "1e2"


def test_a_recipe_that_failed_is_corrected_and_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe, out = _stack(tmp_path), tmp_path / "out"

    def run(*changes: str) -> int:
        return main(["recipe", str(recipe), "--out", str(out), *(w for c in changes for w in ("--set", c))])

    out.mkdir()  # killed before it wrote what it is
    assert (
        run("pack.sigma=nothing=1") == 2
    )  # no image has this in its name, which is known when they are read
    assert run("corrupt.sigma=choice:0.1;x") == 2
    made = (out / "data" / "dataset.json").stat().st_mtime_ns
    assert run("train.lr=1e30", "train.warmup=0", "train.n_images=400") == 2  # not finite after some steps
    assert run("train.n_images=16") == 0
    assert (out / "data" / "dataset.json").stat().st_mtime_ns == made
    capsys.readouterr()
    assert run("train.n_images=16", "pack.sigma=0.1", "corrupt.sigma=0.25") == 2
    error = capsys.readouterr().err
    assert f"{out}/data, {out}/mixed, {out}/run: made with other settings" in error
    assert "pack.sigma was 0.0, is 0.1" in error
    assert "corrupt.sigma was 0.5, is 0.25" in error
    assert "remove them to go on with these" in error
    assert run("train.n_images=16", "train.seed=3") == 2
    assert "seed was 0, is 3" in capsys.readouterr().err
    assert run("train.n_images=16") == 0
    (out / "recipe.json").write_text("{")
    assert run("train.n_images=16") == 2
    assert "recipe.json: is damaged; remove" in capsys.readouterr().err

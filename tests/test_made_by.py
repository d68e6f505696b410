"""The same command again, once its OUT is there: it succeeds where nothing has changed, and is refused otherwise."""

import contextlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.fingerprint import verify_fingerprint
from noiseworth.data.made_by import NOTE

Captured = pytest.CaptureFixture[str]


def _run(words: str) -> int:
    return main(words.split())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of pictures, a table of their noise, a data set, and a run with averages of powers."""
    folder = tmp_path_factory.mktemp("inputs")
    for number in range(12):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8), np.uint8)
        subfolder = folder / "pictures" / f"{number % 2}"
        subfolder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(subfolder / f"{number:02}.png")
    names = [f"{number % 2}/{number:02}.png" for number in range(12)]
    (folder / "noise.csv").write_text("file,sigma\n" + "".join(f"{name},0\n" for name in names))
    train = "train --data data --out run --n-images 32 --batch 16 --device cpu --monitor-every 0 --power-ema [0.05,0.1]"
    with contextlib.chdir(folder):
        assert _run("pack pictures data --sigma 0") == 0
        assert _run("pack pictures other --sigma 0 --name other --range 0 250") == 0
        assert _run(f"{train} --checkpoint-every 16") == 0
    return folder


@pytest.fixture
def inside(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the inputs that keeps their times, to work in."""
    shutil.copytree(inputs, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


COMMANDS = [
    "pack pictures out --sigma noise.csv",
    "pack pictures out --sigma 0 --held-out 4",
    "corrupt data out --clean-fraction 0.5 --sigma 0.2",
    "join data other out",
    "split data out --held-out 0.25",
    "subset data out --take 5",
    "unpack data out",
    "ema run out --sigma-rel 0.08",
    "features train data out --kind pca",
]


def _contents(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {str(p.relative_to(folder)): (p.read_bytes(), p.stat().st_mtime_ns) for p in files}


@pytest.mark.parametrize("words", COMMANDS)
def test_the_same_command_again_succeeds_and_says_the_same(
    words: str, inside: Path, capsys: Captured
) -> None:
    assert _run(words) == 0
    first = capsys.readouterr()
    before = _contents(inside / "out")
    (inside / ".out.abcdefgh.partial").mkdir()  # of a process that was killed while it replaced something
    assert _run(words) == 0
    again = capsys.readouterr()
    assert again.out == first.out
    assert again.err == first.err + "noiseworth: out: is there already, made by the same command\n"
    assert _contents(inside / "out") == before
    assert not list(inside.glob(".out*"))
    assert str(inside) not in (inside / "out" / NOTE).read_text()  # it tells nothing of the machine


def _touch(path: str) -> None:
    status = Path(path).stat()
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))


CHANGES: dict[str, Callable[[], object]] = {
    "a setting": lambda: None,
    "a picture of the folder": lambda: _touch("pictures/0/00.png"),
    "a new picture": lambda: shutil.copy("pictures/0/00.png", "pictures/0/new.png"),
    "a picture that is gone": lambda: Path("pictures/1/11.png").unlink(),
    "the table": lambda: _touch("noise.csv"),
    "a file of OUT": lambda: Path("out/part-00000/ids.npy").unlink(),
    "the note": lambda: Path("out", NOTE).write_text("{"),
    "no note": lambda: Path("out", NOTE).unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_has_changed_since_is_refused(change: str, inside: Path, capsys: Captured) -> None:
    words = "pack pictures out --sigma noise.csv"
    assert _run(words) == 0
    CHANGES[change]()
    before = _contents(inside / "out")
    assert _run(words + " --name mine" * (change == "a setting")) == 2
    assert "out: exists already; choose another place or remove it first" in capsys.readouterr().err
    assert _contents(inside / "out") == before


def test_a_data_set_that_was_packed_again_is_another_input(inside: Path, capsys: Captured) -> None:
    words = "corrupt data out --clean-fraction 0.5 --sigma 0.2"
    assert _run(words) == 0
    shutil.rmtree("data")
    assert _run("pack pictures data --sigma 0 --range 0 254") == 0
    assert _run(words) == 2
    assert "exists already" in capsys.readouterr().err
    shutil.rmtree("data")
    assert _run("pack pictures data --sigma 0") == 0  # just as it was
    assert _run(words) == 0


def test_the_note_is_no_image_and_no_part_of_the_fingerprint(inside: Path) -> None:
    assert _run("unpack data files") == 0
    assert _run("pack files again --sigma 0") == 0
    again = open_dataset("again")
    assert (len(again), again.record.provenance[0].get("left_out")) == (12, {".csv files": 1})
    Path("data", NOTE).unlink()
    verify_fingerprint(open_dataset("data"))


def test_out_inside_its_own_source(inside: Path) -> None:
    """What a command makes is no input of it, wherever it lies; nor what a process that died left there."""
    words = "pack pictures pictures/out --sigma 0"
    assert _run(words) == 0
    assert _run(words) == 0


def test_links_in_a_circle_and_texts_too_long_for_a_path(inside: Path) -> None:
    Path("pictures/loop").symlink_to(".", target_is_directory=True)
    assert _run(f"pack pictures out --sigma 0 --name {'x' * 300}") == 0

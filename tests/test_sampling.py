"""Generating images: shared by processes, killed and gone on with, and led by a worse model."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset, read_all
from noiseworth.errors import UserError
from noiseworth.process import pieces_beside, shared_work
from noiseworth.runs.model import load_run
from noiseworth.runs.sampling import sample_run
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training


@pytest.fixture(scope="module")
def run(mixed: Path) -> Iterator[Path]:
    path = mixed.parent / "run to sample"
    config = TrainConfig(
        data=str(mixed),
        out=str(path),
        n_images=1920,
        preset="light",
        checkpoint_every=640,
        keep=3,
        labels=True,
    )
    run_training(config)
    yield path
    shutil.rmtree(path)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def _wait_for(is_there: "list[Path]", folder: Path, pattern: str) -> None:
    waited = time.monotonic()
    while not is_there and time.monotonic() < waited + 100:
        is_there += folder.glob(pattern)
        time.sleep(0.01)
    assert is_there


def test_killed_and_shared_by_two_processes_it_is_the_same_folder(run: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"n": 200, "batch": 10, "steps": 10}
    sample_run(run, tmp_path / "whole", **settings)
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    command = [
        sys.executable,
        "-m",
        "noiseworth.cli",
        "sample",
        str(run),
        str(tmp_path / "out"),
        *words,
        "--json",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    _wait_for([], tmp_path, ".out.*.pieces.partial/*.npy")
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    made = [path.stat().st_mtime_ns for path in sorted(tmp_path.glob(".out.*/*.npy"))]
    assert 1 <= len(made) < 20
    # As torchrun starts them: the second says nothing.
    ranks = [
        subprocess.Popen(
            command, env=environment | {"RANK": str(rank), "WORLD_SIZE": "2"}, stdout=subprocess.PIPE
        )
        for rank in range(2)
    ]
    said = [rank.communicate()[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert said[0].startswith(b"{")
    assert said[1] == b""
    whole = {name: content for name, content in _files(tmp_path / "whole").items() if name != ".command.json"}
    assert {n: c for n, c in _files(tmp_path / "out").items() if n != ".command.json"} == whole
    assert not list(tmp_path.glob(".*"))


def test_words_after_two_dashes_are_the_command(run: Path, tmp_path: Path) -> None:
    """torchrun takes `--n` for an option of its own unless `--` comes before the words; some versions pass that on."""
    assert main(["--", "sample", str(run), str(tmp_path / "made"), "--n", "3", "--steps", "4"]) == 0
    assert len(open_dataset(tmp_path / "made")) == 3


def test_pieces_of_other_settings_are_removed_unless_somebody_makes_them(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "made"
    with pieces_beside(out, "others") as others:
        (others / "0.npy").touch()
        sample_run(run, out, n=3, steps=4)
        assert (others / "0.npy").exists()
    sample_run(run, out, n=3, steps=4)
    shutil.rmtree(out)
    sample_run(run, out, n=3, steps=4)
    assert not others.exists()


def test_shared_work_takes_over_what_others_leave(tmp_path: Path) -> None:
    done: set[str] = set()
    mine = shared_work(["a", "b"], tmp_path, done.__contains__)
    theirs = shared_work(["a", "b"], tmp_path, done.__contains__)
    assert next(mine) == ("a", True)
    assert next(theirs) == ("b", True)
    done.add("b")
    mine.close()  # type: ignore[attr-defined] # as when a process dies
    assert list(theirs) == [("a", True)]
    done.add("a")
    assert list(shared_work(["a", "b"], tmp_path, done.__contains__)) == [("a", False), ("b", False)]


def test_guidance_leads_away_from_an_earlier_average(run: Path, tmp_path: Path) -> None:
    """At strength 0 it is the earlier model, at 1 the run's own, and at 2 the difference once more (to first order)."""
    made = {
        strength: read_all(
            sample_run(run, tmp_path / f"{strength}", n=4, steps=6, guide=640, guidance=strength)
        )
        for strength in (0.0, 2.0)
    }
    plain = read_all(sample_run(run, tmp_path / "plain", n=4, steps=6))
    assert not np.array_equal(made[2.0], plain)
    earlier = load_run(run, n_images=640)
    assert earlier.n_images == 640
    assert earlier.sha256 != load_run(run).sha256
    # The levels are chosen by the run's own measurements, so that only the weights differ.
    assert 0.01 < np.abs(made[0.0] - plain).mean() < 0.5
    away, towards = (made[2.0] - plain).ravel(), (plain - made[0.0]).ravel()
    assert np.corrcoef(away, towards)[0, 1] > 0.3
    of_class = read_all(sample_run(run, tmp_path / "class", n=4, steps=6, guide="640", guidance=2.0, label=3))
    assert not np.array_equal(of_class, made[2.0])


@pytest.mark.parametrize(
    ("settings", "answer"),
    [
        ({"guide": 640}, "changes nothing at --guidance 1"),
        ({"guide": 641, "guidance": 2.0}, "has no checkpoint of 641 images; there are 640, 1280, 1920"),
        ({"guide": 1920, "guidance": 2.0}, "is the same model"),
        ({"guide": "nowhere", "guidance": 2.0}, "nowhere"),
        ({"guidance": 2.0}, "needs a worse model"),
    ],
)
def test_wrong_guides_are_refused(run: Path, tmp_path: Path, settings: dict[str, Any], answer: str) -> None:
    with pytest.raises(UserError, match=answer):
        sample_run(run, tmp_path / "made", n=2, steps=4, **settings)
    assert not list(tmp_path.iterdir())

"""The commands that `bench/kills.py` kills, and their tiny inputs."""

import shutil
import tarfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

Run = Callable[[str], None]  # a command, which must succeed, in the folder of the inputs


@dataclass(frozen=True)
class Case:
    """A command, carried out in a folder that has the inputs beside it.

    Attributes:
        words: the command line; what it makes is called `out`.
        kills: how many of 500.
        begins_with: an input that is copied to `out` before, since the command writes into it.
        tells_times: whether it prints how long it took.
        has_cache: whether the features that it needs were computed before.
    """

    words: str
    kills: int
    begins_with: str = ""
    tells_times: bool = False
    has_cache: bool = False

    @property
    def name(self) -> str:
        """For people, and for a folder."""
        return self.words.split(" --")[0].replace("/", "-").replace(" ", "-")


TRAIN = "--n-images 320 --batch 32 --checkpoint-every 64 --device cpu"
GRID = "--data some --held-out few --clean 60 --noisy 0,100 --n-images 160"
CASES = [
    Case("pack pictures out --sigma clean/=0,noisy/=0.2 --held-out 40", 30),
    Case("pack pictures.tar out --sigma 0 --part-images 100", 30),
    Case("corrupt digits/train out --clean-fraction 0.1 --sigma 0.5", 30),
    Case("join digits/train digits/held-out out", 30),
    Case("split digits/train out --held-out 100", 30),
    Case("subset digits/train out --take 200", 30),
    Case("unpack digits/held-out out", 30),
    Case("ema run out --sigma-rel 0.08", 30),
    Case("features train digits/train out --kind pca", 30),
    Case("sweep plan --out out --data digits/train --held-out digits/held-out --total 200", 30),
    Case("sample run out --n 16 --steps 4", 30),
    Case(
        f"train --data mixed --out out --held-out few --monitor-every 160 {TRAIN} --power-ema [0.05,0.1]",
        40,
        tells_times=True,
    ),
    Case(
        "evaluate out --against some --held-out few --features pca --n 24 --steps 3 --page out/page.html",
        30,
        begins_with="run",
    ),
    Case("recipe recipe.yaml --out out", 35, tells_times=True),
    Case("report run other --out out/page.html", 30),
    Case("sweep run out --jobs 1", 25, begins_with="sweep", tells_times=True),
    Case("demo --out out --n-images 128 --n-generated 6", 10, tells_times=True, has_cache=True),
]


def make_inputs(folder: Path, run: Run) -> None:
    """The inputs of all cases."""
    run("pack sklearn:digits digits --sigma 0 --held-out 297")
    run("subset digits/train some --take 200")
    run("subset digits/held-out few --take 40")
    run("corrupt some mixed --clean-fraction 0.2 --sigma 0.5")
    run("unpack digits/held-out files")
    pictures = sorted((folder / "files").glob("*.png"))
    for number, picture in enumerate(pictures):
        target = folder / "pictures" / ("noisy" if number % 3 else "clean") / picture.name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(picture, target)
    with tarfile.open(folder / "pictures.tar", "w") as archive:
        archive.add(folder / "files", "files", filter=lambda m: m if m.isdir() or ".png" in m.name else None)
    for out, seed in (("run", "0"), ("other", "1")):
        run(f"train --data mixed --out {out} --seed {seed} {TRAIN} --power-ema [0.05,0.1]")
        run(f"evaluate {out} --against some --features pca --n 24 --steps 3")
    shutil.rmtree(folder / "run" / "samples")
    run(f"sweep plan --out sweep {GRID} --train '{{batch: 32, checkpoint_every: 64, keep: 1}}'")
    shutil.rmtree(folder / "cache")
    run("demo --out demo --n-images 128 --n-generated 6")
    shutil.rmtree(folder / "demo")
    (folder / "recipe.yaml").write_text(
        "source: pictures.tar\npack: {sigma: 0.0, held_out: 60}\nuse: train\n"
        "corrupt: {clean_fraction: 0.1, sigma: 0.5}\n"
        "train: {n_images: 320, batch: 32, checkpoint_every: 64, monitor_every: 0, device: cpu}\n"
    )

"""A pipeline for own images, as somebody with a microscope would run it: `python bench/own_images.py`. Ten minutes.

Makes a folder `clean/` and `noisy/` of 8-bit pictures whose noise was clipped, and a 16-bit TIFF stack of the
same kind; then only commands of the README and docs/data.md. Writes into `results/data.json`.
"""

import argparse
import contextlib
import csv
import io
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from checks import Checklist
from noiseworth.cli import main as noiseworth

SIGMA = 0.3  # in model units
CLEAN, NOISY = 400, 1300


class Commands:
    """Runs commands, and keeps what is wrong with how they end."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.count = 0

    def __call__(self, line: str, code: int = 0) -> str:
        """Run a command line in the working directory; returns what it printed."""
        self.count += 1
        printed, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(errors):
            ended = noiseworth(line.split())
        if ended != code:
            self.faults.append(f"{line}: exit code {ended}, not {code}: {errors.getvalue()[-300:]}")
        return printed.getvalue()

    def json(self, line: str) -> Any:
        """The JSON that a command prints; nothing where it fails."""
        printed = self(line)
        return json.loads(printed) if printed.startswith(("{", "[")) else {}

    def require(self, what: str, holds: bool) -> None:
        """Note what does not hold."""
        self.count += 1
        if not holds:
            self.faults.append(what)


def make_images() -> None:
    """`scope/clean` and `scope/noisy` (8 bits, clipped), and `stack.tif` (16 bits) with `stack.csv`, which says which page is of which
    patient and noise."""
    import tifffile

    rng = np.random.default_rng(0)
    digits = load_digits().images[: CLEAN + NOISY] * (255 / 16)
    noise = rng.normal(size=digits.shape) * SIGMA * 127.5
    for i, image in enumerate(digits):
        kind = "clean" if i < CLEAN else "noisy"
        path = Path("scope") / kind / f"{i:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = image if kind == "clean" else image + noise[i]
        Image.fromarray(np.rint(pixels).clip(0, 255).astype(np.uint8)).save(path)
    noise[:CLEAN] = 0
    stack = np.rint(20_000 + 40 * (digits + noise)).astype(np.uint16)
    tifffile.imwrite("stack.tif", stack, photometric="minisblack")
    with Path("stack.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "name", "sigma", "group"])
        for i in range(len(stack)):
            writer.writerow([i, f"stack.tif: page {i}", 0 if i < CLEAN else SIGMA, f"patient {i // 10}"])


def train_and_evaluate(run: Commands, n_images: int) -> None:
    """From the folder to a model that is measured, shared, lengthened and begun from."""
    run(f"pack scope data/scope --sigma clean/=0,noisy/={SIGMA}")
    run("split data/scope data/halves --held-out 0.1 --by-noise")
    train = "train --data data/halves/train --preset digits --batch 64 --monitor-every 0"
    run(f"{train} --out runs/a --n-images {n_images}")
    result = run.json("evaluate runs/a --against data/halves/held-out --n 200 --json")
    run.require("evaluate --against a mixed set gives a distance", result.get("frechet_distance", 0) > 0)
    run(f"{train} --out runs/a --n-images {n_images + 6400}")
    run(f"{train} --out runs/b --n-images 6400 --init runs/a")
    run("unpack data/scope files/scope")
    run("pack files/scope data/again --sigma files/scope/images.csv")
    for name in ("below", "optimizer", "model"):
        for file in Path("runs/a/checkpoints").glob(f"*/{name}.safetensors"):
            file.unlink()
    run("sample runs/a data/samples --n 16")
    run("unpack data/samples files/samples")
    run.require("samples come out as 8-bit PNG files", len(list(Path("files/samples").glob("*.png"))) == 16)


def all_noisy(run: Commands) -> None:
    """Only noisy images: trained, and measured on noisy held-out ones."""
    run(f"pack scope/noisy data/noisy --sigma {SIGMA} --held-out 200")
    run(
        "train --data data/noisy/train --held-out data/noisy/held-out --out runs/noisy --preset digits --batch 64 --n-images 12800"
    )
    result = run.json(
        "evaluate runs/noisy --against data/noisy/train --held-out data/noisy/held-out --n 200 --json"
    )
    run.require("the risk is measured on noisy images, and says so", bool(result.get("risk_on_noisy")))


def stack_and_price(run: Commands, n_images: int) -> dict[str, Any]:
    """The TIFF stack, with its patients kept together; a sweep over its own noisy images; a price and a plan."""
    run("pack stack.tif data/stack --sigma stack.csv --range 20000 30200 --held-out 400 --groups stack.csv")
    run("subset data/stack/held-out data/test --use clean")
    run(
        "sweep plan --out sweep --data data/stack/train --held-out data/test --clean 30,100,300 --noisy 0,100,300,900"
        f" --sigma {SIGMA} --n-images {n_images} --seeds 2"
    )
    run("sweep run sweep")
    run("sweep collect sweep")
    return {
        "law": run.json("fit sweep --json"),
        "price": run.json(f"price sweep --sigma {SIGMA} --json"),
        "plan": run.json(
            f"plan sweep --budget 1000 --clean-price 1 --noisy-price 0.1 --sigma {SIGMA} --json"
        ),
    }


def correct_a_recipe(run: Commands) -> None:
    """A recipe that fails is corrected, and goes on."""
    recipe = (
        "source: scope\npack: {{sigma: 'clean/=0,noisy/={sigma}'}}\nuse: ''\n"
        "train: {{preset: digits, n_images: {n}, batch: 64, monitor_every: 0}}\n"
    )
    Path("mine.yaml").write_text(recipe.format(sigma="-1", n=640))
    run("recipe mine.yaml --out recipe", 2)
    Path("mine.yaml").write_text(recipe.format(sigma=SIGMA, n=1280))
    run("recipe mine.yaml --out recipe")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--n-images", type=int, default=25_600, help="images seen by each training of the sweep"
    )
    options = parser.parse_args()
    run, data = Commands(), {}
    with tempfile.TemporaryDirectory(prefix="noiseworth-bench-") as folder, contextlib.chdir(folder):
        make_images()
        train_and_evaluate(run, options.n_images)
        all_noisy(run)
        correct_a_recipe(run)
        data = stack_and_price(run, options.n_images)
    checklist = Checklist("python bench/own_images.py")
    print("\n".join(run.faults))
    checklist.add(
        "data/own-images",
        "commands and conditions of a pipeline for own images",
        run.count,
        25,
        "min",
        "steps",
    )
    checklist.add(
        "data/own-images", "those that did not end as they should", len(run.faults), 0, "max", "steps"
    )
    checklist.update("data.json", data | {"faults": run.faults})


if __name__ == "__main__":
    main()

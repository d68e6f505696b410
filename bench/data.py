"""Data: how fast it comes in and out, and whether it is right: `python bench/data.py --cifar cifar10-jpeg.tar.xz`.

Line 1 packs CIFAR-10 as JPEG and Debian's Fashion-MNIST; line 2 reads at random from 10 GB, and measures how long training waits for
its batches; lines 3 and 4 run the tests, and fill a real small disk (as root). Writes `results/data.json` and the table of
`docs/data.md`. About 5 minutes on two cores, and 10 GB on the disk meanwhile.
"""

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch

import pages
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.writer import Columns, ImageWriter, Part, part_folder, write_dataset
from noiseworth.records import Check, Results, machine, now, to_json, versions, write_atomically
from noiseworth.train.config import TrainConfig
from noiseworth.train.loop import Trainer

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "results" / "data.json"
ISSUE, COMMAND = 2, "python bench/data.py"
SHAPE, GIGABYTES = (3, 64, 64), 10


def command(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "noiseworth.cli", *words], capture_output=True, text=True, check=False)


def pack_cifar(archive: Path, work: Path) -> dict[str, Any]:
    """All 60,000 pictures, by the command line, with its start."""
    began = time.perf_counter()
    done = command("pack", str(archive), str(work / "cifar"), "--sigma", "0", "--splits")
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    train, test = (open_dataset(work / "cifar" / split) for split in ("train", "test"))
    labels = train.labels is not None and test.labels is not None and len(np.unique(train.labels)) == 10
    return {"seconds": seconds, "train": len(train), "test": len(test), "labels": bool(labels), "shape": train.shape}


def fashion_is_exact(folder: Path, work: Path) -> bool:
    """Against the files' own bytes, read here without any of the package's code."""
    pack(str(folder), work / "fashion", sigma=0.0, splits=True)
    same = True
    for split, name in (("train", "train"), ("test", "t10k")):
        found = open_dataset(work / "fashion" / split)
        pixels, labels = (
            gzip.decompress((folder / f"{name}-{kind}-ubyte.gz").read_bytes())[skip:]
            for kind, skip in (("images-idx3", 16), ("labels-idx1", 8))
        )
        rows = np.arange(len(found))
        same &= found.read_raw(rows, "uint8").tobytes() == pixels and found.labels is not None
        same &= found.labels is not None and found.labels.astype(np.uint8).tobytes() == labels
    return same


def make_large(work: Path) -> Path:
    """10 GB of float16 images."""
    place = work / "large"
    if not place.exists():
        count = GIGABYTES * 10**9 // (2 * int(np.prod(SHAPE)))
        part_folder(place, 0).mkdir(parents=True)
        writer = ImageWriter(part_folder(place, 0) / "images.npy", SHAPE, "float16")
        block = np.random.default_rng(0).standard_normal((1000, *SHAPE), dtype=np.float32).astype(np.float16)
        while writer.count < count:
            block[:, 0, 0, 0] = np.float16(writer.count % 60_000)
            writer.add(block[: count - writer.count])
        writer.close()
        columns = Columns(np.zeros(count, np.float32), np.arange(count))
        write_dataset(place, [Part(columns)], name="large", offset=0.0, scale=1.0, units="raw", provenance=[])
    return place


def read_at_random(place: Path) -> None:
    """In this process: images a second, and its memory; on one core."""
    torch.set_num_threads(1)
    data = open_dataset(place)
    with (place / "part-00000" / "images.npy").open("rb") as file:  # warm: everything is in the system's memory
        while file.read(1 << 26):
            pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rng, batch, rates = np.random.default_rng(1), 256, []
    for _ in range(5):
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < 3:
            data.read_raw(rng.integers(0, len(data), batch), "float16")
            count += batch
        rates.append(count / (time.perf_counter() - began))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(np.median(rates), min(rates), max(rates), len(data), before, after)


def waiting(data: Path, preset: str, batch: int, steps: int, work: Path) -> dict[str, float]:
    """Share of a step's time that is spent waiting for its pairs and images."""
    config = TrainConfig(
        data=str(data), out=str(work / f"run-{preset}"), preset=preset, batch=batch, n_images=batch * steps, device="cpu"
    )
    trainer = Trainer(config)
    waited = [0.0]
    inner = trainer.feed.next

    def timed(ids: torch.Tensor, batch: int, steps: int) -> Any:
        began = time.perf_counter()
        found = inner(ids, batch, steps)
        waited[0] += time.perf_counter() - began
        return found

    trainer.feed.next = timed  # type: ignore[method-assign]
    running = trainer.steps()
    for _ in range(2):  # the first steps are slower
        next(running)
    began, waited[0] = time.perf_counter(), 0.0
    for _ in running:
        pass
    total = time.perf_counter() - began
    return {"share": waited[0] / total, "step_seconds": total / (steps - 2)}


def full_disk(work: Path) -> str:
    """What packing says on a disk of 1 MB; empty if none can be mounted."""
    disk = work / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True, check=False).returncode:
        return ""
    try:
        np.save(work / "big.npy", np.zeros((3000, 1, 32, 32), np.uint8))
        (disk / "mine").write_text("keep")
        done = command("pack", str(work / "big.npy"), str(disk / "out"), "--sigma", "0")
        left = sorted(p.name for p in disk.iterdir())
        fine = done.returncode == 2 and done.stderr.count("\n") == 1 and left == ["mine"] and (disk / "mine").read_text() == "keep"
        return done.stderr.strip().replace(str(work), "") if fine else f"FAILED {left} {done.stderr}"
    finally:
        subprocess.run(["umount", str(disk)], check=False)


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cifar", type=Path, required=True, help="cifar10-jpeg.tar.xz: train/CLASS/NNNN.jpg, test/CLASS/NNNN.jpg")
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read_at_random(arguments.read)
        return
    made: list[Check] = []

    def check(line: int, what: str, value: float, unit: str, bound: float, way: Literal["max", "min"], command: str = COMMAND) -> None:
        made.append(Check(ISSUE, line, what, round(value, 6), unit, bound, way, command))
        print(f"line {line}: {what}: {value:.6g} ({way} {bound:g}) {'' if made[-1].holds else 'FELL SHORT'}", flush=True)

    with tempfile.TemporaryDirectory(prefix="noiseworth-bench-") as folder:
        work = Path(folder)
        cifar = pack_cifar(arguments.cifar, work)
        check(1, "CIFAR-10 as JPEG in a tar.xz: images packed in two splits", cifar["train"] + cifar["test"], "images", 60_000, "min")
        check(1, "the same: seconds, start of the command included", cifar["seconds"], "s", 60, "max")
        check(1, "the same: ten labels in both splits", float(cifar["labels"]), "yes", 1, "min")
        check(
            1,
            "Debian's Fashion-MNIST: pixels and labels bit for bit",
            float(fashion_is_exact(arguments.fashion, work)),
            "yes",
            1,
            "min",
        )

        place = make_large(work)
        text = subprocess.run(
            [sys.executable, __file__, "--cifar", "x", "--read", str(place)], capture_output=True, text=True, check=True
        )
        rate, slowest, fastest, count, before, after = map(float, text.stdout.split())
        what = f"random reads of 64x64x3 float16, {count:,.0f} of 10 GB, warm, one core ({slowest:,.0f} to {fastest:,.0f} in 5 runs)"
        check(2, what, rate, "images/s", 100_000, "min")
        check(2, f"resident memory while reading ({before:.0f} MB of it before)", after, "MB", 500, "max")
        pack("sklearn:digits", work / "digits", sigma=0.0, held_out=297)
        corrupt(work / "digits" / "train", work / "mixed8", clean_fraction=0.1, sigma=0.5)
        corrupt(work / "cifar" / "train", work / "mixed32", clean_fraction=0.1, sigma=0.2)
        waits = {"8x8": waiting(work / "mixed8", "digits", 128, 200, work), "32x32": waiting(work / "mixed32", "mini", 64, 40, work)}
        for size, found in waits.items():
            check(
                2,
                f"share of a training step spent waiting for its batch, {size} ({found['step_seconds'] * 1000:.0f} ms)",
                found["share"],
                "ratio",
                0.03,
                "max",
            )

        if said := full_disk(work):
            what = f"a disk of 1 MB runs full: one line, exit code 2, nothing left, nothing else touched ({said})"
            check(3, what, float("FAILED" not in said), "yes", 1, "min")
    for line, tests in (
        (3, "tests/test_sources.py tests/test_data.py tests/test_cli.py tests/test_recipes.py"),
        (4, "tests/test_loader.py tests/test_data.py tests/test_views.py"),
    ):
        what = {
            3: "every kind of bad input: one line, exit code 2, nothing left",
            4: "property tests: images, sigma, order for 1, 2, 4 ranks and 0 or 4 workers",
        }[line]
        passed = subprocess.run([sys.executable, "-m", "pytest", *tests.split()], cwd=ROOT, check=False).returncode == 0
        check(line, what, float(passed), "yes", 1, "min", f"pytest {tests}")
    results = Results("issue 2: data", COMMAND, now(), machine(), versions(), 0, made, {"cifar": cifar, "waiting": waits})
    write_atomically(RESULTS, to_json(results) + "\n")
    pages.put("data.md", "results: bench/data.py writes them", pages.check_rows(made))


if __name__ == "__main__":
    main()

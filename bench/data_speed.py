"""How quickly images come in and are read, beside an earlier checkout, and at scale: `python bench/data_speed.py`.

Both checkouts run in turn, three times each, by this Python with one thread; ratios are of medians. Then a
folder of 100,000 small PNG files, and a data set of 1,200 parts where a process may open 1,024 files. Writes
into `results/data.json`.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

import numpy as np
from PIL import Image

import noiseworth as nw
from checks import Checklist
from processes import ROOT

ROUNDS = 3
PACK = """
import sys, time
from noiseworth.data.pack import pack
began = time.monotonic()
pack(sys.argv[1], sys.argv[2], sigma=0.0, splits=True)
print(time.monotonic() - began)
"""
READ = """
import sys, time
import numpy as np
from noiseworth.data.dataset import open_dataset
data, rng = open_dataset(sys.argv[1]), np.random.default_rng(0)
rows = [rng.integers(0, len(data), 64) for _ in range(3000)]
began = time.monotonic()
for some in rows:
    data.read(some)
print(64 * len(rows) / (time.monotonic() - began))
"""


def measure(checkout: Path, code: str, *words: str) -> float:
    """What a piece of code prints, run with the package of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-P", "-c", code, *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def compare(checklist: Checklist, before: Path, cifar: Path, work: Path) -> dict[str, dict[str, list[float]]]:
    """Packing an archive, and random reads, by both checkouts in turn."""
    images = np.random.default_rng(0).integers(0, 256, (40_000, 3, 64, 64), dtype=np.uint8)
    np.save(work / "large.npy", images)
    nw.pack(work / "large.npy", work / "large", sigma=0.0, axes="NCHW")
    times: dict[str, dict[str, list[float]]] = {"pack": {}, "read": {}}
    for number in range(ROUNDS):
        for name, checkout in (("before", before), ("present", ROOT)):
            out = str(work / f"{name}-{number}")
            times["pack"].setdefault(name, []).append(measure(checkout, PACK, str(cifar), out))
            times["read"].setdefault(name, []).append(measure(checkout, READ, str(work / "large")))
    packing, reading = ({k: statistics.median(v) for k, v in of.items()} for of in times.values())
    what = f"seconds for 60,000 JPEG files from a tar.xz ({packing['present']:.1f} s) over those before"
    checklist.add("data/speed", what, packing["present"] / packing["before"], 1.1, "max", "ratio")
    what = f"random images/s of 64x64x3 ({reading['present']:,.0f}) over those before"
    checklist.add("data/speed", what, reading["present"] / reading["before"], 0.9, "min", "ratio")
    return times


def scale(checklist: Checklist, work: Path) -> None:
    """Many files, and many parts."""
    folder = work / "many"
    rng = np.random.default_rng(0)
    for i in range(100):
        (folder / f"{i:03}").mkdir(parents=True)
        for j in range(1000):
            Image.fromarray(rng.integers(0, 256, (16, 16), dtype=np.uint8)).save(
                folder / f"{i:03}" / f"{j:03}.png"
            )
    began = monotonic()
    record = nw.pack(folder, work / "packed", sigma=0.0, labels="none")[0]
    seconds = monotonic() - began
    checklist.add(
        "data/speed",
        "images packed from a folder of 100,000 PNG files",
        record.count,
        100_000,
        "min",
        "images",
    )
    checklist.add("data/speed", "the same: seconds", seconds, 120, "max", "s")
    np.save(work / "x.npy", rng.integers(0, 256, (12_000, 3, 16, 16), dtype=np.uint8))
    nw.pack(work / "x.npy", work / "parts", sigma=0.0, part_images=10, axes="NCHW")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, 1024))
    began = monotonic()
    nw.inspect_dataset(work / "parts")
    nw.split(work / "parts", work / "split", held_out=0.1)
    nw.join([work / "split" / "train", work / "split" / "held-out"], work / "joined")
    nw.inspect_dataset(work / "joined")
    what = "seconds to inspect, split, join and inspect 1,200 parts, with 1,024 open files at most"
    checklist.add("data/speed", what, monotonic() - began, 60, "max", "s")


def main() -> None:
    """See above."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", type=Path, required=True, help="an earlier checkout")
    parser.add_argument(
        "--cifar", type=Path, required=True, help="cifar10-jpeg.tar.xz: train/CLASS/NNNN.jpg, ..."
    )
    options = parser.parse_args()
    checklist = Checklist("python bench/data_speed.py")
    with tempfile.TemporaryDirectory(prefix="noiseworth-bench-") as folder:
        times = compare(checklist, options.before, options.cifar, Path(folder))
        scale(checklist, Path(folder))
    checklist.update("data.json", {"seconds and images/s": times})


if __name__ == "__main__":
    main()

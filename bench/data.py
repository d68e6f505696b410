"""Data: how fast it is read and written, and whether it is right: `python bench/data.py --cifar ARCHIVE`.

- Real data sets: CIFAR-10 as JPEG (ARCHIVE is cifar10-jpeg.tar.xz) and Debian's Fashion-MNIST are packed.
- Reading: random reads from 10 GB, and the time for which training waits for its batches.
- Bad input and properties: the tests, and a real small disk that runs full (as root).

Writes `results/data.json` and the table of `docs/data.md`; `--page` rewrites the table from the results that
are there. About 5 minutes on two cores, and 10 GB on the disk meanwhile.
"""

import argparse
import gzip
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

import pages
from checks import RESULTS, Check, Checklist, Results, table_rows
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.writer import Columns, ImageWriter, Part, part_folder, write_dataset
from noiseworth.records import load_record
from noiseworth.train.config import TrainConfig
from noiseworth.train.trainer import Trainer
from processes import noiseworth, small_disk, tests_pass

FILE = "data.json"
SHAPE = (3, 64, 64)
GIGABYTES = 10


def pack_cifar(archive: Path, work: Path) -> dict[str, Any]:
    """Pack all 60,000 images by the command line; the start of the command is part of the time."""
    began = time.perf_counter()
    done = noiseworth("pack", str(archive), str(work / "cifar"), "--sigma", "0", "--splits")
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr)
    train, test = (open_dataset(work / "cifar" / split) for split in ("train", "test"))
    has_labels = train.labels is not None and test.labels is not None and len(np.unique(train.labels)) == 10
    return {
        "seconds": seconds,
        "train": len(train),
        "test": len(test),
        "labels": bool(has_labels),
        "shape": train.shape,
    }


def fashion_is_exact(folder: Path, work: Path) -> bool:
    """Whether packed images and labels equal the files' bytes, which are read without the package's code."""
    pack(str(folder), work / "fashion", sigma=0.0, splits=True)
    same = True
    for split, name in (("train", "train"), ("test", "t10k")):
        packed = open_dataset(work / "fashion" / split)
        pixels = gzip.decompress((folder / f"{name}-images-idx3-ubyte.gz").read_bytes())[16:]
        labels = gzip.decompress((folder / f"{name}-labels-idx1-ubyte.gz").read_bytes())[8:]
        same &= packed.read_raw(np.arange(len(packed)), "uint8").tobytes() == pixels
        same &= packed.labels is not None and packed.labels.astype(np.uint8).tobytes() == labels
    return same


def check_real_data_sets(checklist: Checklist, cifar: Path, fashion: Path, work: Path) -> dict[str, Any]:
    """Pack CIFAR-10 and Fashion-MNIST; returns what was measured on the first."""
    claim = "data/real-data-sets"
    packed = pack_cifar(cifar, work)
    what = "CIFAR-10 as JPEG in a tar.xz: images packed in two splits"
    checklist.add(claim, what, packed["train"] + packed["test"], 60_000, "min", "images")
    what = "the same: seconds, start of the command included"
    checklist.add(claim, what, packed["seconds"], 60, "max", "s")
    checklist.yes(claim, "the same: ten labels in both splits", packed["labels"])
    is_exact = fashion_is_exact(fashion, work)
    checklist.yes(claim, "Debian's Fashion-MNIST: pixels and labels bit for bit", is_exact)
    return packed


def make_large(directory: Path) -> None:
    """A data set of 10 GB, in float16."""
    if directory.exists():
        return
    count = GIGABYTES * 10**9 // (2 * int(np.prod(SHAPE)))
    part_folder(directory, 0).mkdir(parents=True)
    writer = ImageWriter(part_folder(directory, 0) / "images.npy", SHAPE, "float16")
    block = np.random.default_rng(0).standard_normal((1000, *SHAPE), dtype=np.float32).astype(np.float16)
    while writer.count < count:
        block[:, 0, 0, 0] = np.float16(writer.count % 60_000)
        writer.add(block[: count - writer.count])
    writer.close()
    part = Part(Columns(np.zeros(count, np.float32), np.arange(count)))
    write_dataset(
        directory,
        [part],
        name="large",
        offset=0.0,
        scale=1.0,
        units="raw",
        provenance=[{"command": "bench/data.py"}],
    )


def read_at_random(directory: Path) -> None:
    """On one core, in this process: print images a second, the number of images, memory before and after."""
    torch.set_num_threads(1)
    data = open_dataset(directory)
    with (directory / "part-00000" / "images.npy").open("rb") as file:
        while file.read(1 << 26):  # warm: everything is in the system's memory
            pass
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rng = np.random.default_rng(1)
    batch = 256
    rates = []
    for _ in range(5):
        count = 0
        began = time.perf_counter()
        while time.perf_counter() - began < 3:
            data.read_raw(rng.integers(0, len(data), batch), "float16")
            count += batch
        rates.append(count / (time.perf_counter() - began))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(np.median(rates), min(rates), max(rates), len(data), before, after)


def measure_waiting(data: Path, preset: str, batch: int, steps: int, work: Path) -> dict[str, float]:
    """Share of a training step's time that is spent waiting for its pairs and images."""
    config = TrainConfig(
        data=str(data),
        out=str(work / f"run-{preset}"),
        preset=preset,
        batch=batch,
        n_images=batch * steps,
        device="cpu",
    )
    trainer = Trainer(config)
    waited = 0.0
    inner = trainer.prefetcher.next

    def timed(ids: torch.Tensor, batch: int, steps: int) -> Any:
        nonlocal waited
        began = time.perf_counter()
        batch_of_pairs = inner(ids, batch, steps)
        waited += time.perf_counter() - began
        return batch_of_pairs

    trainer.prefetcher.next = timed  # type: ignore[method-assign]
    running = trainer.steps()
    for _ in range(2):  # the first steps are slower
        next(running)
    waited = 0.0
    began = time.perf_counter()
    for _ in running:
        pass
    total = time.perf_counter() - began
    return {"share": waited / total, "step_seconds": total / (steps - 2)}


def check_reading(checklist: Checklist, work: Path) -> dict[str, dict[str, float]]:
    """Random reads, and waiting in training; returns what was measured of the waiting, by image size."""
    claim = "data/reading"
    large = work / "large"
    make_large(large)
    reader = [sys.executable, __file__, "--read", str(large)]
    text = subprocess.run(reader, capture_output=True, text=True, check=True).stdout
    rate, slowest, fastest, count, before, after = map(float, text.split())
    spread = f"{slowest:,.0f} to {fastest:,.0f} in 5 runs"
    what = f"random reads of 64x64x3 float16, {count:,.0f} images of 10 GB, warm, one core ({spread})"
    checklist.add(claim, what, rate, 100_000, "min", "images/s")
    what = f"resident memory while reading ({before:.0f} MB of it before)"
    checklist.add(claim, what, after, 500, "max", "MB")
    pack("sklearn:digits", work / "digits", sigma=0.0, held_out=297)
    corrupt(work / "digits" / "train", work / "mixed8", clean_fraction=0.1, sigma=0.5)
    corrupt(work / "cifar" / "train", work / "mixed32", clean_fraction=0.1, sigma=0.2)
    waiting = {
        "8x8": measure_waiting(work / "mixed8", "digits", 128, 200, work),
        "32x32": measure_waiting(work / "mixed32", "mini", 64, 40, work),
    }
    for size, times in waiting.items():
        step = f"{size} ({times['step_seconds'] * 1000:.0f} ms)"
        what = f"share of a training step spent waiting for its batch, {step}"
        checklist.add(claim, what, times["share"], 0.03, "max", "ratio")
    return waiting


def fill_disk(work: Path) -> tuple[bool, str] | None:
    """Pack on a disk of 1 MB: whether it ends as it should, and its message. None if none can be mounted."""
    disk = work / "disk"
    with small_disk(disk, "1m") as is_mounted:
        if not is_mounted:
            return None
        np.save(work / "big.npy", np.zeros((3000, 1, 32, 32), np.uint8))
        (disk / "mine").write_text("keep")
        done = noiseworth("pack", str(work / "big.npy"), str(disk / "out"), "--sigma", "0")
        left = sorted(path.name for path in disk.iterdir())
        is_one_line = done.returncode == 2 and done.stderr.count("\n") == 1
        is_untouched = left == ["mine"] and (disk / "mine").read_text() == "keep"
        return is_one_line and is_untouched, done.stderr.strip().replace(str(work), "")


def check_bad_input(checklist: Checklist, work: Path) -> None:
    """A full disk, and the tests of everything else that can be wrong."""
    claim = "data/bad-input"
    filled = fill_disk(work)
    if filled is not None:
        is_right, message = filled
        what = "a disk of 1 MB runs full: one line, exit code 2, nothing left, nothing else touched"
        checklist.yes(claim, f"{what} ({message})", is_right)
    tests = "tests/test_sources.py tests/test_data.py tests/test_cli.py tests/test_recipes.py"
    what = "every kind of bad input: one line, exit code 2, nothing left"
    checklist.yes(claim, what, tests_pass(tests), f"pytest {tests}")


def check_properties(checklist: Checklist) -> None:
    """The tests of properties."""
    tests = "tests/test_loader.py tests/test_data.py tests/test_views.py"
    what = "property tests: images, sigma, order for 1, 2, 4 ranks and 0 or 4 workers"
    checklist.yes("data/properties", what, tests_pass(tests), f"pytest {tests}")


def check_cases(checklist: Checklist) -> None:
    """Every kind of file or option that was read wrongly, or not at all, once: values against the formats' own libraries."""
    kinds = {
        "tables and rules": "tests/test_tables.py",
        "orientation, alpha, frames": "tests/test_pictures.py",
        "bits of pictures": "tests/test_deep_pictures.py",
        "TIFF: pages, sets, gaps, tags": "tests/test_tiff.py",
        "axes": "tests/test_axes.py",
        "FITS, MRC, NIfTI": "tests/test_scientific.py",
        "DICOM": "tests/test_dicom.py",
        "HDF5 and Zarr": "tests/test_hdf5_zarr.py",
        "64-bit values": "tests/test_rounding.py",
        "archives, what is left out, labels": "tests/test_archives.py",
        "options": "tests/test_options.py",
        "out again, groups": "tests/test_unpack.py",
    }
    for kind, tests in kinds.items():
        checklist.yes("data/cases", kind, tests_pass(tests), f"pytest {tests}")


def write_page(checks: list[Check]) -> None:
    """The table of `docs/data.md`."""
    pages.put("data.md", "results: bench/data.py writes them", table_rows(checks))


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "--cifar",
        type=Path,
        help="cifar10-jpeg.tar.xz: train/CLASS/NNNN.jpg, test/CLASS/NNNN.jpg; needed to measure",
    )
    parser.add_argument("--fashion", type=Path, default=Path("/usr/share/datasets/fashion-mnist"))
    parser.add_argument("--page", action="store_true", help="rewrite the page from the results, and stop")
    parser.add_argument("--cases", action="store_true", help="measure the claim of cases alone")
    parser.add_argument("--read", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.read:
        read_at_random(arguments.read)
        return
    if arguments.page:
        write_page(load_record(Results, RESULTS / FILE).checks)
        return
    if arguments.cases:
        checklist = Checklist("python bench/data.py --cases")
        check_cases(checklist)
        checklist.update(FILE)
        write_page(load_record(Results, RESULTS / FILE).checks)
        return
    if arguments.cifar is None:
        parser.error("--cifar is needed to measure")
    checklist = Checklist("python bench/data.py")
    with tempfile.TemporaryDirectory(prefix="noiseworth-bench-") as folder:
        work = Path(folder)
        cifar = check_real_data_sets(checklist, arguments.cifar, arguments.fashion, work)
        waiting = check_reading(checklist, work)
        check_bad_input(checklist, work)
    check_properties(checklist)
    check_cases(checklist)
    checklist.update(FILE, {"cifar": cifar, "waiting": waiting})
    write_page(load_record(Results, RESULTS / FILE).checks)


if __name__ == "__main__":
    main()

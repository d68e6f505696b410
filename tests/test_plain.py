"""A plain install, without extras: what it lacks is named with the extra that has it, and what it can do works."""

import subprocess
import sys
from pathlib import Path

import pytest

plain = pytest.importorskip("plain")

# What the extras `formats` and `hub` bring, and nothing else needs.
EXTRAS = [
    "tifffile",
    "imagecodecs",
    "h5py",
    "zarr",
    "astropy",
    "mrcfile",
    "nibabel",
    "pydicom",
    "datasets",
    "pyarrow",
    "fsspec",
]


def test_every_format_that_is_missing_is_named_with_its_extra(tmp_path: Path) -> None:
    """Claim data/plain; `bench/plain.py` asks the same of a wheel in an environment of its own."""
    pytest.importorskip("tifffile")
    blocked = f"import sys\nfor name in {EXTRAS}: sys.modules[name] = None\n"  # as if it was not installed
    files = plain.write_files(tmp_path)
    command = [sys.executable, "-c", blocked + plain.PACK_EACH, *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert plain.wrong(done.stdout) == []

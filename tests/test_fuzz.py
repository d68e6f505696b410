"""A part of `bench/fuzz.py` that takes seconds: damaged inputs of every kind, and extreme values of options."""

import pytest


def test_damaged_inputs_and_extreme_options_end_in_one_line() -> None:
    """Claim data/fuzz."""
    for package in ("h5py", "mrcfile", "nibabel", "pyarrow", "tifffile", "astropy", "pydicom"):
        pytest.importorskip(package)
    fuzz = pytest.importorskip("fuzz")
    assert fuzz.faults_of(range(20_000, 20_240)) == []

"""Shared fixtures: small packed data sets and a mixture whose posterior is known in closed form."""

import os
from pathlib import Path

import pytest
import torch

from noise_exact import MIXTURE
from noiseworth.data.corrupt import corrupt
from noiseworth.data.pack import pack
from noiseworth.theory.mixtures import GaussianMixture

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # a core each: two processes of two threads on two cores are many times slower
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that an earlier test, or its user, computed."""
    monkeypatch.setenv("NOISEWORTH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`digits/train` (1,500 clean) and `digits/held-out` (297)."""
    folder = tmp_path_factory.mktemp("data") / "digits"
    pack("sklearn:digits", folder, sigma=0.0, held_out=297)
    return folder


@pytest.fixture(scope="session")
def mixed(digits: Path) -> Path:
    """150 clean digits and 1,350 with sigma 0.5."""
    corrupt(digits / "train", digits.parent / "mixed", clean_fraction=0.1, sigma=0.5)
    return digits.parent / "mixed"


@pytest.fixture(scope="session")
def mixture() -> GaussianMixture:
    """Three components in four dimensions, i.e. 1x2x2 images."""
    return MIXTURE

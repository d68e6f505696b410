"""Values that float32 does not hold exactly: rounded where it is next to nothing, or refused with how much."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from noiseworth.data.pack import pack
from noiseworth.data.sources.source import Reading, stored
from noiseworth.errors import UserError
from packing import measured, provenance

RNG = np.random.default_rng(17)
WHOLE = RNG.integers(0, 4096, (4, 20, 22), dtype=np.uint16)


@pytest.mark.parametrize("form", ["npy", "fits", "tif", "nii"])
@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_doubles_are_rounded_where_it_is_next_to_nothing(tmp_path: Path, form: str, offset: float) -> None:
    values = RNG.normal(size=(5, 12, 14)) * (1000 if offset else 1) + offset
    path = tmp_path / f"x.{form}"
    if form == "npy":
        np.save(path, values)
    elif form == "fits":
        pytest.importorskip("astropy.io.fits").PrimaryHDU(np.concatenate([values, values])).writeto(path)
    elif form == "tif":
        pytest.importorskip("tifffile").imwrite(path, values, photometric="minisblack")
    else:
        nibabel = pytest.importorskip("nibabel")
        nibabel.Nifti1Image(values.transpose(2, 1, 0), np.eye(4)).to_filename(path)
    if offset:
        with pytest.raises(
            UserError, match=r"would change by up to .* of their range; give --allow-rounding"
        ):
            pack(path, tmp_path / "no", sigma=0.0, measured_range=True)
        assert measured(path, tmp_path / "out", allow_rounding=True).shape[0] in (5, 10)
        assert provenance(tmp_path / "out")["rounding"] > 1e-6
    else:
        np.testing.assert_array_equal(measured(path, tmp_path / "out")[:5, 0], values.astype(np.float32))
        assert provenance(tmp_path / "out")["rounding"] < 1e-6


@pytest.mark.parametrize("kind", ["int16", "int32", "uint32", "int64", "uint64", "float64", "longdouble"])
def test_rounding_is_told_exactly_whatever_the_type(kind: str) -> None:
    at_edge = 2 if kind == "int16" else 2**24
    values = np.arange(at_edge - 700_000, at_edge + 700_000, dtype=np.int64).reshape(1, 1000, 1400)
    if kind == "int16":
        values = values % 60_000 - 30_000
    values = values.astype(kind) if kind not in ("uint64", "float64") else values.astype(kind) * 4099
    kept, share = stored(values, "x", Reading(allow_rounding=True))
    whole = values.astype(np.longdouble)
    np.testing.assert_array_equal(kept, values.astype(np.float32))
    assert kept.dtype == np.float32
    exact = np.abs(values.astype(np.float32).astype(np.longdouble) - whole).max() / np.ptp(whole)
    assert share == pytest.approx(float(exact), rel=1e-12)
    assert (share > 0) == (kind != "int16")


def test_rounding_takes_little_more_memory_than_what_is_stored() -> None:
    values = RNG.normal(size=(1, 2000, 2000))
    values[0, 1, 1] = np.nan
    tracemalloc.start()
    stored(values, "x", Reading())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 0.9 * values.nbytes  # half of it is the result


def test_values_beyond_float32_are_refused_and_none_at_all_are_kept() -> None:
    values = np.full((1, 600, 600), np.nan)
    assert stored(values, "x", Reading())[1] == 0
    values[0, -1, -1] = 1e39
    with pytest.raises(UserError, match="beyond the range of float32"):
        stored(values, "x", Reading())

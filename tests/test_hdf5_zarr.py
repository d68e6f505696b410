"""HDF5 and Zarr: arrays by name, their scale, gaps, labels, links; MATLAB's files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from packing import measured, provenance

RNG = np.random.default_rng(17)
WHOLE = RNG.integers(0, 4096, (4, 20, 22), dtype=np.uint16)


def test_hdf5_of_pictures_by_name(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "one.h5", "w") as file:
        file["image"] = WHOLE[0]
    with h5py.File(tmp_path / "many.h5", "w") as file:
        for i, picture in enumerate(WHOLE):
            file[f"t{i}/picture"] = picture
    with h5py.File(tmp_path / "mixed.h5", "w") as file:
        file["a"], file["b"] = WHOLE[0], WHOLE[1, :10]
    np.testing.assert_array_equal(measured(tmp_path / "one.h5", tmp_path / "a")[:, 0], WHOLE[:1])
    np.testing.assert_array_equal(measured(tmp_path / "one.h5", tmp_path / "k", key="image")[:, 0], WHOLE[:1])
    np.testing.assert_array_equal(measured(tmp_path / "many.h5", tmp_path / "b")[:, 0], WHOLE)
    with pytest.raises(UserError, match=r"different shapes.*--key"):
        pack(tmp_path / "mixed.h5", tmp_path / "c", sigma=0.0)


@pytest.mark.parametrize("form", ["h5", "zarr"])
def test_scale_factors_of_hdf5_and_zarr_are_applied(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"x.{form}"
    attributes = {"scale_factor": 0.25, "add_offset": -3.0, "units": "K"}
    if form == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["images"] = WHOLE
            file["images"].attrs.update(attributes)
    else:
        group = pytest.importorskip("zarr").open_group(str(path), mode="w")
        group.create_array("images", data=WHOLE).attrs.update(attributes)
    np.testing.assert_array_equal(measured(path, tmp_path / "out")[:, 0], WHOLE * 0.25 - 3)
    assert provenance(tmp_path / "out")["units"] == ["K"]
    np.testing.assert_array_equal(measured(path, tmp_path / "s", stored_values=True)[:, 0], WHOLE)


def test_hdf5_follows_no_link_out_of_the_file_and_unpickles_nothing(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["images"] = WHOLE
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = h5py.ExternalLink("other.h5", "images")
    with pytest.raises(UserError, match="no array"):
        pack(tmp_path / "x.h5", tmp_path / "out", sigma=0.0)
    with h5py.File(tmp_path / "text.h5", "w") as file:
        file["images"] = np.array([[["a"]]], dtype=h5py.string_dtype())
    for key in (None, "images"):
        with pytest.raises(UserError, match=r"no array|no numbers"):
            pack(tmp_path / "text.h5", tmp_path / "out", sigma=0.0, key=key)


def test_shapes_that_promise_more_than_the_file_holds_are_refused_unless_trusted(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("images", (100_000, 100, 100), np.uint8, chunks=(1, 100, 100))
    with pytest.raises(UserError, match="--trust-sizes"):
        pack(tmp_path / "x.h5", tmp_path / "out", sigma=0.0)


def test_gaps_of_hdf5_and_zarr_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    h5py, zarr = pytest.importorskip("h5py"), pytest.importorskip("zarr")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        images = file.create_dataset("images", (4, 8, 9), "u2", chunks=(1, 8, 9))
        images[0] = images[1] = 5
    array = zarr.open(str(tmp_path / "y.zarr"), mode="w", shape=(4, 8, 9), chunks=(1, 8, 9), dtype="u2")
    array[:3] = 7
    for name, missing in (("x.h5", 2), ("y.zarr", 1)):
        caplog.clear()
        pack(tmp_path / name, tmp_path / f"{name}-out", sigma=0.0)
        assert f"{missing} of its 4 pieces were never written" in caplog.text


def test_values_that_were_not_measured_are_no_pixels(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        values = np.full((4, 8, 9), 100, np.int16)
        values[2, 3, 4] = -32768
        file["images"] = values
        file["images"].attrs.update({"_FillValue": np.int16(-32768), "scale_factor": 0.01})
    with pytest.raises(UserError, match="image 2: has NaN"):
        pack(tmp_path / "x.h5", tmp_path / "out", sigma=0.0, measured_range=True)


def test_labels_and_levels_beside_images_are_read(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"], file["labels"], file["sigma"] = WHOLE, np.arange(4), np.full(4, 0.2)
        file["more"] = np.zeros((2, 8, 8))
    record = pack(tmp_path / "x.h5", tmp_path / "out")[0]
    data = open_dataset(tmp_path / "out")
    assert data.labels is not None
    assert data.labels.tolist() == [0, 1, 2, 3]
    assert data.sigma.tolist() == pytest.approx([0.2] * 4)
    assert record.provenance[0]["left_out"] == {"arrays of other names": 1}


def test_one_array_under_two_names_is_read_once(tmp_path: Path) -> None:
    """As NeXus files hold it."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["entry/instrument/detector/data"] = WHOLE
        file["entry/data/data"] = file["entry/instrument/detector/data"]
    assert len(measured(tmp_path / "x.h5", tmp_path / "out")) == 4


def test_matlab_files_are_not_transposed(tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.mat", "w", userblock_size=512) as file:
        file["im"] = WHOLE[0].T
        file["im"].attrs["MATLAB_class"] = np.bytes_("uint16")
    np.testing.assert_array_equal(measured(tmp_path / "x.mat", tmp_path / "out")[0, 0], WHOLE[0])


@pytest.mark.parametrize(
    "attributes",
    [{"axes": 5}, {"_ARRAY_DIMENSIONS": 7}, {"scale_factor": "none"}, {"scale_factor": [1.0, 2.0]}],
)
def test_strange_attributes_are_no_traceback(tmp_path: Path, attributes: dict[str, Any]) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = WHOLE
        file["images"].attrs.update(attributes)
    assert main(["pack", str(tmp_path / "x.h5"), str(tmp_path / "out"), "--sigma", "0"]) == 2 * (
        "scale_factor" in attributes
    )

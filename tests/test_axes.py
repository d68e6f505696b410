"""Dimensions of arrays: said by the user, by the file, or by a shape that can be read in one way alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.sources.axes import Stack, layout, parse_axes
from noiseworth.errors import UserError

RNG = np.random.default_rng(3)


def _numbers(*shape: int) -> np.ndarray:
    return RNG.integers(0, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((28, 30), "YX"),
        ((60, 28, 28), "NYX"),
        ((28, 28, 28), "NYX"),
        ((10, 3, 32, 32), "NCYX"),
        ((10, 32, 32, 3), "NYXC"),
        ((10, 13, 32, 32), "NCYX"),
        ((6, 1, 5, 4), "NCYX"),
        ((6, 4, 4, 3), "NYXC"),
    ],
)
def test_shapes_that_can_be_read_in_one_way(shape: tuple[int, ...], axes: str) -> None:
    assert layout(shape, "x") == axes


@pytest.mark.parametrize(
    "shape",
    [
        (5, 32, 32, 13),
        (64, 48, 2),
        (64, 64, 1),
        (64, 48, 3),
        (32, 32, 40),
        (5, 20, 30, 40),
        (2, 3, 4, 12, 14),
        (7,),
    ],
)
def test_others_are_asked_about(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match="--axes"):
        layout(shape, "x")


@pytest.mark.parametrize("axes", ["NHWC", "nhwc", "NYXC", "TCZYX", "HW", "XYN", "CYX"])
def test_axes_that_are_accepted(axes: str) -> None:
    assert set("YX") <= set(parse_axes(axes))


@pytest.mark.parametrize("axes", ["", "NHH", "NC", "N,H,W", "HWYX", "N1HW", "ÄHW"])
def test_axes_that_are_refused(axes: str) -> None:
    with pytest.raises(UserError, match="one letter for each dimension"):
        parse_axes(axes)


@pytest.mark.parametrize("axes", ["NCYX", "NYXC", "YXNC", "CNXY"])
def test_images_come_out_in_one_order_whatever_the_axes(axes: str) -> None:
    images = _numbers(5, 3, 7, 6)
    order = ["NCYX".index(letter) for letter in axes]
    stack = Stack(images.transpose(order), axes)
    np.testing.assert_array_equal(np.stack([stack[i] for i in range(len(stack))]), images)


def test_what_counts_images_is_counted_in_the_order_of_the_axes() -> None:
    array = _numbers(2, 3, 4, 6, 7)
    stack = Stack(array, "TCZYX")
    assert stack.shape == (8, 3, 6, 7)
    np.testing.assert_array_equal(stack[5], array[1, :, 1])


def _packed(source: Path, out: Path, **options: Any) -> np.ndarray:
    pack(source, out, sigma=0.0, **options)
    data = open_dataset(out)
    return data.read_raw(np.arange(len(data)), "uint8")


@pytest.mark.parametrize("form", ["npy", "npz", "h5", "zarr", "tif"])
def test_axes_are_an_option_of_every_array_format(tmp_path: Path, form: str) -> None:
    array = _numbers(9, 10, 2, 3)
    path = tmp_path / f"x.{form}"
    if form == "npy":
        np.save(path, array)
    elif form == "npz":
        np.savez(path, images=array)
    elif form == "h5":
        h5py = pytest.importorskip("h5py")
        with h5py.File(path, "w") as file:
            file["images"] = array
    elif form == "zarr":
        pytest.importorskip("zarr").create_array(str(path), data=array)
    else:
        pytest.importorskip("tifffile").imwrite(
            path, array, photometric="minisblack", metadata={"axes": "QYXS"[:4]}
        )
    np.testing.assert_array_equal(_packed(path, tmp_path / "out", axes="HWNC"), array.transpose(2, 3, 0, 1))


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("key", [None, "0"])
def test_ome_zarr_is_read_by_its_axes_at_its_largest(tmp_path: Path, version: str, key: str | None) -> None:
    zarr = pytest.importorskip("zarr")
    array = _numbers(2, 3, 4, 12, 14)
    group = zarr.open_group(str(tmp_path / "x.ome.zarr"), mode="w", zarr_format=2 if version == "0.4" else 3)
    group.create_array("0", data=array)
    group.create_array("1", data=array[..., ::2, ::2].copy())
    scales = [{"axes": [{"name": n} for n in "tczyx"], "datasets": [{"path": "0"}, {"path": "1"}]}]
    group.attrs.update({"multiscales": scales} if version == "0.4" else {"ome": {"multiscales": scales}})
    expected = array.transpose(0, 2, 1, 3, 4).reshape(8, 3, 12, 14)
    np.testing.assert_array_equal(_packed(tmp_path / "x.ome.zarr", tmp_path / "out", key=key), expected)


@pytest.mark.parametrize("how", ["dims", "attribute", "axistags"])
def test_dimensions_that_hdf5_names_are_obeyed(tmp_path: Path, how: str) -> None:
    h5py = pytest.importorskip("h5py")
    array = _numbers(12, 12, 5)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["images"] = array
        if how == "dims":
            for dimension, name in zip(file["images"].dims, ("y", "x", "time"), strict=True):
                dimension.label = name
        elif how == "attribute":
            file["images"].attrs["axes"] = ["y", "x", "t"]
        else:
            file["images"].attrs["axistags"] = json.dumps({"axes": [{"key": k} for k in "yxt"]})
    np.testing.assert_array_equal(
        _packed(tmp_path / "x.h5", tmp_path / "out"), array.transpose(2, 0, 1)[:, None]
    )


def test_volume_stacks_of_mrc_are_sections(tmp_path: Path) -> None:
    mrcfile = pytest.importorskip("mrcfile")
    array = RNG.normal(size=(2, 5, 12, 14)).astype(np.float32)
    with mrcfile.new(tmp_path / "x.mrc", array):
        pass
    pack(tmp_path / "x.mrc", tmp_path / "out", sigma=0.0, measured_range=True)
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "out").read_raw(np.arange(10)), array.reshape(10, 1, 12, 14)
    )


def test_the_command_line_names_the_ways(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "x.npy", _numbers(32, 32, 40))
    assert main(["pack", str(tmp_path / "x.npy"), str(tmp_path / "out"), "--sigma", "0"]) == 2
    error = capsys.readouterr().err
    assert "NHW (32 images of 32x40)" in error
    assert "HWN (40 images of 32x32)" in error
    assert not (tmp_path / "out").exists()


def test_three_planes_are_images_and_that_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    np.save(tmp_path / "x.npy", _numbers(3, 16, 18))
    assert _packed(tmp_path / "x.npy", tmp_path / "a").shape == (3, 1, 16, 18)
    assert "if it is one picture of 3 colours, give --axes CHW" in caplog.text
    caplog.clear()
    assert _packed(tmp_path / "x.npy", tmp_path / "b", axes="CHW").shape == (1, 3, 16, 18)
    assert not caplog.text

"""TIFF: pages, series, sets of files, gaps, and what tags say of values."""

import io
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.sources.finishing import oriented
from noiseworth.errors import UserError
from packing import packed

RNG = np.random.default_rng(11)
COLOUR = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)


def _ome(planes: int, files: list[tuple[str, int]] | None = None, channels: int = 1) -> str:
    """OME metadata of a time series; `files` names the file that each plane lies in."""
    where = ""
    for i in range(planes):
        name = f'<UUID FileName="{files[i][0]}">urn:uuid:{files[i][0]}</UUID>' if files else ""
        index = files[i][1] if files else i
        where += (
            f'<TiffData FirstT="{i}" FirstC="0" FirstZ="0" IFD="{index}" PlaneCount="1">{name}</TiffData>'
        )
    return (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{0}><Image ID="Image:0">'
        '<Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" SizeX="24" SizeY="24" SizeZ="1" '
        f'SizeC="{channels}" SizeT="{planes}"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>{where}</Pixels></Image></OME>'
    )


def _write_ome(path: Path, values: list[int], description: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    with tifffile.TiffWriter(path) as writer:
        for i, value in enumerate(values):
            page = np.full((24, 24), value, np.uint16)
            writer.write(page, description=description if i == 0 else None, metadata=None, contiguous=False)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "deep.png"])
def test_every_format_is_turned_as_its_file_says(tmp_path: Path, suffix: str) -> None:
    path, pixels = tmp_path / f"x.{suffix}", COLOUR
    image = Image.fromarray(COLOUR)
    exif = Image.Exif()
    exif[274] = 6
    if suffix == "tif":
        tifffile = pytest.importorskip("tifffile")
        tifffile.imwrite(path, COLOUR, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    elif suffix == "deep.png":
        imagecodecs = pytest.importorskip("imagecodecs")
        pixels = RNG.integers(0, 65536, (20, 24, 3), dtype=np.uint16)
        content = imagecodecs.png_encode(pixels)
        small = io.BytesIO()
        image.save(small, format="PNG", exif=exif)
        at = small.getvalue().index(b"eXIf") - 4
        length = int.from_bytes(small.getvalue()[at : at + 4], "big") + 12
        path.write_bytes(content[:33] + small.getvalue()[at : at + length] + content[33:])
    else:
        options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
        image.save(path, exif=exif, **options)
        pixels = np.asarray(Image.open(path))  # a JPEG has lost something
    np.testing.assert_array_equal(packed(path, tmp_path / "out")[0], np.rot90(pixels, -1).transpose(2, 0, 1))


@pytest.mark.parametrize("suffix", ["gif", "png", "webp", "tif"])
def test_every_frame_and_page_is_an_image(tmp_path: Path, suffix: str) -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (0, 100, 200)]
    path = tmp_path / f"x.{suffix}"
    if suffix == "tif":
        pytest.importorskip("tifffile").imwrite(
            path, np.stack([np.asarray(f) for f in frames]), photometric="rgb"
        )
    else:
        options: dict[str, Any] = {"lossless": True} if suffix == "webp" else {}
        frames[0].save(path, save_all=True, append_images=frames[1:], **options)
    assert packed(path, tmp_path / "out").mean((1, 2, 3)).tolist() == [0, 100, 200]


def test_missing_planes_are_no_black_images(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    _write_ome(tmp_path / "x.ome.tif", [1000, 1001], _ome(5).replace("{0}", ""))
    assert main(["pack", str(tmp_path / "x.ome.tif"), str(tmp_path / "out"), "--sigma", "0"]) == 2
    error = capfd.readouterr().err
    assert "3 of the 5 planes that its metadata names are not in the file" in error
    assert len(error.splitlines()) == 1  # nothing of the library's own log


@pytest.mark.parametrize("how", ["file", "folder", "missing"])
def test_a_set_of_files_gives_each_plane_once(tmp_path: Path, how: str) -> None:
    files = [(f"t{i}.ome.tif", 0) for i in range(3)]
    for i, (name, _) in enumerate(files):
        text = _ome(3, files).replace("{0}", f' UUID="urn:uuid:{name}"')
        _write_ome(tmp_path / name, [1000 + i], text)
    out = tmp_path.parent / f"{tmp_path.name}-out"
    if how == "missing":
        (tmp_path / "t2.ome.tif").unlink()
        for source in (tmp_path, tmp_path / "t0.ome.tif"):
            with pytest.raises(UserError, match=r"one of a set of.*t2\.ome\.tif is not there"):
                pack(source, out, sigma=0.0)
        return
    source = tmp_path if how == "folder" else tmp_path / "t1.ome.tif"
    assert packed(source, out).mean((1, 2, 3)).tolist() == [1000, 1001, 1002]


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95, 0.999])
def test_a_tiff_stack_that_is_cut_short_is_refused(
    tmp_path: Path, compression: str | None, share: float
) -> None:
    tifffile = pytest.importorskip("tifffile")
    stack = RNG.integers(0, 65536, (6, 24, 24), dtype=np.uint16)
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for page in stack:
            writer.write(page, photometric="minisblack", compression=compression, contiguous=False)
    content = (tmp_path / "x.tif").read_bytes()
    (tmp_path / "x.tif").write_bytes(content[: int(share * len(content))])
    with pytest.raises(UserError, match=r"damaged|cut short|not in the file"):
        pack(tmp_path / "x.tif", tmp_path / "out", sigma=0.0)


def test_several_series_are_all_or_asked_about(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pages = RNG.integers(0, 256, (3, 20, 20), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "same.tif") as writer:
        for page in pages:
            writer.write(page, photometric="minisblack", metadata=None)
    np.testing.assert_array_equal(packed(tmp_path / "same.tif", tmp_path / "a")[:, 0], pages)
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as writer:
        writer.write(pages[0], photometric="minisblack")
        writer.write(pages[1, :10, :10].copy(), photometric="minisblack")
    with pytest.raises(UserError, match="name one with --key"):
        pack(tmp_path / "mixed.tif", tmp_path / "b", sigma=0.0)
    np.testing.assert_array_equal(
        packed(tmp_path / "mixed.tif", tmp_path / "c", key="1")[0, 0], pages[1, :10, :10]
    )


def _packed_tiff(values: np.ndarray) -> bytes:
    """A TIFF of 12 bits a pixel, two pixels in three bytes."""
    even, odd = values.reshape(-1, 2).T
    packed = np.stack([even >> 4, (even & 15) << 4 | odd >> 8, odd & 255], 1).astype(np.uint8).tobytes()
    height, width = values.shape
    tags = [(256, width), (257, height), (258, 12), (259, 1), (262, 1), (273, 0), (277, 1), (278, height)]
    tags.append((279, len(packed)))
    start = 8 + 2 + 12 * len(tags) + 4
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, start if tag == 273 else value) for tag, value in tags)
    return struct.pack("<2sHIH", b"II", 42, 8, len(tags)) + entries + struct.pack("<I", 0) + packed


@pytest.mark.parametrize("how", ["bits", "largest", "png"])
def test_the_bits_that_a_file_states_are_its_range(tmp_path: Path, how: str) -> None:
    values = RNG.integers(0, 4096, (20, 20), dtype=np.uint16)
    if how == "png":
        imagecodecs = pytest.importorskip("imagecodecs")
        content = imagecodecs.png_encode(values)
        chunk = b"sBIT" + bytes([12])
        at = 33  # after the header
        packed = (1).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big")
        (tmp_path / "x.png").write_bytes(content[:at] + packed + content[at:])
    elif how == "bits":
        pytest.importorskip("imagecodecs")
        (tmp_path / "x.tif").write_bytes(_packed_tiff(values))
    else:
        pytest.importorskip("tifffile").imwrite(
            tmp_path / "x.tif", values, photometric="minisblack", extratags=[(281, "H", 1, 4095, True)]
        )
    pack(next(tmp_path.iterdir()), tmp_path / "out", sigma=0.0)
    data = open_dataset(tmp_path / "out")
    assert (data.record.offset, data.record.scale) == (2047.5, 2047.5)


@pytest.mark.parametrize("library", [True, False])
@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("white8", "uint8", "pixels of the kind MINISWHITE"),
        ("white16", "uint16", "pixels of the kind MINISWHITE"),
        ("grey", "int8", "signed numbers of 8 bits"),
        ("grey", "int16", "signed numbers of 16 bits"),
        ("grey", "float16", "floating-point numbers of 16 bits|kind that needs tifffile"),
        ("grey", "float64", "floating-point numbers of 64 bits|kind that needs tifffile"),
        ("rgb", "float32", "3 channels of 32 bits|kind that needs tifffile"),
        ("rgb", "uint16", "3 channels of 16 bits|kind that needs tifffile"),
        ("nodata", "uint8", "which pixels were not measured"),
    ],
)
def test_tiff_without_tifffile_is_refused_where_pillow_would_be_wrong(
    tmp_path: Path, name: str, kind: str, words: str, library: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = RNG.integers(0, 100, (20, 24, 3) if name == "rgb" else (20, 24)).astype(kind)
    kinds = {"white8": "miniswhite", "white16": "miniswhite", "rgb": "rgb"}
    tags = [(42113, "s", 0, "-9999", True)] if name == "nodata" else []
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, values, photometric=kinds.get(name, "minisblack"), metadata=None, extratags=tags)
    if not library:
        monkeypatch.setitem(sys.modules, "tifffile", None)
    if library and "white" not in name:
        picture = packed(path, tmp_path / "out", measured_range=True)[0]
        np.testing.assert_array_equal(picture, values.transpose(2, 0, 1) if name == "rgb" else values[None])
        return
    with pytest.raises(UserError, match=words) as error:
        pack(path, tmp_path / "out", sigma=0.0, measured_range=True)
    assert "white" in name or "noiseworth[formats]" in str(error.value)


def test_every_page_of_a_tiff_is_turned_as_it_says(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    pages = RNG.integers(0, 256, (8, 20, 20), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        for i, page in enumerate(pages):
            tags = [(274, "H", 1, i + 1, True)]
            writer.write(page, photometric="minisblack", metadata=None, contiguous=False, extratags=tags)
    upright = np.stack([oriented(page, i + 1) for i, page in enumerate(pages)])
    np.testing.assert_array_equal(packed(tmp_path / "x.tif", tmp_path / "out")[:, 0], upright)
    with pytest.raises(UserError, match="channels of one image are turned"):
        pack(tmp_path / "x.tif", tmp_path / "no", sigma=0.0, axes="CYX")


@pytest.mark.parametrize("pages", [1, 3])
def test_values_that_imagej_calibrates_are_physical(tmp_path: Path, pages: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = RNG.integers(-3000, 3000, (pages, 20, 24)).astype(np.int32)
    signed = {"cf": 0, "c0": -32768, "c1": 1, "vunit": "gray value"}
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, (values + 32768).astype(np.uint16), imagej=True, metadata={"axes": "ZYX"} | signed)
    np.testing.assert_array_equal(packed(path, tmp_path / "a")[:, 0], values)
    record = open_dataset(tmp_path / "a").record
    assert (record.offset, record.scale) == (-0.5, 32767.5)
    seen = packed(path, tmp_path / "b", stored_values=True)
    np.testing.assert_array_equal(seen[:, 0], values + 32768)
    flat = np.full((20, 24), 7, np.uint16)
    tifffile.imwrite(path, flat, imagej=True, metadata={"cf": 3, "c0": 1})
    with pytest.raises(UserError, match=r"along a curve.*--stored-values"):
        pack(path, tmp_path / "c", sigma=0.0)
    np.testing.assert_array_equal(packed(path, tmp_path / "d", stored_values=True)[0, 0], flat)


@pytest.mark.parametrize(
    ("kind", "text"), [("uint8", "255"), ("int16", "-9999.0"), ("float32", "-3.4028234663852886e+38")]
)
def test_pixels_that_gdal_calls_missing_are_no_values(tmp_path: Path, kind: str, text: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = RNG.integers(0, 200, (20, 24)).astype(kind)
    tags = [(42113, "s", 0, text, True)]
    tifffile.imwrite(tmp_path / "whole.tif", values, extratags=tags, metadata=None)
    seen = packed(tmp_path / "whole.tif", tmp_path / "a", measured_range=True)
    np.testing.assert_array_equal(seen[0, 0], values)
    values[3, 4] = float(text)
    tifffile.imwrite(tmp_path / "x.tif", values, extratags=tags, metadata=None)
    with pytest.raises(UserError, match="NaN"):
        pack(tmp_path / "x.tif", tmp_path / "b", sigma=0.0, measured_range=True)


@pytest.mark.parametrize("form", ["subifds", "pages", "odd"])
def test_smaller_copies_of_a_pyramid_are_left_out_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    tifffile = pytest.importorskip("tifffile")
    whole = RNG.integers(0, 256, (64, 64), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "x.tif") as writer:
        options = {"photometric": "minisblack", "metadata": None}
        writer.write(whole, subifds=2 if form == "subifds" else None, **options)
        for small in (whole[::2, ::2], whole[::4, ::4] if form != "odd" else whole[:10, :9]):
            writer.write(np.ascontiguousarray(small), subfiletype=1, **options)
    assert main(["pack", str(tmp_path / "x.tif"), str(tmp_path / "out"), "--sigma", "0"]) == 0
    assert "2 smaller copies of an image pyramid" in capsys.readouterr().err
    data = open_dataset(tmp_path / "out")
    np.testing.assert_array_equal(data.read_raw(np.arange(len(data)))[:, 0], whole[None])

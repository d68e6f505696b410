"""Picture files: turned as they say, with the bits that they say, every page and frame, and nothing made up."""

import io
import logging
import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.sources.finishing import oriented
from noiseworth.errors import UserError

RNG = np.random.default_rng(11)
COLOUR = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)


def _packed(source: Path, out: Path, **options: Any) -> np.ndarray:
    pack(source, out, sigma=0.0, **options)
    data = open_dataset(out)
    return data.read_raw(np.arange(len(data)), data.record.parts[0].dtype)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_as_pillow_turns_them(orientation: int) -> None:
    image = Image.fromarray(COLOUR)
    image.getexif()[274] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1)
    np.testing.assert_array_equal(oriented(COLOUR.transpose(2, 0, 1), orientation), upright)


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
    np.testing.assert_array_equal(_packed(path, tmp_path / "out")[0], np.rot90(pixels, -1).transpose(2, 0, 1))


def test_a_parquet_file_is_turned_too(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274] = 8
    Image.fromarray(COLOUR).save(buffer, format="PNG", exif=exif)
    table = pa.table({"image": [{"bytes": buffer.getvalue(), "path": "x.png"}]})
    parquet.write_table(table, tmp_path / "x.parquet")
    np.testing.assert_array_equal(
        _packed(tmp_path / "x.parquet", tmp_path / "out")[0], np.rot90(COLOUR).transpose(2, 0, 1)
    )


def _with_alpha(kind: str, opaque: bool, path: Path) -> np.ndarray:
    """Writes a picture with alpha; returns its colours (C, H, W)."""
    alpha = np.full((20, 24, 1), 255, np.uint8)
    if not opaque:
        alpha[3, 4] = 7
    if kind == "rgba":
        Image.fromarray(np.concatenate([COLOUR, alpha], 2)).save(path)
        return COLOUR.transpose(2, 0, 1)
    if kind == "grey":
        Image.fromarray(np.concatenate([GREY[..., None], alpha], 2)).save(path)
        return GREY[None]
    if kind == "palette":
        image = Image.fromarray(COLOUR).quantize(16)
        image.save(path, transparency=bytes([255 if opaque else 9] * 16))
        return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    deep = RNG.integers(0, 65536, (20, 24, 4), dtype=np.uint16)
    deep[..., 3] = 65535
    if not opaque:
        deep[3, 4, 3] = 7
    if kind == "deep":
        path.write_bytes(pytest.importorskip("imagecodecs").png_encode(deep))
    else:
        pytest.importorskip("tifffile").imwrite(path, deep, photometric="rgb", extrasamples=[kind])
    return deep[..., :3].transpose(2, 0, 1)


@pytest.mark.parametrize("kind", ["rgba", "grey", "palette", "deep", "unassalpha", "assocalpha"])
def test_one_rule_for_alpha(tmp_path: Path, kind: str) -> None:
    suffix = "tif" if "alpha" in kind else "png"
    colours = _with_alpha(kind, True, tmp_path / f"opaque.{suffix}")
    np.testing.assert_array_equal(_packed(tmp_path / f"opaque.{suffix}", tmp_path / "a")[0], colours)
    colours = _with_alpha(kind, False, tmp_path / f"clear.{suffix}")
    with pytest.raises(UserError, match=r"transparent.*--drop-alpha"):
        pack(tmp_path / f"clear.{suffix}", tmp_path / "b", sigma=0.0)
    np.testing.assert_array_equal(
        _packed(tmp_path / f"clear.{suffix}", tmp_path / "c", drop_alpha=True)[0], colours
    )


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
    assert _packed(path, tmp_path / "out").mean((1, 2, 3)).tolist() == [0, 100, 200]


def test_a_frame_that_is_larger_than_the_first_is_no_way_around_the_limit(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in (0, 100)]
    frames[0].save(tmp_path / "x.gif", save_all=True, append_images=frames[1:])
    content = bytearray((tmp_path / "x.gif").read_bytes())
    at = content.rindex(b",\x00\x00\x00\x00\x10\x00\x10\x00")  # where the second frame says its size
    content[at + 5 : at + 9] = b"\xff\xff\xff\xff"
    (tmp_path / "x.gif").write_bytes(content)
    with pytest.raises(UserError, match="--trust-sizes"):
        pack(tmp_path / "x.gif", tmp_path / "out", sigma=0.0)


def test_a_photo_with_previews_is_one_image_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = Image.fromarray(COLOUR)
    image.save(tmp_path / "x.mpo", format="MPO", save_all=True, append_images=[image, image])
    (tmp_path / "x.mpo").rename(tmp_path / "x.jpg")
    assert main(["pack", str(tmp_path / "x.jpg"), str(tmp_path / "out"), "--sigma", "0"]) == 0
    assert "2 further pictures of MPO photos" in capsys.readouterr().err
    assert len(open_dataset(tmp_path / "out")) == 1


@pytest.mark.parametrize("name", ["a.ppm", "a.tga", "a.bmp", "a.jp2", "a.GIF", "a.jfif", "no_suffix"])
def test_pictures_are_known_by_their_content_or_name(tmp_path: Path, name: str) -> None:
    kind = {"a.jfif": "JPEG", "no_suffix": "PNG"}.get(name)
    Image.fromarray(np.full((16, 16, 3), 90, np.uint8)).save(tmp_path / name, format=kind)
    assert _packed(tmp_path, tmp_path.parent / f"{tmp_path.name}-out").shape == (1, 3, 16, 16)


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
    assert _packed(source, out).mean((1, 2, 3)).tolist() == [1000, 1001, 1002]


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
    np.testing.assert_array_equal(_packed(tmp_path / "same.tif", tmp_path / "a")[:, 0], pages)
    with tifffile.TiffWriter(tmp_path / "mixed.tif") as writer:
        writer.write(pages[0], photometric="minisblack")
        writer.write(pages[1, :10, :10].copy(), photometric="minisblack")
    with pytest.raises(UserError, match="name one with --key"):
        pack(tmp_path / "mixed.tif", tmp_path / "b", sigma=0.0)
    np.testing.assert_array_equal(
        _packed(tmp_path / "mixed.tif", tmp_path / "c", key="1")[0, 0], pages[1, :10, :10]
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


def test_values_that_fill_little_of_their_range_are_warned_about(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    np.save(tmp_path / "a.npy", RNG.integers(0, 4096, (10, 8, 8), dtype=np.uint16))
    with caplog.at_level(logging.WARNING):
        pack(tmp_path / "a.npy", tmp_path / "out", sigma=0.0)
    assert "--range 0 4095" in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        pack(tmp_path / "a.npy", tmp_path / "b", sigma=0.0, range=(0.0, 4095.0))
    assert not caplog.text


@pytest.mark.parametrize("white", [1, 15, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
def test_pnm_keeps_its_values_and_says_its_white(tmp_path: Path, kind: str, white: int) -> None:
    colour = kind in ("P3", "P6")
    values = RNG.integers(0, white + 1, (20, 24, 3) if colour else (20, 24)).astype(np.uint16)
    values[0, 0] = white
    body = " ".join(map(str, values.ravel())).encode()
    if kind in ("P5", "P6"):
        body = values.astype("u1" if white < 256 else ">u2").tobytes()
    header = f"{kind} # made by hand\n24#wide\n20\n# white:\n{white}\n".encode()
    (tmp_path / "x.pnm").write_bytes(header + body)
    picture = _packed(tmp_path / "x.pnm", tmp_path / "out")[0]
    np.testing.assert_array_equal(picture, values.transpose(2, 0, 1) if colour else values[None])
    record = open_dataset(tmp_path / "out").record
    assert (record.offset, record.scale) == (white / 2, white / 2)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"P5 8 8 4095\n" + bytes(127), "cut short"),
        (b"P5 8 8 100\n" + bytes(64) + b"P5 8 8 100\n" + bytes(64), "follow its picture"),
        (b"P5 8 8 100\n" + bytes([101] * 64), "values up to 101"),
        (b"P2 8 8 100\n" + b"1 " * 63, "63 values instead of 64"),
        (b"P6 99999 99999 4095\n", "decompression bomb"),
        (b"P5 8 8 70000\n" + bytes(128), "white is 70000"),
    ],
)
def test_damaged_pnm_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "x.ppm").write_bytes(content)
    with pytest.raises(UserError, match=words):
        pack(tmp_path / "x.ppm", tmp_path / "out", sigma=0.0)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("bits", "signed"), [(4, False), (8, True), (12, False), (12, True), (16, False)])
def test_jpeg_2000_keeps_bits_and_sign(tmp_path: Path, bits: int, signed: bool, channels: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    low = -(2 ** (bits - 1)) if signed else 0
    values = RNG.integers(low, low + 2**bits, (20, 24, channels)).astype(
        f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}"
    )
    content = imagecodecs.jpeg2k_encode(values.squeeze(), level=0, reversible=True, bitspersample=bits)
    (tmp_path / "x.jp2").write_bytes(content)
    picture = _packed(tmp_path / "x.jp2", tmp_path / "out")[0]
    np.testing.assert_array_equal(picture, values.transpose(2, 0, 1))
    record = open_dataset(tmp_path / "out").record
    assert (record.offset, record.scale) == (low + (2**bits - 1) / 2, (2**bits - 1) / 2)


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("bits", [10, 12])
def test_avif_keeps_its_bits(tmp_path: Path, bits: int, channels: int) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    values = RNG.integers(0, 2**bits, (20, 24, channels), dtype=np.uint16)
    if channels == 4:
        values[..., 3] = 2**bits - 1
    pixelformat = "400" if channels == 1 else "444"
    content = imagecodecs.avif_encode(values.squeeze(), 100, bitspersample=bits, pixelformat=pixelformat)
    (tmp_path / "x.avif").write_bytes(content)
    picture = _packed(tmp_path / "x.avif", tmp_path / "out")[0]
    np.testing.assert_array_equal(picture, values[..., :3].transpose(2, 0, 1))
    record = open_dataset(tmp_path / "out").record
    assert (record.offset, record.scale) == ((2**bits - 1) / 2, (2**bits - 1) / 2)


@pytest.mark.parametrize("suffix", ["jp2", "avif"])
def test_deep_pictures_name_the_extra(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    imagecodecs = pytest.importorskip("imagecodecs")
    values = RNG.integers(0, 4096, (20, 24, 3), dtype=np.uint16)
    encode = imagecodecs.jpeg2k_encode if suffix == "jp2" else imagecodecs.avif_encode
    (tmp_path / f"x.{suffix}").write_bytes(encode(values, bitspersample=12))
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    with pytest.raises(UserError, match=r"12 bits, which needs imagecodecs.*noiseworth\[formats\]"):
        pack(tmp_path / f"x.{suffix}", tmp_path / "out", sigma=0.0)


@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
def test_a_grey_that_means_transparent_is_alpha(tmp_path: Path, depth: int) -> None:
    white = 2**depth - 1
    values = RNG.integers(1, white + 1, (16, 16))

    def write(path: Path, grey: np.ndarray) -> None:
        def chunk(name: bytes, body: bytes) -> bytes:
            return len(body).to_bytes(4, "big") + name + body + zlib.crc32(name + body).to_bytes(4, "big")

        bits = (grey[..., None] >> np.arange(depth - 1, -1, -1) & 1).reshape(16, -1).astype(np.uint8)
        rows = b"".join(b"\0" + np.packbits(row).tobytes() for row in bits)
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, depth, 0, 0, 0, 0))
        body = header + chunk(b"tRNS", b"\0\0") + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)

    scale = 1 if depth == 16 else 255 // white
    write(tmp_path / "opaque.png", values)
    np.testing.assert_array_equal(_packed(tmp_path / "opaque.png", tmp_path / "a")[0, 0], values * scale)
    values[3, 4] = 0
    write(tmp_path / "clear.png", values)
    with pytest.raises(UserError, match="--drop-alpha"):
        pack(tmp_path / "clear.png", tmp_path / "b", sigma=0.0)
    seen = _packed(tmp_path / "clear.png", tmp_path / "c", drop_alpha=True)
    np.testing.assert_array_equal(seen[0, 0], values * scale)


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
        picture = _packed(path, tmp_path / "out", measured_range=True)[0]
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
    np.testing.assert_array_equal(_packed(tmp_path / "x.tif", tmp_path / "out")[:, 0], upright)
    with pytest.raises(UserError, match="channels of one image are turned"):
        pack(tmp_path / "x.tif", tmp_path / "no", sigma=0.0, axes="CYX")


@pytest.mark.parametrize("pages", [1, 3])
def test_values_that_imagej_calibrates_are_physical(tmp_path: Path, pages: int) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = RNG.integers(-3000, 3000, (pages, 20, 24)).astype(np.int32)
    signed = {"cf": 0, "c0": -32768, "c1": 1, "vunit": "gray value"}
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, (values + 32768).astype(np.uint16), imagej=True, metadata={"axes": "ZYX"} | signed)
    np.testing.assert_array_equal(_packed(path, tmp_path / "a")[:, 0], values)
    record = open_dataset(tmp_path / "a").record
    assert (record.offset, record.scale) == (-0.5, 32767.5)
    seen = _packed(path, tmp_path / "b", stored_values=True)
    np.testing.assert_array_equal(seen[:, 0], values + 32768)
    flat = np.full((20, 24), 7, np.uint16)
    tifffile.imwrite(path, flat, imagej=True, metadata={"cf": 3, "c0": 1})
    with pytest.raises(UserError, match=r"along a curve.*--stored-values"):
        pack(path, tmp_path / "c", sigma=0.0)
    np.testing.assert_array_equal(_packed(path, tmp_path / "d", stored_values=True)[0, 0], flat)


@pytest.mark.parametrize(
    ("kind", "text"), [("uint8", "255"), ("int16", "-9999.0"), ("float32", "-3.4028234663852886e+38")]
)
def test_pixels_that_gdal_calls_missing_are_no_values(tmp_path: Path, kind: str, text: str) -> None:
    tifffile = pytest.importorskip("tifffile")
    values = RNG.integers(0, 200, (20, 24)).astype(kind)
    tags = [(42113, "s", 0, text, True)]
    tifffile.imwrite(tmp_path / "whole.tif", values, extratags=tags, metadata=None)
    seen = _packed(tmp_path / "whole.tif", tmp_path / "a", measured_range=True)
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

"""Pictures of more or fewer than 8 bits: every bit, their sign and their range; transparent greys."""

import logging
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest

from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.errors import UserError
from packing import packed

RNG = np.random.default_rng(11)
COLOUR = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)


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
    picture = packed(tmp_path / "x.pnm", tmp_path / "out")[0]
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
    picture = packed(tmp_path / "x.jp2", tmp_path / "out")[0]
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
    picture = packed(tmp_path / "x.avif", tmp_path / "out")[0]
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
    np.testing.assert_array_equal(packed(tmp_path / "opaque.png", tmp_path / "a")[0, 0], values * scale)
    values[3, 4] = 0
    write(tmp_path / "clear.png", values)
    with pytest.raises(UserError, match="--drop-alpha"):
        pack(tmp_path / "clear.png", tmp_path / "b", sigma=0.0)
    seen = packed(tmp_path / "clear.png", tmp_path / "c", drop_alpha=True)
    np.testing.assert_array_equal(seen[0, 0], values * scale)

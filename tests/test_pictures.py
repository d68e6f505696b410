"""Picture files: turned as they say, every frame, one rule for alpha, known by their content."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.data.sources.finishing import oriented
from noiseworth.errors import UserError
from packing import packed

RNG = np.random.default_rng(11)
COLOUR = RNG.integers(0, 256, (20, 24, 3), dtype=np.uint8)
GREY = RNG.integers(0, 256, (20, 24), dtype=np.uint8)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_are_turned_as_pillow_turns_them(orientation: int) -> None:
    image = Image.fromarray(COLOUR)
    image.getexif()[274] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image)).transpose(2, 0, 1)
    np.testing.assert_array_equal(oriented(COLOUR.transpose(2, 0, 1), orientation), upright)


def test_a_parquet_file_is_turned_too(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    exif, buffer = Image.Exif(), io.BytesIO()
    exif[274] = 8
    Image.fromarray(COLOUR).save(buffer, format="PNG", exif=exif)
    table = pa.table({"image": [{"bytes": buffer.getvalue(), "path": "x.png"}]})
    parquet.write_table(table, tmp_path / "x.parquet")
    np.testing.assert_array_equal(
        packed(tmp_path / "x.parquet", tmp_path / "out")[0], np.rot90(COLOUR).transpose(2, 0, 1)
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
    np.testing.assert_array_equal(packed(tmp_path / f"opaque.{suffix}", tmp_path / "a")[0], colours)
    colours = _with_alpha(kind, False, tmp_path / f"clear.{suffix}")
    with pytest.raises(UserError, match=r"transparent.*--drop-alpha"):
        pack(tmp_path / f"clear.{suffix}", tmp_path / "b", sigma=0.0)
    np.testing.assert_array_equal(
        packed(tmp_path / f"clear.{suffix}", tmp_path / "c", drop_alpha=True)[0], colours
    )


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
    assert packed(tmp_path, tmp_path.parent / f"{tmp_path.name}-out").shape == (1, 3, 16, 16)

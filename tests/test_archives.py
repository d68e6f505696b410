"""Folders and archives: whole or refused, and nothing left out without a word."""

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.pack import pack
from noiseworth.errors import UserError

RNG = np.random.default_rng(23)
IMAGES = RNG.integers(0, 256, (6, 16, 16, 3), dtype=np.uint8)


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, format="PNG")
    return buffer.getvalue()


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _tar_bytes(format: int = tarfile.PAX_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for i, image in enumerate(IMAGES):
            content = _png(image)
            info = tarfile.TarInfo(f"folder/{i}.png")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


@pytest.mark.parametrize("suffix", COMPRESS)
def test_whole_archives_are_read(tmp_path: Path, suffix: str) -> None:
    for number, format in enumerate((tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT)):
        (tmp_path / f"x.{suffix}").write_bytes(COMPRESS[suffix](_tar_bytes(format)))
        pack(tmp_path / f"x.{suffix}", tmp_path / f"out{number}", sigma=0.0)
        raw = open_dataset(tmp_path / f"out{number}").read_raw(np.arange(6), "uint8")
        np.testing.assert_array_equal(raw, IMAGES.transpose(0, 3, 1, 2))


@pytest.mark.parametrize("suffix", COMPRESS)
def test_an_archive_that_is_cut_short_anywhere_is_refused(tmp_path: Path, suffix: str) -> None:
    """Also where a file begins or ends, which Python's tarfile takes for the end of the archive."""
    whole = _tar_bytes()
    content = COMPRESS[suffix](whole)
    cuts = {int(share * len(content)) for share in np.linspace(0.02, 0.98, 25)}
    if suffix == "tar":
        used = len(whole.rstrip(b"\0"))
        cuts = {cut for cut in cuts if cut < used} | set(range(512, used + 512, 512))
    for cut in sorted(cuts):
        (tmp_path / f"x.{suffix}").write_bytes(content[:cut])
        with pytest.raises(UserError):
            pack(tmp_path / f"x.{suffix}", tmp_path / "out", sigma=0.0)
        assert not (tmp_path / "out").exists()


def test_a_damaged_header_is_not_the_end(tmp_path: Path) -> None:
    whole = bytearray(_tar_bytes())
    with tarfile.open(fileobj=io.BytesIO(bytes(whole))) as archive:
        offsets = [info.offset for info in archive]
    for offset in offsets:
        content = bytearray(whole)
        content[offset + 20] ^= 0xFF
        (tmp_path / "x.tar").write_bytes(content)
        with pytest.raises(UserError, match="damaged"):
            pack(tmp_path / "x.tar", tmp_path / "out", sigma=0.0)


@pytest.mark.parametrize("suffix", ["tar.gz", "tar.bz2", "tar.xz"])
def test_the_sum_of_a_compressed_archive_is_checked(tmp_path: Path, suffix: str) -> None:
    content = COMPRESS[suffix](_tar_bytes())
    for share in np.linspace(0.1, 0.99, 20):
        flipped = bytearray(content)
        flipped[int(share * len(content))] ^= 0x10
        (tmp_path / f"x.{suffix}").write_bytes(flipped)
        with pytest.raises(UserError):
            pack(tmp_path / f"x.{suffix}", tmp_path / "out", sigma=0.0)


def test_links_to_folders_are_followed_once(tmp_path: Path) -> None:
    (tmp_path / "far" / "cats").mkdir(parents=True)
    (tmp_path / "in" / "dogs").mkdir(parents=True)
    for i in range(3):
        (tmp_path / "far" / "cats" / f"{i}.png").write_bytes(_png(IMAGES[i]))
        (tmp_path / "in" / "dogs" / f"{i}.png").write_bytes(_png(IMAGES[3 + i]))
    (tmp_path / "in" / "cats").symlink_to(tmp_path / "far" / "cats")
    (tmp_path / "in" / "dogs" / "round").symlink_to(tmp_path / "in")
    (tmp_path / "in" / "lost.png").symlink_to(tmp_path / "nothing")
    record = pack(tmp_path / "in", tmp_path / "out", sigma=0.0)[0]
    assert record.count == 6
    assert record.provenance[0]["classes"] == ["cats", "dogs"]
    left = {"links that lead nowhere": 1, "links to a folder that was read already": 1}
    assert record.provenance[0]["left_out"] == left


def test_what_is_not_read_is_counted_by_kind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.png", "notes.txt", "more.txt", "photo.heic", "film.mp4", "LICENSE"):
        content = _png(IMAGES[0]) if name == "a.png" else b"something else"
        (tmp_path / name).write_bytes(content)
    out = tmp_path.parent / f"{tmp_path.name}-out"
    assert main(["pack", str(tmp_path), str(out), "--sigma", "0"]) == 0
    left = {".txt files": 2, "HEIC photos": 1, "files without a suffix": 1, "videos": 1}
    assert open_dataset(out).record.provenance[0]["left_out"] == left
    assert "2 .txt files" in capsys.readouterr().err


def test_archives_arrays_zarr_and_parquet_inside_folders_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("x.png", _png(IMAGES[0]))
        archive.writestr("y.npy", _npy(IMAGES[1:3]))
    (folder / "b.tar").write_bytes(_tar_bytes())
    pytest.importorskip("zarr").create_array(
        str(folder / "c.zarr"), data=IMAGES[:4].transpose(0, 3, 1, 2).copy()
    )
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    for i in range(2):
        parquet.write_table(
            pa.table({"image": [{"bytes": _png(IMAGES[i]), "path": None}]}), folder / f"d{i}.parquet"
        )
    assert pack(folder, tmp_path / "out", sigma=0.0, labels="none")[0].count == 3 + 6 + 4 + 2


@pytest.mark.parametrize("suffix", ["npy", "NPY", "npy.gz"])
def test_a_folder_of_2d_arrays_is_a_folder_of_pictures(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for i in range(3):
        content = _npy(IMAGES[i, ..., 0])
        (folder / f"{i}.{suffix}").write_bytes(gzip.compress(content) if suffix == "npy.gz" else content)
    pack(folder, tmp_path / "out", sigma=0.0)
    raw = open_dataset(tmp_path / "out").read_raw(np.arange(3), "uint8")
    np.testing.assert_array_equal(raw[:, 0], IMAGES[:3, ..., 0])


def test_hugging_faces_saved_data_sets_are_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"image": {"bytes": _png(image), "path": None}, "label": i % 2} for i, image in enumerate(IMAGES)]
    features = datasets.Features(
        {"image": datasets.Image(decode=False), "label": datasets.ClassLabel(names=["a", "b"])}
    )
    datasets.Dataset.from_list(rows, features=features).save_to_disk(tmp_path / "saved")
    record = pack(tmp_path / "saved", tmp_path / "out", sigma=0.0)[0]
    assert record.count == 6
    assert record.provenance[0]["classes"] == ["a", "b"]


@pytest.mark.parametrize("form", ["zip", "folder"])
def test_labels_of_edm_are_read(tmp_path: Path, form: str) -> None:
    names = [f"{i // 3:05}/img{i:08}.png" for i in range(6)]
    text = json.dumps({"labels": [[name, i % 3] for i, name in enumerate(names)]})
    if form == "zip":
        source = tmp_path / "edm.zip"
        with zipfile.ZipFile(source, "w") as archive:
            for name, image in zip(names, IMAGES, strict=True):
                archive.writestr(name, _png(image))
            archive.writestr("dataset.json", text)
    else:
        source = tmp_path / "edm"
        for name, image in zip(names, IMAGES, strict=True):
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes(_png(image))
        (source / "dataset.json").write_text(text)
    pack(source, tmp_path / "out", sigma=0.0)
    labels = open_dataset(tmp_path / "out").labels
    assert labels is not None
    assert labels.tolist() == [0, 1, 2, 0, 1, 2]


@pytest.mark.parametrize("text", ['{"labels": null}', None])
def test_shard_folders_are_no_classes(tmp_path: Path, text: str | None) -> None:
    for i in range(4):
        path = tmp_path / "in" / f"{i // 2:05}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_png(IMAGES[i]))
    if text is not None:
        (tmp_path / "in" / "dataset.json").write_text(text)
    pack(tmp_path / "in", tmp_path / "out", sigma=0.0)
    assert open_dataset(tmp_path / "out").labels is None


@pytest.mark.parametrize(
    "text", ['{"labels": [["a.png"]]}', '{"labels": [["a.png", -1]]}', "[" * 100_000, '{"labels": 3}']
)
def test_bad_labels_of_edm_are_one_line(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.png").write_bytes(_png(IMAGES[0]))
    (tmp_path / "dataset.json").write_text(text)
    assert main(["pack", str(tmp_path), str(tmp_path.parent / "never"), "--sigma", "0"]) == 2
    assert "dataset.json: " in capsys.readouterr().err


def test_the_most_frequent_size_decides_what_is_skipped(tmp_path: Path) -> None:
    for i in range(5):
        (tmp_path / f"{i}.png").write_bytes(_png(IMAGES[i] if i else IMAGES[i, :12]))
    record = pack(tmp_path, tmp_path.parent / f"{tmp_path.name}-out", sigma=0.0, on_error="skip")[0]
    assert (record.count, record.shape, record.provenance[0]["skipped"]) == (4, (3, 16, 16), 1)


def test_an_archive_that_unpacks_to_far_more_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        info = zipfile.ZipInfo("zeros.png")
        info.compress_type = zipfile.ZIP_DEFLATED
        with archive.open(info, "w", force_zip64=True) as member:
            for _ in range(1200):
                member.write(bytes(1 << 20))
    with pytest.raises(UserError, match="--trust-sizes"):
        pack(tmp_path / "x.zip", tmp_path / "out", sigma=0.0)


def test_an_edm_label_that_is_missing_is_named(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(_png(IMAGES[0]))
    (tmp_path / "dataset.json").write_text('{"labels": [["a.png", 1]]}')
    with pytest.raises(UserError, match=r"b\.png: has no label, and other images have"):
        pack(tmp_path, tmp_path.parent / "never", sigma=0.0)


def test_labels_of_edm_zips_inside_a_folder_are_read_and_pieces_are_no_classes(tmp_path: Path) -> None:
    for number in range(2):
        with zipfile.ZipFile(tmp_path / f"shard-{number:05}.zip", "w") as archive:
            archive.writestr("x.png", _png(IMAGES[number]))
            archive.writestr("dataset.json", json.dumps({"labels": [["x.png", 5 + number]]}))
    out = tmp_path.parent / f"{tmp_path.name}-out"
    pack(tmp_path, out, sigma=0.0)
    labels = open_dataset(out).labels
    assert labels is not None
    assert labels.tolist() == [5, 6]
    for number in range(2):
        (tmp_path / f"shard-{number:05}.zip").unlink()
        (tmp_path / f"shard-{number:05}.tar").write_bytes(_tar_bytes())
    pack(tmp_path, tmp_path.parent / f"{tmp_path.name}-tars", sigma=0.0)
    assert open_dataset(tmp_path.parent / f"{tmp_path.name}-tars").labels is None


def test_an_archive_without_images_does_not_end_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(_png(IMAGES[0]))
    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("main.c", "int main;")
    record = pack(tmp_path, tmp_path.parent / f"{tmp_path.name}-out", sigma=0.0)[0]
    assert record.count == 1
    assert record.provenance[0]["left_out"] == {".c files": 1, "archives without images": 1}


def test_several_columns_of_images_ask_and_levels_are_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    import pyarrow.parquet as parquet

    pictures = [{"bytes": _png(image), "path": None} for image in IMAGES[:3]]
    table = pa.table({"clean": pictures, "noisy": pictures, "sigma": [0.1, 0.2, 0.3], "label": [-1, -1, -1]})
    parquet.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(UserError, match="columns of images clean, noisy; name one with --key"):
        pack(tmp_path / "x.parquet", tmp_path / "no")
    record = pack(tmp_path / "x.parquet", tmp_path / "out", key="noisy")[0]
    assert open_dataset(tmp_path / "out").sigma.tolist() == pytest.approx([0.1, 0.2, 0.3])
    assert record.provenance[0]["left_out"] == {"columns of other names": 1}


def test_mnist_as_others_name_it(tmp_path: Path) -> None:
    images, labels = IMAGES[:, :, :, 0], np.arange(6, dtype=np.uint8)
    for name, values in (("train-images.idx3-ubyte", images), ("train-labels.idx1-ubyte", labels)):
        head = bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape)
        (tmp_path / name).write_bytes(head + values.tobytes())
    out = tmp_path.parent / f"{tmp_path.name}-out"
    for source, target in ((tmp_path, out), (tmp_path / "train-images.idx3-ubyte", out.with_name("one"))):
        pack(source, target, sigma=0.0)
        read = open_dataset(target).labels
        assert read is not None
        assert read.tolist() == labels.tolist()

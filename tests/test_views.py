"""Data sets made of others, without copying pixels; noise by laws; what `inspect` sees; data sets that lie elsewhere."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.data import storage
from noiseworth.data.corrupt import corrupt
from noiseworth.data.dataset import open_dataset
from noiseworth.data.fingerprint import verify_fingerprint
from noiseworth.data.inspect import duplicates, find_leaks, inspect
from noiseworth.data.pack import pack
from noiseworth.data.views import join, split, subset
from noiseworth.errors import UserError

RNG = np.random.default_rng(11)


def _packed(directory: Path, images: np.ndarray, sigma: float = 0.0, **options: object) -> Path:
    np.save(directory.with_suffix(".npy"), images)
    pack(str(directory.with_suffix(".npy")), directory, sigma=sigma, **options)  # type: ignore[arg-type]
    return directory


def test_joined_data_sets_keep_units_noise_and_pixels(tmp_path: Path) -> None:
    """Clean 8-bit images and noisy ones in units of their own make one data set, and no pixel is copied."""
    clean = RNG.integers(0, 256, (5, 1, 4, 4), dtype=np.uint8)
    noisy = RNG.normal(size=(7, 1, 4, 4)).astype(np.float32)
    a = _packed(tmp_path / "a", clean)
    b = _packed(tmp_path / "b", noisy, 0.4, range=(-2.0, 2.0))
    (record,) = join([a, b], tmp_path / "both")
    data = open_dataset(tmp_path / "both")
    assert record.count == 12
    assert sorted(data.ids) == list(range(12))  # two images of one id would get the same simulated noise
    assert data.sigma.tolist() == pytest.approx([0] * 5 + [0.4] * 7)
    np.testing.assert_array_equal(data.read(np.arange(5)), open_dataset(a).read(np.arange(5)))
    np.testing.assert_array_equal(data.read(np.array([11, 5])), open_dataset(b).read(np.array([6, 0])))
    assert not list((tmp_path / "both").rglob("images.npy"))
    with pytest.raises(UserError, match="different raw units"):
        data.read_raw(np.arange(3))
    join(
        [tmp_path / "both", _packed(tmp_path / "c", clean[:2])], tmp_path / "three"
    )  # views of views point at the pixels themselves
    np.testing.assert_array_equal(
        open_dataset(tmp_path / "three").read(np.arange(12)), data.read(np.arange(12))
    )
    shutil.rmtree(tmp_path / "a")
    _packed(tmp_path / "a", clean[::-1].copy())
    with pytest.raises(UserError, match="packed again since then"):
        open_dataset(tmp_path / "both")
    with pytest.raises(UserError, match="joined with itself"):
        join([b, b], tmp_path / "twice")
    with pytest.raises(UserError, match="cannot be joined"):
        join(
            [
                b,
                _packed(
                    tmp_path / "wide",
                    RNG.normal(size=(2, 1, 4, 5)).astype(np.float32),
                    range=(-1.0, 1.0),
                ),
            ],
            tmp_path / "no",
        )


def test_views_move_with_what_they_are_of(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    _packed(tmp_path / "old" / "a", RNG.integers(0, 256, (5, 1, 4, 4), dtype=np.uint8))
    subset(tmp_path / "old" / "a", tmp_path / "old" / "few", take=3)
    before = open_dataset(tmp_path / "old" / "few").read(np.arange(3))
    (tmp_path / "old").rename(tmp_path / "new")
    np.testing.assert_array_equal(open_dataset(tmp_path / "new" / "few").read(np.arange(3)), before)
    shutil.rmtree(tmp_path / "new" / "a")
    with pytest.raises(UserError, match="missing; the data set is damaged"):
        open_dataset(tmp_path / "new" / "few")


def test_a_split_shares_no_image_not_even_a_copy(tmp_path: Path) -> None:
    images = RNG.integers(0, 256, (60, 1, 4, 4), dtype=np.uint8)
    images[30:] = images[:30]  # every image is there twice
    directory = _packed(tmp_path / "a", images)
    split(directory, tmp_path / "s", held_out=0.3)
    train, held_out = (open_dataset(tmp_path / "s" / name) for name in ("train", "held-out"))
    assert len(held_out) == 18
    assert sorted([*train.ids, *held_out.ids]) == list(range(60))
    in_train, in_held_out = (
        {image.tobytes() for image in d.read(np.arange(len(d)))} for d in (train, held_out)
    )
    assert not in_train & in_held_out
    with pytest.raises(UserError, match="must stay together; 18 is possible"):
        split(directory, tmp_path / "odd", held_out=19)
    for wrong in (0, 60, -1, 2.5):
        with pytest.raises(UserError, match="--held-out"):
            split(directory, tmp_path / "no", held_out=wrong)
    assert not (tmp_path / "no").exists()


def test_subsets_are_nested_and_the_same_every_time(tmp_path: Path) -> None:
    directory = _packed(tmp_path / "a", RNG.integers(0, 256, (50, 1, 4, 4), dtype=np.uint8))
    for name, take in (("few", 10), ("many", 0.5), ("again", 10)):
        subset(directory, tmp_path / name, take=take, seed=3)
    few, many, again = (set(open_dataset(tmp_path / name).ids.tolist()) for name in ("few", "many", "again"))
    assert few == again
    assert few < many
    assert len(many) == 25
    subset(directory, tmp_path / "other", take=10, seed=4)
    assert set(open_dataset(tmp_path / "other").ids.tolist()) != few


@pytest.mark.parametrize(
    ("noise", "low", "high"),
    [("loguniform:0.05:0.8", 0.05, 0.8), ("uniform:0.1:0.5", 0.1, 0.5), ("choice:0.2,0.4", 0.2, 0.4)],
)
def test_noise_levels_follow_their_law(
    noise: str, low: float, high: float, tmp_path: Path, digits: Path
) -> None:
    corrupt(digits / "train", tmp_path / "out", clean_fraction=0.2, sigma=noise, seed=1)
    data, source = open_dataset(tmp_path / "out"), open_dataset(digits / "train")
    noisy = data.sigma > 0
    assert noisy.sum() == 1200
    s = data.sigma[noisy].astype(np.float64)
    assert low * (1 - 1e-6) <= s.min() <= s.max() <= high * (1 + 1e-6)
    if noise.startswith("choice"):
        assert abs((s < 0.3).mean() - 0.5) < 4.5 * 0.5 / 1200**0.5
    else:
        u = (np.log(s / low) / np.log(high / low)) if noise.startswith("log") else (s - low) / (high - low)
        assert abs(u.mean() - 0.5) < 4.5 / (12 * 1200) ** 0.5
    row_of = {int(i): k for k, i in enumerate(source.ids)}
    clean = source.read(np.array([row_of[int(i)] for i in data.ids]))
    z = (data.read(np.arange(len(data))) - clean)[noisy] / data.sigma[noisy, None, None, None]
    assert z.std() == pytest.approx(
        1, abs=4.5 / (2 * z.size) ** 0.5 + 1e-4
    )  # float16 rounds by at most 1% of sigma: 1e-4 of the variance
    corrupt(
        digits / "train", tmp_path / "more", clean_fraction=0.0, sigma=noise, seed=1
    )  # the same images get the same level and noise
    more = open_dataset(tmp_path / "more")
    where = {int(i): k for k, i in enumerate(more.ids)}
    rows = np.array([where[int(i)] for i in data.ids[noisy][:50]])
    np.testing.assert_array_equal(more.sigma[rows], data.sigma[noisy][:50])
    np.testing.assert_array_equal(more.read(rows), data.read(np.flatnonzero(noisy)[:50]))


def test_noise_levels_by_a_table(tmp_path: Path, digits: Path) -> None:
    ids = open_dataset(digits / "train").ids
    (tmp_path / "levels.csv").write_text("id,sigma\n" + f"{ids[3]},0.5\n{ids[8]},0.25\n")
    corrupt(digits / "train", tmp_path / "out", clean_fraction=0.0, sigma=str(tmp_path / "levels.csv"))
    data = open_dataset(tmp_path / "out")
    levels = {int(i): float(s) for i, s in zip(data.ids, data.sigma, strict=True) if s > 0}
    assert levels == {int(ids[3]): 0.5, int(ids[8]): 0.25}
    (tmp_path / "bad.csv").write_text("id,sigma\n99999,0.5\n")
    with pytest.raises(UserError, match="no image has the id 99999"):
        corrupt(digits / "train", tmp_path / "no", clean_fraction=0.0, sigma=str(tmp_path / "bad.csv"))
    for noise in ("loguniform:0.5:0.1", "uniform:1", "choice:", "some", "loguniform:0:1", "-0.1", "nan"):
        with pytest.raises(UserError, match="--sigma"):
            corrupt(digits / "train", tmp_path / "no", clean_fraction=0.0, sigma=noise)
    assert not (tmp_path / "no").exists()


def test_inspect_sees_duplicates_leaks_and_cut_off_noise(
    tmp_path: Path, digits: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corrupt(digits / "train", tmp_path / "noisy", clean_fraction=0.0, sigma=0.1)
    data = join_and_open([digits / "train", tmp_path / "noisy"], tmp_path / "both")
    leaks, checked = find_leaks(data)
    assert checked == 1000
    assert (
        len(leaks) > 0.95 * checked
    )  # within two standard deviations of its clean version is 97.7% of the images
    source = open_dataset(digits / "train")
    noisy_ids = open_dataset(tmp_path / "noisy").ids
    assert all(noisy_ids[noisy - 1500] == source.ids[clean] for noisy, clean in leaks)
    assert find_leaks(open_dataset(tmp_path / "noisy")) == ([], 0)
    corrupt(digits / "train", tmp_path / "fair", clean_fraction=0.5, sigma=0.1)
    none, checked = find_leaks(open_dataset(tmp_path / "fair"))
    assert checked == 750
    assert none == []

    images = RNG.integers(0, 256, (6, 1, 4, 4), dtype=np.uint8)
    images[4] = images[1]
    assert duplicates(open_dataset(_packed(tmp_path / "twice", images))) == [[1, 4]]
    noise = np.clip(128 + 300 * RNG.normal(size=(4, 1, 16, 16)), 0, 255).astype(np.uint8)
    inspection = inspect(open_dataset(_packed(tmp_path / "cut", noise, 1.0)))
    assert inspection.at_limits == pytest.approx(float(np.mean((noise == 0) | (noise == 255))))
    assert sum(inspection.histogram) == noise.size
    assert main(["inspect", str(tmp_path / "both"), "--page", str(tmp_path / "p.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["leak_checked"] == 1000
    page = (tmp_path / "p.html").read_text()
    assert "A leak" in page
    assert page.count("<svg") == 2


def join_and_open(sources: list[Path], out: Path):  # type: ignore[no-untyped-def]
    join(sources, out)
    return open_dataset(out)


def test_data_sets_are_read_from_any_address(tmp_path: Path, digits: Path) -> None:
    """From fsspec's own memory, as from s3:// or hf://: the same images, and nothing read but what is asked for."""
    fsspec = pytest.importorskip("fsspec")
    pack("sklearn:digits", tmp_path / "parts", sigma=0.0, part_images=500)
    system = fsspec.filesystem("memory")
    system.put(str(tmp_path / "parts"), "/bucket/digits", recursive=True)
    near, far = open_dataset(tmp_path / "parts"), open_dataset("memory://bucket/digits")
    rows = np.array([1796, 3, 4, 5, 499, 500, 1200, 3])
    np.testing.assert_array_equal(far.read(rows), near.read(rows))
    np.testing.assert_array_equal(far.ids, near.ids)
    with pytest.raises(UserError, match="not a packed data set"):
        open_dataset("memory://bucket/nothing")
    with pytest.raises(UserError, match="nowhere://"):
        open_dataset("nowhere://bucket/x")


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    directory = _packed(tmp_path / "a", RNG.integers(0, 256, (5, 1, 4, 4), dtype=np.uint8))
    file = directory / "part-00000" / "images.npy"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(UserError, match=r"images\.npy: .*cut short"):
        open_dataset(directory)


def test_a_subset_of_the_clean_or_of_the_noisy(mixed: Path, tmp_path: Path) -> None:
    assert subset(mixed, tmp_path / "clean", use="clean")[0].count == 150
    assert subset(mixed, tmp_path / "noisy", use="noisy", take=100)[0].count == 100
    assert (open_dataset(tmp_path / "clean").sigma == 0).all()
    assert (open_dataset(tmp_path / "noisy").sigma > 0).all()
    with pytest.raises(UserError, match="1 to 150"):
        subset(mixed, tmp_path / "no", use="clean", take=151)


def test_a_changed_file_is_found_by_verifying(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(6 * 9 * 9, dtype=np.uint16).reshape(6, 9, 9))
    pack(tmp_path / "x.npy", tmp_path / "d", sigma=0.0, range=(0.0, 500.0))
    split(tmp_path / "d", tmp_path / "s", held_out=2)
    for path in ("d", "s/train", "s/held-out"):
        verify_fingerprint(open_dataset(tmp_path / path))
    file = tmp_path / "d" / "part-00000" / "images.npy"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    for path in ("d", "s/train"):
        with pytest.raises(UserError, match="not those that were packed"):
            verify_fingerprint(open_dataset(tmp_path / path))


def test_a_strangers_data_set_calls_nobody(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A view that refers to an address is read only if the user gave that address."""
    fsspec = pytest.importorskip("fsspec")
    np.save(tmp_path / "x.npy", np.arange(6 * 9 * 9, dtype=np.uint16).reshape(6, 9, 9))
    pack(tmp_path / "x.npy", tmp_path / "d", sigma=0.0, range=(0.0, 500.0))
    memory = fsspec.filesystem("memory")
    memory.put(str(tmp_path / "d"), "/far/d", recursive=True)
    subset("memory://far/d", tmp_path / "v", take=3)
    assert len(open_dataset(tmp_path / "v")) == 3  # the address was given to this process
    monkeypatch.setattr(storage, "_named", set())
    monkeypatch.setattr(storage, "_filesystem", lambda path: pytest.fail(f"called {path}"))
    with pytest.raises(
        UserError, match=r"an address that you did not give.*NOISEWORTH_ADDRESSES=memory://far/d"
    ):
        open_dataset(tmp_path / "v")
    monkeypatch.undo()
    monkeypatch.setattr(storage, "_named", set())
    monkeypatch.setenv("NOISEWORTH_ADDRESSES", "memory://far/")
    assert len(open_dataset(tmp_path / "v")) == 3


@pytest.mark.parametrize(
    "address", ["reference://x", "simplecache::memory://x", "zip://x::https://y", "github://a"]
)
def test_addresses_that_do_more_than_read_are_refused(address: str) -> None:
    with pytest.raises(UserError, match="addresses may begin with"):
        open_dataset(address)

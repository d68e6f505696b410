"""Every image once an epoch, with its own noise, in one order for any number of processes and threads; turning and flipping; the sampler
of pairs with the image first."""

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from noiseworth.data.augment import Augmentation, augment
from noiseworth.data.dataset import open_dataset
from noiseworth.data.loader import Loader
from noiseworth.data.pack import pack
from noiseworth.diffusion.noise_distribution import LogNormalLevels
from noiseworth.diffusion.pair_sampler import PairSampler
from noiseworth.diffusion.pair_sampler_by_image import WINDOW, PairSamplerByImage
from noiseworth.diffusion.pairs import Pairs
from noiseworth.diffusion.worth import PosteriorVariance
from noiseworth.errors import UserError
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    count=st.integers(1, 23),
    shape=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5)),
    dtype=st.sampled_from(["uint8", "uint16", "float16", "float32"]),
    part_images=st.integers(1, 9),
    batches=st.integers(1, 3),
    seed=st.integers(0, 2**31),
    by_part=st.booleans(),
    data=st.data(),
)
def test_every_image_comes_once_with_its_sigma_in_one_order(
    tmp_path: Path,
    count: int,
    shape: tuple[int, int, int],
    dtype: str,
    part_images: int,
    batches: int,
    seed: int,
    by_part: bool,
    data: st.DataObject,
) -> None:
    sigma = data.draw(st.lists(st.floats(0, 3, width=32), min_size=count, max_size=count))
    folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
    folder.mkdir()
    images = (
        np.arange(count)[:, None, None, None] * np.ones(shape)
        + np.arange(int(np.prod(shape))).reshape(shape) / 64
    )
    np.savez(
        folder / "x.npz", images=np.ascontiguousarray(images.astype(dtype)), sigma=np.array(sigma, np.float32)
    )
    pack(str(folder / "x.npz"), folder / "out", range=(0.0, 8.0), axes="NCHW", part_images=part_images)
    dataset = open_dataset(folder / "out")
    whole = dataset.read(np.arange(count))
    batch = 4 * batches
    orders = {}
    for ranks in (1, 2, 4):
        for workers in (0, 4):
            seen: list[int] = []
            made: dict[str, Any] = {"seed": seed, "ranks": ranks, "workers": workers, "by_part": by_part}
            loaders = [Loader(dataset, batch, rank=r, **made).epoch(2) for r in range(ranks)]
            pieces = [list(loader) for loader in loaders]
            for step in range(-(-count // batch)):
                for of_rank in pieces:
                    if step < len(of_rank):
                        b = of_rank[step]
                        seen += b.ids.tolist()
                        np.testing.assert_array_equal(b.images, whole[b.ids])
                        np.testing.assert_array_equal(b.sigma, np.array(sigma, np.float32)[b.ids])
            orders[ranks, workers] = seen
    assert sorted(orders[1, 0]) == list(range(count))
    assert all(order == orders[1, 0] for order in orders.values())
    if by_part:
        parts = dataset.part_of(np.array(orders[1, 0]))
        assert (np.diff(parts) != 0).sum() == len(
            dataset.record.parts
        ) - 1  # each part is read from one end to the other


def test_epochs_differ_and_bad_numbers_are_refused(digits: Path) -> None:
    loader = Loader(open_dataset(digits / "held-out"), 50)
    assert (loader.order(0) != loader.order(1)).any()
    assert sum(len(b.ids) for b in loader.epoch()) == 297
    with pytest.raises(UserError, match="not a multiple of the 4 processes"):
        Loader(loader.dataset, 50, ranks=4)
    with pytest.raises(UserError, match="out of range"):
        Loader(loader.dataset, 0)


@pytest.mark.parametrize("how", ["flip", "turns", "shift"])
def test_augmentation_moves_whole_pixels(how: Augmentation) -> None:
    """The same change for input and target; nothing but a permutation of the pixels; a function of (seed, id)."""
    n = 400
    x = torch.arange(n * 3 * 64, dtype=torch.float32).reshape(n, 3, 8, 8)
    a, b = augment([x, -x], how, torch.arange(n), 5)
    np.testing.assert_array_equal(a, -b)
    np.testing.assert_array_equal(torch.sort(a.flatten(2), dim=2).values, x.flatten(2))
    np.testing.assert_array_equal(augment([x[7:9]], how, torch.arange(7, 9), 5)[0], a[7:9])
    changes = {"flip": [x, x.flip(3)], "turns": [torch.rot90(f, k, (2, 3)) for f in (x, x.flip(3)) for k in range(4)],
               "shift": [torch.roll(f, by, (2, 3)) for f in (x, x.flip(3)) for by in product((-1, 0, 1), repeat=2)]}[how]  # fmt: skip
    which = torch.stack([(a == change).flatten(1).all(1) for change in changes]).double()
    assert bool((which.sum(0) == 1).all())
    expected = n / len(changes)
    assert bool(((which.sum(1) - expected).abs() < 4.5 * expected**0.5).all())
    with pytest.raises(ValueError, match="square"):
        augment([torch.zeros(2, 1, 4, 5)], "turns", torch.arange(2), 0)


def test_image_first_is_the_same_distribution() -> None:
    """Counts of (level, kind of image) over many windows agree with those of the usual drawing; images come from few parts."""
    generator = torch.Generator().manual_seed(0)
    s = torch.where(
        torch.rand(600, generator=generator) < 0.2,
        0.0,
        torch.rand(600, generator=generator).double() * 0.9 + 0.1,
    )
    s = (s * 10).round() / 10
    sampler = PairSampler(s, LogNormalLevels(-0.7, 0.8), PosteriorVariance(torch.tensor([1.0, 0.1])))
    sampler.set_imputed(torch.arange(0, 600, 3))
    sampler.refresh(60_000)
    part = torch.arange(600) // 20
    by_image = PairSamplerByImage(sampler, part)
    ids = torch.arange(40)[:, None] * WINDOW + torch.arange(500)  # a bit of each of 40 windows
    pairs = by_image.draw(3, ids.flatten())
    for window in pairs.index.reshape(40, 500):
        assert len(torch.unique(part[window])) <= 4
    usual = sampler.draw(4, torch.arange(20_000))
    edges = sampler.levels.quantile(torch.linspace(0.1, 0.9, 5).double())
    kind = torch.bucketize(s, torch.tensor([0.0, 0.45], dtype=torch.float64))  # clean, less noisy, more noisy

    def cell(pairs: Pairs) -> torch.Tensor:
        """Level, kind of image, and whether it was imputed, as one number below 36."""
        return (torch.bucketize(pairs.sigma, edges) * 3 + kind[pairs.index]) * 2 + pairs.imputed.long()

    # Over windows, not single draws, chance decides: the error of a share comes from the 40 windows. Worth
    # changes inside a cell of levels, of which there are 256: 0.002.
    windows = torch.nn.functional.one_hot(cell(pairs), 36).double().reshape(40, 500, 36).mean(1)
    p = torch.bincount(cell(usual), minlength=36).double() / 20_000
    error = (windows.var(dim=0) / 40 + p * (1 - p) / 20_000) ** 0.5
    assert bool(((windows.mean(0) - p).abs() < 4.5 * error + 0.002).all())
    assert pairs.weight.mean() == pytest.approx(float(usual.weight.mean()), abs=0.05)
    again = by_image.draw(3, ids.flatten()[123:200])
    assert torch.equal(again.index, pairs.index[123:200])
    assert torch.equal(again.sigma, pairs.sigma[123:200])


def test_training_reads_from_afar(tmp_path: Path, mixed: Path) -> None:
    """The same command, with an address in place of a directory."""
    fsspec = pytest.importorskip("fsspec")
    system = fsspec.filesystem("memory")
    system.put(str(mixed), "/bucket/mixed", recursive=True)
    config = TrainConfig(
        data="memory://bucket/mixed", out=str(tmp_path / "run"), n_images=1280, batch=64, augment="turns"
    )
    done = run_training(config)
    assert done.n_images == 1280
    again = run_training(TrainConfig(**{**config.__dict__, "out": str(tmp_path / "again")}))
    assert again.weights["model.safetensors"] == done.weights["model.safetensors"]

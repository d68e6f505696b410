"""Muon's steps are orthogonal, of the stated length, and for convolutions alone; the rest is Adam's."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from noiseworth.cli import main
from noiseworth.errors import UserError
from noiseworth.networks import make_backbone
from noiseworth.train.checkpoint import pack_optimizer, unpack_optimizer
from noiseworth.train.config import TrainConfig
from noiseworth.train.driver import run_training
from noiseworth.train.muon import Muon, orthogonalised
from noiseworth.train.run_directory import load_config
from noiseworth.train.trainer import Trainer


def _textbook(m: Tensor) -> Tensor:
    """Five Newton-Schulz steps on the matrix itself, in double precision."""
    x: Tensor = m.double() / m.double().norm()
    for _ in range(5):
        s = x @ x.mT
        x = 3.4445 * x + (-4.7750 * s + 2.0315 * s @ s) @ x
    return x


def _matrix(rows: int, columns: int, seed: int = 0) -> Tensor:
    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed))


def test_steps_are_those_of_the_textbook_for_any_shape_and_scale() -> None:
    shapes = [(48, 432), (48, 100), (9, 64), (64, 9), (2, 2), (128, 32)]
    matrices = [_matrix(*shape, seed=k) * 10.0 ** (3 * k - 8) for k, shape in enumerate(shapes)]
    matrices[1] = matrices[1] @ torch.diag(torch.logspace(0, -2, 100))  # singular values far apart
    for matrix, step in zip(matrices, orthogonalised(matrices), strict=True):
        assert step.shape == matrix.shape
        torch.testing.assert_close(step.double(), _textbook(matrix), atol=2e-3, rtol=0)
        singular = torch.linalg.svdvals(step)
        assert float(singular.min()) > 0.6
        assert float(singular.max()) < 1.25
    assert torch.equal(orthogonalised([torch.zeros(3, 5)])[0], torch.zeros(3, 5))


class _Small(nn.Module):
    """A convolution, its bias, an embedding, a linear layer, a convolution of one row."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.embedding, self.linear = (
            nn.Conv2d(3, 6, 3),
            nn.Embedding(4, 8),
            nn.Linear(8, 5),
        )
        self.row = nn.Conv2d(8, 1, 3)


def test_convolutions_move_by_the_stated_length_and_the_rest_as_by_adam() -> None:
    ours, theirs = _Small(), _Small()
    optimizer = Muon(ours, lr=0.01)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.002, betas=(0.9, 0.99))
    before = ours.convolution.weight.detach().clone()
    for step in range(3):
        for k, (a, b) in enumerate(zip(ours.parameters(), theirs.parameters(), strict=True)):
            a.grad = _matrix(1, a.numel(), seed=10 * step + k).reshape(a.shape)
            b.grad = a.grad.clone()
        optimizer.step()
        adam.step()
        if not step:
            moved = (before - ours.convolution.weight.detach()).reshape(6, 27)
            gradient = ours.convolution.weight.grad
            assert gradient is not None
            expected = 0.01 * 0.2 * 27**0.5 * _textbook(gradient.reshape(6, 27))
            torch.testing.assert_close(moved.double(), expected, atol=1e-5, rtol=0)
    for name in ("convolution.bias", "embedding.weight", "linear.weight", "row.weight", "row.bias"):
        torch.testing.assert_close(ours.get_parameter(name), theirs.get_parameter(name), atol=1e-6, rtol=0)


def test_momentum_looks_ahead() -> None:
    """After gradients g, h the step is along 0.05 h + 0.95 (0.05 h + 0.95 0.05 g)."""
    module = nn.Conv2d(12, 5, 1, bias=False)
    optimizer = Muon(module, lr=0.01)
    g, h = _matrix(5, 12, 1), _matrix(5, 12, 2)
    module.weight.grad = g[..., None, None]
    optimizer.step()
    before = module.weight.detach().clone()
    module.weight.grad = h[..., None, None]
    optimizer.step()
    expected = 0.002 * 12**0.5 * _textbook(0.05 * h + 0.95 * (0.05 * h + 0.95 * 0.05 * g))
    torch.testing.assert_close(
        (before - module.weight.detach())[..., 0, 0].double(), expected, atol=1e-5, rtol=0
    )


def test_its_state_goes_into_a_checkpoint_and_back() -> None:
    first, second = (make_backbone("digits", (1, 8, 8), 0) for _ in range(2))
    optimizers = [Muon(net, lr=0.01) for net in (first, second)]

    def step(net: nn.Module, optimizer: Muon, seed: int) -> None:
        for k, p in enumerate(net.parameters()):
            p.grad = _matrix(1, p.numel(), seed=100 * seed + k).reshape(p.shape)
        optimizer.step()

    step(first, optimizers[0], 0)
    second.load_state_dict(first.state_dict())
    unpack_optimizer(optimizers[1], {k: v.clone() for k, v in pack_optimizer(optimizers[0]).items()})
    for net, optimizer in zip((first, second), optimizers, strict=True):
        step(net, optimizer, 1)
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_state_of_other_weights_is_refused() -> None:
    """As of the version that took linear layers for matrices, too: wrong in silence otherwise."""
    net, other = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 3, 3)
    optimizers = [Muon(module, lr=0.01) for module in (net, other)]
    for p in net.parameters():
        p.grad = torch.ones_like(p)
    optimizers[0].step()
    with pytest.raises(UserError, match="another version of noiseworth"):
        unpack_optimizer(optimizers[1], pack_optimizer(optimizers[0]))


def test_runs_that_were_begun_before_go_on_by_adam(
    mixed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same command, without --optimizer, trains as it did, and says so."""
    run = tmp_path / "run"
    config = TrainConfig(data=str(mixed), out=str(run), n_images=64, batch=32, monitor_every=0)
    run_training(replace(config, optimizer="adam", lr=0.002))
    assert isinstance(Trainer(config).optimizer, Muon)
    settings = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(settings.replace("optimizer: adam\n", ""))
    assert load_config(run).optimizer == "adam"
    run_training(replace(config, n_images=128))
    assert (load_config(run).optimizer, load_config(run).lr) == ("adam", 0.002)
    assert "was begun when Adam was the default, and goes on by it" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"lr was 0\.002, is 0\.5"):
        run_training(replace(config, n_images=192, lr=0.5, optimizer="adam"))


@pytest.mark.parametrize(
    ("optimizer", "batch", "peak"), [("muon", 32, 0.01), ("muon", 128, 0.02), ("adam", 128, 0.002)]
)
def test_the_rate_by_default_is_the_optimisers(optimizer: str, batch: int, peak: float) -> None:
    config = TrainConfig(data="d", out="o", optimizer=optimizer, batch=batch, decay="none")  # type: ignore[arg-type]
    assert config.learning_rate(50_000) == peak
    assert replace(config, lr=0.5).learning_rate(50_000) == 0.5


def test_the_speed_of_training_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "train", "--preset", "digits", "--size", "8", "--steps", "2", "--batch", "8"]) == 0
    assert "images/s; a bare loop" in capsys.readouterr().out

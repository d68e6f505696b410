"""Training loops of other projects, as a user has them by default, around one network; `bench/speed.py` times them.

- `diffusers`: the unconditional training loop of its documentation (DDPM noise, AdamW, accelerate, clipping).
- `edm`: loss, preconditioning and average of weights as in arXiv 2206.00364 (table 1 and appendix F), in plain PyTorch.
- `smalldiffusion`: the training loop of that package (PyPI), around the same network.
"""

import copy
import importlib.util
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader

from noiseworth.networks import make_backbone

Step = Callable[[], object]


def loader_of(images: Tensor, batch: int) -> Any:
    """Images in memory, shuffled, in batches."""
    return DataLoader(images, batch_size=batch, shuffle=True, drop_last=True)  # type: ignore[arg-type]


def endless(loader: Any) -> Iterator[Tensor]:
    """Epoch after epoch."""
    while True:
        yield from loader


def network_of(preset: str, images: Tensor) -> nn.Module:
    """The network that all loops train."""
    _, channels, height, width = images.shape
    return make_backbone(preset, (channels, height, width), 0)


def diffusers_loop(preset: str, images: Tensor, batch: int) -> Step:
    """diffusers' unconditional training: predict the noise of a DDPM schedule."""
    from accelerate import Accelerator
    from diffusers import DDPMScheduler

    scheduler: Any = DDPMScheduler(num_train_timesteps=1000)
    accelerator = Accelerator()
    network = network_of(preset, images)
    optimizer: Any = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    model, optimizer, loader = accelerator.prepare(network, optimizer, loader_of(images, batch))
    batches = endless(loader)

    def step() -> None:
        clean = next(batches)
        noise = torch.randn_like(clean)
        times = torch.randint(0, 1000, (len(clean),), dtype=torch.int64)
        noisy = scheduler.add_noise(clean, noise, times)
        with accelerator.accumulate(model):
            loss = functional.mse_loss(model(noisy, times), noise)
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
        loss.detach().item()  # shown by its progress bar

    return step


def edm_loop(preset: str, images: Tensor, batch: int, bf16: bool = False) -> Step:
    """EDM: levels log-normal (-1.2, 1.2), its preconditioning and weight, Adam, an average of the weights."""
    network = network_of(preset, images)
    average = copy.deepcopy(network)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3, betas=(0.9, 0.999), eps=1e-8)
    batches, sigma_data = endless(loader_of(images, batch)), 0.5

    def step() -> None:
        clean = next(batches)
        sigma = torch.exp(1.2 * torch.randn(len(clean), 1, 1, 1) - 1.2)
        noisy = clean + sigma * torch.randn_like(clean)
        total = sigma**2 + sigma_data**2
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            output = network(noisy * total.rsqrt(), sigma.flatten().log() / 4)
        estimate = noisy * sigma_data**2 / total + output.float() * sigma * sigma_data * total.rsqrt()
        loss = (total / (sigma * sigma_data) ** 2 * (estimate - clean).square()).mean()
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        for p in network.parameters():
            if p.grad is not None:
                torch.nan_to_num(p.grad, nan=0, posinf=1e5, neginf=-1e5, out=p.grad)
        optimizer.step()
        with torch.no_grad():
            for mine, theirs in zip(average.parameters(), network.parameters(), strict=True):
                mine.copy_(theirs.detach().lerp(mine, 0.999))

    return step


def _smalldiffusion() -> tuple[ModuleType, str]:
    """Its loops alone: the package as a whole imports torchvision, too."""
    spec = importlib.util.find_spec("smalldiffusion")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("bench/speed.py: needs smalldiffusion: pip install --no-deps smalldiffusion")
    file = Path(next(iter(spec.submodule_search_locations))) / "diffusion.py"
    loops = importlib.util.spec_from_file_location("smalldiffusion_loops", file)
    if loops is None or loops.loader is None:
        raise SystemExit(f"{file}: cannot be imported")
    module = importlib.util.module_from_spec(loops)
    sys.modules["smalldiffusion_loops"] = module
    loops.loader.exec_module(module)
    return module, version("smalldiffusion")


class _ForSmalldiffusion(nn.Module):
    """A network with the loss that its loop asks a model for: predict the noise."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, sigma: Tensor) -> Tensor:
        output: Tensor = self.network(x / (1 + sigma**2).sqrt(), sigma.flatten().log() / 4)
        return output

    def get_loss(self, x0: Tensor, sigma: Tensor, eps: Tensor, cond: Any = None) -> Tensor:
        return functional.mse_loss(eps, self(x0 + sigma * eps, sigma))


def smalldiffusion_loop(preset: str, images: Tensor, batch: int) -> Step:
    """smalldiffusion's `training_loop` with its log-linear schedule."""
    module, _ = _smalldiffusion()
    running = module.training_loop(
        loader_of(images, batch),
        _ForSmalldiffusion(network_of(preset, images)),
        module.ScheduleLogLinear(N=200),
    )
    return lambda: next(running)


LOOPS: dict[str, Callable[[str, Tensor, int], Step]] = {
    "diffusers": diffusers_loop,
    "edm": edm_loop,
    "smalldiffusion": smalldiffusion_loop,
}

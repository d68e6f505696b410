"""Where training levels fall in probability: spread evenly over successive slots, in cells of equal probability."""

import torch
from torch import Tensor

from noiseworth.rng import Stream, uniform

_GOLDEN = 0x9E3779B97F4A7C15 - (1 << 64)  # 2^64 / golden ratio, as a signed number


def spread_evenly(seed: int, ids: Tensor) -> Tensor:
    """Numbers (B,) in [0, 1) of the slots `ids` (B,): an additive sequence of the golden ratio with a random start."""
    start = uniform(seed, Stream.LEVEL, torch.zeros(1, dtype=torch.int64), 1)[0, 0]
    # The product wraps modulo 2^64, which leaves the fraction of id / golden ratio; 53 bits are kept.
    steps = (ids.to(torch.int64) * _GOLDEN) >> 11
    return torch.remainder(start + steps.to(torch.float64) * 2.0**-53, 1.0)


def interior_edges(cells: int) -> Tensor:
    """Edges of the cells in probability; the outermost lie a quarter of a cell inside: tails are infinite."""
    edges = torch.arange(cells + 1, dtype=torch.float64)
    edges[0], edges[-1] = 0.25, cells - 0.25
    return edges / cells

"""The noise of magnitude images, as of MRI, from their background: without signal, magnitudes follow Rayleigh's law.

    E y^2 = 2 sigma^2,   E y = sigma sqrt(pi / 2)

(Gudbjartsson and Patz, Magn. Reson. Med. 34, 1995). Patches of air have the least mean squares; whether these are Rayleigh's
is checked by the ratio of mean and deviation, which no other part of a picture has.
"""

import math

import numpy as np
from numpy.typing import NDArray

from noiseworth.errors import UserError
from noiseworth.noise.camera import Measured, measured_without
from noiseworth.noise.line import groups_of

Array = NDArray[np.float64]

_SIDE = 6  # of a patch
_FEWEST = 40  # patches of air
_RATIO = math.sqrt(math.pi / 2) / math.sqrt(2 - math.pi / 2)  # of Rayleigh's mean and deviation
_OFF = 0.1  # relative departure of that ratio, beyond which the darkest patches are no air
_ZEROS = 0.01  # share of air that is 0, as where a scanner cleared it


def measure_magnitude(images: Array) -> Measured:
    """Sigma of each of the two parts of the complex signal, with its 95% interval, from magnitude images (N, H, W), raw values.

    Raises:
        UserError: there is no air in the pictures, or it was cleared or smoothed.
    """
    height, width = (n // _SIDE * _SIDE for n in images.shape[1:])
    if min(height, width) < 4 * _SIDE:
        raise UserError(f"images of at least {4 * _SIDE}x{4 * _SIDE} pixels are needed, of one channel")
    if images.min() < 0:
        raise UserError("images have negative values, which magnitudes have not; take magnitude images")
    blocks = images[:, :height, :width].reshape(len(images), height // _SIDE, _SIDE, width // _SIDE, _SIDE)
    patches: Array = blocks.transpose(0, 1, 3, 2, 4).reshape(-1, _SIDE**2)
    group = groups_of([len(patches) // len(images)] * len(images))
    half = np.square(patches).mean(1) / 2  # sigma^2, of air
    if (half == 0).mean() > _ZEROS:
        raise UserError(
            "the background was set to 0, so that its noise cannot be seen; take images before that, or say sigma in a noise model"
        )
    spread = 1 / _SIDE  # relative deviation of `half` in air: its square has 2 n degrees of freedom
    variance = float(np.quantile(half, 0.02))
    for _ in range(100):
        air = half < variance * (1 + 3 * spread)
        new = float(np.median(half[air]))
        if abs(new - variance) < 1e-6 * variance:
            break
        variance = new
    air = (half < variance * (1 + 3 * spread)) & (half > variance * (1 - 3 * spread))
    values = patches[air]
    ratio = float(values.mean() / values.std()) if len(values) else 0.0
    if len(values) < _FEWEST or abs(ratio / _RATIO - 1) > _OFF:
        raise UserError(
            f"no background without signal was found (mean over deviation of the darkest parts is {ratio:.3g}, that of noise"
            f" {_RATIO:.3g}); take images with air in them, before smoothing, or say sigma in a noise model"
        )
    own, chosen = half[air], group[air]
    without = np.array([math.sqrt(own[chosen != g].mean()) for g in np.unique(chosen)])
    return measured_without(math.sqrt(float(own.mean())), without)

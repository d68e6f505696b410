"""Some of the images before and after, for the page."""

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.measured import evenly
from noiseworth.report.restore import Shown
from noiseworth.restore.inputs import Inputs
from noiseworth.restore.restorer import Restorer
from noiseworth.restore.share import data_share

_IMAGES = 6
_LARGEST = 192  # pixels of a side; of larger images the middle is shown
_DRAWS = 3


def show(inputs: Inputs, restorer: Restorer, factor: float | None, draws: int) -> list[Shown]:
    """Restore some images again, or the middle of them.

    Args:
        factor: half the width of an interval, in standard deviations; None where no maps are wanted.
        draws: of each image, of which three are shown.
    """
    names = [inputs.names[number] for number in evenly(np.arange(len(inputs.names)), _IMAGES)]
    each = -(-_IMAGES // len(names))
    pieces = [(name, int(part)) for name in names for part in evenly(np.arange(inputs.parts(name)), each)]
    each = -(-_IMAGES // max(len(pieces), 1))
    shown: list[Shown] = []
    for piece, part in pieces:
        noisy = inputs.checked(piece, part)
        if noisy is None:
            continue
        for row in evenly(np.flatnonzero(noisy.s > 0), each):
            y = _middle(noisy.images[row], restorer.tile)[None]
            s, ids = noisy.s[row : row + 1], noisy.ids[row : row + 1]
            own = None if noisy.own is None else noisy.rows(np.array([row])).own
            if own is None:
                found = restorer(y, s, ids, maps=factor is not None, draws=min(draws, _DRAWS))
            else:
                found = restorer.given(y, own, ids, draws=min(draws, _DRAWS))
            name = piece if each == 1 and len(names) == len(pieces) else f"image {noisy.ids[row]}"
            maps: dict[str, NDArray[np.float32]] = {}
            if factor is not None:
                maps["std"] = found.std(s)[0]
            if factor is not None and own is None:
                maps["share"] = data_share(y[0], found.mean[0], found.variance[0], float(s[0]))[0][None]
            shown.append(Shown(name, float(s[0]), y[0], found.mean[0], maps, list(found.draws[:, 0])))
    return shown[:_IMAGES]


def _middle(image: NDArray[np.float32], tile: tuple[int, int]) -> NDArray[np.float32]:
    place = [slice(None)]
    for length, least in zip(image.shape[1:], tile, strict=True):
        size = min(length, max(_LARGEST, least))
        start = (length - size) // 2
        place.append(slice(start, start + size))
    return image[tuple(place)]

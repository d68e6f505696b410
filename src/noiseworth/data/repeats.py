"""Images of the same scene: pictures with the same pixels, and noisy ones that differ by no more than their noise.

Of two images `x = scene + s noise`, `|x_i - x_j|^2 / d - s_i^2 - s_j^2` estimates how far their scenes are apart, with a standard error of
`sqrt(2 / d) (s_i^2 + s_j^2)`. They are taken for one scene where this is nothing within three standard errors, and these are small
against how far scenes are apart on average; so images with much noise are taken for different ones.
"""

import numpy as np
from numpy.typing import NDArray

from noiseworth.data.dataset import Dataset

Array = NDArray[np.float64]

_SURE = 3.0  # standard errors
_NEAR = 0.01  # of the mean squared distance of scenes: pictures that were compressed anew
_TELLING = 0.05  # of it: greater errors tell nothing
_CHUNK = 512
MOST = 20_000  # images, of which every pair is compared


def same_scene(dataset: Dataset) -> NDArray[np.int64]:
    """A number for each image (N,); the same for images of the same scene.

    Args:
        dataset: of known noise, at most `MOST` images.
    """
    count = len(dataset)
    images = dataset.read(np.arange(count)).reshape(count, -1).astype(np.float64)
    variance = dataset.sigma.astype(np.float64) ** 2
    size = images.shape[1]
    squares = (images**2).sum(1)
    # Twice the variance of scenes: the mean over all pairs.
    apart = 2 * max(float((squares / size - variance).mean() - (images.mean(0) ** 2).mean()), 0.0)
    parent = np.arange(count)

    def root(i: int) -> int:
        while parent[i] != i:
            parent[i] = parent[parent[i]]
            i = int(parent[i])
        return i

    for start in range(0, count, _CHUNK):
        rows = np.arange(start, min(start + _CHUNK, count))
        noise = variance[rows, None] + variance[None]
        distance = (squares[rows, None] + squares[None] - 2 * images[rows] @ images.T) / size - noise
        error = _SURE * np.sqrt(2 / size) * noise
        same = (distance <= np.maximum(error, _NEAR * apart)) & (error <= _TELLING * apart)
        for i, j in np.argwhere(same):
            if i + start < j:
                parent[root(int(j))] = root(int(i) + start)
    return np.array([root(i) for i in range(count)])

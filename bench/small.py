"""Do intervals hold where images are few? `python bench/small.py`.

Each interval that `evaluate` prints, in repeats with new images, where the truth is known: the limit of the
Frechet distance and the kernel distance (features of 16 and 32 dimensions, normal and skewed; the same
distribution as the reference, one near to it and one far), learned noise, and shares of copies. From 1 to 20
images a feature, each interval covers the truth in 90% to 98% of repeats, or is refused.

And why precision is refused: that of smooth blobs against digits, by their number.

Writes `results/small.json`, in about ten minutes on two cores.
"""

import argparse
from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
from numpy.typing import NDArray

from checks import Checklist
from noiseworth.evaluate.distances import (
    FEWEST_FOR_INTERVAL,
    FEWEST_FOR_LIMIT,
    FEWEST_FOR_NEIGHBOURS,
    fewest_for_limit,
)
from noiseworth.evaluate.frechet import Moments, frechet_distance, frechet_estimate
from noiseworth.evaluate.intervals import share_interval
from noiseworth.evaluate.kernel import kernel_distance
from noiseworth.evaluate.learned_noise import FEWEST, learned_noise
from noiseworth.evaluate.neighbours import neighbour_scores

Array = NDArray[np.float64]
CLAIM = "numbers/small"
A_FEATURE = (1, 2, 3, 5, 7, 10, 14, 20)
DIMENSIONS = (16, 32)
LOW, HIGH = 0.90, 0.98


class Distribution:
    """Independent features with the given means and variances, normal or (shifted exponential) skewed."""

    def __init__(self, mean: Array, variance: Array, skewed: bool) -> None:
        self.mean, self.variance, self.skewed = mean, variance, skewed

    def draw(self, count: int, rng: np.random.Generator) -> Array:
        """Features (count, F)."""
        shape = (count, len(self.mean))
        z = rng.exponential(size=shape) - 1 if self.skewed else rng.standard_normal(shape)
        return np.asarray(self.mean + np.sqrt(self.variance) * z)

    def moments(self) -> Moments:
        """The exact ones."""
        return Moments(self.mean, np.diag(self.variance), 10**9)

    def raw(self) -> tuple[Array, Array, Array]:
        """E x, E x^2 and E x^3 of each feature."""
        skew = 2 * self.variance**1.5 if self.skewed else np.zeros_like(self.mean)
        second = self.mean**2 + self.variance
        return self.mean, second, self.mean**3 + 3 * self.mean * self.variance + skew


def mean_kernel(a: Distribution, b: Distribution) -> float:
    """E (x.y / F + 1)^3 of independent x from `a` and y from `b`: by the cumulants of x.y."""
    size = len(a.mean)
    first, second, third = (p * q for p, q in zip(a.raw(), b.raw(), strict=True))
    mean = first.sum() / size + 1
    variance = (second - first**2).sum() / size**2
    skew = (third - 3 * first * second + 2 * first**3).sum() / size**3
    return float(mean**3 + 3 * mean * variance + skew)


def cases(size: int) -> Iterator[tuple[str, Distribution, Distribution]]:
    """Names, a reference, and what is compared with it."""
    spectrum, odd = 1 / np.arange(1.0, size + 1), np.arange(size) % 2
    others = {
        "the same": (np.zeros(size), spectrum),
        "near": (0.1 * np.sqrt(spectrum), 1.2 * spectrum),
        "far": (0.5 * np.sqrt(spectrum), spectrum * np.where(odd, 0.5, 1.5)),
    }
    for skewed, (name, (mean, variance)) in product((False, True), others.items()):
        kind = "skewed" if skewed else "normal"
        reference = Distribution(np.zeros(size), spectrum, skewed)
        yield f"{name}, {kind}", reference, Distribution(mean, variance, skewed)


def frechet_interval(
    other: Distribution, reference: Distribution, count: int, seed: int
) -> tuple[float, float]:
    """Of the limit of the distance of `count` samples from the exact reference."""
    x = other.draw(count, np.random.default_rng((seed, count)))
    e = frechet_estimate(x, reference.moments(), seed)
    return e.low, e.high


def kernel_interval(
    other: Distribution, reference: Distribution, count: int, seed: int
) -> tuple[float, float]:
    """Of the distance of `count` samples from 20 a feature of the reference."""
    rng = np.random.default_rng((seed, count, 1))
    real = reference.draw(20 * len(reference.mean), rng)
    k = kernel_distance(other.draw(count, rng), real, seed=seed)
    return k.low, k.high


def noise_interval(sigma: float, count: int, seed: int) -> tuple[float, float]:
    """Of learned noise: images whose fine detail differs from one to the next."""
    rng = np.random.default_rng((seed, count))

    def images(count: int) -> NDArray[np.float32]:
        detail = rng.uniform(0.02, 0.2, (count, 1, 1, 1))
        return np.asarray(detail * rng.standard_normal((count, 1, 8, 8)), np.float32)

    noise = np.float32(sigma) * rng.standard_normal((count, 1, 8, 8)).astype(np.float32)
    estimate = learned_noise(images(count) + noise, images(100))
    return estimate.low, estimate.high


def copies_interval(share: float, count: int, seed: int) -> tuple[float, float]:
    """Of a share of independent images."""
    return share_interval(int(np.random.default_rng((seed, count)).binomial(count, share)), count)


def measure_coverage(repeats: int) -> dict[str, dict[str, float | None]]:
    """Coverage by metric and case; null where `evaluate` refuses."""

    def of(truth: float, interval: Callable[[int], tuple[float, float]]) -> float:
        return float(np.mean([low <= truth <= high for low, high in map(interval, range(repeats))]))

    covered: dict[str, dict[str, float | None]] = {k: {} for k in ("frechet", "kernel", "noise", "copies")}
    for size in DIMENSIONS:
        for name, reference, other in cases(size):
            d2 = frechet_distance(other.moments(), reference.moments())
            mmd = mean_kernel(other, other) + mean_kernel(reference, reference)
            mmd -= 2 * mean_kernel(other, reference)
            for many in A_FEATURE:
                where, count = f"{size} features, {many} images each, {name}", many * size
                limit = partial(frechet_interval, other, reference, count)
                covered["frechet"][where] = of(d2, limit) if count >= fewest_for_limit(size) else None
                kernel = partial(kernel_interval, other, reference, count)
                covered["kernel"][where] = of(mmd, kernel) if count >= FEWEST_FOR_INTERVAL else None
                print(where, covered["frechet"][where], covered["kernel"][where], flush=True)
    for sigma, count in product((0.0, 0.1, 0.3), (FEWEST, 40, 100, 400)):
        covered["noise"][f"sigma {sigma:g}, {count} images"] = of(
            sigma, partial(noise_interval, sigma, count)
        )
    for share, count in product((0.05, 0.2, 0.5), (30, 100, 1000)):
        covered["copies"][f"share {share:g}, {count} images"] = of(
            share, partial(copies_interval, share, count)
        )
    return covered


def blobs(count: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Images (count, 1, 8, 8) of one to three smooth blobs each."""
    at = np.arange(8.0)
    made = np.full((count, 8, 8), -1.0)
    for image in made:
        for _ in range(int(rng.integers(1, 4))):
            x, y, width = *rng.uniform(1, 6, 2), rng.uniform(1, 2.5)
            image += 2 * np.exp(-((at[:, None] - y) ** 2 + (at - x) ** 2) / (2 * width**2))
    return np.asarray(made.clip(-1, 1)[:, None], np.float32)


def measure_precision() -> dict[str, float]:
    """Precision of blobs against as many digits, in the classifier's features, by their number a feature."""
    from faults import load_digits
    from noiseworth.evaluate.features import train_classifier

    (images, labels), held_out = load_digits()
    extract = train_classifier(images, labels, held_out)
    real, rng = extract(images), np.random.default_rng(0)
    size = real.shape[1]
    precision = {}
    for many in (1, 2, 5, FEWEST_FOR_NEIGHBOURS, 20, 40):
        count = many * size
        scores = [
            neighbour_scores(extract(blobs(count, rng)), real[rng.permutation(len(real))[:count]], 5)
            for _ in range(10)
        ]
        precision[str(many)] = float(np.mean([score.precision for score in scores]))
    return precision


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--repeats", type=int, default=200)
    repeats = parser.parse_args().repeats
    checklist = Checklist("python bench/small.py")
    covered = measure_coverage(repeats)
    for name, by_case in covered.items():
        shares = {where: value for where, value in by_case.items() if value is not None}
        for least, extreme in ((True, min), (False, max)):
            where = extreme(shares, key=lambda case: shares[case])
            kind = "least" if least else "greatest"
            what = f"{kind} share of {repeats} repeats whose 95% interval of {name} holds the truth, {len(shares)} cases ({where})"
            checklist.add(CLAIM, what, shares[where], LOW if least else HIGH, "min" if least else "max")
    refused = [
        value
        for where, value in covered["frechet"].items()
        if any(f" {m} images" in where for m in (1, 2, 3))
    ]
    what = f"the limit of the Frechet distance is refused below {FEWEST_FOR_LIMIT} images a feature"
    checklist.yes(CLAIM, what, not any(refused))
    precision = measure_precision()
    what = f"precision of smooth blobs against digits with {FEWEST_FOR_NEIGHBOURS} images a feature"
    checklist.add(CLAIM, what, precision[str(FEWEST_FOR_NEIGHBOURS)], 0.25, "max", "share")
    data = {"coverage": covered, "precision_of_blobs_by_images_a_feature": precision}
    checklist.write("small.json", "intervals where images are few", 0, data)


if __name__ == "__main__":
    main()

"""The images that the trials of a sweep are made of: clean ones, to some of which noise is added; or noisy ones as they are."""

from collections.abc import Sequence
from pathlib import Path

from noiseworth.data.corrupt import mix
from noiseworth.data.dataset import open_dataset
from noiseworth.data.own_noise import OwnNoise, mix_own
from noiseworth.records import NoisyPart, Trial


class Images:
    """The images that trials are made of."""

    def __init__(self, path: str) -> None:
        """
        Raises:
            UserError: there is no data set, or the noise of some image is unknown.
        """
        self.dataset = open_dataset(path)
        self._own = OwnNoise(self.dataset)
        self._path = path

    @property
    def is_simulated(self) -> bool:
        """Whether noise is added to clean images, since there are no noisy ones."""
        return not self._own.counts

    def lacking(self, clean: int, noisy: Sequence[NoisyPart]) -> str:
        """What a mix needs and the data set has not; "" if it has all."""
        total = clean + sum(part.count for part in noisy)
        if self.is_simulated:
            has = self._own.clean
            return f"{self._path}: has {has:,} images, {total:,} are asked for" if total > has else ""
        if clean > self._own.clean:
            return f"{self._path}: has {self._own.clean:,} clean images, {clean:,} are asked for"
        for part in noisy:
            has = self._own.count(part.sigma)
            if part.count > has:
                return (
                    f"{self._path}: has {has:,} images of noise {part.sigma:g}, {part.count:,} are asked for"
                )
        return ""

    def mix(self, out: Path, trial: Trial) -> None:
        """Write the images of a trial."""
        noisy = [(part.sigma, part.count) for part in trial.noisy]
        make = mix if self.is_simulated else mix_own
        make(self._path, out, clean=trial.clean, noisy=noisy, seed=trial.seed)

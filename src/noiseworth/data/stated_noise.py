"""A camera's numbers as the headers of FITS files state them, under keywords that somebody names.

Which keyword means what differs between observatories: GAIN is electrons for each raw unit in some files and the setting of an
amplifier in others. So nothing is guessed.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noiseworth.data.sources.scientific import guarded, library
from noiseworth.errors import UserError
from noiseworth.noise.sensors import PoissonGaussianNoise
from noiseworth.options import StrPath

_MEANINGS = ("electrons for each raw unit", "read noise in electrons", "offset in raw units")
_LIKELY = (
    "GAIN",
    "NOISE",
    "RDN",
    "RON",
    "PEDESTAL",
    "BIAS",
    "OFFSET",
)  # in names of keywords that are listed


def stated_noise(files: Sequence[StrPath], keywords: str) -> PoissonGaussianNoise:
    """The camera that the headers of FITS files state.

    Args:
        files: of one camera and setting.
        keywords: of electrons for each raw unit, of the read noise in electrons and, if there is one, of the offset in raw
            units, with commas between them: "EGAIN,RDNOISE,PEDESTAL".

    Raises:
        UserError: a file is no FITS file, or states other numbers than the first, or none under a keyword.
    """
    names = [name.strip().upper() for name in keywords.split(",")]
    if not 2 <= len(names) <= 3 or not all(names):
        raise UserError(
            f"--header {keywords}: must be two or three keywords, such as EGAIN,RDNOISE: of {', '.join(_MEANINGS)}"
        )
    stated = [_numbers(Path(file), names) for file in files]
    for file, numbers in zip(files, stated, strict=True):
        if numbers != stated[0]:
            raise UserError(
                f"{file}: states {numbers} for {', '.join(names)}, and {files[0]} states {stated[0]}; calibrate each setting by"
                " itself"
            )
    electrons, read, *offset = stated[0]
    if electrons <= 0 or read < 0:
        raise UserError(
            f"{files[0]}: {names[0]} = {electrons:g} and {names[1]} = {read:g} are no camera's {_MEANINGS[0]} and {_MEANINGS[1]};"
            " name other keywords, or measure the camera from frames (--dark)"
        )
    return PoissonGaussianNoise(1 / electrons, offset[0] if offset else 0.0, read / electrons)


def _numbers(file: Path, names: list[str]) -> list[float]:
    where = str(file)
    if not file.is_file():
        raise UserError(f"{where}: no such file; --header reads FITS files")
    fits = library("astropy.io.fits", where)

    def read() -> dict[str, Any]:
        with fits.open(file, memmap=False) as units:
            # What the first unit states holds for all, unless a later one states its own.
            return {key: value for unit in units for key, value in unit.header.items() if key}

    cards = guarded(where, read)
    numbers = []
    for name, meaning in zip(names, _MEANINGS, strict=False):
        value = cards.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            likely = [f"{k} = {v}" for k, v in cards.items() if any(part in k.upper() for part in _LIKELY)]
            has = f"it has {', '.join(likely[:8])}" if likely else "it has nothing like it"
            raise UserError(
                f"{where}: has no number under {name} ({meaning}); {has}; name its keyword with --header, or measure the camera"
                " from frames (--dark)"
            )
        numbers.append(float(value))
    return numbers

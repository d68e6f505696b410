"""What restoring found."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RestoreRecord:
    """What `noiseworth restore` did.

    Attributes:
        path: where it is.
        count: images.
        noise: root mean square of the noise of those that it looked at, and `error`, what is left of it, in raw units (in those of
            training where noise was stabilised); null without maps.
        way: what intervals are calibrated on: "clean images" or "the model's own images"; null without maps.
        looked_at: number of these images, or tiles of them.
        factor: half the width of an interval, in standard deviations.
        error_ratio: root mean square error that the noisy images show over the one that the model implies; null where it was not needed.
        whiteness: correlation of what was taken off with itself, one pixel apart: of the greater of rows and columns. That of white
            noise is near 0; null without maps.
    """

    path: str
    count: int
    noise: float | None
    error: float | None
    way: str | None
    looked_at: int
    factor: float | None
    error_ratio: float | None
    whiteness: float | None

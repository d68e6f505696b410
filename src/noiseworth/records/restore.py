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
        left: correlation of what was taken off neighbouring pixels, what it would be if the noise were white and the images like the
            model's own, and the standard error of the difference; null without maps.
        odd: whether these differ, by more than chance and by more than 0.03.
    """

    path: str
    count: int
    noise: float | None
    error: float | None
    way: str | None
    looked_at: int
    factor: float | None
    error_ratio: float | None
    left: list[float] | None
    odd: bool

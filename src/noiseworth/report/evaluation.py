"""The results of an evaluation: a text table and a page."""

from pathlib import Path

from noiseworth.records import DistanceRecord, Evaluation
from noiseworth.report.figures import risk_figure
from noiseworth.report.html import data_uri, write_page


def evaluation_table(result: Evaluation) -> str:
    """A text table with one number and its meaning on each line."""
    kind = result.features
    accuracy = "" if kind.accuracy is None else f", accuracy {kind.accuracy:.1%} on held-out images"
    counts = f"{result.n_generated:,} images against {result.n_reference:,}"
    which = "FID and KID" if kind.inception else "not an FID"
    lines = [
        f"{counts}, in {kind.dimension} features ({kind.name}{accuracy}); {which}",
        f"images: {kind.images}",
    ]
    rows = [] if result.distances is None else _distances(result.distances, result)
    if result.risk is not None:
        on = "noisy" if result.risk_on_noisy else "clean"
        levels = f"levels {result.risk.levels[0]:.3g} to {result.risk.levels[-1]:.3g}"
        rows += [
            (
                "denoising risk",
                result.risk.relative,
                f"of sigma^2, mean over {levels}, by held-out {on} images",
            )
        ]
    if result.bits is not None:
        rows += [("bits", result.bits, "per dimension, in raw units; upper bound by the risk at all levels")]
    if result.bits_by_flow is not None:
        spread = "" if result.bits_by_flow_error is None else f" +- {result.bits_by_flow_error:.4f}"
        rows += [("bits by the flow", result.bits_by_flow, f"per dimension, in raw units{spread}")]
    lines += [f"{name:<18} {value:>9.4f}  {words}".rstrip() for name, value, words in rows]
    if result.risk is not None:
        for level, risk, error in zip(
            result.risk.levels, result.risk.risk, result.risk.standard_error, strict=True
        ):
            lines += [f"  sigma {level:<8.3g}  {risk:.5f} +- {error:.5f}"]
    return "\n".join(lines)


def _distances(d: DistanceRecord, result: Evaluation) -> list[tuple[str, float, str]]:
    best = 1 - 0.5**d.neighbours  # expected coverage for equal numbers of images of one distribution
    limit = "of infinitely many images: too few to tell"
    if d.frechet_limit is not None:
        interval = f"({d.frechet_low:.4f} to {d.frechet_high:.4f})"
        limit = f"of infinitely many images {d.frechet_limit:.4f} {interval}"
    rows = [("Frechet distance", d.frechet, limit)]
    if result.held_out_distance is not None:
        count = "" if result.n_held_out is None else f"{result.n_held_out:,} "
        many = "" if result.held_out_limit is None else f", of infinitely many {result.held_out_limit:.4f}"
        if result.n_held_out is not None and result.n_held_out < result.n_generated:
            many += "; fewer images have more bias"
        rows += [("  of held-out", result.held_out_distance, f"{count}real images{many}")]
    rows += [
        ("kernel distance", d.kernel, f"unbiased{_interval(d.kernel_low, d.kernel_high)}"),
        ("sliced Wasserstein", d.sliced, ""),
    ]
    neighbours = [
        ("precision", d.precision, f"share of generated images near real ones ({d.compared:,} of each)"),
        ("recall", d.recall, "share of real images near generated ones"),
        ("density", d.density, "of generated images among real ones; 1: as dense as real images"),
        ("coverage", d.coverage, f"share of real images near a generated one; {best:.2f} expected at best"),
    ]
    rows += [(name, value, words) for name, value, words in neighbours if value is not None]
    if d.inception_score is not None:
        rows += [
            (
                "Inception score",
                d.inception_score,
                f"+- {d.inception_score_sd:.4f} over 10 parts; higher is better",
            )
        ]
    if d.copied is not None:
        chance = f"of held-out images {d.copied_by_chance:.4f}{_interval(d.copied_by_chance_low, d.copied_by_chance_high)}"
        meaning = "share of generated images nearer to a training image than that one's nearest neighbour"
        rows += [
            (
                "copies",
                d.copied,
                f"{_interval(d.copied_low, d.copied_high).strip()} {meaning}; {chance}".strip(),
            )
        ]
    if d.learned_noise is not None and d.learned_noise_low is not None and d.learned_noise_high is not None:
        interval = f"({d.learned_noise_low:.4f} to {d.learned_noise_high:.4f})"
        meaning = "a negative value means less fine detail than in real images"
        if d.learned_noise_low < 0 < d.learned_noise_high:
            meaning = "no significant difference from 0"
        rows += [("noise", d.learned_noise, f"learned, beyond that of real images {interval}; {meaning}")]
    return rows


def _interval(low: float | None, high: float | None) -> str:
    """An interval in brackets; nothing in records of older versions, which had none."""
    return "" if low is None or high is None else f" ({low:.4f} to {high:.4f})"


def write_evaluation_page(
    result: Evaluation, page: Path, *, name: str, real: bytes, made: bytes | None
) -> None:
    """Write one self-contained HTML page with the table, grids of images, and the risk by level.

    Args:
        result: the evaluation.
        page: the HTML file; an existing file is replaced.
        name: name of the evaluated run or images.
        real, made: grids of reference images and of generated images, PNG; `made` may be None.
    """
    pictures = [("real images", data_uri(real)), *([(name, data_uri(made))] if made else [])]
    warnings = result.distances.warnings if result.distances else []
    write_page(
        "evaluation.html.j2",
        page,
        title=f"Evaluation of {name}",
        table=evaluation_table(result),
        warnings=warnings,
        pictures=pictures,
        risk=risk_figure({name: result}, {}),
        features=result.features,
        reference=result.reference,
        seed=result.seed,
    )

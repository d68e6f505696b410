"""What an evaluation says, as text and as a page."""

from pathlib import Path

from noiseworth.records import DistanceRecord, Evaluation
from noiseworth.report.figures import risk_figure
from noiseworth.report.html import data_uri, write_page


def evaluation_table(result: Evaluation) -> str:
    """Every number on a line of its own, with what it means."""
    kind = result.features
    accuracy = "" if kind.accuracy is None else f", {kind.accuracy:.1%} right on held-out images"
    counts = f"{result.n_generated:,} images against {result.n_reference:,}"
    which = "FID and KID" if kind.inception else "not an FID"
    lines = [f"{counts}, in {kind.dimension} features ({kind.name}{accuracy}); {which}", f"images: {kind.images}"]
    rows = [] if result.distances is None else _distances(result.distances, result.held_out_distance, result.held_out_limit)
    if result.risk is not None:
        on = "noisy" if result.risk_on_noisy else "clean"
        levels = f"levels {result.risk.levels[0]:.3g} to {result.risk.levels[-1]:.3g}"
        rows += [("denoising risk", result.risk.relative, f"of sigma^2, mean over {levels}, by held-out {on} images")]
    if result.bits is not None:
        rows += [("bits", result.bits, "per dimension at most, in raw units, by the risk at all levels")]
    if result.bits_by_flow is not None:
        spread = "" if result.bits_by_flow_error is None else f" +- {result.bits_by_flow_error:.4f}"
        rows += [("bits by the flow", result.bits_by_flow, f"per dimension, in raw units{spread}")]
    lines += [f"{name:<18} {value:>9.4f}  {words}".rstrip() for name, value, words in rows]
    if result.risk is not None:
        for level, risk, error in zip(result.risk.levels, result.risk.risk, result.risk.standard_error, strict=True):
            lines += [f"  sigma {level:<8.3g}  {risk:.5f} +- {error:.5f}"]
    return "\n".join(lines)


def _distances(d: DistanceRecord, held_out: float | None, held_out_limit: float | None) -> list[tuple[str, float, str]]:
    best = 1 - 0.5**d.neighbours  # of two equal numbers of images of one law
    limit = f"of infinitely many images {d.frechet_limit:.4f} ({d.frechet_low:.4f} to {d.frechet_high:.4f})"
    rows = [("Frechet distance", d.frechet, limit)]
    if held_out is not None:
        few = "" if held_out_limit is None else f", of infinitely many {held_out_limit:.4f}"
        rows += [("  of held-out", held_out, f"real images{few}")]
    rows += [
        ("kernel distance", d.kernel, f"unbiased ({d.kernel_low:.4f} to {d.kernel_high:.4f})"),
        ("sliced Wasserstein", d.sliced, ""),
        ("precision", d.precision, f"generated images that look real ({d.compared:,} against as many)"),
        ("recall", d.recall, "real images that could be generated"),
        ("density", d.density, "1: as dense as real ones"),
        ("coverage", d.coverage, f"real images with a generated one nearby; {best:.2f} at best, on average"),
    ]
    if d.inception_score is not None:
        rows += [("Inception score", d.inception_score, f"+- {d.inception_score_sd:.4f} over 10 parts; higher is better")]
    if d.copied is not None:
        rows += [("copies", d.copied, f"nearer to a training image than its own neighbour; {d.copied_by_chance:.4f} of held-out ones")]
    if d.leaked_noise is not None and d.leaked_low is not None and d.leaked_high is not None:
        told = "not told from 0" if d.leaked_low < 0 < d.leaked_high else "negative: less fine detail than real images"
        rows += [("noise", d.leaked_noise, f"beyond that of real images ({d.leaked_low:.4f} to {d.leaked_high:.4f}); {told}")]
    return rows


def write_evaluation_page(result: Evaluation, page: Path, *, name: str, real: bytes, made: bytes | None) -> None:
    """The same on one self-contained HTML page.

    Args:
        name: of what was measured.
        real, made: pictures of images of the reference, and of those that were measured; PNG.
    """
    pictures = [("real images", data_uri(real)), *([(name, data_uri(made))] if made else [])]
    warnings = result.distances.warnings if result.distances else []
    write_page(
        "evaluation.html.j2",
        page,
        title=f"{name}, measured",
        table=evaluation_table(result),
        warnings=warnings,
        pictures=pictures,
        risk=risk_figure({name: result}, {}),
        features=result.features,
        reference=result.reference,
        seed=result.seed,
    )

"""What an evaluation says, as text."""

from noiseworth.records import DistanceRecord, Evaluation


def evaluation_table(result: Evaluation) -> str:
    """Every number on a line of its own, with what it means."""
    kind = result.features
    accuracy = "" if kind.accuracy is None else f", {kind.accuracy:.1%} right on held-out images"
    counts = f"{result.n_generated:,} images against {result.n_reference:,}"
    lines = [f"{counts}, in {kind.dimension} features ({kind.name}{accuracy}); not an FID"]
    rows = [] if result.distances is None else _distances(result.distances, result.held_out_distance)
    if result.risk is not None:
        on = "noisy" if result.risk_on_noisy else "clean"
        rows += [("denoising risk", result.risk.relative, f"of sigma^2, mean over the levels, by held-out {on} images")]
    if result.bits is not None:
        rows += [("bits", result.bits, "per dimension at most, in raw units, by the risk at all levels")]
    lines += [f"{name:<18} {value:>9.4f}  {words}".rstrip() for name, value, words in rows]
    if result.risk is not None:
        for level, risk, error in zip(result.risk.levels, result.risk.risk, result.risk.standard_error, strict=True):
            lines += [f"  sigma {level:<8.3g}  {risk:.5f} +- {error:.5f}"]
    return "\n".join(lines)


def _distances(d: DistanceRecord, held_out: float | None) -> list[tuple[str, float, str]]:
    limit = f"of infinitely many images {d.frechet_limit:.4f} ({d.frechet_low:.4f} to {d.frechet_high:.4f})"
    rows = [("Frechet distance", d.frechet, limit)]
    if held_out is not None:
        rows += [("  of held-out", held_out, "real images")]
    rows += [
        ("kernel distance", d.kernel, f"unbiased ({d.kernel_low:.4f} to {d.kernel_high:.4f})"),
        ("sliced Wasserstein", d.sliced, ""),
        ("precision", d.precision, "generated images that look real"),
        ("recall", d.recall, "real images that could be generated"),
        ("density", d.density, "1: as dense as real ones"),
        ("coverage", d.coverage, "real images with a generated one nearby"),
    ]
    if d.copied is not None:
        rows += [("copies", d.copied, f"nearer to a real image than its own neighbour; {d.copied_by_chance:.4f} of held-out ones")]
    if d.leaked_noise is not None:
        rows += [("noise", d.leaked_noise, "beyond that of real images; negative: smoother than they")]
    return rows

"""What the demo says: its table in text, and its page."""

from pathlib import Path

from noiseworth.records import DemoSummary
from noiseworth.report.page import write_report


def demo_table(summary: DemoSummary) -> str:
    """The four regimes as a text table, and what the noisy images were worth."""
    base = summary.regimes["clean"].frechet_distance
    lines = [f"{'regime':<12} {'clean':>6} {'noisy':>6} {'Frechet':>9} {'x clean':>8} {'risk/sigma^2':>13} {'seconds':>8}"]
    for name, row in summary.regimes.items():
        distance = f"{row.frechet_distance:>9.3f} {row.frechet_distance / base:>8.1f}"
        lines.append(f"{name:<12} {row.n_clean:>6,} {row.n_noisy:>6,} {distance} {row.denoising_risk:>13.3f} {row.seconds:>8.0f}")
    accuracy = summary.features.accuracy or 0.0
    lines += [
        "",
        f"Lower is better. Frechet distance in {summary.features.dimension} features of a classifier that is right on {accuracy:.1%}",
        f"of the held-out digits (which themselves are at {summary.held_out_distance:.3f}: they are only 297).",
    ]
    w = summary.regimes["mixed"].worth
    for sigma, count, worth in zip(w.sigmas, w.counts, w.mean_worth, strict=True):
        if sigma > 0:
            together = f"were worth {count * worth:.0f} clean ones, averaged over the training levels."
            lines.append(f"The {count:,} noisy images (sigma {sigma:g}) {together}")
    lines.append(f"{summary.seconds:.0f} s of compute, {summary.peak_rss_mb:,.0f} MB at most.")
    return "\n".join(lines)


def write_demo_report(summary: DemoSummary, out: Path, real: bytes) -> Path:
    """The demo's page, `out/report.html`.

    Args:
        summary: of the demo under `out`.
        out: the demo's directory.
        real: a picture of real digits, PNG.
    """
    mixed = summary.regimes["mixed"]
    return write_report(
        [out / regime for regime in summary.regimes],
        out / "report.html",
        title="What are noisy digits worth?",
        lead=(
            "Four models of the same size and training length learned to draw handwritten digits. They differ only in their data:"
            f" all images clean; a tenth of them, clean, alone; all of them with noise of sigma {summary.sigma:g};"
            f" that tenth clean and the rest noisy ({mixed.n_clean} clean, {mixed.n_noisy:,} noisy)."
        ),
        real=real,
        following=[
            "Your own images: `noiseworth pack FOLDER data/mine --sigma 0`; for noisy ones, their noise in place of 0.",
            "Other noise: `noiseworth demo --sigma 0.2 --out runs/demo-0.2`.",
            f"Another seed: `noiseworth demo --seed {summary.seed + 1} --out runs/demo-{summary.seed + 1}`.",
            f"Each folder beside this page is a run: `noiseworth sample {out / 'mixed'} my-digits --n 256` draws more from it.",
        ],
    )

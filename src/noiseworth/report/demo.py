"""The results of the demo: a text table and a page."""

from pathlib import Path

from noiseworth.records import DemoSummary
from noiseworth.report.page import write_report


def demo_table(summary: DemoSummary) -> str:
    """The four regimes as a text table, and the worth of the noisy images."""
    base = summary.regimes["clean"].frechet_distance
    head = f"{'regime':<12} {'clean':>6} {'noisy':>6} {'Frechet':>9} {'x clean':>8} {'risk/sigma^2':>13}"
    lines = [f"{head} {'seconds':>8}"]
    for name, row in summary.regimes.items():
        distance = f"{row.frechet_distance:>9.3f} {row.frechet_distance / base:>8.1f}"
        counts = f"{name:<12} {row.n_clean:>6,} {row.n_noisy:>6,}"
        lines.append(f"{counts} {distance} {row.denoising_risk:>13.3f} {row.seconds:>8.0f}")
    accuracy = summary.features.accuracy or 0.0
    held_out = summary.held_out_distance
    lines += [
        "",
        f"Lower is better. Frechet distances are in {summary.features.dimension} features of a classifier.",
        f"On the 297 held-out digits its accuracy is {accuracy:.1%}; their own distance is {held_out:.3f}.",
    ]
    w = summary.regimes["mixed"].worth
    for sigma, count, worth in zip(w.sigmas, w.counts, w.mean_worth, strict=True):
        if sigma > 0:
            together = f"{count * worth:.0f} clean images, for the denoising risk."
            lines.append(f"The {count:,} noisy images (sigma {sigma:g}) were worth {together}")
    lines.append(f"{summary.seconds:.0f} s of compute, {summary.peak_rss_mb:,.0f} MB at most.")
    return "\n".join(lines)


def write_demo_report(summary: DemoSummary, out: Path, real: bytes) -> Path:
    """Write the page of the demo, `out/report.html`, and return its path.

    Args:
        summary: results of the demo.
        out: directory of the demo, with the four runs.
        real: a grid of real digits, PNG.
    """
    mixed = summary.regimes["mixed"]
    return write_report(
        [out / regime for regime in summary.regimes],
        out / "report.html",
        title="What are noisy digits worth?",
        lead=(
            "Four models of the same size and training length generate handwritten digits. They differ"
            " only in their data: all images clean; a tenth of them, clean, alone; all images with noise of"
            f" sigma {summary.sigma:g}; that tenth clean and the rest noisy ({mixed.n_clean} clean,"
            f" {mixed.n_noisy:,} noisy)."
        ),
        real=real,
        following=[
            "Your own clean images: `noiseworth pack FOLDER data/mine --sigma 0`.",
            "Your own noisy images: the same command, with their noise level in place of 0.",
            "Another noise level: `noiseworth demo --sigma 0.2 --out runs/demo-0.2`.",
            f"Another seed: `noiseworth demo --seed {summary.seed + 1} --out runs/demo-{summary.seed + 1}`.",
            f"More images of a run beside this page: `noiseworth sample {out / 'mixed'} my-digits --n 256`.",
        ],
    )

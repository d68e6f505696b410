"""Figures from records, as SVG text."""

import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from noiseworth.errors import printable
from noiseworth.records import Evaluation, StepRecord, WorthRecord

COLOURS = ("#1b6ca8", "#d1495b", "#7a7a7a", "#2a9d5c", "#8e5ea2", "#c98a1b")


def risk_figure(evaluations: Mapping[str, Evaluation], trained_from: Mapping[str, float]) -> str | None:
    """Denoising risk over sigma^2 against the level, one curve for each run; None if no run has a risk.

    Bars are two standard errors. A curve is dotted below the lowest level that the run was trained at.

    Args:
        evaluations: by name of the run.
        trained_from: lowest training level of each run, by name; 0 if missing.
    """
    measured = {name: e.risk for name, e in evaluations.items() if e.risk is not None}
    if not measured:
        return None

    def draw(axes: Any) -> None:
        for (name, curve), colour in zip(measured.items(), COLOURS * len(measured), strict=False):
            levels = np.array(curve.levels)
            value = np.array(curve.risk) / levels**2
            error = 2 * np.array(curve.standard_error) / levels**2
            trained = levels >= trained_from.get(name, 0.0)
            axes.errorbar(
                levels[trained],
                value[trained],
                error[trained],
                color=colour,
                label=plain_label(name),
                marker="o",
                markersize=3.5,
                linewidth=1.6,
            )
            if not trained.all():
                until = int(trained.argmax()) + 1 if trained.any() else len(levels)
                axes.plot(levels[:until], value[:until], color=colour, linestyle=":", linewidth=1.6)
        axes.axhline(1, color="#999999", linewidth=0.8)
        axes.annotate(
            "1: all the noise is left in",
            (0.99, 1),
            xycoords=("axes fraction", "data"),
            ha="right",
            va="bottom",
            fontsize=8,
            color="#777777",
        )
        axes.set(xscale="log", yscale="log", xlabel="level σ (model units)", ylabel="denoising risk / σ²")
        axes.legend(frameon=False, fontsize=9)

    return svg(draw)


def risk_ratio_figure(evaluations: Mapping[str, Evaluation]) -> str | None:
    """Denoising risk over that of the first run, by level; below 1 is better than the first run.

    None if no other run was measured at the same levels. Bars are two standard errors for runs measured on
    independent images. The runs are measured on the same images, so that the true errors are smaller.

    Args:
        evaluations: by name of the run.
    """
    measured = {name: e.risk for name, e in evaluations.items() if e.risk is not None}
    names = list(measured)
    others = [name for name in names[1:] if measured[name].levels == measured[names[0]].levels]
    if not others:
        return None
    base, base_error = (
        np.array(values) for values in (measured[names[0]].risk, measured[names[0]].standard_error)
    )

    def draw(axes: Any) -> None:
        for name, colour in zip(others, COLOURS[1:] * len(others), strict=False):
            risk, error = (
                np.array(values) for values in (measured[name].risk, measured[name].standard_error)
            )
            ratio = risk / base
            bars = 2 * ratio * np.hypot(error / risk, base_error / base)
            axes.errorbar(
                measured[name].levels,
                ratio,
                bars,
                color=colour,
                label=plain_label(name),
                marker="o",
                markersize=3.5,
                linewidth=1.6,
            )
        axes.axhline(1, color=COLOURS[0], linewidth=1.2, label=plain_label(names[0]))
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="level σ (model units)",
            ylabel=f"risk over that of {plain_label(names[0])}",
        )
        label_ticks(axes.yaxis)
        axes.legend(frameon=False, fontsize=9)

    return svg(draw)


def worth_figure(records: Mapping[str, WorthRecord]) -> str | None:
    """Effective number of clean images, `N_eff`, against the level, one curve per run; None without runs."""
    if not records:
        return None

    def draw(axes: Any) -> None:
        for (name, record), colour in zip(records.items(), COLOURS * len(records), strict=False):
            axes.plot(record.levels, record.n_effective, color=colour, label=plain_label(name), linewidth=1.6)
        axes.set(xscale="log", xlabel="level σ (model units)", ylabel="worth in clean images, N_eff(σ)")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False, fontsize=9)

    return svg(draw)


def loss_figure(metrics: Mapping[str, list[StepRecord]]) -> str | None:
    """Training loss against images seen, one curve for each run, as means over fifty parts of the run."""
    measured = {name: records for name, records in metrics.items() if records}
    if not measured:
        return None

    def draw(axes: Any) -> None:
        for (name, records), colour in zip(measured.items(), COLOURS * len(measured), strict=False):
            pieces = [p for p in np.array_split(np.arange(len(records)), 50) if len(p)]
            images = [np.mean([records[i].n_images for i in p]) for p in pieces]
            axes.plot(
                images,
                [np.mean([records[i].loss for i in p]) for p in pieces],
                color=colour,
                label=plain_label(name),
                linewidth=1.4,
            )
        axes.set(xlabel="images seen", ylabel="training loss", yscale="log")
        axes.legend(frameon=False, fontsize=9)

    return svg(draw)


def plain_label(name: str) -> str:
    """The name of a run as matplotlib's text: `$` begins no formula there, and `_` no label that is left out."""
    return (" " if name.startswith("_") else "") + printable(name).replace("$", r"\$")


def svg(draw: Callable[[Any], None]) -> str:
    """A figure of the common size and style as SVG text; `draw` gets its axes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": "noiseworth", "font.family": "sans-serif", "font.size": 10}
    ):
        figure = Figure(figsize=(6.4, 3.9), layout="constrained")
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, linewidth=0.6)
        draw(axes)
        buffer = io.StringIO()
        with warnings.catch_warnings():
            # Text stays text, and browsers have letters that matplotlib's font has not.
            warnings.filterwarnings("ignore", message="Glyph .* missing from font")
            figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def label_ticks(axis: Any) -> None:
    """Label a logarithmic axis at 1, 2 and 5 times powers of ten if it spans less than two decades.

    By default matplotlib labels powers of ten alone, and such an axis may have none.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    low, high = axis.get_view_interval()
    if high / low < 100:
        axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())

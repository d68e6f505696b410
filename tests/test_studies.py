"""The studies of the theory: sums drawn in place of samples, against samples; the runner; the page."""

import json
import math
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from noiseworth.cli import main
from noiseworth.errors import Stopped, UserError
from noiseworth.records import Number, Panel, Series, TheoryStudy
from noiseworth.report.theory import measured, write_theory_report
from noiseworth.studies import competitors, cost, denoising, mixed, separation, small_sigma, subspace
from noiseworth.studies.config import STUDIES, TheoryConfig
from noiseworth.studies.denoising import exact_v, mixture, predicted_excess
from noiseworth.studies.denoising import levels as training_levels
from noiseworth.studies.run import finished, load_study, run_theory
from noiseworth.studies.simulate import SecondMoment, group_weights, hermite_sums, line_errors, moment_sums
from noiseworth.studies.study import Cell, bootstrap, crossing, slope
from noiseworth.theory.bounds import Samples, uniform_weights_factor
from noiseworth.theory.estimator import AtomicDistribution, estimate
from noiseworth.theory.moments import hermite_moments

Array = NDArray[np.float64]
HALF = np.full(2, 0.5)


# ---- simulations -------------------------------------------------------------------------------------------


def test_moment_sums_are_those_of_the_samples() -> None:
    rng = np.random.default_rng(0)
    u, sigma = rng.integers(2, size=500), 1.7
    z = rng.standard_normal(500)
    sums = np.stack([[hermite_moments(z[u == c], 1.0, 5).sum(axis=1) for c in (0, 1)]])
    atoms = np.array([[-0.3, 0.8], [2.0, 2.5]])
    for row, moments in zip(atoms, moment_sums(sums, atoms, sigma)[0], strict=True):
        direct = hermite_moments(row[u] + sigma * z, sigma, 5).sum(axis=1)
        np.testing.assert_allclose(moments, direct, rtol=1e-9, atol=1e-8)


@pytest.mark.parametrize("limit", [False, True])
def test_hermite_sums_have_their_mean_and_variance(limit: bool) -> None:
    n, repeats, p = 200, 6000, np.array([0.3, 0.7])
    sums = hermite_sums(n, p, repeats, 4, np.random.default_rng(1), limit=limit)
    assert (sums[..., 0].sum(axis=1) == n).all()
    for order in range(1, 5):
        values = sums[..., order]
        variance = n * p * math.factorial(order)
        assert (np.abs(values.mean(axis=0)) < 4 * np.sqrt(variance / repeats)).all()
        square = values**2 / variance
        assert (np.abs(square.mean(axis=0) - 1) < 4 * square.std(axis=0) / math.sqrt(repeats)).all()


def test_second_moment_has_the_distribution_of_samples() -> None:
    """Means and variances of entries and of the largest eigenvalue, drawn both ways, agree.

    The tolerance is four standard errors.
    """
    n, d, sigma, eps, repeats = 30, 4, 1.3, 0.8, 3000
    rng = np.random.default_rng(2)
    drawn, plain = [], []
    for _ in range(repeats):
        second, first = SecondMoment(n, d, sigma, rng).sums(eps)
        drawn.append(np.concatenate([second[np.triu_indices(d)], first, np.linalg.eigvalsh(second)[-1:]]))
        x = sigma * rng.standard_normal((n, d))
        x[:, 0] += eps * rng.choice([-1, 1], n)
        second = x.T @ x
        plain.append(
            np.concatenate([second[np.triu_indices(d)], x.sum(axis=0), np.linalg.eigvalsh(second)[-1:]])
        )
    a, b = np.array(drawn), np.array(plain)
    for power in (1, 2):
        u = (a - b.mean(axis=0)) ** power
        v = (b - b.mean(axis=0)) ** power
        error = np.sqrt((u.var(axis=0) + v.var(axis=0)) / repeats)
        assert (np.abs(u.mean(axis=0) - v.mean(axis=0)) < 4 * error).all()
    with pytest.raises(ValueError, match="at least 6 samples in 4 dimensions"):
        SecondMoment(5, 4, 1.0, rng)


def test_line_errors_are_those_of_the_estimator() -> None:
    """Two groups of samples of two noises: the mean error by sums and by `estimate` on plain samples."""
    rng = np.random.default_rng(3)
    repeats, counts, sigmas = 400, [200, 1000], [1.0, 1.5]
    atoms = np.array([-0.9, 0.9])
    groups = [(hermite_sums(n, HALF, repeats, 3, rng), s) for n, s in zip(counts, sigmas, strict=True)]
    by_sums = line_errors(groups, group_weights(counts, sigmas, 6), atoms, HALF, 3.0)
    sigma = np.repeat(sigmas, counts)
    by_samples = []
    for _ in range(repeats):
        x = atoms[rng.integers(2, size=len(sigma))] + sigma * rng.standard_normal(len(sigma))
        by_samples.append(
            estimate(x, sigma, 2, radius=3.0, floor=0.0).w1(AtomicDistribution(atoms[:, None], HALF))
        )
    error = math.sqrt((by_sums.var() + np.var(by_samples)) / repeats)
    assert abs(by_sums.mean() - np.mean(by_samples)) < 4 * error


def test_errors_in_space_are_those_of_the_estimator() -> None:
    rng = np.random.default_rng(4)
    repeats, d, counts, sigmas, eps = 300, 6, [300, 900], [1.0, 1.4], 1.1
    by_sums = subspace.errors_in_space(d, counts, sigmas, np.array([eps]), repeats, rng)[:, 0]
    sigma = np.repeat(sigmas, counts)
    truth = np.zeros((2, d))
    truth[:, 0] = -eps, eps
    by_samples = []
    for seed in range(repeats):
        x = truth[rng.integers(2, size=len(sigma))] + sigma[:, None] * rng.standard_normal((len(sigma), d))
        estimated = estimate(x, sigma, 2, radius=subspace.RADIUS, floor=0.0, seed=seed)
        by_samples.append(estimated.w1(AtomicDistribution(truth, HALF)))
    error = math.sqrt((by_sums.var() + np.var(by_samples)) / repeats)
    assert abs(by_sums.mean() - np.mean(by_samples)) < 4 * error


# ---- statistics --------------------------------------------------------------------------------------------


def test_slope_and_crossing_of_a_power_law() -> None:
    n = np.array([1e3, 1e4, 1e5, 1e6])
    errors = 2 * n**-0.2
    assert slope(n, errors) == pytest.approx(-0.2)
    assert crossing(n, errors, 2 * 3e4**-0.2) == pytest.approx(3e4)
    assert crossing(n, errors, 10.0) == pytest.approx(1e2)  # ten times beyond the range, no further


def test_bootstrap_intervals_cover() -> None:
    """Of 300 intervals for a mean of 60 numbers, 90% to 98% hold the truth."""
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(300):
        _, low, high = bootstrap(lambda samples: float(samples[0].mean()), [rng.standard_normal(60)])
        hits += bool(low <= 0 <= high)
    assert 270 <= hits <= 294


def test_prediction_of_the_denoising_risk() -> None:
    """Clean samples alone give `mean v / sigma^2 / n`; more samples lower it, cleaner ones more."""
    v, sigma = exact_v(), training_levels()
    alone = predicted_excess(100, 0, 0.0, v)
    assert alone == pytest.approx(float((v(sigma) / sigma**2).mean()) / 100)
    more = [predicted_excess(100, 1000, s, v) for s in (0.05, 0.1, 0.2)]
    assert alone > more[2] > more[1] > more[0] > predicted_excess(1100, 0, 0.0, v)
    # An average over levels changes nothing where all levels have the same number, and helps the levels that
    # have few.
    assert predicted_excess(100, 0, 0.0, v, width=0.5) == pytest.approx(alone)
    assert predicted_excess(100, 1000, 0.1, v, width=0.5) < predicted_excess(100, 1000, 0.1, v)
    # Between the nodes of the grid.
    assert float(v(sigma[3:4])) == pytest.approx(mixture().risk(float(sigma[3])), rel=0.02)


# ---- the runner --------------------------------------------------------------------------------------------


def test_every_study_can_be_loaded_and_its_cells_have_names_for_files() -> None:
    for name in STUDIES:
        study = load_study(name)
        keys = [cell.key for cell in study.cells(0.01)]
        assert study.name == name
        assert len(set(keys)) == len(keys) > 0
        assert all(re.fullmatch(r"[A-Za-z0-9._+-]+", key) for key in keys)


@pytest.mark.parametrize("name", ["separation", "regimes", "mixed", "few_clean", "small_sigma"])
def test_studies_from_end_to_end(name: str, tmp_path: Path) -> None:
    """At the least effort, figures have points and the page shows them; `bench/theory.py` checks values."""
    (study,) = run_theory(TheoryConfig(studies=name, out=str(tmp_path / "out"), effort=0.001))
    assert study.panels
    assert all(
        series.x and len(series.x) == len(series.y) for panel in study.panels for series in panel.series
    )
    assert len({number.key for number in study.numbers}) == len(study.numbers)
    page = write_theory_report([study], tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.count("<svg") == len(study.panels)


def test_summaries_of_exact_rates_are_exact() -> None:
    """Errors by the formulas of the theorem give its slopes and exchange rates, and lie on one curve."""
    errors: dict[str, dict[str, Array]] = {}
    for d, ratios in [*subspace.RATIOS.items(), (10, subspace.BEYOND)]:
        for s in subspace.SIGMAS:
            for q in ratios:
                errors[f"d{d}-s{s:g}-r{q}"] = {
                    "errors": np.full((5, 12), (d / Samples([d * q * s**4], [s]).subspace) ** 0.25)
                }
    numbers = {n.key: n.value for n in subspace.STUDY.summarise(errors)[0]}
    for d in (10, 100, 1000):
        assert numbers[f"d{d}_rate"] == pytest.approx(-0.25, abs=1e-4)
        assert numbers[f"d{d}_exchange"] == pytest.approx(-4, abs=1e-3)
    assert numbers["pooled_rate"] == pytest.approx(0.25, abs=1e-4)
    assert (numbers["joint_n"], numbers["joint_d"]) == pytest.approx((-0.25, 0.25), abs=1e-4)

    scattered = np.random.default_rng(7).standard_normal((5, 6, 36))
    errors = {"k2-limit": {"errors": scattered}, "k3-limit": {"errors": scattered}}
    for k, sizes in separation.SIZES.items():
        for n in sizes:
            curve = np.array(
                [Samples([n], [s]).separation(k) ** (-1 / (4 * k - 2)) for s in separation.SIGMAS[k]]
            )
            errors[f"k{k}-n{n}"] = {"errors": np.broadcast_to(curve[None, :, None], (5, 6, 36)).copy()}
    numbers = {n.key: n.value for n in separation.STUDY.summarise(errors)[0]}
    assert numbers["k2_sampled"] == pytest.approx(-1 / 6)
    assert numbers["k3_rate"] == pytest.approx(-1 / 10)
    assert numbers["k2_exchange"] == pytest.approx(-6)
    assert numbers["k3_exchange"] == pytest.approx(-10)

    errors = {}
    for cell in mixed.STUDY.cells(0.01):
        where, share, noise = cell.key.split("-")
        n, power = (mixed.LINE_SAMPLES, 6) if where == "line" else (mixed.SPACE_SAMPLES, 4)
        samples = Samples.mixed(n, float(share[1:]), float(noise[1:]))
        best = samples.power_sum(power) ** (-1 / power)
        row = np.array([best, best * uniform_weights_factor(samples, power)])
        errors[cell.key] = {"errors": np.broadcast_to(row[None, :, None], (5, 2, 12)).copy()}
    numbers = {n.key: n.value for n in mixed.STUDY.summarise(errors)[0]}
    for where in ("line", "space"):
        assert numbers[f"{where}_scatter"] == pytest.approx(0, abs=1e-9)
        assert numbers[f"{where}_weights"] == pytest.approx(0, abs=1e-9)


def test_summaries_of_competitors_cost_and_denoising() -> None:
    twice = np.tile([1.0, 2.0, 3.0, 0.5], (5, 1))
    keys = [cell.key for cell in competitors.STUDY.cells(0.01)]
    numbers = {
        n.key: n.value
        for n in competitors.STUDY.summarise({key: {"errors": twice, "seconds": twice**2} for key in keys})[0]
    }
    assert [numbers[f"{m}_merging"] for m in ("em_usual", "em_patient", "npmle")] == pytest.approx(
        [2.0, 3.0, 0.5]
    )
    assert numbers["em_patient_apart_time"] == pytest.approx(9.0)

    sizes = {
        cell.key: np.prod([float(word[1:]) for word in cell.key.split("-")]) for cell in cost.STUDY.cells(1.0)
    }
    cells = {
        key: {"seconds": np.array([1e-8 * size, 2e-8 * size]), "mib": np.array([7.0, 7.0])}
        for key, size in sizes.items()
    }
    numbers = {n.key: n.value for n in cost.STUDY.summarise(cells)[0]}
    assert (numbers["n_exponent"], numbers["d_exponent"]) == pytest.approx((1, 1))
    assert (numbers["seconds"], numbers["memory"]) == pytest.approx((2.0, 7.0))

    rng = np.random.default_rng(6)
    cells = {}
    for cell in denoising.STUDY.cells(0.01):
        predicted = np.exp(rng.standard_normal(len(denoising.WIDTHS)))
        cells[cell.key] = {
            "predicted": predicted,
            "excess": 3 * predicted[4:5] ** 0.9,
            "ideal": np.array(0.4),
        }
    numbers = {n.key: n.value for n in denoising.STUDY.summarise(cells)[0]}
    assert numbers["shared_rank"] == pytest.approx(1)
    assert numbers["shared_exponent"] == pytest.approx(0.9)
    assert abs(numbers["plain_rank"]) < 0.6  # the widths are independent here


def test_an_interrupted_study_goes_on_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = TheoryConfig(studies="small_sigma", out=str(tmp_path / "a"), effort=0.01)
    (whole,) = run_theory(config)
    other = TheoryConfig(studies="small_sigma", out=str(tmp_path / "b"), effort=0.01)
    real, ran = small_sigma.STUDY.cells, []

    def stop(_: np.random.Generator) -> dict[str, Array]:
        raise KeyboardInterrupt

    def cells(effort: float) -> list[Cell]:
        return [Cell(c.key, stop, c.cost) if i == 9 else c for i, c in enumerate(real(effort))]

    def counted(effort: float) -> list[Cell]:
        def note(cell: Cell, rng: np.random.Generator) -> dict[str, Array]:
            ran.append(cell.key)
            return cell.run(rng)

        return [Cell(c.key, partial(note, c), c.cost) for c in real(effort)]

    study = small_sigma.STUDY
    monkeypatch.setattr(
        small_sigma, "STUDY", type(study)(study.name, study.title, study.lead, cells, study.summarise)
    )
    with pytest.raises(Stopped, match="the same command goes on"):
        run_theory(other)
    assert not list((tmp_path / "b").rglob("*.partial"))
    monkeypatch.setattr(
        small_sigma, "STUDY", type(study)(study.name, study.title, study.lead, counted, study.summarise)
    )
    (resumed,) = run_theory(other)
    assert len(ran) == len(real(0.01)) - 9
    assert (resumed.numbers, resumed.panels) == (whole.numbers, whole.panels)
    assert [s.name for s in finished(tmp_path / "b")] == ["small_sigma"]


def test_other_settings_are_refused_and_fresh_starts_again(tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    run_theory(TheoryConfig(studies="small_sigma", out=out, effort=0.01))
    with pytest.raises(UserError, match="other settings"):
        run_theory(TheoryConfig(studies="small_sigma", out=out, effort=0.01, seed=1))
    (again,) = run_theory(TheoryConfig(studies="small_sigma", out=out, effort=0.01, seed=1, fresh=True))
    assert again.seed == 1
    with pytest.raises(UserError, match="other settings"):
        run_theory(TheoryConfig(studies="few_clean", out=out, effort=0.01))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thing").touch()
    with pytest.raises(UserError, match="holds no studies"):
        run_theory(TheoryConfig(studies="small_sigma", out=str(tmp_path / "full")))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--studies", "nothing"], "there is no study 'nothing'"),
        (["--studies", ","], "there is no study"),
        (["--effort", "0"], "must be above 0"),
        (["--seed", "-1"], "0 or more"),
    ],
)
def test_bad_settings_end_in_one_line(
    words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["theory", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_command_prints_numbers_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["theory", "--studies", "small_sigma", "--effort", "0.01", "--out", str(tmp_path / "out")]
    assert main(words) == 0
    text = capsys.readouterr().out
    assert "slope of worth against sigma" in text
    assert f"report: {tmp_path / 'out' / 'report.html'}" in text
    assert main([*words, "--json"]) == 0
    (study,) = json.loads(capsys.readouterr().out)
    assert study["name"] == "small_sigma"


# ---- the page ----------------------------------------------------------------------------------------------


def test_the_page_is_self_contained_and_escapes(tmp_path: Path) -> None:
    series = [
        Series("<b>", [1.0, 10.0], [2.0, 3.0], [1.5, 2.5], [2.5, 3.5]),
        Series("guide", [1.0, 10.0], [2.0, 2.0], guide=True),
    ]
    panel = Panel("p", "A <title>", "caption", "x", "y", series)
    number = Number("k", "what & why", 1.23456, 1.0, 1.5, 1.2, "s")
    study = TheoryStudy("small_sigma", "Title", "lead", [number], [panel], 3.0, 0, 0.5)
    page = write_theory_report([study], tmp_path / "new" / "report.html").read_text(encoding="utf-8")
    assert "A &lt;title&gt;" in page
    assert "what &amp; why" in page
    assert "0.5 of the usual effort" in page
    assert not re.findall(r"""(?:src|href)=["']http""", page)
    assert measured(number) == "1.23 (1 to 1.5) s, expected 1.2"
    assert study.number("k") == number
    with pytest.raises(KeyError):
        study.number("other")

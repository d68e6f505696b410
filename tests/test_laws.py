"""Prices and laws: against the published table, against data from known laws, and against bad input."""

import json
from pathlib import Path

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.errors import UserError
from noiseworth.laws.budget import Market, least_clean_share, plan_purchase
from noiseworth.laws.describe import describe
from noiseworth.laws.fit import fit_law, held_out_errors
from noiseworth.laws.inequalities import price_intervals
from noiseworth.laws.marginal import marginal_worth
from noiseworth.laws.observations import Observations, from_rows, published, read_observations

Design = list[tuple[float, float, float]]

RATES = {0.1: 0.7, 0.2: 0.45, 0.4: 0.2}
DESIGN: Design = [
    *((c, 0.0, 0.0) for c in (200, 500, 1000, 2000, 5000, 10000)),
    *((c, n, s) for c in (200, 1000, 3000) for n in (1000, 4000, 9000) for s in RATES),
]


def synthetic(noise: float, seed: int, design: Design = DESIGN) -> Observations:
    """Quality 1.5 + 0.6 (n_eff / 10,000)^-0.7, times log-normal noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for c, n, s in design:
        effective = (c + (n * RATES[s] if n else 0.0)) / 10_000
        rows.append((c, n, s, (1.5 + 0.6 * effective**-0.7) * float(np.exp(noise * rng.standard_normal()))))
    return from_rows(rows)


def two_powers() -> Observations:
    """Quality of two currencies: coarse (small exponent, high worth of noise) and fine; without scatter."""
    rows = []
    for c, n, s in DESIGN:
        coarse, fine = (
            (c + n / (1 + (s / t) ** q if n else 1)) / 10_000 for t, q in ((0.5, 2.0), (0.1, 3.0))
        )
        rows.append((c, n, s, 1.0 + 0.3 * coarse**-0.4 + 0.05 * fine**-1.2))
    return from_rows(rows)


@pytest.mark.parametrize("name", ["celeba_hq_64", "imagenet_64"])
def test_inequalities_reproduce_the_published_intervals(name: str) -> None:
    facts = json.loads(
        (Path(__file__).parent.parent / "src/noiseworth/laws/published.json").read_text(encoding="utf-8")
    )
    for interval in price_intervals(published(name)):
        low, high = facts["published_price_intervals"][str(interval.sigma)][name]
        assert interval.high is not None
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=0.005)
        assert not interval.contradictory


def test_inequalities_contradict_the_published_prices_of_cifar10() -> None:
    intervals = {p.sigma: (p.low, p.high) for p in price_intervals(published("cifar10"))}
    assert intervals[0.05] == pytest.approx((7 / 6, 1.25))
    assert intervals[0.1] == pytest.approx((1.75, 2.25))  # published: 1.25 to 1.5
    assert intervals[0.2] == pytest.approx((3.5, 4.5))  # published: 1.5 to 1.75


def test_near_ties_give_no_bound_and_contradictions_are_detected() -> None:
    rows = [(100.0, 0.0, 0.0, 2.0), (50.0, 0.0, 0.0, 3.0), (20.0, 80.0, 0.1, 1.99), (20.0, 100.0, 0.1, 3.5)]
    (strict,) = price_intervals(from_rows(rows))
    assert strict.low == pytest.approx(100 / 30)  # 3.5 is worse than 50 clean ones
    assert strict.high == pytest.approx(1.0)  # 1.99 is better than 100 clean ones
    assert strict.contradictory
    (loose,) = price_intervals(from_rows(rows), uncertainty=0.02)
    assert loose.high == pytest.approx(80 / 30)


def test_a_law_without_noise_is_recovered() -> None:
    law = fit_law(synthetic(0.0, 0))
    assert law.exponent()[0] == pytest.approx(0.7, rel=0.02)
    np.testing.assert_allclose(law.rates(), list(RATES.values()), rtol=0.02)
    more = from_rows([(10_000, 30_000, 0.2, 1.0)])
    expected = 1.5 + 0.6 * (1 + 3 * 0.45) ** -0.7
    known = Observations(more.n_clean, np.array([[0.0, 30_000.0, 0.0]]), tuple(RATES), more.quality)
    assert law.predict(known)[0] == pytest.approx(expected, rel=0.01)


def test_two_currencies_are_recovered() -> None:
    """Data with two powers and different rates: two currencies predict them, one currency cannot."""
    o = two_powers()
    one, two = (np.abs(fit_law(o, name).predict(o) / o.quality - 1).max() for name in ("one", "two"))
    assert two < 0.01 < one


def test_one_outlier_changes_little() -> None:
    o = synthetic(0.01, 1)
    bad = o.quality.copy()
    bad[9] *= 1.5
    spoiled = fit_law(Observations(o.n_clean, o.n_noisy, o.sigmas, bad))
    np.testing.assert_allclose(spoiled.rates(), fit_law(o).rates(), atol=0.05)


def test_intervals_cover() -> None:
    """Of 60 repeats at nominal 95% at least 81% hold the truth, five binomial standard errors below.

    `bench/published.py` has 200 repeats.
    """
    hits = np.zeros(4)
    repeats = 60
    for seed in range(repeats):
        law = fit_law(synthetic(0.02, 100 + seed))
        _, low, high = law.exponent()
        inside = [(a <= r <= b) for (a, b), r in zip(law.rate_intervals(), RATES.values(), strict=True)]
        hits += np.array([low <= 0.7 <= high, *inside], dtype=float)
    assert (hits / repeats >= 0.81).all()
    assert hits.sum() / repeats / 4 < 1  # intervals that always hold the truth are too wide


def test_designs_that_do_not_determine_a_law_are_refused() -> None:
    with pytest.raises(UserError, match="add runs with clean images alone"):
        fit_law(synthetic(0.0, 0, [d for d in DESIGN if d[1] > 0 or d[0] < 500]))
    with pytest.raises(UserError, match=r"noise 0\.4 is too little"):
        fit_law(synthetic(0.0, 0, [d for d in DESIGN if d[2] != 0.4] + [(200.0, 1000.0, 0.4)]))
    with pytest.raises(UserError, match="cannot determine"):
        fit_law(synthetic(0.0, 0, [*DESIGN[:3], DESIGN[6], DESIGN[9]]))
    with pytest.raises(UserError, match="must be one of"):
        fit_law(synthetic(0.0, 0), "three")


def test_published_tables_are_predicted() -> None:
    """A short form of `bench/published.py`: five splits of one data set."""
    assert float(np.median(held_out_errors(published("cifar10"), "one", splits=5))) < 0.03


def test_csv_and_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    o = synthetic(0.01, 2)
    lines = ["n_clean,n_noisy,sigma,quality"]
    for (c, n, s), q in zip(DESIGN, o.quality, strict=True):
        lines.append(f"{c},{n},{s if n else ''},{q}")
    path = tmp_path / "runs.csv"
    path.write_text("\n".join(lines) + "\n")
    read = read_observations(str(path))
    np.testing.assert_allclose(read.quality, o.quality)
    np.testing.assert_allclose(read.n_noisy, o.n_noisy)
    assert main(["fit", str(path)]) == 0
    assert "noise 0.2: worth 0.4" in capsys.readouterr().out
    assert main(["fit", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_observations"] == len(DESIGN)
    assert describe(published("imagenet_64"), "x").prices[2].most == pytest.approx(1.75)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("n_clean,sigma,quality\n1,0,1\n", "column 'n_noisy' is missing"),
        ("n_clean,n_noisy,sigma,quality\n", "no rows"),
        ("n_clean,n_noisy,sigma,quality\n1,x,0,1\n", "line 2: n_noisy is 'x'"),
        ("n_clean,n_noisy,sigma,quality\n1,0,0,nan\n", "line 2: quality is nan"),
        ("n_clean,n_noisy,sigma,quality\n1,5,0,1\n", "need a sigma above 0"),
        ("n_clean,n_noisy,sigma,quality\n100,0,0,2\n200,0,0,1\n", "no model was trained on noisy images"),
    ],
)
def test_bad_tables_end_in_one_line(
    text: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text(text)
    assert main(["fit", str(tmp_path / "t.csv")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_missing_files_and_names_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fit", "nowhere.csv"]) == 2
    assert "nowhere.csv: no such file" in capsys.readouterr().err
    assert main(["fit", "published:mnist"]) == 2
    assert "there are cifar10, celeba_hq_64, imagenet_64" in capsys.readouterr().err


# ---- budgets -----------------------------------------------------------------------------------------------


def test_with_one_currency_the_images_of_more_worth_per_price_are_bought() -> None:
    """Below the price ratio `1 / r` the best purchase is all clean, above it as noisy as allowed."""
    o = synthetic(0.0, 0)
    law = fit_law(o)
    rate = float(law.rates()[1])
    for ratio, noisy_is_best in ((0.9 / rate, False), (1.1 / rate, True)):
        plan = plan_purchase(law, o, Market(ratio, 1.0, 0.2), budget=5000 * ratio)
        assert plan.flip_ratio == pytest.approx(1 / rate, rel=1e-3)
        assert (plan.best.n_noisy > 0) == noisy_is_best
        if noisy_is_best:  # as many noisy images as the observed shares of clean images allow
            share = plan.best.n_clean / (plan.best.n_clean + plan.best.n_noisy)
            assert share == pytest.approx(least_clean_share(o, 1), abs=0.01)
            assert plan.best.quality < plan.all_clean.quality
        else:
            assert plan.best == plan.all_clean
        spent = plan.best.n_clean * ratio + plan.best.n_noisy
        assert spent == pytest.approx(5000 * ratio, rel=0.01)


def test_images_that_are_there_already_change_the_best_purchase() -> None:
    """Marginal worth in two currencies: the more noisy images are there, the less the next one is worth."""
    o = two_powers()
    law = fit_law(o, "two")
    few, many = (marginal_worth(law, 1000, noisy, 1) for noisy in (0, 9000))
    assert many < few
    low, high = sorted(float(r) for r in law.rates()[:, 1])
    assert low < many < few < high


def test_intervals_of_a_plan_widen_with_the_noise_of_the_data() -> None:
    widths = []
    for noise in (0.005, 0.05):
        o = synthetic(noise, 3)
        plan = plan_purchase(fit_law(o), o, Market(10.0, 1.0, 0.1), budget=20_000)
        assert plan.best.low < plan.best.quality < plan.best.high
        widths.append(plan.best.high - plan.best.low)
    assert widths[1] > 3 * widths[0]


def test_plans_beyond_the_observations_are_marked_or_refused(capsys: pytest.CaptureFixture[str]) -> None:
    o = synthetic(0.01, 4)
    law = fit_law(o)
    beyond = [plan_purchase(law, o, Market(1.0, 1.0, 0.1), budget).beyond for budget in (50, 5000, 50_000)]
    assert beyond == ["fewer", None, "more"]
    with pytest.raises(UserError, match=r"--sigma 0\.3: the law was fitted to noise 0\.1, 0\.2, 0\.4"):
        plan_purchase(law, o, Market(1.0, 1.0, 0.3), 5000)
    with pytest.raises(UserError, match="no model like that was observed"):
        plan_purchase(law, o, Market(1.0, 1.0, 0.1), 100, have_noisy=90_000)
    with pytest.raises(UserError, match="prices must be"):
        Market(0.0, 1.0, 0.1)
    words = ["plan", "published:cifar10", "--clean-price", "1", "--noisy-price", "0.1", "--sigma", "0.2"]
    assert main([*words, "--budget", "10000"]) == 0
    assert "noisy ones pay from a ratio of 2.6" in capsys.readouterr().out
    assert main([*words, "--budget", "-1"]) == 2
    assert main([*words, "--budget", "10000", "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["best"]["n_noisy"] > 0
    assert captured.err.count("\n") == 1

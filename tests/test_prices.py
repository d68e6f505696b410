"""Prices at a mix, the next images and the next trainings, for data from known laws; tables of sweeps."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from noiseworth.cli import main
from noiseworth.errors import UserError
from noiseworth.laws.budget import Market, plan_purchase
from noiseworth.laws.describe import describe
from noiseworth.laws.design import next_runs
from noiseworth.laws.fit import fit_law, prediction_interval
from noiseworth.laws.inequalities import price_intervals
from noiseworth.laws.law import Law
from noiseworth.laws.marginal import average_price, marginal_worth
from noiseworth.laws.observations import (
    Observations,
    RunWorth,
    from_rows,
    predicted_worth,
    published,
    read_observations,
)
from noiseworth.laws.price import quote
from noiseworth.laws.remarks import floor_remark, inequality_remark

RATES = {0.2: 0.5, 0.5: 0.2}
DESIGN = [
    *((c, 0.0, 0.0) for c in (200, 500, 1000, 2000, 5000)),
    *((c, n, s) for c in (200, 1000) for n in (1000, 4000) for s in RATES),
]


def synthetic(
    noise: float = 0.0, seed: int = 0, design: Sequence[tuple[float, float, float]] = DESIGN
) -> Observations:
    """Quality 1.5 + 0.6 (n_eff / 5,000)^-0.7, times log-normal noise."""
    rng = np.random.default_rng(seed)
    rows = []
    for c, n, s in design:
        effective = (c + n * RATES.get(s, 0.0)) / 5000
        rows.append((c, n, s, (1.5 + 0.6 * effective**-0.7) * float(np.exp(noise * rng.standard_normal()))))
    return from_rows(rows)


def test_average_and_marginal_price_of_one_currency_are_its_rate() -> None:
    o = synthetic()
    law = fit_law(o)
    for column, rate in enumerate(RATES.values()):
        assert average_price(law, 300, 5000, column) == pytest.approx(
            1 / float(law.rates()[column]), rel=1e-6
        )
        assert 1 / marginal_worth(law, 300, 5000, column) == pytest.approx(1 / rate, rel=0.02)


def test_the_average_price_of_two_currencies_is_between_theirs_and_gives_equal_quality() -> None:
    law = Law(
        "two", (0.5,), 1000.0, np.log([1.0, 0.5, 0.5, 0.5, 2.0, 1.0, 1.0, 0.1, 2.0]), np.eye(9), 5, 0.01, 0.0
    )
    rates = sorted(float(r) for r in law.rates()[:, 0])
    price = average_price(law, 500, 4000, 0)
    assert 1 / rates[1] < price < 1 / rates[0]
    models = Observations(
        np.array([500.0, 500 + 4000 / price]), np.array([[4000.0], [0.0]]), (0.5,), np.ones(2)
    )
    mixed, clean = law.predict(models)
    assert mixed == pytest.approx(clean, rel=1e-9)


def test_quotes_have_intervals_and_name_the_run_that_predicts() -> None:
    o = synthetic(0.01, 1)
    law = fit_law(o)
    rows = [
        ("far", 200.0, 1000.0, 0.2, 0.9),
        ("near", 250.0, 4000.0, 0.2, 0.4),
        ("other", 1000.0, 4000.0, 0.5, 0.1),
    ]
    runs = [RunWorth(*row) for row in rows]
    record = quote(law, o, 0.2, predicted=runs)
    # The first of the observed mixes with the most images of this noise.
    assert (record.n_clean, record.n_noisy) == (200, 4000)
    assert record.average_low < record.average < record.average_high
    assert record.average_low < 2.0 < record.average_high
    assert record.predicted == pytest.approx(1 / 0.4)
    assert record.predicted_by == "near"
    assert record.remarks == []
    assert quote(law, o, 0.2, 900, 3000).predicted is None
    with pytest.raises(UserError, match=r"--sigma 0\.3: the law was fitted to noise 0\.2, 0\.5"):
        quote(law, o, 0.3)
    with pytest.raises(UserError, match="has no price"):
        quote(law, o, 0.2, 0, 100)


def test_ways_of_pricing_that_disagree_are_said_with_the_reason() -> None:
    """Published CIFAR-10 at noise 0.2: pairs that differ by less than the residuals decide the inequalities."""
    o = published("cifar10")
    law = fit_law(o)
    (remark,) = quote(law, o, 0.2).remarks
    assert "the law (2.18 to 2.89) and the inequalities disagree" in remark
    assert "without these the inequalities say 2.25 to 4.5" in remark
    assert [r.partition(":")[0] for r in describe(o, "published").remarks] == ["noise 0.2"]
    bounds = price_intervals(o)[0]
    assert inequality_remark(law, o, bounds, bounds.low, bounds.low) is None
    contradiction = replace(bounds, low=3.0, high=2.0)
    remark = str(inequality_remark(law, o, contradiction, 1.0, 1.5))
    assert "the inequalities contradict each other: pairs" in remark
    far = str(inequality_remark(law, o, replace(bounds, low=90.0, high=99.0), 50.0, 60.0))
    assert "also without pairs" in far


def test_a_single_training_and_a_law_that_exclude_each_other_are_said() -> None:
    o = synthetic(0.01, 1)
    law = fit_law(o)

    def remarks(low: float, high: float | None) -> list[str]:
        run = RunWorth("r", 200.0, 4000.0, 0.2, 0.4, low, high)
        return quote(law, o, 0.2, predicted=[run]).remarks

    assert remarks(1.5, 4.0) == remarks(1.5, None) == []
    for low, high in ((4.0, 6.0), (4.0, None), (1.0, 1.2)):
        (remark,) = remarks(low, high)
        assert "disagree, whatever imputed images are worth" in remark


def test_quality_at_its_floor_is_said() -> None:
    """Large models are within the residuals of the floor: by floor alone, and by the prediction's reason."""
    rows = [(c, 0.0, 0.0) for c in (20, 50, 100, 20_000, 50_000)] + [(c, 200.0, 0.2) for c in (20, 50, 100)]
    rng = np.random.default_rng(0)
    o = from_rows(
        [
            (
                c,
                n,
                s,
                (1.5 + 0.6 * ((c + 0.5 * n) / 100) ** -1.0) * float(np.exp(0.01 * rng.standard_normal())),
            )
            for c, n, s in rows
        ]
    )
    law = fit_law(o)
    floor = str(floor_remark(law, o))
    assert floor.startswith("2 of 8 models are at the floor of the quality, 1.5")
    run = RunWorth("r", 100.0, 200.0, 0.2, 0.02, 40.0, 60.0)
    remarks = quote(law, o, 0.2, predicted=[run]).remarks
    assert remarks[0] == floor
    assert "at its floor the quality says little" in remarks[-1]
    assert floor_remark(law, o.take(o.quality > 1.6)) is None


def test_the_next_images_are_those_of_more_worth_per_price() -> None:
    """With one currency of rate 1/2, the next image is noisy if two noisy ones cost less than a clean one."""
    o = synthetic()
    law = fit_law(o)
    for ratio, best in ((1.9, "clean"), (2.1, "noisy")):
        following = plan_purchase(law, o, Market(ratio, 1.0, 0.2), 3000, 500, 1000).following
        assert (following.n_clean, following.n_noisy, following.best) == (500, 1000, best)
        assert following.quality > following.more_noisy > following.more_clean


def test_the_suggested_trainings_narrow_the_interval_as_predicted() -> None:
    """The first training narrows the interval by the predicted factor; no other candidate narrows it more."""
    o = synthetic(0.01, 2)
    law = fit_law(o)
    runs = next_runs(law, o, 1, 200, 4000)
    assert 1 > runs[0].narrower > runs[1].narrower > runs[2].narrower > 0

    def width(extra: list[tuple[float, float, float]]) -> float:
        slopes = []
        more = synthetic(0.0, 0, [*DESIGN, *extra])
        for e in 1e-5 * np.eye(len(law.parameters)):
            up, down = (
                np.log(replace(law, parameters=law.parameters + k * e).predict(more)) for k in (1, -1)
            )
            slopes.append((up - down) / 2e-5)
        information = np.array(slopes) @ np.array(slopes).T
        gradient = np.array(
            [
                (
                    np.log(marginal_worth(replace(law, parameters=law.parameters + e), 200, 4000, 1))
                    - np.log(marginal_worth(replace(law, parameters=law.parameters - e), 200, 4000, 1))
                )
                / 2e-5
                for e in 1e-5 * np.eye(len(law.parameters))
            ]
        )
        return float(np.sqrt(gradient @ np.linalg.inv(information) @ gradient))

    predicted = runs[0].narrower
    actual = width([(runs[0].n_clean, runs[0].n_noisy, 0.5 if runs[0].n_noisy else 0.0)]) / width([])
    assert actual == pytest.approx(predicted, abs=0.03)
    candidates = [(c, n) for c in (200, 500, 1000, 2000) for n in (0, 1000, 4000) if c + n <= 5000]
    others = [width([(c, n, 0.5 if n else 0.0)]) / width([]) for c, n in candidates]
    assert actual <= min(others) + 0.03


def test_models_of_equal_quality_determine_no_law() -> None:
    """All models have the same quality, as after too short a training."""
    rng = np.random.default_rng(0)
    o = synthetic()
    flat = Observations(o.n_clean, o.n_noisy, o.sigmas, 0.55 * np.exp(0.003 * rng.standard_normal(len(o))))
    with pytest.raises(UserError, match="too little to fit a law: train longer"):
        fit_law(flat)


def test_prediction_intervals_have_their_nominal_coverage() -> None:
    """For 20 repeats of 4 models with more images than the observed ones.

    Five binomial standard errors below 90% are 73%. Intervals that always hold the quality are too wide.
    """
    larger = [(5000.0, 5000.0, 0.2), (8000.0, 0.0, 0.0), (1000.0, 9000.0, 0.5), (2000.0, 8000.0, 0.2)]
    design = [*DESIGN, *DESIGN]
    hits = []
    for seed in range(20):
        o = synthetic(0.02, 200 + seed, design)
        measured = synthetic(0.02, 900 + seed, larger)
        interval = prediction_interval(fit_law(o), o, measured)
        hits += ((interval[:, 0] <= measured.quality) & (measured.quality <= interval[:, 1])).tolist()
    assert 0.73 <= np.mean(hits) < 1


def test_without_the_simpler_law_there_is_none_of_two_currencies() -> None:
    rng = np.random.default_rng(0)
    more = [(c, n, s) for c in (100, 300, 700) for n in (500, 2000) for s in RATES]
    o = synthetic(0.0, 0, [*DESIGN, *more])
    flat = Observations(o.n_clean, o.n_noisy, o.sigmas, 0.55 * np.exp(0.003 * rng.standard_normal(len(o))))
    with pytest.raises(UserError, match="too little to fit a law"):
        fit_law(flat, "two")


def test_repeats_are_averaged_before_inequalities() -> None:
    """With 5% scatter and three repeats, the true price lies between the bounds in 36 of 40 sweeps or more.

    Without averages, pair by pair, it does so in fewer than 32.
    """
    held: dict[str, int] = {"averaged": 0, "pair by pair": 0}
    for seed in range(40):
        o = synthetic(0.05, 300 + seed, [*DESIGN] * 3)
        for name, uncertainty in (("averaged", None), ("pair by pair", 0.0)):
            bounds = price_intervals(o, uncertainty)
            true = [1 / rate for rate in RATES.values()]
            held[name] += all(b.low <= p <= (b.high or np.inf) for b, p in zip(bounds, true, strict=True))
    assert held["averaged"] >= 36
    assert held["pair by pair"] < 32


# ---- tables ------------------------------------------------------------------------------------------------


def write(
    path: Path,
    rows: list[str],
    header: str = "trial,n_clean,n_noisy,sigma,risk,frechet_distance,predicted_worth",
) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_tables_of_sweeps_are_read(tmp_path: Path) -> None:
    write(
        tmp_path / "observations.csv",
        ["a,10,0,,0.5,,", "b,10,30;20,0.2;0.5,0.4,,0.3;0.1", "c,5,7,0.5,0.6,9,0.25"],
    )
    o = read_observations(str(tmp_path))
    np.testing.assert_array_equal(o.n_noisy, [[0, 0], [30, 20], [0, 7]])
    np.testing.assert_array_equal(o.quality, [0.5, 0.4, 0.6])
    assert predicted_worth(str(tmp_path)) == [RunWorth("c", 5.0, 7.0, 0.5, 0.25)]
    assert read_observations(str(tmp_path), quality="frechet_distance", where="trial=c").quality[0] == 9
    write(tmp_path / "all-noisy.csv", ["a,10,0,,0.5,,", "b,0,30,0.2,0.4,,", "short"])
    with pytest.raises(UserError, match="n_clean is '', not a number"):
        read_observations(str(tmp_path / "all-noisy.csv"))
    write(tmp_path / "all-noisy.csv", ["a,10,0,,0.5,,", "b,0,30,0.2,0.4,,"])
    kept = read_observations(str(tmp_path / "all-noisy.csv"))
    assert (len(kept), kept.left_out) == (1, 1)
    with pytest.raises(UserError, match="frechet_distance is '', not a number"):
        read_observations(str(tmp_path), quality="frechet_distance")


def test_models_of_several_settings_are_not_mixed(tmp_path: Path) -> None:
    header = "n_clean,n_noisy,sigma,risk,train.n_images,train.preset"
    path = write(tmp_path / "t.csv", ["10,0,,0.5,1000,mini", "20,0,,0.4,2000,mini"], header)
    with pytest.raises(
        UserError, match=r"differ in n_images \(1000, 2000\); choose with --where n_images=1000"
    ):
        read_observations(str(path))
    assert read_observations(str(path), where="n_images=2e3, preset=mini").n_clean[0] == 20
    for where, message in (
        ("n_images=5", "n_images is 1000, 2000"),
        ("colour=red", "must be COLUMN=VALUE"),
        ("preset", "must be"),
    ):
        with pytest.raises(UserError, match=message):
            read_observations(str(path), where=where)


def test_commands_read_tables_and_write_pages(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    o = synthetic(0.01, 3)
    rows = [f"{c},{n},{s if n else ''},{q}" for (c, n, s), q in zip(DESIGN, o.quality, strict=True)]
    path = str(write(tmp_path / "t.csv", rows, "n_clean,n_noisy,sigma,quality"))
    assert main(["price", path, "--sigma", "0.5", "--n-clean", "500", "--n-noisy", "2000"]) == 0
    assert "beside 500 clean and 2,000 such noisy images" in capsys.readouterr().out
    assert main(["price", path, "--sigma", "0.5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["least"] > 1
    words = ["plan", path, "--budget", "3000", "--clean-price", "1", "--noisy-price", "0.1", "--sigma", "0.2"]
    assert main([*words, "--page", str(tmp_path / "plan.html")]) == 0
    assert "trainings that would narrow the ratio most" in capsys.readouterr().out
    assert main(["fit", path, "--page", str(tmp_path / "fit.html")]) == 0
    page = (tmp_path / "fit.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 5  # prices, and two for each law
    assert main(["price", path]) == 2
    assert main(["fit", str(tmp_path)]) == 2
    assert "no observations.csv there" in capsys.readouterr().err
    assert main(["fit", "published:cifar10", "--where", "a=b"]) == 2

"""How long to expose: instruments by their physics, the best choice by brute force, and refusals in one line."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.errors import UserError
from noiseworth.laws.exposure import plan_exposures
from noiseworth.laws.fit import fit_law
from noiseworth.laws.instrument import Instrument, read_instrument
from noiseworth.records import CameraRecord, to_json, write_atomically
from test_curve import S0, models, worth

CAMERA = Instrument("camera", 0.3, 10.0, white=100.0, mean=0.4, dark=0.5, read_noise=3.0, overhead=0.5)


def test_a_cameras_noise_is_that_of_counting_and_of_reading() -> None:
    """Simulated: electrons of a pixel of mean brightness, in units in which white is 2 above black."""
    rng = np.random.default_rng(0)
    for exposure in (0.3, 2.0):
        electrons = rng.poisson(exposure * (100 * 0.4 + 0.5), 200_000) + 3.0 * rng.standard_normal(200_000)
        found = np.std(2 * electrons / (100 * exposure))
        assert CAMERA.sigma_of(np.array([exposure]))[0] == pytest.approx(found, rel=0.01)  # 6 standard errors


def test_stacks_averages_and_doses() -> None:
    stack = Instrument("camera", 10, 1000, white=100.0, read_noise=3.0, each_read=10.0)
    once = stack.sigma_of(np.array([10.0, 1000.0]))
    assert once[0] / once[1] == pytest.approx(10)  # a hundred read-outs, each with its noise
    for kind in ("averages", "dose"):
        scanner = Instrument(kind, 1, 16, sigma=0.8)
        assert scanner.sigma_of(np.array([4.0]))[0] == pytest.approx(0.4)
    exposures = Instrument("averages", 1, 16, sigma=0.8).exposures(60)
    assert (exposures == np.rint(exposures)).all()


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), (90.0, 90), ("1h", 3600), ("1.5min", 90), ("2d", 172_800)]
)
def test_budgets_are_numbers_or_times(text: str | float, seconds: float) -> None:
    assert CAMERA.budget(text) == pytest.approx(seconds)


def test_of_one_currency_and_plenty_of_objects_the_best_is_the_cheapest_worth() -> None:
    o = models(0.01, 3)
    law = fit_law(o, "curve")
    plan = plan_exposures(law, o, CAMERA, 3600.0)
    exposures = np.geomspace(0.3, 10, 2000)
    price = CAMERA.cost_of(exposures) / law.at(tuple(CAMERA.sigma_of(exposures).tolist())).rates()
    assert len(plan.best.images) == 1
    assert plan.price[0] == pytest.approx(price.min(), rel=0.005)
    assert plan.flat[0] <= exposures[price.argmin()] <= plan.flat[1]
    assert plan.best.cost <= 3600
    assert plan.best.low < plan.best.quality < plan.best.high
    assert plan.over_longest[0] > 1
    assert plan.over_shortest[0] > 1


def test_two_currencies_choose_alike_where_one_is_the_truth() -> None:
    """A law of more parameters, fitted to a world of one currency: its choice is as good there, to within a hundredth."""
    o = models(0.0, 3)
    one, two = (plan_exposures(fit_law(o, law), o, CAMERA, 3600.0) for law in ("curve", "two"))
    worths = [sum(i.count * worth(i.sigma) for i in plan.best.images) for plan in (one, two)]
    assert worths[1] == pytest.approx(worths[0], rel=0.01)


@pytest.mark.parametrize("objects", [300, 700, 1500])
def test_scarce_objects_are_exposed_as_a_linear_programme_says(objects: int) -> None:
    """The greatest sum of worth, of so many objects for so much money: a linear programme of all exposures."""
    o = models(0.0, 3)
    law = fit_law(o, "curve")
    scarce = Instrument(
        "camera", 0.3, 10.0, white=100.0, mean=0.4, dark=0.5, read_noise=3.0, overhead=0.5, objects=objects
    )
    plan = plan_exposures(law, o, scarce, 2000.0)
    exposures = scarce.exposures(60)
    rates = law.at(tuple(scarce.sigma_of(exposures).tolist())).rates()
    best = linprog(-rates, A_ub=[scarce.cost_of(exposures), np.ones(len(exposures))], b_ub=[2000.0, objects])
    found = sum(i.count * i.worth for i in plan.best.images)
    assert sum(i.count for i in plan.best.images) <= objects
    assert plan.best.cost <= 2000
    assert -best.fun * 0.99 < found <= -best.fun * (1 + 1e-9)


def test_noise_beyond_the_models_is_refused_or_told() -> None:
    o = models(0.01, 3)
    law = fit_law(o, "curve")
    dim = Instrument("dose", 0.01, 1.0, sigma=0.5, unit="e/A^2")
    with pytest.raises(
        UserError, match=r"leave noise 5 to 0\.5, and the observed models have noise 0 to 1\.2"
    ):
        plan_exposures(law, o, dim, 100.0)
    plan = plan_exposures(law, o, dim, 100.0, beyond=True)
    assert "leave noise 5" in plan.beyond[0]


def _write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def write_table(path: Path) -> Path:
    o = models(0.01, 3)
    rows = [
        f"{c},{n.sum()},{o.sigmas[int(n.argmax())] if n.sum() else ''},{q}"
        for c, n, q in zip(o.n_clean, o.n_noisy, o.quality, strict=True)
    ]
    return _write(path, "n_clean,n_noisy,sigma,quality\n" + "\n".join(rows) + "\n")


YAML = "kind: camera\nwhite: 100\nmean: 0.4\nread_noise: 3\nleast: 0.3\nmost: 10\noverhead: 0.5\n"


def test_the_command(tmp_path: Path, capsys: Captured) -> None:
    table = write_table(tmp_path / "models.csv")
    instrument = _write(tmp_path / "camera.yaml", YAML)
    assert main(["plan", str(table), "--instrument", str(instrument), "--budget", "1h"]) == 0
    printed = capsys.readouterr().out
    assert "an image of noise 0.4" in printed  # S0, where it is worth half a clean one
    for words in (
        "predicted by one currency",
        "take",
        "all longest",
        "all shortest",
        "within 1%",
        "images worth a clean one cost",
    ):
        assert words in printed


@pytest.mark.parametrize(
    ("text", "options", "answer"),
    [
        (YAML, ["--budget", "1fortnight"], "nor a time such as 90min or 1h"),
        (YAML, ["--budget", "0.1"], "buys no image"),
        (YAML, ["--budget", "-5"], "must be a number above 0"),
        (YAML + "colour: red\n", ["--budget", "9"], "colour"),
        (YAML.replace("white: 100\n", ""), ["--budget", "9"], "camera: needs white"),
        (YAML.replace("least: 0.3", "least: 30"), ["--budget", "9"], "is above most"),
        (YAML.replace("mean: 0.4", "mean: 4"), ["--budget", "9"], "share of white"),
        (YAML.replace("camera", "telescope"), ["--budget", "9"], "kind"),
        ("kind: averages\nsigma: 1\nleast: 0.5\nmost: 4\n", ["--budget", "9"], "whole numbers"),
        ("- 1\n", ["--budget", "9"], "holds no settings"),
        (YAML, ["--budget", "1h", "--sigma", "0.5"], "--sigma: goes with prices"),
    ],
)
def test_bad_instruments_are_one_line(
    text: str, options: list[str], answer: str, tmp_path: Path, capsys: Captured
) -> None:
    table, instrument = write_table(tmp_path / "models.csv"), _write(tmp_path / "camera.yaml", text)
    words = ["plan", str(table), "--instrument", str(instrument), *options]
    assert answer in refusal(words, capsys)


def test_a_measured_camera_gives_read_noise_and_electrons(tmp_path: Path) -> None:
    """Gain 0.5 raw units an electron, read noise 1.5 raw units: 3 electrons; 50 raw units a second are 100 electrons."""
    camera = CameraRecord(
        "data", (0.5, 0.49, 0.51), (100.0, 99.0, 101.0), (1.5, 1.4, 1.6), [], 0.0, 0, 64, False, {}
    )
    write_atomically(tmp_path / "camera.json", to_json(camera))
    text = "kind: camera\nwhite: 50\nmean: 0.4\ndark: 0.25\nleast: 0.3\nmost: 10\noverhead: 0.5\ncalibration: camera.json\n"
    assert read_instrument(_write(tmp_path / "c.yaml", text)) == CAMERA
    with pytest.raises(UserError, match="read_noise: is that of the calibration"):
        read_instrument(_write(tmp_path / "c.yaml", text + "read_noise: 3\n"))
    write_atomically(tmp_path / "camera.json", to_json(replace(camera, read_noise=None)))
    with pytest.raises(UserError, match="has no gain, or no read noise"):
        read_instrument(_write(tmp_path / "c.yaml", text))
    (tmp_path / "camera.json").unlink()
    with pytest.raises(UserError, match=r"camera\.json"):
        read_instrument(tmp_path / "c.yaml")


def test_instruments_are_read_as_they_are_written(tmp_path: Path) -> None:
    assert read_instrument(_write(tmp_path / "c.yaml", YAML)).white == 100
    assert worth(S0) == 0.5

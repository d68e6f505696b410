"""A pilot: its rounds, when it stops, what it ends with in worlds that are known, and refusals in one line."""

import csv
from pathlib import Path

import numpy as np
import pytest

from command_line import Captured, refusal
from noiseworth.cli import main
from noiseworth.laws.exposure_market import ExposureMarket, Taken, together
from noiseworth.laws.instrument import Instrument
from noiseworth.laws.law import Law
from noiseworth.laws.observations import Observations
from noiseworth.laws.pilot import first_round, next_round
from noiseworth.records import PilotRecord
from test_exposures import CAMERA, YAML

SCANNER = Instrument("averages", 1, 16, sigma=0.8, unit="averages", overhead=2.0, objects=20_000)
CURVE = Law("curve", (), 10_000.0, np.log([1.0, 1.0, 0.8, 0.2, 2.5]), np.zeros((5, 5)), 1, 0.0, 0.0)
LEVELS = Law("levels", (), 10_000.0, np.log([0.24, 0.5, 1.2, 1.5, 3, 0.01]), np.zeros((6, 6)), 1, 0.0, 0.0)


def taken_of(record: PilotRecord) -> Taken:
    return Taken(
        np.array([i.exposure for i in record.take]), np.array([i.count for i in record.take], np.float64)
    )


@pytest.mark.parametrize("machine", [CAMERA, SCANNER])
def test_the_first_round_spreads_and_keeps_to_its_share(machine: Instrument) -> None:
    record = first_round(machine, 20_000.0)
    exposures = [image.exposure for image in record.take]
    assert exposures[0] == machine.least
    assert exposures[-1] == machine.most
    assert 200 <= sum(image.count for image in record.take) <= 2004
    assert record.cost <= 0.11 * 20_000
    counts = [image.count for image in record.take]
    assert counts == sorted(counts, reverse=True)  # fewer of what costs more
    assert len(record.models) == 3 * (len(exposures) + 1)
    assert record.models[len(exposures)] == counts
    if machine.kind == "averages":
        assert all(t == round(t) for t in exposures)


def rounds(world: Law, machine: Instrument, budget: float, seed: int) -> tuple[list[PilotRecord], Taken]:
    """Rounds until the pilot stops, with models of that world whose quality scatters by 2%; and all images, the purchase included."""
    rng = np.random.default_rng(seed)
    records, have, left = [first_round(machine, budget)], Taken(), budget
    tables: list[tuple[list[float], list[int], float]] = []
    while records[-1].take and len(records) < 7:
        record = records[-1]
        have, left = together(have, taken_of(record)), left - record.cost
        for row in record.models:
            o = Observations(np.zeros(1), np.array([row], np.float64), tuple(record.sigmas), np.ones(1))
            quality = float(world.at(o.sigmas).predict(o)[0] * np.exp(0.02 * rng.standard_normal()))
            tables.append((record.sigmas, row, quality))
        sigmas = sorted({s for at, _, _ in tables for s in at})
        counts = np.zeros((len(tables), len(sigmas)))
        for k, (at, row, _) in enumerate(tables):
            counts[k, [sigmas.index(s) for s in at]] = row
        quality_of = np.array([quality for _, _, quality in tables])
        observed = Observations(np.zeros(len(tables)), counts, tuple(sigmas), quality_of)
        records.append(next_round(observed, machine, left, have))
    plan = records[-1].plan
    assert plan is not None
    bought = plan.best.images
    return records, together(
        have, Taken(np.array([i.exposure for i in bought]), np.array([i.count for i in bought], np.float64))
    )


@pytest.mark.parametrize("world", [CURVE, LEVELS], ids=["curve", "levels"])
def test_what_it_ends_with_is_near_the_best(world: Law) -> None:
    """Within 10% of the best quality of the whole budget; `bench/exposure.py` has 50 worlds."""
    records, images = rounds(world, CAMERA, 10_000.0, 0)
    whole = ExposureMarket(CAMERA, 10_000.0)
    best = whole.quality(world, whole.best(world))
    assert ExposureMarket(CAMERA, 1.0, images).quality(world, Taken()) < 1.1 * best
    assert not records[-1].take
    assert CAMERA.cost_of(images.exposures) @ images.counts <= 10_000.0
    last = records[-1]
    assert last.regret is not None
    assert (
        last.regret_after is None
        or last.price is None
        or last.regret <= 0.005
        or (last.regret - last.regret_after <= last.price)
    )


def test_images_that_are_there_count() -> None:
    """With the best images there already, so many fewer are bought; scarce objects are not exposed twice."""
    market = ExposureMarket(SCANNER, 1000.0)
    had = Taken(np.array([4.0]), np.array([19_950.0]))
    assert market.most[0] == 333
    beside = ExposureMarket(SCANNER, 1000.0, had)
    assert beside.most[0] == 50
    one = Taken(np.array([4.0]), np.array([50.0]))
    assert beside.quality(CURVE, one) == pytest.approx(
        ExposureMarket(SCANNER, 1e6).quality(CURVE, Taken(np.array([4.0]), np.array([20_000.0])))
    )


def test_the_command_goes_on_with_what_it_says(tmp_path: Path, capsys: Captured) -> None:
    """The first round, its table filled in by a world, and the line that it prints for the next."""
    (tmp_path / "camera.yaml").write_text(YAML)
    table = tmp_path / "models.csv"
    words = ["pilot", str(tmp_path / "camera.yaml"), "--budget", "2h", "--table", str(table)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    following = next(line for line in printed.splitlines() if line.startswith("and go on: "))
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert f"then train {len(rows)} models" in printed
    rng = np.random.default_rng(0)
    for row in rows:
        counts, sigmas = ([float(x) for x in row[key].split(";")] for key in ("n_noisy", "sigma"))
        o = Observations(np.zeros(1), np.array([counts]), tuple(sigmas), np.ones(1))
        row["quality"] = str(float(CURVE.at(o.sigmas).predict(o)[0] * np.exp(0.01 * rng.standard_normal())))
    lines = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
    table.write_text("\n".join(lines) + "\n")
    assert "may have been filled in" in refusal(words, capsys)
    assert "is the same file as" in refusal([*words[:-1], str(tmp_path / "camera.yaml")], capsys)
    assert main(following.removeprefix("and go on: noiseworth ").replace("MODELS", str(table)).split()) == 0
    printed = capsys.readouterr().out
    assert "above the best possible value" in printed
    assert "take" in printed


@pytest.mark.parametrize(
    ("options", "answer"),
    [
        (["--budget", "100"], "more than half of the budget"),
        (["--budget", "1h", "--taken", "120x0.3"], "--source and --taken go together"),
        (["--budget", "1h", "--source", "t.csv"], "--source and --taken go together"),
        (
            ["--budget", "1h", "--source", "t.csv", "--taken", "0.3s"],
            "--taken 0.3s: must be a number of images",
        ),
        (["--budget", "1fortnight"], "nor a time such as 90min or 1h"),
    ],
)
def test_bad_words_are_one_line(options: list[str], answer: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "camera.yaml").write_text(YAML)
    assert answer in refusal(["pilot", str(tmp_path / "camera.yaml"), *options], capsys)


def test_a_table_that_is_not_filled_in_is_told(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "camera.yaml").write_text(YAML)
    table = tmp_path / "models.csv"
    words = ["pilot", str(tmp_path / "camera.yaml"), "--budget", "2h"]
    assert main([*words, "--table", str(table)]) == 0
    capsys.readouterr()
    assert "line 2: quality is '', not a number" in refusal(
        [*words, "--source", str(table), "--taken", "81x0.3"], capsys
    )

"""The page of exposures: in a browser it says what the command says, at two widths, by keyboard, without an error."""

import json
import re
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from browser import CHROMIUM, Page
from command_line import Captured
from noiseworth.cli import main
from noiseworth.laws.exposure import REFITS, plan_exposures
from noiseworth.laws.fit import fit_law, refits
from noiseworth.laws.instrument import Instrument
from noiseworth.laws.law import Law
from noiseworth.records import TakenRecord
from noiseworth.report.exposures import curves_of_page, write_exposure_planner
from test_curve import models
from test_exposures import CAMERA, write_table

OBSERVATIONS = models(0.01, 3)
BUDGET = 3600.0
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exposures") / "plan.html"
    law = fit_law(OBSERVATIONS, "curve")
    others = refits(law, OBSERVATIONS, REFITS, student=True)
    return write_exposure_planner(
        law, others, OBSERVATIONS, CAMERA, BUDGET, out, source="a <b>table</b>", beyond=[]
    )


def answer_of(images: list[TakenRecord]) -> list[tuple[int, float]]:
    """Counts, and exposures as the page rounds them."""
    return [(image.count, float(f"{image.exposure:.3g}")) for image in images]


def shown(browser: Page) -> list[tuple[int, float]]:
    """Counts and exposures in the answer of the page."""
    text = browser.evaluate("document.getElementById('answer').textContent")
    found = re.findall(r"([\d,]+) of ([\d.]+) ", text)
    return [(int(count.replace(",", "")), float(exposure)) for count, exposure in found]


def expected(machine: Instrument, budget: float = BUDGET) -> list[tuple[int, float]]:
    law = fit_law(OBSERVATIONS, "curve")
    return answer_of(plan_exposures(law, OBSERVATIONS, machine, budget).best.images)


def test_the_page_is_self_contained_and_escapes_what_it_is_given(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert "a &lt;b&gt;table" in text
    assert len(text) < 1_000_000


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_the_answer_is_that_of_the_command(page: Path, width: int, height: int) -> None:
    with Page(page, width, height) as browser:
        assert shown(browser) == expected(CAMERA)
        record = plan_exposures(fit_law(OBSERVATIONS, "curve"), OBSERVATIONS, CAMERA, BUDGET)
        detail = browser.evaluate("document.getElementById('detail').textContent")
        numbers = [float(n) for n in re.findall(r"\d+\.?\d*", detail)]
        said = [record.best.quality, record.best.low, record.best.high]
        said += [record.over_longest[0], record.over_shortest[0], *record.flat]
        found = [*numbers[:5], *numbers[5:7]]
        assert found == pytest.approx(said, rel=0.006)  # three digits
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate("document.querySelectorAll('#frontier path').length") == 2
        assert browser.errors == []


@needs_browser
def test_by_keyboard_alone(page: Path) -> None:
    with Page(page, 390, 844) as browser:
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.id") == "budget"
        browser.press("ArrowLeft", 10)  # steps of 0.02 decades
        budget = float(browser.evaluate("state.budget"))
        assert budget == pytest.approx(BUDGET * 10**-0.2, rel=0.03)  # its steps count from the left end
        assert shown(browser) == expected(CAMERA, budget)
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.id") == "overhead"
        browser.press("End")
        overhead = float(browser.evaluate("state.overhead"))
        assert overhead == 10
        assert shown(browser) == expected(replace(CAMERA, overhead=overhead), budget)
        browser.press("Tab")
        browser.press("ArrowRight", 40)  # 10^(40 / 20) objects
        scarce = replace(CAMERA, overhead=overhead, objects=100)
        assert shown(browser) == expected(scarce, budget)
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.id") == "exposure"
        browser.press("End")
        assert "of 10 s, noise" in browser.evaluate("document.getElementById('detail').textContent")
        browser.press("Tab")  # leaves the sliders: no trap
        assert browser.evaluate("document.activeElement.id") != "exposure"
        assert browser.errors == []


def _markets() -> list[tuple[Law, Instrument, float]]:
    """Every law, instruments of all kinds, few and many objects, small and great budgets."""
    rng = np.random.default_rng(0)
    laws = [fit_law(OBSERVATIONS, name) for name in ("curve", "two", "levels")]
    cases = []
    for number in range(60):
        overhead = float(rng.choice([0.0, 0.5, 5.0]))
        objects = None if number % 2 else int(rng.integers(50, 3000))
        machine: Instrument = [
            replace(CAMERA, overhead=overhead, objects=objects),
            replace(CAMERA, overhead=overhead, objects=objects, each_read=0.5),
            Instrument("averages", 1, 16, sigma=1.0, overhead=overhead, objects=objects),
            Instrument("dose", 1, 100.0, sigma=1.0, overhead=overhead, objects=objects, unit="e/A^2"),
        ][number % 4]
        cases.append((laws[number // 4 % 3], machine, float(10 ** rng.uniform(1.5, 4.5))))
    return cases


@needs_browser
def test_the_page_computes_what_the_library_computes(page: Path) -> None:
    markets = _markets()
    asked: list[Any] = [[curves_of_page(law), asdict(machine), budget] for law, machine, budget in markets]
    script = (
        f"{json.dumps(asked)}.map(([law, m, budget]) => bestExposures(law, {{ ...m, objects: m.objects ?? Infinity }}, budget))"
        ".map((plan) => plan && plan.best.map((i) => [i.exposure, i.count]))"
    )
    with Page(page, 1280, 900) as browser:
        answers = browser.evaluate(script)
        assert browser.errors == []
    mixes = 0
    for (law, machine, budget), found in zip(markets, answers, strict=True):
        plan = plan_exposures(law, OBSERVATIONS, machine, budget, beyond=True, others=[law, law])
        wanted = [[image.exposure, image.count] for image in plan.best.images]
        assert [n for _, n in found] == [n for _, n in wanted]
        assert [t for t, _ in found] == pytest.approx([t for t, _ in wanted], rel=1e-9)
        mixes += len(wanted) == 2
    assert mixes > 5  # both kinds of answer were asked for


def test_the_command_writes_it(tmp_path: Path, capsys: Captured) -> None:
    table = write_table(tmp_path / "models.csv")
    (tmp_path / "scanner.yaml").write_text("kind: averages\nunit: averages\nleast: 1\nmost: 16\nsigma: 1\n")
    words = ["plan", str(table), "--instrument", str(tmp_path / "scanner.yaml"), "--budget", "4000"]
    assert main([*words, "--page", str(tmp_path / "plan.html")]) == 0
    assert "plan.html: open it in a browser" in capsys.readouterr().out
    assert "How long to expose?" in (tmp_path / "plan.html").read_text(encoding="utf-8")

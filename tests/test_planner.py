"""The planner page: in a browser its results are those of the library, at two widths, and by keyboard."""

import json
import re
from pathlib import Path

import pytest

from browser import CHROMIUM, Page
from noiseworth.laws.budget import Market, plan_purchase
from noiseworth.laws.fit import fit_law
from noiseworth.laws.observations import published
from noiseworth.report.planner import write_planner

OBSERVATIONS = published("celeba_hq_64")
START = Market(1.0, 0.1, 0.2)
needs_browser = pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")


@pytest.fixture(scope="module", params=["one", "two"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    law = fit_law(OBSERVATIONS, request.param)
    out = tmp_path_factory.mktemp("planner") / "plan.html"
    return request.param, write_planner(
        law, OBSERVATIONS, START, 8000.0, (0, 0), out, source="a <b>table</b>"
    )


def expected(
    name: str, market: Market, budget: float, have: tuple[int, int] = (0, 0)
) -> tuple[int, int, float]:
    best = plan_purchase(fit_law(OBSERVATIONS, name), OBSERVATIONS, market, budget, *have).best
    return best.n_clean, best.n_noisy, best.quality


def numbers_of(text: str) -> tuple[int, int]:
    """Numbers of clean and of noisy images in the answer of the page."""
    clean, noisy = re.findall(r"[\d,]+(?= )", text.replace("Buy ", ""))[:2]
    return int(clean.replace(",", "")), int(noisy.replace(",", ""))


def test_the_page_is_self_contained_and_escapes_what_it_is_given(page: tuple[str, Path]) -> None:
    text = page[1].read_text(encoding="utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#)""", text)
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "a &lt;b&gt;table" in text
    match = re.search(r'id="data">(.*?)</script>', text, re.DOTALL)
    assert match is not None
    data = json.loads(match[1])
    assert len(data["draws"]) == 60
    assert len(data["law"]["terms"]) == {"one": 1, "two": 2}[page[0]]


@needs_browser
@pytest.mark.parametrize(("width", "height"), [(390, 844), (1280, 900)])
def test_results_are_those_of_the_library(page: tuple[str, Path], width: int, height: int) -> None:
    name, file = page
    with Page(file, width, height) as browser:
        clean, noisy, quality = expected(name, START, 8000.0)
        assert numbers_of(browser.evaluate("document.getElementById('answer').textContent")) == (clean, noisy)
        detail = browser.evaluate("document.getElementById('detail').textContent")
        assert float(detail.split()[2]) == pytest.approx(quality, rel=0.01)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate("document.querySelectorAll('#frontier path').length") == 2


@needs_browser
def test_sliders_respond_to_the_keyboard(page: tuple[str, Path]) -> None:
    name, file = page
    with Page(file, 1280, 900) as browser:
        browser.press("Tab")
        assert browser.evaluate("document.activeElement.id") == "budget"
        browser.press("ArrowRight", 5)  # five steps of 0.02 decades
        budget = 8000.0 * 10**0.1
        clean, noisy, _ = expected(name, START, budget)
        assert numbers_of(browser.evaluate("document.getElementById('answer').textContent")) == pytest.approx(
            (clean, noisy), rel=1e-3
        )
        browser.press("Tab", 2)
        assert browser.evaluate("document.activeElement.id") == "noisy_price"
        browser.press("End")  # a hundred times the first price: no noisy images are bought
        assert numbers_of(browser.evaluate("document.getElementById('answer').textContent"))[1] == 0
        browser.press("Home")
        browser.press("Tab", 2)
        assert browser.evaluate("document.activeElement.id") == "have_clean"
        browser.press("ArrowRight", 60)  # 10^(60 / 20)
        shown = browser.evaluate("document.activeElement.getAttribute('aria-valuetext')")
        assert shown == "1000"
        clean, noisy, _ = expected(name, Market(1.0, 0.001, 0.2), budget, (1000, 0))
        assert numbers_of(browser.evaluate("document.getElementById('answer').textContent")) == pytest.approx(
            (clean, noisy), rel=1e-3
        )

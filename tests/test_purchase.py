"""The best purchase, held against brute force and closed forms; in the browser it is the same."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from browser import CHROMIUM
from noiseworth.cli import main
from noiseworth.laws.budget import Market, plan_purchase
from noiseworth.laws.fit import fit_law
from noiseworth.laws.law import Law
from noiseworth.laws.marginal import marginal_worth, mixes
from noiseworth.laws.observations import published
from noiseworth.laws.purchase import Offer, best_purchase
from noiseworth.report.planner import write_planner
from planner import by_page, kind_of, random_case, regret

CASES = [random_case(seed) for seed in range(100)]
TABLE = published("cifar10")
BOUGHT = [best_purchase(case.law, case.column, case.offer) for case in CASES]


def one_currency(worth: float) -> Law:
    """Quality 1 + 1000 / n_eff, where a noisy image of noise 0.2 has this worth."""
    parameters = np.array([0.0, np.log(1000.0), 0.0, -np.log(1 / worth - 1)])
    return Law("one", (0.2,), 1.0, parameters, np.eye(4), 1, 0.01, 0.0)


def two_currencies() -> Law:
    """Quality 1 + 1000 / n_1 + 1000 / n_2; a noisy image counts 0.8 in `n_1`, and 0.2 in `n_2`."""
    scales = [np.log(0.8), 0.0, np.log(0.05), 0.0]  # 1 / (1 + 0.2 / scale)
    parameters = np.array([0.0, np.log(1000.0), 0.0, np.log(1000.0), 0.0, *scales])
    return Law("two", (0.2,), 1.0, parameters, np.eye(9), 1, 0.01, 0.0)


def test_no_purchase_is_better_by_a_tenth_of_a_percent() -> None:
    assert max(regret(case, bought, 40_000) for case, bought in zip(CASES, BOUGHT, strict=True)) < 1e-3
    kinds = {kind_of(case, bought) for case, bought in zip(CASES, BOUGHT, strict=True)}
    assert (
        len(kinds) == 4
    )  # all ends of the line of the budget are among the cases, its middle, and a refusal


def test_brute_force_sees_that_even_shares_of_the_budget_are_too_few() -> None:
    law = fit_law(TABLE)
    case = replace(CASES[0], law=law, column=law.column(0.2), offer=Offer(10_000, 1, 0.0001, 0.1))
    assert regret(case, (10_000, 0)) > 2  # the first of 401 shares; the second is too noisy already
    assert regret(case, (9_000.5, 10)) == regret(case, (10_000, 10_000)) == np.inf  # not whole, too dear


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_the_page_buys_what_the_command_buys(tmp_path: Path) -> None:
    start = (Market(1.0, 0.1, 0.2), 8000.0, (0.0, 0.0))
    page = write_planner(fit_law(TABLE), TABLE, *start, tmp_path / "plan.html", source="a table")
    assert by_page(page, CASES) == [bought and list(bought) for bought in BOUGHT]


def test_between_the_ends_the_next_noisy_image_is_worth_its_price() -> None:
    """With n_1 = c + 0.8 n and n_2 = c + 0.2 n, and two noisy images for one clean one, n_1 and n_2 gain
    0.6 and lose 0.6 with each clean image that is given up for two: by symmetry, n_1 = n_2, at n = 0, is the
    best. With three, they gain 1.4 and lose 0.4: 0.4 / n_2^2 = 1.4 / n_1^2."""
    law = two_currencies()
    assert best_purchase(law, 0, Offer(30_000, 2, 1, 0.01)) == (15_000, 0)
    bought = best_purchase(law, 0, Offer(30_000, 3, 1, 0.01))
    # (c + 0.8 n) / (c + 0.2 n) = sqrt(3.5), with c = 10,000 - n / 3.
    root = 3.5**0.5
    noisy = 10_000 * (root - 1) / (1.4 / 3 + 0.4 / 3 * root)
    assert bought == pytest.approx((10_000 - noisy / 3, noisy), abs=3)  # three noisy images for a clean one


def test_what_is_left_over_for_no_clean_image_buys_noisy_ones() -> None:
    """Clean images are the better ones, at 10 noisy images each; 105 of money leave 5 over."""
    law = one_currency(0.05)
    assert best_purchase(law, 0, Offer(105, 10, 1, 0.1)) == (10, 5)
    assert best_purchase(law, 0, Offer(105, 10, 1, 0.9)) == (10, 1)  # the least share of clean images
    assert best_purchase(law, 0, Offer(0.3, 0.1, 0.1, 0.1)) == (3, 0)  # 0.3 / 0.1 is less than 3 in floats
    assert best_purchase(law, 0, Offer(1e14 + 0.5, 1, 1, 0.1)) == (1e14, 0)  # rounding adds no image
    assert best_purchase(law, 0, Offer(9, 10, 1, 0.1)) is None
    assert best_purchase(law, 0, Offer(1e14 + 0.5, 1, 1, 0.1)) == (1e14, 0)  # rounding adds no image
    assert best_purchase(law, 0, Offer(9, 10, 1, 0.1, have_clean=1)) == (0, 9)


def test_the_worth_of_the_next_image_does_not_drown_in_rounding() -> None:
    """At 10^15 images the quality is the floor, to the last digit; the ratio of its slopes is still exact."""
    law = two_currencies()
    for clean, noisy in ((1e3, 2e3), (1e15, 2e15)):
        one, two = (clean + 0.8 * noisy) ** -2, (clean + 0.2 * noisy) ** -2
        expected = (0.8 * one + 0.2 * two) / (one + two)
        assert marginal_worth(law, clean, noisy, 0) == pytest.approx(expected, rel=1e-12)


def test_cheap_noisy_images_are_bought_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    """At 10,000 noisy images for a clean one, 0.09% of the budget buys as many as the observed shares allow."""
    law = fit_law(TABLE)
    market = Market(1.0, 0.0001, 0.2)
    best = plan_purchase(law, TABLE, market, 10_000).best
    assert (best.n_clean, best.n_noisy) == (9991, 89_919)
    there = mixes(law, np.array([9991.0]), np.array([89_919.0]), law.column(0.2))
    assert best.quality == pytest.approx(float(law.predict(there)[0]))
    words = ["--budget", "10000", "--clean-price", "1", "--noisy-price", "0.0001", "--sigma", "0.2"]
    assert main(["plan", "published:cifar10", *words]) == 0
    out = capsys.readouterr().out
    assert "predicted quality 2.19" in out
    assert "the next are best clean" in out
    assert "so many more noisy ones would leave less than 10% clean" in out
    assert main(["plan", "published:cifar10", *["0.5" if w == "10000" else w for w in words]]) == 2
    assert "buys no clean image" in capsys.readouterr().err

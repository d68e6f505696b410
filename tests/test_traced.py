"""Every number in README and docs is in the results that its page cites, or a constant whose source is named."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
CONSTANTS = yaml.safe_load((ROOT / "docs" / "constants.yaml").read_text(encoding="utf-8"))
NUMBER = re.compile(r"(?<![\w.])-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?%?(?![\w])")
_LONG = 20  # numbers of a list: among more, two digits are found by chance
# What is no measured number: code, comments, addresses, papers, sizes, numbers of sections.
NO_PROSE = (
    r"```.*?```|`[^`]*`|<!--.*?-->|(?<=\])\([^)]*\)|arXiv \d{4}\.\d{5}|\d[\d,]*x\d[\d,]*(?:x\d+)?|^#+ \d+\."
)


def numbers_of(page: Path) -> list[str]:
    """The numbers of a page's prose and tables, as they are written; without those of one digit."""
    text = re.sub(NO_PROSE, " ", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    written = [match.rstrip(",") for match in NUMBER.findall(text)]
    return [number for number in written if len(re.sub(r"\D", "", number).lstrip("0")) > 1]


def values_of(record: Any, is_long: bool = False) -> Iterator[tuple[float, bool]]:
    """Every number of a record, those in its texts too; and whether it is one of a long list."""
    if isinstance(record, dict):
        for value in record.values():
            yield from values_of(value, is_long)
    elif isinstance(record, list):
        of_numbers = bool(record) and isinstance(record[0], int | float)
        for value in record:
            yield from values_of(value, is_long or (of_numbers and len(record) > _LONG))
    elif isinstance(record, str):
        for number in NUMBER.findall(record):
            yield value_of(number.rstrip(",")), is_long
    elif isinstance(record, int | float):
        yield float(record), is_long


def value_of(number: str) -> float:
    """A number as it is written, as a number; percent as a share."""
    value = float(number.rstrip("%").replace(",", ""))
    return value / 100 if number.endswith("%") else value


def is_among(number: str, values: list[tuple[float, bool]]) -> bool:
    """Whether one of the values is written so, when it is rounded to as many digits."""
    value = value_of(number)
    digits = number.rstrip("%").replace(",", "").partition("e")[0]
    places = len(digits.partition(".")[2]) + (2 if number.endswith("%") else 0)
    exponent = float(f"1e{number.rstrip('%').partition('e')[2]}") if "e" in number else 1.0
    half = 0.5000001 * 10.0**-places * exponent
    few = len(re.sub(r"\D", "", digits).lstrip("0")) < 3
    return any(abs(other - value) <= half and not (few and is_long) for other, is_long in values)


def cited(page: Path) -> list[Path]:
    """The files of results that a page names; all of them where it names the folder."""
    text = page.read_text(encoding="utf-8")
    names = set(re.findall(r"results/([\w-]+\.json)", text))
    every = re.search(r"results\)", text)
    return [path for path in sorted((ROOT / "results").glob("*.json")) if every or path.name in names]


@pytest.mark.parametrize("page", PAGES, ids=[page.name for page in PAGES])
def test_numbers_are_in_the_results_or_have_a_source(page: Path) -> None:
    values = [
        value for path in cited(page) for value in values_of(json.loads(path.read_text(encoding="utf-8")))
    ]
    sources = CONSTANTS.get(page.name, {}) | CONSTANTS["every page"]
    numbers = numbers_of(page)
    lost = sorted({number for number in numbers if number not in sources and not is_among(number, values)})
    assert not lost, f"{page.name}: in no results that the page cites, and not in docs/constants.yaml: {lost}"
    unused = sorted(CONSTANTS.get(page.name, {}).keys() - set(numbers))
    assert not unused, f"docs/constants.yaml: {page.name} has these no more: {unused}"


def test_a_number_that_nobody_measured_is_found(tmp_path: Path) -> None:
    """The test above can fail: digits that are not there, by rounding and by long lists."""
    page = tmp_path / "page.md"
    page.write_text("By 12.5% and 0.371 of 1,234 in `77` ([12](x/44.md), arXiv 2411.02780), 28x28, 3.\n")
    assert numbers_of(page) == ["12.5%", "0.371", "1,234", "12"]
    values = list(
        values_of({"a": [0.1249, 1234], "what": "at 0.3708 of it", "long": [0.5 + k for k in range(30)]})
    )
    assert is_among("12.5%", values)
    assert is_among("0.371", values)
    assert is_among("1,234", values)
    assert not is_among("0.372", values)
    assert not is_among("12.6%", values)
    assert not is_among("1.5", values)  # two digits, in a long list alone
    assert is_among("1.50", values)

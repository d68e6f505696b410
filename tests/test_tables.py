"""Which row of a table belongs to which image: by names, never by an order that nobody stated."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseworth.cli import main
from noiseworth.data.dataset import open_dataset
from noiseworth.data.noise_levels import rule_applies
from noiseworth.data.pack import pack
from noiseworth.data.tables import Table
from noiseworth.errors import UserError

NAMES = ["a/1.png", "a/2.png", "b/10.png", "b/11.png"]


def _table(folder: Path, text: str, name: str = "t.csv", encoding: str = "utf-8") -> Table:
    (folder / name).write_text(text, encoding=encoding)
    return Table(folder / name, "sigma", "--sigma")


@pytest.mark.parametrize("column", ["file", "file_name", "filename", "image", "path", "File", "anything"])
@pytest.mark.parametrize("form", ["{}", "./{}", "{base}", "{stem}", "{windows}"])
def test_any_column_of_names_is_used_whatever_it_is_called(tmp_path: Path, column: str, form: str) -> None:
    if column == "anything" and form == "{stem}":
        pytest.skip("numbers in a column of any name may be anything")
    lines = [f"{column},sigma,note"]
    for i, name in reversed(list(enumerate(NAMES))):
        path = Path(name)
        key = form.format(name, base=path.name, stem=path.stem, windows=name.replace("/", "\\"))
        lines.append(f"{key},0.{i + 1},same")
    assert _table(tmp_path, "\n".join(lines)).by_image(NAMES) == ["0.1", "0.2", "0.3", "0.4"]


def test_numbers_that_are_names_are_not_row_numbers(tmp_path: Path) -> None:
    """1.png to 11.png: sorted as text, 10 and 11 come before 2."""
    names = sorted(f"{i}.png" for i in range(1, 12))
    table = _table(tmp_path, "number,sigma\n" + "\n".join(f"{i},{i / 100}" for i in range(1, 12)))
    assert [float(value or "nan") for value in table.by_image(names)] == [
        int(name[:-4]) / 100 for name in names
    ]


@pytest.mark.parametrize("column", ["dose", "label", "age"])
def test_numbers_that_happen_to_fit_are_no_names(tmp_path: Path, column: str) -> None:
    table = _table(tmp_path, f"{column},sigma\n2,0.2\n1,0.1\n10,0.3\n11,0.4")
    with pytest.raises(UserError, match="no column has the names of the images"):
        table.by_image(NAMES)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("file,sigma\na/1.png,0,25\n", "line 2 has 3 fields, the header 2"),
        ("file,sigma,sigma\na/1.png,0,1\n", "twice"),
    ],
)
def test_tables_that_would_be_misread_are_refused(tmp_path: Path, text: str, words: str) -> None:
    """A decimal comma made a noisy image clean."""
    with pytest.raises(UserError, match=words):
        _table(tmp_path, text)


@pytest.mark.parametrize(
    ("encoding", "comma", "name"),
    [("utf-8-sig", ",", "t.csv"), ("utf-8", ";", "t.csv"), ("utf-8", "\t", "t.tsv")],
)
def test_tables_as_spreadsheets_write_them(tmp_path: Path, encoding: str, comma: str, name: str) -> None:
    text = f"file{comma}Sigma\nb/11.png{comma}0.5\na/1.png{comma}0\n"
    assert _table(tmp_path, text, name, encoding).by_image(NAMES) == ["0", None, None, "0.5"]


def test_accents_match_however_they_are_composed(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD"))
    assert composed != decomposed
    for in_table, on_disk in ((composed, decomposed), (decomposed, composed)):
        table = _table(tmp_path, f"file,sigma\n{in_table},0.3\n")
        assert table.by_image([on_disk]) == ["0.3"]


def test_a_column_without_a_name_holds_row_numbers(tmp_path: Path) -> None:
    """As pandas writes tables."""
    table = _table(tmp_path, ",file,sigma\n0,b/11.png,0.5\n1,a/1.png,0\n")
    assert table.by_image(NAMES) == ["0", None, None, "0.5"]


def test_a_file_of_many_pages_is_one_row_and_a_page_may_be_named(tmp_path: Path) -> None:
    names = ["s.tif: page 0", "s.tif: page 1", "t.tif"]
    assert _table(tmp_path, "file,sigma\nt.tif,0.1\ns.tif,0.2").by_image(names) == ["0.2", "0.2", "0.1"]
    assert _table(tmp_path, "file,sigma\ns.tif: page 1,0.2").by_image(names) == [None, "0.2", None]
    assert _table(tmp_path, "index,sigma\n1,0.2\n0,0.1").by_image(["image 0", "image 1"]) == ["0.1", "0.2"]


def test_a_table_without_names_must_be_said_to_be_in_order(tmp_path: Path) -> None:
    table = _table(tmp_path, "sigma\n0.1\n0.2\n0.3\n0.4")
    with pytest.raises(UserError, match="--by-row"):
        table.by_image(NAMES)
    assert table.by_image(NAMES, by_row=True) == ["0.1", "0.2", "0.3", "0.4"]
    with pytest.raises(UserError, match="4 rows for 3 images"):
        table.by_image(NAMES[:3], by_row=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,sigma\n1.png,0.1", "several images have that name"),
        ("file,sigma\na/1.png,0.1\na/1.png,0.2", "twice"),
        ("file,sigma\na/1.png,0.1\nc.png,0.2", "no such image"),
    ],
)
def test_names_that_mean_none_or_many_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        _table(tmp_path, text).by_image(["a/1.png", "b/1.png"])


def test_levels_and_labels_reach_the_images_that_they_name(tmp_path: Path) -> None:
    """Claim data/cases: the mean of each image says which it is."""
    (tmp_path / "f").mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8), 10 * i, np.uint8)).save(tmp_path / "f" / f"{i}.png")
    (tmp_path / "metadata.csv").write_text(
        "file_name,sigma,label\n3.png,0.4,3\n2.png,0.3,2\n1.png,0.2,1\n0.png,0.1,0\n"
    )
    table = str(tmp_path / "metadata.csv")
    pack(tmp_path / "f", tmp_path / "out", sigma=table, labels=table)
    data = open_dataset(tmp_path / "out")
    number = data.read_raw(np.arange(4)).mean((1, 2, 3)) / 10
    np.testing.assert_allclose(data.sigma, (number + 1) / 10, rtol=1e-6)
    assert data.labels is not None
    assert data.labels.tolist() == number.tolist()


@pytest.mark.parametrize(
    ("rule", "name", "applies"),
    [
        ("clean/", "clean/a.png", True),
        ("clean/", "unclean/a.png", False),
        ("clean/", "x/clean/a.png", True),
        ("clean/", "clean.png", False),
        ("day/clean/", "day/clean/a.png", True),
        ("day/clean/", "someday/clean/a.png", False),
        ("noisy", "unnoisy.png", False),
        ("noisy", "noisy_01.png", True),
        ("noisy", "noisy01.png", True),
        ("noisy", "a-noisy.png", True),
        ("iso100", "iso1000.png", False),
        ("iso100", "x_iso100.png", True),
        ("*_n?.png", "a/b_n1.png", True),
        ("*_n?.png", "a/b_n12.png", False),
        ("clean.npy", "clean.npy: image 0", True),
    ],
)
def test_rules_match_whole_names_and_words(rule: str, name: str, applies: bool) -> None:
    assert rule_applies(rule, name) is applies


def test_folders_that_carry_the_noise_are_no_classes(tmp_path: Path) -> None:
    for folder in ("clean", "noisy"):
        (tmp_path / "f" / folder).mkdir(parents=True)
        for i in range(2):
            Image.fromarray(np.full((8, 8), 10 * i, np.uint8)).save(tmp_path / "f" / folder / f"{i}.png")
    pack(tmp_path / "f", tmp_path / "a", sigma="clean/=0,noisy/=0.2")
    assert open_dataset(tmp_path / "a").labels is None
    pack(tmp_path / "f", tmp_path / "b", sigma=0.1)
    assert open_dataset(tmp_path / "b").labels is not None


def test_noise_in_the_wrong_units_is_refused_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save(tmp_path / "a.npy", np.arange(2 * 8 * 8, dtype=np.uint8).reshape(2, 8, 8))
    source = str(tmp_path / "a.npy")
    assert main(["pack", source, str(tmp_path / "out"), "--sigma", "25"]) == 2
    assert "give --sigma-units raw" in capsys.readouterr().err
    assert main(["pack", source, str(tmp_path / "out"), "--sigma", "25", "--sigma-units", "raw"]) == 0
    assert open_dataset(tmp_path / "out").sigma[0] == pytest.approx(25 / 127.5)
    assert main(["pack", source, str(tmp_path / "no"), "--sigma", "1e-60"]) == 2
    assert "from 1.4e-45" in capsys.readouterr().err

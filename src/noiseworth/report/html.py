"""Self-contained HTML pages from the templates of this folder."""

import base64
import html
from importlib import resources
from pathlib import Path
from typing import Any

from noiseworth.records import write_atomically


def write_page(template: str, out: Path, **values: Any) -> Path:
    """Render a template with the common style to a file, and return its path.

    Args:
        template: file name of the template.
        out: the HTML file; its folder is created, an existing file is replaced.
        values: values of all names in the template.
    """
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["code"] = _code
    text = environment.from_string(read_asset(template)).render(style=read_asset("style.css"), **values)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, text)
    return out


def read_asset(name: str) -> str:
    """The text of a file of this folder."""
    return resources.files("noiseworth.report").joinpath(name).read_text(encoding="utf-8")


def data_uri(png: bytes) -> str:
    """A PNG image as a data URI, which embeds it in a page."""
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def _code(line: str) -> str:
    """Plain text with `commands` in backquotes, as safe HTML."""
    from markupsafe import Markup

    pieces = html.escape(line).split("`")
    return Markup("".join(f"<code>{p}</code>" if i % 2 else p for i, p in enumerate(pieces)))

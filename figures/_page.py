"""One page with all pictures, captions and numbers in it, that needs no other file."""

from __future__ import annotations

import base64
import html
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any

import symtheory as st
from figures import _store
from figures._made import Made
from figures._spec import said

_HEAD = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>symtheory: figures</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #111; background: #fff }
figure { margin: 2.5rem 0 } img { max-width: 100%; height: auto }
figcaption { margin: .5rem 0 } table { border-collapse: collapse; font-size: 85% }
td, th { text-align: left; padding: .1rem .8rem .1rem 0; border-bottom: 1px solid #ddd }
ul { font-size: 90%; padding-left: 1.2rem }
.supported, .proved { color: #046b46 } .refuted { color: #a33a00 } .inconclusive { color: #765 }
</style>
<h1>Figures</h1>
"""


def write_page(made: Iterable[Made], path: pathlib.Path) -> pathlib.Path:
    """Write the page, whole or not at all, and return where it is."""
    parts = [_HEAD, *(_section(one) for one in made), "</html>\n"]
    with _store.whole(path) as file:
        file.write("".join(parts).encode())
    return path


def _section(one: Made) -> str:
    if one.problem:
        return (
            f'<figure id="{one.id}"><h2>{one.id}. {html.escape(one.title)}</h2>\n'
            f"<p>Could not be made: {html.escape(one.problem)}</p></figure>\n"
        )
    picture = next(file for file in one.files if file.suffix == ".png")
    data = base64.b64encode(picture.read_bytes()).decode()
    title = html.escape(one.title)
    version = f"{'Fast' if one.spec.fast else 'Full'} version, seed {one.spec.seed}"
    return (
        f'<figure id="{one.id}"><h2>{one.id}. {title}</h2>\n'
        f'<img alt="{title}" src="data:image/png;base64,{data}">\n'
        f"<figcaption>{html.escape(one.caption)} <i>{version}.</i></figcaption>\n"
        f"{_verdicts('Theory', one.numbers.theory)}"
        f"{_verdicts('What the paper says, as it comes out here', one.numbers.claims)}"
        f"{_table(one.numbers.rows)}</figure>\n"
    )


def _verdicts(heading: str, verdicts: Iterable[st.Verdict]) -> str:
    items = [
        f'<li><b class="{verdict.status}">{verdict.status}</b> {html.escape(said(verdict))}</li>'
        for verdict in verdicts
    ]
    return f"<p>{heading}</p><ul>{''.join(items)}</ul>\n" if items else ""


def _table(rows: tuple[Mapping[str, Any], ...]) -> str:
    if not rows:
        return ""
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{html.escape(str(name))}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(row.get(name, '')))}</td>" for name in names)
        + "</tr>"
        for row in rows
    )  # fmt: skip
    return f"<table><tr>{head}</tr>{body}</table>\n"

"""The gallery in README.md, written from the files and their pictures.

`python -m figures._readme` writes the list; `python -m figures._readme figures-out` first takes the
pictures of that folder over into the gallery.
"""

from __future__ import annotations

import json
import pathlib
import sys

from figures._registry import entries
from symtheory import InputError

HERE = pathlib.Path(__file__).parent
README = HERE / "README.md"
GALLERY = HERE / "gallery"
_HEADINGS = {
    "F": "Parameter Symmetry and Noise Equilibrium of SGD (arXiv 2402.07193)",
    "E": "Remove Symmetries to Control Model Expressivity (arXiv 2408.15495)",
}
_HEAD = """# Figures

The figures of both papers, from one command: lines are theory, bands are ensembles, controls are
dashed. Beside each picture lie a PDF, a manifest (spec, seed, versions, commit, seconds) and the
numbers: theory against measured, and what the paper says as it comes out here.

```bash
uv run symtheory figures --fast --html   # all of them in minutes, and one page with everything
uv run symtheory figures F2 E1           # some, at full size
```

Work is kept in the cache of the output folder: an interrupted run goes on, a second one only draws.
A file here is one figure: `data(spec)` computes, `draw(dataset)` never does, `numbers(dataset)` is
the table. This list is written by `python -m figures._readme`.
"""


def text() -> str:
    """Return the README as it should be."""
    parts = [_HEAD]
    letter = ""
    for entry in entries():
        if entry.id[0] != letter:
            letter = entry.id[0]
            parts.append(f"\n## {_HEADINGS[letter]}\n\n| | Figure |\n|---|---|\n")
        module = entry.module
        picture = f'<img src="gallery/{entry.id}.png" width="360" alt="{module.TITLE}">'
        said = ", ".join(module.STATEMENTS)
        rests = f" Illustrates {said}." if said else ""
        about = f"**[{entry.id}]({entry.path.name})** {module.TITLE}.{rests}"
        parts.append(f"| {picture} | {about} |\n")
    return "".join(parts)


def take_over(folder: pathlib.Path) -> None:
    """Take the pictures of an output folder over into the gallery, smaller."""
    from PIL import Image  # comes with matplotlib

    fast = [
        entry.id
        for entry in entries()
        if json.loads((folder / f"{entry.id}.json").read_text())["spec"]["fast"]
    ]
    if fast:
        raise InputError(f"{', '.join(fast)} in {folder} are the fast version; make the full one")
    GALLERY.mkdir(exist_ok=True)
    for entry in entries():
        with Image.open(folder / f"{entry.id}.png") as picture:
            few = picture.convert("RGB").quantize(96)
            few.save(GALLERY / f"{entry.id}.png", optimize=True)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        take_over(pathlib.Path(name))
    README.write_text(text())

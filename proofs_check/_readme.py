"""The list of statements in README.md, written from the files: `python -m proofs_check._readme`."""

from __future__ import annotations

import pathlib

from proofs_check._registry import statements

README = pathlib.Path(__file__).parent / "README.md"
_HEADINGS = {
    "P1": "Parameter Symmetry and Noise Equilibrium of SGD (arXiv 2402.07193)",
    "B": "Beyond the papers",
    "P2": "Remove Symmetries to Control Model Expressivity (arXiv 2408.15495)",
}
_HEAD = """# Theorems, checked

Every statement of both papers has one file here: its proof replayed in exact arithmetic, a
simulation drawn from a key, and a control that violates an assumption and must be refuted.

```bash
uv run symtheory check              # all of them
uv run symtheory check P1.4 B.3     # some
uv run symtheory check --exact-only # the proofs alone
```

To add one, copy `template.py`. This list is written by `python -m proofs_check._readme`.
"""

_TABLE = "| ID | Statement | Relation | File |\n|---|---|---|---|\n"


def text() -> str:
    """Return the README as it should be."""
    parts = [_HEAD]
    paper = ""
    for statement in statements():
        claim = statement.module.claim()
        if statement.id.split(".")[0] != paper:
            paper = statement.id.split(".")[0]
            parts.append(f"\n## {_HEADINGS[paper]}\n\n{_TABLE}")
        said = claim.statement.replace("|", "\\|")
        name = f"[{statement.file}.py]({statement.file}.py)"
        parts.append(f"| {claim.id} | {said} | {claim.relation} | {name} |\n")
    return "".join(parts)


if __name__ == "__main__":
    README.write_text(text())

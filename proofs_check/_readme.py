"""The list of statements in README.md, written from the files: `python -m proofs_check._readme`."""

from __future__ import annotations

import pathlib

from proofs_check._intervals import CONFIDENCE
from proofs_check._registry import statements

README = pathlib.Path(__file__).parent / "README.md"
_HEADINGS = {
    "P1": "Parameter Symmetry and Noise Equilibrium of SGD (arXiv 2402.07193)",
    "B": "Beyond the papers",
    "P2": "Remove Symmetries to Control Model Expressivity (arXiv 2408.15495)",
}
_HEAD = """# Theorems, checked

Every statement of both papers has one file here: its proof replayed in exact arithmetic, a
simulation drawn from a key, a control that violates one assumption and must be refuted, and the
control's twin: the same code, key and budget with the assumption restored, which must be supported.

A proof is `proved` if every step is computed, or a named fact of a textbook whose hypotheses are
steps or assumptions of the statement. With a step that is only cited it is `proved up to
citations`, and the check lists what is cited. A measurement says the smallest deviation that it
would have refuted, and decides nothing where a run is too short to be at rest.

```bash
uv run symtheory check              # all of them
uv run symtheory check P1.4 B.3     # some
uv run symtheory check --exact-only # the proofs alone
```

To add one, copy `template.py`. This list is written by `python -m proofs_check._readme`.
"""

INTERVALS = {
    "P1.3": 2, "P1.4": 2, "P1.5": 3, "P1.6": 3, "P1.7": 5, "P1.8": 2, "P1.9": 1, "P1.10": 1,
    "P1.11": 3, "P1.12": 2, "P1.13": 1, "P1.14": 2, "P1.15": 3, "P1.16": 2, "B.1": 2, "B.2": 2,
    "B.3": 1, "P2.6": 4, "P2.7": 2, "P2.8": 4, "P2.10": 11,
}  # fmt: skip
"""How many intervals the measurement of a statement rests on; none in the statements left out."""

_ALARMS = """
## False alarms

A measurement counts as agreement only if its interval, at confidence {confidence:g}, lies inside
the stated margin. A run of all statements has {total} such intervals, at most {most} in one
statement. An interval misses the truth with probability {miss:.1%}; so if every statement holds,
by chance at most {rate:.2%} of the checks of a statement on average, {most_rate:.1%} of those of
the one with most intervals, come out other than `proved` or `supported`, and at most {runs:.1%} of
the runs of all of them have such a check. For `refuted` this bound holds at every budget, as far
as Student's intervals have their nominal coverage. For `inconclusive` it also needs intervals that
are narrow for their margins, which they are with `--fast` but for P1.14; with less, `inconclusive`
is no alarm but the answer. Before a mean is called stationary its halves have to agree, at the same
confidence; a run in which they do not decides nothing.
"""

_TABLE = "| ID | Statement | Relation | File |\n|---|---|---|---|\n"


def text() -> str:
    """Return the README as it should be."""
    miss, total, most = 1 - CONFIDENCE, sum(INTERVALS.values()), max(INTERVALS.values())
    alarms = _ALARMS.format(
        confidence=CONFIDENCE, total=total, most=most, miss=miss, most_rate=miss * most,
        rate=miss * total / len(statements()), runs=miss * total,
    )  # fmt: skip
    parts = [_HEAD, alarms]
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

"""Every theorem of both papers: proved, measured and controlled, one file per statement.

A file has five functions:

==============================  ==================================================================
`claim() -> Claim`              the statement, its assumptions, its relation and where it is from
`exact() -> Verdict`            the proof replayed in exact arithmetic, a verdict per step
`empirical(key, budget)`        a simulation compared with the statement, with standard errors
`control() -> Verdict`          the same check on something that violates an assumption: `refuted`
`twin() -> Verdict`             the control's code, key and budget, assumption restored: `supported`
==============================  ==================================================================

A check whose control is not refuted, or whose twin is not supported, counts as failed.
`template.py` is a file to copy; run one with `python -m proofs_check P1.4`,
all with `symtheory check`.
"""

from proofs_check._claim import Budget as Budget
from proofs_check._claim import Claim as Claim
from proofs_check._kept import prepare as prepare
from proofs_check._outcome import Outcome as Outcome
from proofs_check._outcome import Spec as Spec
from proofs_check._registry import Statement as Statement
from proofs_check._registry import chosen as chosen
from proofs_check._registry import find as find
from proofs_check._registry import statements as statements
from proofs_check._runner import check as check
from proofs_check._workers import side_by_side as side_by_side

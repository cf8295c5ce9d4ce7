"""P1.99: one line that says what is claimed.

Statement: the theorem in formulas, with its constants.

Assumptions: what it presupposes, each on its own.

Relation: equality, upper bound or lower bound.

Reference: paper and section.

Proof idea: two lines.

Example output:

    P1.99  proved        supported     refuted
"""

# Copy to p1_NN_short_name.py (p2_ for the second paper, b_ for what goes beyond them) and write
# the five functions. `empirical`, `control` and `twin` share one private function, the check.

from __future__ import annotations

import jax

import symtheory as st
from proofs_check import Budget, Claim
from proofs_check._steps import proof, small


def claim() -> Claim:
    return Claim(
        "P1.99",
        "The norm of O theta is that of theta for every orthogonal O",
        ("O^T O = I",),
        "equality",
        "linear algebra",
    )


def exact() -> st.Verdict:
    """The proof in general form: every size, every matrix that satisfies the assumptions."""
    step = st.identity(
        "|O t|^2 = |t|^2",
        lambda a: ((a["O"] @ a["t"]) ** 2).sum() - (a["t"] ** 2).sum(),
        {"O": st.OrthogonalMatrix("n"), "t": "n"},
    )
    return proof("the norm is kept", [step], claim().reference)


def _kept(turn: float, key: jax.Array) -> st.Verdict:
    """Draw a point from the key, so that another seed is another experiment; state the margin."""
    theta = jax.random.normal(key, (4,))
    moved = theta * turn
    off = abs(float((moved**2).sum() / (theta**2).sum()) - 1)
    return small("the norm is kept", off, 1e-12, "one random point; only rounding is left")


def empirical(key: jax.Array, budget: Budget) -> st.Verdict:
    return _kept(-1.0, key)


def control() -> st.Verdict:
    """Twice the identity is not orthogonal."""
    return _kept(2.0, jax.random.key(0))


def twin() -> st.Verdict:
    """Code, key and budget of the control with the assumption restored."""
    return _kept(-1.0, jax.random.key(0))

"""More steps of proofs: closed forms of expectations, and exact counterexamples."""

from __future__ import annotations

from typing import Any

import symtheory as st


def reads(claim: str, expression: Any, text: str) -> st.Verdict:
    """Decide whether an exact expression in whole matrices has the normal form given as text.

    >>> square = st.expectation(lambda z: (z["x"] ** 2).sum(), {"x": st.Normal("n", cov="S")})
    >>> print(reads("size", square, "Tr[S]").status, reads("size", square, "2 * Tr[S]").status)
    proved refuted
    """
    found = str(expression)
    status = st.Status.PROVED if found == text else st.Status.REFUTED
    how = "Wick pairing in the index domain, for all sizes"
    return st.Verdict(status, claim, how=how, predicted=text, measured=found)


def fails(claim: str, verdict: st.Verdict) -> st.Verdict:
    """Turn an exact refutation into a proof that something does not hold in general.

    >>> print(fails("not all", st.Verdict(st.Status.REFUTED, "all")).status)
    proved
    """
    status = {st.Status.REFUTED: st.Status.PROVED, st.Status.PROVED: st.Status.REFUTED}
    return st.Verdict(
        status.get(verdict.status, st.Status.INCONCLUSIVE),
        claim,
        how=f"exact counterexample: {verdict.status}, {verdict.how}",
        parts=(verdict,),
    )

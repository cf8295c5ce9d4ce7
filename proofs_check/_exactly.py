"""More steps of proofs: closed forms of expectations, and exact counterexamples."""

from __future__ import annotations

from typing import Any

import symtheory as st
from symtheory.verdict import Derivation, Moments, Unchecked, prove


def reads(claim: str, expression: Any, text: str) -> st.Verdict:
    """Decide whether an exact expression in whole matrices has the normal form given as text.

    >>> square = st.expectation(lambda z: (z["x"] ** 2).sum(), {"x": st.Normal("n", cov="S")})
    >>> print(reads("size", square, "Tr[S]").status, reads("size", square, "2 * Tr[S]").status)
    proved refuted
    """
    found = str(expression)
    how = "Wick pairing in the index domain, for all sizes"
    if found != text:
        return st.Verdict(st.Status.REFUTED, claim, how=how, predicted=text, measured=found)
    # What is compared are two texts; the moments behind them are sampled by `empirical`.
    texts = Unchecked("a normal form is compared with a text")
    return prove(claim, Moments(how), texts, predicted=text, measured=found)


def fails(claim: str, verdict: st.Verdict) -> st.Verdict:
    """Turn an exact refutation into a proof that something does not hold in general.

    >>> print(fails("not all", st.Verdict(st.Status.REFUTED, "all")).status)
    proved
    """
    how = f"exact counterexample: {verdict.status}, {verdict.how}"
    if verdict.status is st.Status.REFUTED:
        example = Unchecked("the counterexample is a part of this verdict")
        return prove(claim, Derivation(how), example, parts=(verdict,))
    status = st.Status.INCONCLUSIVE
    if verdict.certificate is not None:
        status = st.Status.REFUTED
    return st.Verdict(status, claim, how=how, parts=(verdict,))

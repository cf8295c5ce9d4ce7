"""Verdicts, and the only place where `proved` comes from.

A verdict is proved by `prove(claim, certificate, recheck)`: the certificate says what the proof
rests on, and the recheck evaluates the same claim in floats on the user's own function. The claims
that can be evaluated load JAX on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from symtheory.verdict._certificates import Certificate as Certificate
from symtheory.verdict._certificates import Cited as Cited
from symtheory.verdict._certificates import Conjunction as Conjunction
from symtheory.verdict._certificates import Derivation as Derivation
from symtheory.verdict._certificates import Enclosure as Enclosure
from symtheory.verdict._certificates import Identity as Identity
from symtheory.verdict._certificates import Moments as Moments
from symtheory.verdict._certificates import NormalForm as NormalForm
from symtheory.verdict._certificates import RankBound as RankBound
from symtheory.verdict._certificates import jsonable as jsonable
from symtheory.verdict._recheck import All as All
from symtheory.verdict._recheck import Claim as Claim
from symtheory.verdict._recheck import Claims as Claims
from symtheory.verdict._recheck import Outcome as Outcome
from symtheory.verdict._recheck import Unchecked as Unchecked
from symtheory.verdict._status import Status as Status
from symtheory.verdict._status import worst as worst
from symtheory.verdict._verdict import Verdict as Verdict
from symtheory.verdict._verdict import conjunction as conjunction
from symtheory.verdict._verdict import prove as prove
from symtheory.verdict._verdict import prove_each as prove_each

_HOMES = {
    "Action": "_actions",
    "linear_action": "_actions",
    "sparse_action": "_actions",
    "traced_actions": "_actions",
    "Flows": "_claims",
    "Maps": "_claims",
    "Moves": "_claims",
    "traced_map": "_claims",
    "Complete": "_counts",
    "ConservedCount": "_counts",
    "QUICKLY": "_subject",
    "Subject": "_subject",
    "samples": "_subject",
    "Arithmetic": "_values",
    "Equality": "_values",
    "Expectation": "_values",
    "Inequality": "_values",
    "SizedIdentity": "_values",
}


def __getattr__(name: str) -> Any:
    # Verdicts are used by programs that must not import JAX.
    if name not in _HOMES:
        raise AttributeError(f"module 'symtheory.verdict' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"symtheory.verdict.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


if TYPE_CHECKING:
    from symtheory.verdict._actions import Action as Action
    from symtheory.verdict._actions import linear_action as linear_action
    from symtheory.verdict._actions import sparse_action as sparse_action
    from symtheory.verdict._actions import traced_actions as traced_actions
    from symtheory.verdict._claims import Flows as Flows
    from symtheory.verdict._claims import Maps as Maps
    from symtheory.verdict._claims import Moves as Moves
    from symtheory.verdict._claims import traced_map as traced_map
    from symtheory.verdict._counts import Complete as Complete
    from symtheory.verdict._counts import ConservedCount as ConservedCount
    from symtheory.verdict._subject import QUICKLY as QUICKLY
    from symtheory.verdict._subject import Subject as Subject
    from symtheory.verdict._subject import samples as samples
    from symtheory.verdict._values import Arithmetic as Arithmetic
    from symtheory.verdict._values import Equality as Equality
    from symtheory.verdict._values import Expectation as Expectation
    from symtheory.verdict._values import Inequality as Inequality
    from symtheory.verdict._values import SizedIdentity as SizedIdentity

"""Errors a user can act on: each message says the cause, the offending value and the next step."""

from __future__ import annotations


class SymtheoryError(Exception):
    """Base of everything this package raises on purpose.

    >>> issubclass(InputError, SymtheoryError)
    True
    """


class InputError(SymtheoryError, ValueError):
    """The input is wrong; the command line exits with code 2."""


class UnreadableError(InputError):
    """A domain cannot read a primitive of the loss; names both and says what to do instead."""


class PrimitiveError(UnreadableError):
    """The loss uses a primitive that a domain has no rule for."""


class ProofError(SymtheoryError, TypeError):
    """Something would be called proved without a proof: a mistake of the program, not of the user.

    >>> issubclass(ProofError, SymtheoryError)
    True
    """


class BudgetError(SymtheoryError):
    """A time or size limit was reached; callers turn this into the status `inconclusive`."""


def cause(error: Exception) -> str:
    """Return what another program raised on one line: its kind, and how its message begins.

    >>> cause(KeyError("u")), cause(StopIteration())
    ("KeyError: 'u'", 'StopIteration')
    """
    text = str(error).strip()
    if "Traceback" in text:  # of a function that was called back: it ends with what was raised
        text = text.splitlines()[-1]
    text = " ".join(text.split())[:200]
    return type(error).__name__ + (f": {text}" if text else "")


def did_you_mean(name: str, known: list[str]) -> str:
    """Return a hint naming the closest known name, or listing the known ones.

    >>> did_you_mean("scalar-facter", ["scalar-factor", "relu-rescaling"])
    "did you mean 'scalar-factor'?"
    """
    import difflib

    close = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    if close:
        return f"did you mean {close[0]!r}?"
    return "known names: " + ", ".join(sorted(known)) if known else "none is known"

"""The packages that are installed beside symtheory and use it as its users do."""

from __future__ import annotations

import importlib
from types import ModuleType


def beside(name: str) -> ModuleType:
    """Return `proofs_check` or `figures`.

    Raises:
        InputError: It is not there.
    """
    from symtheory.errors import InputError

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"the package {name} is not installed beside symtheory ({error}); install symtheory "
            "again, or run from its repository"
        ) from error

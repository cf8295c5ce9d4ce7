"""The papers behind the package, as BibTeX."""

from __future__ import annotations

from collections.abc import Iterable

from symtheory.errors import InputError, did_you_mean

_BIBTEX = {
    "ziyin2024noise": """@inproceedings{ziyin2024noise,
  title     = {Parameter Symmetry and Noise Equilibrium of Stochastic Gradient Descent},
  author    = {Ziyin, Liu and Wang, Mingze and Li, Hongchao and Wu, Lei},
  booktitle = {Advances in Neural Information Processing Systems},
  year      = {2024},
  eprint    = {2402.07193},
  archivePrefix = {arXiv}
}""",
    "ziyin2025remove": """@inproceedings{ziyin2025remove,
  title     = {Remove Symmetries to Control Model Expressivity and Improve Optimization},
  author    = {Ziyin, Liu and Xu, Yizhou and Chuang, Isaac},
  booktitle = {International Conference on Learning Representations},
  year      = {2025},
  eprint    = {2408.15495},
  archivePrefix = {arXiv}
}""",
    "symtheory": """@software{symtheory,
  title  = {symtheory: parameter symmetries and SGD noise, derived, proved and simulated},
  author = {{The symtheory developers}},
  year   = {2026}
}""",
}


def cite(keys: Iterable[str] | None = None) -> str:
    """Return BibTeX entries for the given keys (all of them if omitted).

    Raises:
        InputError: There is no such key.

    >>> print(cite(["ziyin2024noise"]).splitlines()[0])
    @inproceedings{ziyin2024noise,
    """
    chosen = list(_BIBTEX) if keys is None else list(keys)
    for key in chosen:
        if key not in _BIBTEX:
            raise InputError(f"no reference {key!r}; {did_you_mean(key, list(_BIBTEX))}")
    return "\n\n".join(_BIBTEX[key] for key in chosen)

"""What a dataset depends on: its spec, the code that computes it and the packages under it."""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import pathlib

import symtheory as st
from figures._registry import Entry
from figures._spec import Spec

# Changing these alters the picture and its table, not the data.
_DRAWING = {"draw", "numbers", "TITLE", "CAPTION", "STATEMENTS"}
_DRAWING_FILES = {"_style", "_maker", "_made", "_page", "_readme", "_stamp", "_registry", "_store"}
_PACKAGES = (
    "jax", "jaxlib", "numpy", "scipy", "sympy", "python-flint", "optax", "equinox", "scikit-learn",
)  # fmt: skip


def stamp(entry: Entry, spec: Spec) -> str:
    """Return a hash of everything that decides the data of a figure."""
    out = hashlib.sha256(f"{entry.id} {spec.seed} {spec.fast} {versions()}".encode())
    out.update(_package().encode())
    out.update(_computing(entry.path.read_text()).encode())
    return out.hexdigest()[:20]


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of the packages that the data depend on, those that are installed."""
    import platform

    found = {"python": platform.python_version(), "symtheory": st.__version__}
    for name in _PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def _package() -> str:
    """Return a hash of the code that all figures share."""
    root = pathlib.Path(st.__file__).parent
    here = pathlib.Path(__file__).parent
    shared = [path for path in here.glob("_*.py") if path.stem not in _DRAWING_FILES]
    rooms = [path for path in root.rglob("*.py") if path.parent.name not in ("commands", "report")]
    out = hashlib.sha256()
    for path in (*sorted(rooms), *sorted(shared)):
        out.update(path.read_bytes())
    return out.hexdigest()


def _computing(source: str) -> str:
    """Return the code of a file without comments, texts and functions that only draw."""
    tree = ast.parse(source)
    tree.body = [node for node in tree.body if not _names(node) & _DRAWING]
    if ast.get_docstring(tree) is not None:
        tree.body = tree.body[1:]
    return ast.dump(tree)


def _names(node: ast.stmt) -> set[str]:
    if isinstance(node, ast.FunctionDef):
        return {node.name}
    if isinstance(node, ast.Assign):
        return {target.id for target in node.targets if isinstance(target, ast.Name)}
    return set()

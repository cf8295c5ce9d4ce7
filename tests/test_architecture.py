"""Who may use what: the front of the package is for users, the rooms are for each other.

import-linter keeps `theory` and `simulation` apart. What it cannot see is checked here, on source
text: `proofs_check` and `figures` use public names only, no room reaches another one through the
lazy front, and no modules import each other in a circle.
"""

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

import pytest

import symtheory

ROOT = Path(__file__).resolve().parent.parent
FRONT = "symtheory"
ROOMS = {
    path.stem
    for path in (ROOT / FRONT).iterdir()
    if path.suffix == ".py" or (path / "__init__.py").exists()
}
# The rooms that users see, and models written as a user writes them.
MAY_IMPORT_FRONT = {"__init__", "__main__", "cli", "commands", "report", "zoo"}
NAMEDTUPLE = {"_replace", "_asdict", "_fields", "_make"}


def is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def is_private(name: str) -> bool:
    return name.startswith("_") and not is_dunder(name)


def misuses(source: str, public: frozenset[str]) -> list[str]:
    """Every place where a caller's source uses symtheory other than by its public names."""
    found = []
    tree = ast.parse(source)
    aliases = {FRONT}

    def module(name: str, line: int) -> None:
        """A dotted module is fine when it is the front or a room that the front makes public."""
        parts = name.split(".")
        if parts[0] == FRONT and len(parts) > 1 and not (set(parts[1:2]) <= public):
            found.append(f"line {line}: {name} is not public")
        elif parts[0] == FRONT and any(is_private(part) for part in parts):
            found.append(f"line {line}: {name} is private")

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for item in node.names:
                module(item.name, node.lineno)
                if item.name == FRONT:
                    aliases.add(item.asname or FRONT)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            origin = node.module or ""
            module(origin, node.lineno)
            if origin.split(".")[0] == FRONT:
                for item in node.names:
                    allowed = item.name in public if origin == FRONT else item.name != "*"
                    if not allowed or is_private(item.name):
                        found.append(f"line {node.lineno}: {origin}.{item.name} is not public")

    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = node.value.id if isinstance(node.value, ast.Name) else None
            if owner in aliases and node.attr not in public and not is_dunder(node.attr):
                found.append(f"line {node.lineno}: {owner}.{node.attr} is not public")
            elif (
                is_private(node.attr)
                and node.attr not in NAMEDTUPLE
                and owner not in {"self", "cls"}
            ):
                found.append(f"line {node.lineno}: .{node.attr} is private")
        elif isinstance(node, ast.Call):
            function = node.func.attr if isinstance(node.func, ast.Attribute) else None
            function = node.func.id if isinstance(node.func, ast.Name) else function
            if function in {"import_module", "__import__"}:
                for argument in node.args:
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                        module(argument.value, node.lineno)
    return found


def front_imports(source: str, depth: int = 1) -> list[str]:
    """Every import of the front itself (not of a room in it) by a file `depth` folders down."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [item.name for item in node.names if item.name == FRONT]
        elif isinstance(node, ast.ImportFrom) and (
            (node.level == 0 and node.module == FRONT) or (node.level == depth and not node.module)
        ):
            names = [item.name for item in node.names]
            names = [name for name in names if name not in ROOMS and not is_dunder(name)]
        else:
            continue
        found += [f"line {node.lineno}: imports {name} from the front" for name in names]
    return found


def modules(folder: Path) -> dict[str, str]:
    """The sources of a package by dotted name."""
    found = {}
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text()
    return found


def runtime_imports(tree: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Every import that may run, inside functions too; those for type checkers never do."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from runtime_imports(node)


def import_graph(sources: dict[str, str]) -> dict[str, set[str]]:
    """Which modules each one imports; that its own package comes first is no import of its."""
    graph = {}
    for name, source in sources.items():
        targets = set()
        for node in runtime_imports(ast.parse(source)):
            if isinstance(node, ast.Import):
                targets |= {item.name for item in node.names}
            else:
                assert not node.level, f"{name} line {node.lineno}: write the whole name"
                whole = {f"{node.module}.{item.name}" for item in node.names}
                targets |= {x if x in sources else x.rpartition(".")[0] for x in whole}
        graph[name] = (targets & sources.keys()) - {name}
    return graph


def circle(graph: dict[str, set[str]]) -> list[str]:
    """The modules of one circle, each importing the one before it, or none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


PUBLIC = frozenset(getattr(symtheory, "__all__", ()))


@pytest.mark.parametrize("folder", ["proofs_check", "figures"])
def test_callers_use_public_names_only(folder):
    complaints = [
        f"{path.relative_to(ROOT)} {text}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        for text in misuses(path.read_text(), PUBLIC)
    ]
    assert complaints == []


def test_rooms_do_not_import_the_front():
    paths = sorted((ROOT / FRONT).rglob("*.py"))
    assert paths
    complaints = [
        f"{path.relative_to(ROOT)} {text}"
        for path in paths
        if path.relative_to(ROOT / FRONT).parts[0].removesuffix(".py") not in MAY_IMPORT_FRONT
        for text in front_imports(path.read_text(), len(path.relative_to(ROOT / FRONT).parts))
    ]
    assert complaints == []


@pytest.mark.parametrize("folder", [FRONT, "proofs_check", "figures"])
def test_no_modules_import_each_other_in_a_circle(folder):
    graph = import_graph(modules(ROOT / folder))
    assert sum(map(len, graph.values())) > 20
    assert circle(graph) == []


def test_no_rooms_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {}
    for name, targets in import_graph(modules(ROOT / FRONT)).items():
        rooms = {target.split(".")[1] for target in targets if target != FRONT}
        if name != FRONT:
            graph.setdefault(name.split(".")[1], set()).update(rooms - {name.split(".")[1]})
    assert len(graph) > 10
    assert circle(graph) == []


# The controls: the checks above must see what they are there for.

EXAMPLE = frozenset({"derive", "Model", "zoo"})


@pytest.mark.parametrize(
    "source",
    [
        "import symtheory.theory",
        "import symtheory.theory as t",
        "import symtheory._lazy",
        "from symtheory.theory import derive",
        "from symtheory.theory._charge import charge",
        "from symtheory import theory",
        "from symtheory import _lazy",
        "from symtheory import *",
        "from symtheory.zoo import _registry",
        "from symtheory.zoo import *",
        "from symtheory.zoo._registry import entries",
        "import symtheory as st\nst._lazy",
        "import symtheory as st\nst.theory.charge",
        "import symtheory as st\nst.derive(model)._steps",
        "def late():\n    from symtheory.simulation import sgd",
        "import importlib\nimportlib.import_module('symtheory.theory')",
    ],
)
def test_the_checker_catches(source):
    assert misuses(source, EXAMPLE)


@pytest.mark.parametrize(
    "source",
    [
        "import symtheory",
        "import symtheory as st\nlaw = st.derive(model)\nlaw.charge\nst.__version__",
        "from symtheory import Model, derive",
        "from symtheory.zoo import scalar_factor",
        "from . import _common\nfrom ._common import table",
        "import numpy as np\nnp.theory",
        "class Row:\n    def size(self):\n        return self._size\nrow._replace(a=1)",
    ],
)
def test_the_checker_lets_pass(source):
    assert misuses(source, EXAMPLE) == []


@pytest.mark.parametrize(
    ("source", "caught"),
    [
        ("import symtheory as st", True),
        ("def late():\n    from symtheory import derive", True),
        ("if TYPE_CHECKING:\n    from symtheory import Model", True),
        ("from . import derive", True),
        ("from symtheory import *", True),
        ("from symtheory import verdict", False),
        ("from symtheory import __version__", False),
        ("from symtheory.verdict import Verdict", False),
        ("from . import verdict", False),
    ],
)
def test_front_imports_are_seen(source, caught):
    assert bool(front_imports(source)) is caught


@pytest.mark.parametrize(
    ("one", "two", "caught"),
    [
        ("from a.two import x", "from a.one import y", True),
        ("from a import two", "import a.one", True),
        ("from a.two import x", "def late():\n    from a.one import y", True),
        ("from a.two import x", "from a import z", True),  # whose __init__ imports one
        ("from a.two import x", "if TYPE_CHECKING:\n    from a.one import y", False),
        ("from a.two import x", "import b.one", False),
    ],
)
def test_circles_are_seen(one, two, caught):
    graph = import_graph({"a": "from a.one import z", "a.one": one, "a.two": two})
    assert bool(circle(graph)) is caught

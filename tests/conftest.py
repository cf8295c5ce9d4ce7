"""Settings shared by all tests: double precision, how JAX compiles, and which members are slow."""

import collections
import pathlib
import shutil
import tempfile

import jax
import pytest

jax.config.update("jax_enable_x64", True)

HERE = pathlib.Path(__file__).parent
# Rooms that ask many small programs an exact question each: compiling takes longer than running.
# Simulations and timings are compiled as users compile them.
COMPILED_QUICKLY = {
    "cases", "domains", "fuzz", "linear_algebra", "program", "symmetry", "syre", "theory",
    "verdict", "zoo",
}  # fmt: skip
# So many members of one parametrized test, evenly spread, are representatives; the others are slow.
REPRESENTATIVES = {"cases": 4, "symmetry": 8, "theory": 6}
_shared = pytest.StashKey[str]()


def pytest_configure(config):
    """Let the workers of one run share what they compile; a later run starts afresh."""
    given = getattr(config, "workerinput", {}).get("compiled")
    if given is None:
        given = config.stash[_shared] = tempfile.mkdtemp(prefix="symtheory-compiled-")
    jax.config.update("jax_compilation_cache_dir", given)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["compiled"] = node.config.stash[_shared]


def pytest_unconfigure(config):
    if _shared in config.stash:
        shutil.rmtree(config.stash[_shared], ignore_errors=True)


def pytest_addoption(parser):
    parser.addoption(
        "--share",
        default="0/1",
        metavar="K/N",
        help="of every parametrized slow test only the K-th of N shares of its members, K from 0",
    )


def _kinds(items):
    """The members of every parametrized test below this folder, by the test."""
    kinds = collections.defaultdict(list)
    for item in items:
        if item.path.is_relative_to(HERE) and hasattr(item, "callspec"):
            kinds[item.nodeid.partition("[")[0]].append(item)
    return kinds.values()


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their marks
def pytest_collection_modifyitems(config, items):
    part, parts = map(int, config.getoption("--share").split("/"))
    left_out = set()
    for members in _kinds(items):
        room = members[0].path.relative_to(HERE).parts[0]
        count = min(REPRESENTATIVES.get(room, len(members)), len(members))
        chosen = {k * len(members) // count for k in range(count)}
        for place, item in enumerate(members):
            if place not in chosen:
                item.add_marker(pytest.mark.slow)
            if place % parts != part and item.get_closest_marker("slow"):
                left_out.add(item)
    if left_out:
        config.hook.pytest_deselected(items=list(left_out))
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    room = item.path.relative_to(HERE).parts[0]
    jax.config.update("jax_disable_most_optimizations", room in COMPILED_QUICKLY)
    jax.config.update("jax_enable_compilation_cache", "benchmark" not in item.keywords)

"""Settings shared by all tests: double precision, and how JAX compiles their programs."""

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


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    room = item.path.relative_to(HERE).parts[0]
    jax.config.update("jax_disable_most_optimizations", room in COMPILED_QUICKLY)
    jax.config.update("jax_enable_compilation_cache", "benchmark" not in item.keywords)

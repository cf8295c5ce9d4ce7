"""A run that is killed loses at most a stage of each statement under way."""

import collections
import signal
import subprocess
import sys

import pytest

# Spawned processes read the file again, so that the functions are replaced there, too.
SCRIPT = """
import os, pathlib, signal, sys, time
import proofs_check
from symtheory import Status, SymtheoryError, Verdict
from symtheory.verdict import Arithmetic, Derivation, prove

folder, victim = pathlib.Path(sys.argv[1]), sys.argv[2]
STAGES = {"exact": Status.PROVED, "empirical": Status.SUPPORTED, "control": Status.REFUTED,
          "twin": Status.SUPPORTED}
chosen = list(proofs_check.statements()[:3])

def stage(name, kind):
    def run(*_):
        with open(folder / "ran", "a") as file:
            file.write(f"{name} {kind}\\n")
        if (name, kind) == ("P1.2", "empirical") and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid() if victim == "worker" else os.getppid(), signal.SIGKILL)
            time.sleep(1000)
        if kind == "exact":
            return prove(kind, Derivation("by hand"), Arithmetic(1, 1))
        return Verdict(STAGES[kind], kind)
    return run

for statement in chosen:
    for kind in STAGES:
        setattr(statement.module, kind, stage(statement.id, kind))

if __name__ == "__main__":
    try:
        for outcome in proofs_check.check(chosen, folder=folder / "kept", jobs=2):
            print(outcome.id, outcome.exact, outcome.empirical, outcome.control, outcome.status)
    except SymtheoryError as error:
        sys.exit(str(error))
"""


@pytest.mark.slow
@pytest.mark.parametrize("victim", ["worker", "run"])
def test_a_killed_run_goes_on_with_the_next_stage(tmp_path, victim):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    # That it returns at all says that the processes of a killed run have ended, too.
    run = lambda: subprocess.run(
        [sys.executable, str(script), str(tmp_path), victim],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    killed = run()
    if victim == "worker":
        assert killed.returncode == 1 and "was killed" in killed.stderr
    else:
        assert killed.returncode == -signal.SIGKILL
    kept = tmp_path / "kept"
    assert (kept / "P1.2.part").exists() and not (kept / "P1.2.json").exists()

    again = run()
    assert again.returncode == 0, again.stderr
    rows = [f"P1.{i} proved supported refuted proved" for i in (1, 2, 3)]
    assert sorted(again.stdout.splitlines()) == rows
    assert sorted(path.name for path in kept.iterdir()) == [f"P1.{i}.json" for i in (1, 2, 3)]
    times = collections.Counter((tmp_path / "ran").read_text().splitlines())
    assert times["P1.2 exact"] == times["P1.2 control"] == times["P1.2 twin"] == 1
    assert times["P1.2 empirical"] == 2
    for name in ("P1.1", "P1.3"):
        assert sum(count - 1 for row, count in times.items() if row.startswith(name)) <= 1

"""The command line: outputs, exit codes and what bad input gets."""

import dataclasses
import json
import os
import pathlib
import resource
import subprocess
import sys

import pytest

from symtheory.cli import main
from symtheory.commands import COMMANDS

ROOT = pathlib.Path(__file__).parents[1]

USER_MODEL = """
import jax.numpy as jnp, symtheory as st

model = st.Model(
    loss=lambda p, z, c: jnp.sum((p["U"] @ p["W"] @ z["x"] - c["V"] @ z["x"] - z["eps"]) ** 2),
    params={"U": ("dy", "h"), "W": ("h", "dx")},
    random={"x": st.Normal("dx", cov="Sigma_x"), "eps": st.Normal("dy", cov="Sigma_eps")},
    constants={"V": ("dy", "dx")},
)
odd = st.Model(
    loss=lambda p, z: (p["E"] * p["I"] * z["S"] - z["beta"]) ** 2,
    params={"E": (), "I": ()},
    random={"S": st.Normal(()), "beta": st.Normal((), mean=1.0)},
)
false = st.Exponential(lambda p: {"E": p["E"], "I": 0 * p["I"]})
tanh = st.Model(
    loss=lambda p, z: (p["u"] * jnp.tanh(p["w"] * z["x"]) - z["y"]) ** 2,
    params={"u": (), "w": ()},
    random={"x": st.Normal(()), "y": st.Normal(())},
)
rescaling = st.Exponential(lambda p: {"u": p["u"], "w": -p["w"]})
oscillator = st.Model(
    loss=lambda p, z: p["q"][0] ** 2 + 2 * p["q"][1] ** 2 + z["y"],
    params={"q": (2,)}, random={"y": st.Normal(())},
)
angular = st.Exponential(lambda p: {"q": jnp.array([-1.0, 1.0]) * p["q"][::-1]})
number = 7
"""


@pytest.fixture(scope="module")
def user_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("user") / "my_model.py"
    path.write_text(USER_MODEL)
    return path


@dataclasses.dataclass
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def symtheory(monkeypatch, capsys):
    """Run the command in this process (loading JAX anew for every case would take minutes)."""

    def call(*arguments, cwd=None):
        if cwd is not None:
            monkeypatch.chdir(cwd)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setattr(sys, "argv", ["symtheory", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main()
        out = capsys.readouterr()
        return Done(int(left.value.code or 0), out.out, out.err)

    return call


def in_a_process(*arguments, cwd=None):
    """Run the command in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-m", "symtheory", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=300,
        check=False,
    )


def test_help_is_quick_and_loads_nothing_heavy():
    seconds = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        done = in_a_process("--help")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        assert done.returncode == 0
    for command in COMMANDS:
        assert command in done.stdout
    # Processor time, because tests share their machine; on an idle one 0.3 s is the limit.
    assert min(seconds) < 0.5
    probe = "import sys, symtheory, symtheory.cli; print([m for m in sys.modules])"
    loaded = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True
    ).stdout
    for heavy in ("'jax'", "'sympy'", "'scipy'", "'matplotlib'", "'numpy'"):
        assert heavy not in loaded


@pytest.mark.slow
def test_run_on_a_users_file(user_file, tmp_path):
    done = in_a_process("run", f"{user_file}:model", "--json", "--fast", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    assert out["schema_version"] == 1
    assert out["assumed"]["h"] == 2
    assert out["verdict"]["status"] == "supported"
    assert out["laws"][0]["status"] == "proved"
    assert len(out["starts"]) == 3
    assert all(c["standard_error"] > 0 for start in out["starts"] for c in start["charges"])
    assert (tmp_path / out["picture"]).stat().st_size > 10_000


def test_run_prints_law_and_table(symtheory, tmp_path):
    done = symtheory("run", "scalar-factor", "--fast", "--steps", 4000, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in ("C = u**2 - w**2", "lambda*", "supported", "start 3", "proved"):
        assert text in done.stdout
    assert "start 1 of 3" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "charge"),
    [
        (["scalar-factor"], "u**2 - w**2"),
        (["scale-invariant", "--size", "d=2"], "w_1**2 + w_2**2"),
        (
            ["two-layer-linear", "--size", "dy=2", "--size", "h=1", "--size", "dx=1"],
            "Matrix([[U_11**2 + U_21**2 - W_11**2]])",
        ),
        (["relu-rescaling", "--size", "h=1"], "Matrix([[W_11**2 + W_12**2 - u_1**2]])"),
    ],
)
def test_derive_as_json(symtheory, arguments, charge):
    done = symtheory("derive", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    law = json.loads(done.stdout)["laws"][0]
    assert law["status"] == "proved"
    assert law["charge"]["sympy"] == charge
    assert law["drift"]["sympy"] and law["equilibrium"]["latex"] and law["symmetry"]
    assert all(step["status"] != "refuted" for step in law["steps"])


def test_derive_as_latex(symtheory):
    done = symtheory("derive", "scalar-factor", "--latex")
    assert done.returncode == 0
    assert "\\dot C = " in done.stdout and "u^{2}" in done.stdout


@pytest.mark.parametrize(
    ("model", "symmetry"), [("odd", "false"), ("tanh", "rescaling"), ("oscillator", "angular")]
)
def test_false_symmetries_are_refuted_with_a_witness(symtheory, user_file, model, symmetry):
    done = symtheory("derive", f"{user_file}:{model}", "--symmetry", symmetry, "--json")
    assert done.returncode == 1, done.stderr
    law = json.loads(done.stdout)["laws"][0]
    assert law["status"] == "refuted"
    assert law["witness"]["derivative"] != 0


def test_simulation_writes_one_whole_file(symtheory, tmp_path):
    import numpy as np

    out = tmp_path / "deep" / "ensemble.npz"
    done = symtheory("simulate", "scalar-factor", "--steps", 200, "--fast", "--out", out)
    assert done.returncode == 0, done.stderr
    with np.load(out) as arrays:
        assert arrays["observable_charge"].shape[0] == 16
        assert arrays["param_u"].shape == (16,)
    assert [path.name for path in out.parent.iterdir()] == ["ensemble.npz"]


DISCOVERED = """
import jax, jax.numpy as jnp, numpy as np, symtheory as st

x = {"x": st.Normal(2), "y": st.Normal(2)}
relu = lambda p, z: jnp.sum((p["U"] @ jax.nn.relu(p["W"] @ z["x"]) - z["y"]) ** 2)
net = st.Model(relu, {"W": (3, 2), "U": (2, 3)}, random=x)
unused = st.Model(relu, {"W": (3, 2), "U": (2, 3), "unused": (50, 50)}, random=x)
softmax = st.Model(lambda p, z: -jax.nn.log_softmax(p["W"] @ z["x"])[0], {"W": (3, 2)}, random=x)
empty = st.Model(lambda p, z: jnp.sum(p["W"]) + z["x"][0], {"W": (0,)}, random=x)
noise = lambda: jax.random.normal(jax.random.key(0), (2,))
drawing = st.Model(lambda p, z: jnp.sum(p * noise()) * z["x"][0], (2,), random=x)
"""


@pytest.fixture(scope="module")
def discovered(tmp_path_factory):
    path = tmp_path_factory.mktemp("discovered") / "models.py"
    path.write_text(DISCOVERED)
    return path


def test_discover_as_json(symtheory, discovered):
    done = symtheory("discover", f"{discovered}:net", "--json")
    assert done.returncode == 0, done.stderr
    out = json.loads(done.stdout)
    generators, laws = out["generators"], out["conservation_laws"]
    keys = ("total", "symmetric", "affine", "status")
    assert [generators[key] for key in keys] == [3, 3, 3, "proved"]
    assert [laws[key] for key in ("lower", "upper", "status")] == [3, 3, "proved"]
    assert [item["count"] for item in out["reflections"]["found"]] == [3]
    assert done.stderr == ""


def test_discover_as_text(symtheory, discovered):
    done = symtheory("discover", f"{discovered}:softmax")
    assert done.returncode == 0, done.stderr
    for text in ("14 with translations: proved", "logit shift of W axis 0", "\\partial_{W_{11}}"):
        assert text in done.stdout
    assert "conservation laws ..." in done.stderr


def test_discover_reports_a_constant_leaf_once(symtheory, discovered):
    done = symtheory("discover", f"{discovered}:unused")
    assert done.returncode == 0, done.stderr
    assert "3 linear (3 symmetric)" in done.stdout
    assert "trivial in unused: proved" in done.stdout
    assert "no upper bound" in done.stdout


def test_discover_explains_and_tables(symtheory, discovered, tmp_path):
    picture = tmp_path / "axes.png"
    options = ["--explain", "--table", "--ignore-below", "1e-4", "--picture", str(picture)]
    done = symtheory("discover", f"{discovered}:net", "--json", *options)
    data = json.loads(done.stdout)
    assert {row["kind"] for row in data["parameter_table"]} <= {
        "invariant",
        "homogeneous",
        "neither",
    }
    assert data["explanation"]["group"] and data["explanation"]["axes"]
    assert data["approximate"]["ignore_below"] == 1e-4
    assert data["picture"] == str(picture) and picture.stat().st_size > 1000
    done = symtheory("discover", f"{discovered}:net", "--explain", "--table", "--latex")
    assert done.stdout.count(r"\begin{tabular}") == 2


def test_discover_without_time_is_inconclusive(symtheory, discovered):
    done = symtheory("discover", f"{discovered}:net", "--budget", "0.001")
    assert done.returncode == 3
    assert "inconclusive" in done.stdout and "time limit" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{file}:empty"], "parameters are all empty"),
        (["{file}:drawing"], "draws random numbers itself"),
        (["{file}:net", "--max-memory", "0.00001"], "GiB, but the limit is 1e-05 GiB"),
        (["{file}:net", "--max-memory", "0"], "--max-memory takes a positive number"),
        (["{file}:net", "--budget", "0"], "--budget takes a positive number"),
        (["scalar-facter"], "did you mean 'scalar-factor'"),
    ],
)
def test_discover_refuses(symtheory, discovered, arguments, message):
    done = symtheory("discover", *[a.replace("{file}", str(discovered)) for a in arguments])
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert message in done.stderr and done.stdout == ""


def test_divergence_is_inconclusive_and_leaves_no_file(symtheory, tmp_path):
    arguments = ["--learning-rate", 3, "--steps", 500, "--fast", "--out", tmp_path / "x.npz"]
    done = symtheory("simulate", "scalar-factor", *arguments)
    assert done.returncode == 3
    assert "replica" in done.stdout and "rate" in done.stdout and "step" in done.stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["derive", "scalar-facter"], "did you mean 'scalar-factor'"),
        (["derive", "scalar-factor", "--symmetry", "rescal"], "did you mean 'rescaling'"),
        (["derive", "nowhere.py:model"], "no file"),
        (["derive", "{file}"], "which object"),
        (["derive", "{file}:modle"], "did you mean 'model'"),
        (["derive", "{file}:number"], "not a Model"),
        (["derive", "{file}:model"], "is not bound; bind it with"),
        (["simulate", "{file}:model", "--size", "dy=2", "--size", "h=2", "--size", "dx=2"],
         "'Sigma_x' of shape (2, 2) is not bound"),
        (["derive", "two-layer-linear", "--size", "q=2"], "no size 'q'"),
        (["derive", "two-layer-linear", "--size", "h=two"], "NAME=INTEGER"),
        (["derive", "two-layer-linear", "--size", "h=0"], "positive integer"),
        (["derive", "two-layer-linear", "--value", "V=exit()"], "JSON"),
        (["derive", "two-layer-linear", "--size", "dx=2", "--value", "V=[[1,0,0]]"],
         "V has shape (1, 3)"),
        (["derive", "two-layer-linear", "--value", "Sigma_x=[[1,2],[0,1]]"], "not symmetric"),
        (["derive", "two-layer-linear", "--value", "Sigma_x=[[1,2],[2,1]]"], "positive"),
        (["simulate", "scalar-factor", "--learning-rate", "-1"], "learning_rate"),
        (["simulate", "scalar-factor", "--learning-rate", "0"], "learning_rate"),
        (["simulate", "scalar-factor", "--weight-decay", "-0.1"], "weight_decay"),
        (["simulate", "scalar-factor", "--momentum", "1"], "momentum"),
        (["simulate", "scalar-factor", "--batch-size", "0"], "batch_size"),
        (["run", "scalar-factor", "--replicas", "1"], "at least 2 replicas"),
        (["cite", "nothing"], "no model 'nothing'"),
        (["bogus"], "bogus"),
        (["figures", "F22"], "no figure 'F22'; did you mean F2?"),
        (["figures", "--fast", "--out", "{file}"], "cannot be written"),
    ],
)  # fmt: skip
def test_bad_input_is_one_clear_sentence(symtheory, user_file, tmp_path, arguments, message):
    arguments = [argument.replace("{file}", str(user_file)) for argument in arguments]
    done = symtheory(*arguments, cwd=tmp_path)
    assert done.returncode == 2, (done.stdout, done.stderr)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_there", "does not import: ModuleNotFoundError"),
        ("model = (", "does not import: SyntaxError"),
        (
            "import symtheory as st\n"
            "model = st.Model(lambda p, z: p * z['x'], params=(2,), random={'x': st.Normal(2)})",
            "must return a scalar",
        ),
        (
            "import symtheory as st\n"
            "model = st.Model(lambda p, z: p @ z['x'], params=(3,), random={'x': st.Normal(2)})",
            "cannot be evaluated at the given shapes",
        ),
        ("import symtheory as st\nmodel = st.Model(lambda p, z: 1.0, {})", "no parameters"),
        (
            "import jax.numpy as jnp, symtheory as st\n"
            "model = st.Model(lambda p, z: p, {'n': jnp.arange(3)})",
            "a parameter has the type int",
        ),
        (
            "import jax.numpy as jnp, symtheory as st\n"
            "model = st.Model(lambda p, z: p, {'n': 1j * jnp.ones(3)})",
            "a parameter has the type complex",
        ),
        (
            "import jax, symtheory as st\n"
            "model = st.Model(lambda p, z: jax.scipy.special.i0e(p @ z['x']), params=(2,),\n"
            "                 random={'x': st.Normal(2)})\n"
            "scale = st.Exponential(lambda p: p)",
            "cannot read the primitive 'bessel_i0e'",
        ),
    ],
)
def test_bad_model_files(symtheory, tmp_path, source, message):
    path = tmp_path / "bad.py"
    path.write_text(source)
    done = symtheory("derive", f"{path}:model")
    assert done.returncode == 2
    assert message in done.stderr and "Traceback" not in done.stderr


def test_cite(symtheory):
    done = symtheory("cite", "scalar-factor")
    assert done.returncode == 0
    assert "2402.07193" in done.stdout and "@software{symtheory" in done.stdout


def test_models_as_json(symtheory):
    out = json.loads(symtheory("models", "--json").stdout)
    assert {"scalar-factor", "two-layer-linear"} <= {model["name"] for model in out["models"]}


def test_figures(symtheory, tmp_path):
    first = symtheory("figures", "f1", "--fast", "--html", "--out", tmp_path / "out")
    assert first.returncode == 0
    assert "F1" in first.stdout and "supported" in first.stdout and "…" not in first.stdout
    assert (tmp_path / "out" / "index.html").read_text().count("data:image/png;base64,") == 1
    again = symtheory("figures", "F1", "--fast", "--json", "--out", tmp_path / "out")
    data = json.loads(again.stdout)
    assert data["figures"][0]["cached"] and data["status"] == "supported"
    assert {"id", "title", "files", "theory", "claims", "rows"} <= data["figures"][0].keys()

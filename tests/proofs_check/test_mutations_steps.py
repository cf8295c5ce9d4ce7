"""A false step planted in a proof is noticed, step by step.

Every row replaces a piece of the source of one function of a statement's module by something false,
compiles the function anew, and expects the step to be no longer proved. What other statements prove
is taken for granted here: their own rows and tests are about that.
"""

import importlib
import inspect
from typing import NamedTuple

import pytest

import proofs_check
from symtheory.verdict import Arithmetic, Derivation, conjunction, prove


class Step(NamedTuple):
    """What is planted in which function of which statement; the text has a hole."""

    name: str
    text: str
    right: str
    wrong: str


PLANTED = {
    ("P1.13", "_noise"): [
        ("noise of u", '"4 * {}dy (w^T Sx w) s^2"', "", "dx "),
        ("noise of w", '"4 * s^2 Tr[Sx] {}"', "|u|^2", "|w|^2"),
    ],
    ("P1.13", "_loss"): [
        ("the gradients", '{}c["s"] * z["e"]', "", "2 * "),
    ],
    ("P1.13", "_trace"): [
        ("charge grows", "q / y), pu * y {} qw / y", "-", "+"),
        ("convex trace", "trace, charge = 2 * (p * y {} q / y)", "+", "-"),
        ("drift falls", "q / y {} 4 * s2 * p * y", "-", "+"),
        ("trace falls", "{}8 * T * s2 * sympy.Symbol", "-", ""),
        ("drift of the charge", "drift = T * (4 * s2 * q / y - {} * s2 * p * y)", "4", "2"),
        ("where the drift vanishes", "rest = sympy.sqrt({})", "q / p", "p / q"),
        ("slope of the trace", "charge = {} * (p * y + q / y)", "2", "3"),
    ],
    ("P1.13", "_along"): [
        ("the Hessian", "jnp.outer(p[0], {}p[1])", "", "2 * "),
    ],
    ("P1.13", "_curvatures"): [
        ("Lagrange", 'jnp.outer(a["u"], a["A"])) ** 2) / {}', "2", "4"),
        ("mixed term", '- {} * a["r"] * a["s"]', "4", "2"),
    ],
    ("P1.13", "_largest"): [
        ("upper bound", "most = 2 * (f / y {} k * y)", "+", "- 2 *"),
        ("convex", "form = 2 * (square * {} + 2", "f / y", "-f / y"),
    ],
    ("P1.13", "_thresholds"): [
        ("sign for large u", 'sign("which is positive", more {} slack', "+", "-"),
        ("sign for large w", 'sign("which is positive", more {} dy', "+", "-"),
        ("start with large u", "(1 + {} / dy + more)", "dx", "2 * dx"),
        ("start with large w", "(1 + {} + more) / rest", "dy", "2 * dy"),
        ("y*", "rest = sympy.sqrt({} * w / (total * norm))", "dy", "dx"),
    ],
    ("P1.13", "_can_rise"): [
        ("direction", "form = 2 * (first**2 / y + {} * first", "2", "1"),
        ("rises", "largest.subs(y, {})))", "1", "ratio**2"),
    ],
    ("P1.13", "_descent"): [
        ("unstable above 2", "({} + less) / curvature", "2", "1"),
        ("stable below 2", "{} / (eta * (1 + less))", "2", "3"),
    ],
    ("P1.7", "_means"): [
        ("one step", "moved = b * x + {} * z / x", "(1 - b)", "(1 + b)"),
        ("second moment", "k = (1 - b) / ({} * b)", "2", "4"),
    ],
    ("P1.7", "_mean"): [
        ("variance", "2: 1 + {}v", "", "2 * "),
    ],
    ("P1.7", "_third_power"): [
        ("weight", "{} / (1 + x)", "2", "3"),
        ("sign of the weight", 'that is T >= -E", {}2 /', "", "-"),
        ("below 1", "sympy.factor({} - most)", "1", "0"),
        ("third power", "x**-2 - x**2 + {} * (x - 1 / x)", "2", "4"),
        ("mean square", "{} * excess + gap,", "2", "3"),
        ("least for x >= r", "most = (1 - r) / ({} + r)", "1", "2"),
    ],
    ("P1.7", "_never_left"): [
        ("sign of what is left", "lambda rest: {}lean", "", "-"),
        ("invariant set", "{} * r * e", "lean", "2 * lean"),
        ("b at least 1/2", "b = (1 {} lean) / 2", "+", "-"),
    ],
    ("P1.7", "_bounds"): [
        ("sign above", 'where k B < 1", {}k *', "", "-"),
        ("sign below", 'so E >= k v/(1 + k)", {}k *', "", "-"),
        ("B", "spread = (1 + v) * (1 + t) - {}", "1", "v"),
        ("upper", "upper, lower = k * v / (1 - {}k * spread)", "", "2 * "),
        ("lower", "k * v / (1 + {}k)", "", "2 * "),
        ("k", "factor = (1 - keep) / ({} * keep)", "2", "4"),
    ],
    ("P1.8", "_half_space"): [
        ("density", "sympy.sqrt({} * sympy.pi)", "2", "4"),
        ("half of the mass", "for low in (-sympy.oo, {})", "0", "1"),
        ("second moment over a half", "square = over({}, 0, sympy.oo)", "2", "4"),
        ("noise of the residual", 'c["v"] - {}z["e"]', "", "2 * "),
        ("dimensions across", "across = (width - {})", "1", "2"),
        ("balance", "balanced = {inner: sympy.sqrt({}) * outer}", "width", "2 * width"),
        ("charge", "charge = (inner**2 - {}outer**2)", "", "2 * "),
    ],
    ("P1.16", "_slope"): [
        ("power of v", "-sympy.Rational({}, 2) * sympy.log(_V)", "3", "1"),
        ("exponent", "({} * _T)", "2", "4"),
    ],
    ("P1.16", "_diffusion"): [
        ("line", "charge = (u**2 - {}w**2)", "", "2 * "),
        ("Ito's term", "(noise * curved).trace() / {}", "2", "1"),
        ("noise is centred", "noise = square - {}mean", "", "2 * "),
        ("definition of alpha_2", '_A2: raw["M_31"] - {}second', "", "2 * "),
        ("definition of beta_2", "_B2: {}mixed,", "", "2 * "),
    ],
    ("P1.16", "_gamma"): [
        ("shape", "mu / ({} * t * s2)", "2", "4"),
        ("rate", "1 / ({} * t * s2)", "2", "4"),
        ("mean", "mu - {}t * s2", "", "2 * "),
        ("mean of the package", "gamma.mean, {}gamma.shape", "", "2 * "),
        ("variance of the package", "gamma.variance, {}gamma.shape", "", "2 * "),
        ("x = 1", "_B1: {}, _B2: mu", "1", "2"),
    ],
    ("P1.16", "_collapse"): [
        ("power at 0", "(_B2 - {}_T * _A3) / (2", "", "2 * "),
        ("density", "{_B2: _T * _A3 {} more}", "+", "-"),
        ("at equality", "(zero + {}).subs(_B2", "1", "2"),
        ("scale function", "-{} * _DRIFT / _SPREAD", "2", "1"),
        ("collapse", "{_A3: (_B2 {} more) / _T}", "+", "-"),
    ],
    ("P1.6", "_sides"): [
        ("noise on a side", 'jnp.sum(a["keep"] ** {} * ', "2", "1"),
    ],
    ("P1.6", "_cases"): [
        ("first sign", "plus, minus = term({}mu)", "", "-"),
        ("signs and ends", "term(mu), term({}mu)", "-", ""),
        ("exponent", "sympy.exp({}2 * slope * lam)", "-", ""),
    ],
    ("P1.6", "_growth"): [
        ("identity generator", '@ a["t"] - {}jnp.sum', "", "2 * "),
        ("start", "square.subs(time, {})", "0", "1"),
        ("sign of the growth", 'sign("which is positive", {}4', "", "-"),
        ("growth", "start**2 + {} * variance", "4", "2"),
        ("noise", "sympy.log(norm) / {}", "2", "1"),
    ],
    ("P2.9", "_root_of"): [
        ("cubic", "w**3 - {}excess", "", "2 * "),
    ],
    ("P2.9", "_one_root"): [
        ("swap", "(sympy.diff(_ENERGY, _U) - {}slope)", "", "2 * "),
        ("slope at 0", "-{} * _GAMMA * _BIAS)", "2", "3"),
        ("sign at 0", 'slope.subs({_U: 0, _W: {}}), "negative"', "0", "9"),
        ("rises", "rises = {}sympy.expand", "", "-"),
        ("limit at 0", "over, w, 0, {}sympy.oo", "-", ""),
        ("limit at infinity", "over, w, sympy.oo, {}sympy.oo", "", "-"),
        ("no bias", "_BIAS: {}})", "0", "1"),
    ],
    ("P2.9", "_regimes"): [
        ("sign below", "{}r * (sympy.Symbol", "-", ""),
        ("m < gamma, below", "lower = held - {}held**3 / e", "", "held**3 / (2 * e) + 0 * "),
        ("m < gamma, above", "held = {}c / e", "", "sympy.Rational(1, 2) * "),
        ("m = gamma", "sympy.cbrt({}c)", "", "2 * "),
        ("m > gamma, below", "free, shift = sympy.sqrt({}e)", "", "4 * "),
        ("m > gamma, above", "c / ({} * e)", "2", "8"),
    ],
    ("P2.9", "_descends"): [
        ("sign of the share", "least = ({}w**2", "", "-20 * "),
        ("sign of the difference", 'd * (2 * root {} w), "positive"', "+", "- 9 *"),
        ("sign of what is short", 'sign("is positive", {}2 * eta * w', "", "-"),
        ("share", "rate = {} * eta", "2", "1"),
        ("largest rate", "most = 2 * eta * ({} * root**2", "3", "1"),
    ],
    ("P2.9", "_minimum"): [
        ("across", "across = sympy.Matrix([1, 1]), sympy.Matrix([1, {}])", "-1", "-2"),
        ("along", "at_root = curvature({})", "along", "across"),
    ],
    ("P2.5", "_across"): [
        ("image", 'outside {} inside - a["b"])', "+", "+ 2 *"),
    ],
    ("P2.5", "_change"): [
        ("off-diagonal blocks", '+ {} * jnp.sum((a["x"] @ block(a)) ** 2)', "4", "2"),
        ("centre", '- {} * jnp.sum((a["P"] @ (a["D"] * a["b"])) ** 2)', "4", "2"),
        ("commutator", "{} * jnp.sum(block(a) ** 2)\n                - jnp.sum(a", "2", "1"),
    ],
    ("P2.5", "_coordinates"): [
        ("number of entries", "entry**{} - entry", "2", "3"),
        ("values of entries", "entry**2 - entry{}", "", " - 2"),
        ("entries", "entry**2 - {}entry", "", "2 * "),
        ("diagonal", 'a["P"] ** {})', "2", "3"),
    ],
    ("P2.5", "_centres"): [
        ("offset", "weight * offset{}, offset", "", " - 1"),
    ],
    ("P2.5", "_plain"): [
        ("rotations", '(a["t"] - {} * a["P"] @ a["t"]).T', "2", "1"),
        ("unit vector", '- jnp.sum(a["a"] ** {})', "2", "4"),
        ("decay", '(a["t"] - {} * a["P"] @ a["t"] - _kept(a))', "2", "1"),
    ],
    ("P1.11", "_noise"): [
        ("mean", 'st.Normal("dy", cov="Se"{})', "", ', mean="mu"'),
        ("noise after", '"4 * Tr[{}] P^T Se P"', "Q Sx Q^T", "Sx"),
        ("noise before", '"4 * Tr[P P^T Se] {}"', "Q Sx Q^T", "Sx"),
        ("gradient", '@ z["x"])) + {}z["e"]', "", "2 * "),
    ],
    ("P1.11", "_affine"): [
        ("balance of traces", "t / {}  #", "after", "here"),
        ("same ratio", "here{} / before), 0", "**2", ""),
        ("end", "ratio = (t**2 / ({})", "a * b", "a"),
        ("power of c", "t / sympy.sqrt({}))", "a * b", "b"),
        ("last layer", "(depth - {})", "1", "2"),
    ],
    ("P1.11", "_layers"): [
        ("inner layers", '- a["c"] ** {} * jnp.eye', "2", "1"),
    ],
}  # fmt: skip
# Rows of helpers: the function that has the steps.
CALLER = {
    ("P1.13", "_loss"): "_noise",
    ("P1.13", "_along"): "_curvatures",
    ("P1.7", "_mean"): "_means",
    ("P1.16", "_slope"): "_gamma",
    ("P2.9", "_root_of"): "_one_root",
    ("P2.5", "_across"): "_change",
}
ROWS = [(where, Step(*row)) for where, rows in PLANTED.items() for row in rows]


def steps(id, function, monkeypatch, change=None):
    """Return the verdict on the steps of a function, with its source or another one changed."""
    [statement] = proofs_check.find([id])
    module = importlib.import_module(f"proofs_check.{statement.file}")
    known = lambda claim, id: prove(claim, Derivation(f"see {id}"), Arithmetic(1, 1))
    if hasattr(module, "from_statement"):
        monkeypatch.setattr(module, "from_statement", known)
    if change is not None:
        source = inspect.getsource(getattr(module, function))
        scope = dict(vars(module))
        exec(compile(change(source), str(module.__file__), "exec"), scope)
        monkeypatch.setattr(module, function, scope[function])
    return conjunction(function, getattr(module, CALLER.get((id, function), function))())


def replaced(step):
    """Return what replaces the right text, which has to be there, by the wrong one."""
    before, after = step.text.split("{}", 1) if step.text.count("{}") == 1 else ("", "")
    assert before or after, "the text has one hole"
    right, wrong = before + step.right + after, before + step.wrong + after

    def change(source):
        assert right in source, "the source has changed: update the table"
        return source.replace(right, wrong)

    return change


@pytest.mark.parametrize(
    ("where", "step"), ROWS, ids=[f"{id}-{step.name}" for (id, _), step in ROWS]
)
def test_a_false_step_is_noticed(where, step, monkeypatch):
    verdict = steps(*where, monkeypatch, replaced(step))
    assert str(verdict.status) in ("refuted", "inconclusive"), str(verdict)


@pytest.mark.parametrize(
    ("id", "function"),
    sorted({(id, CALLER.get((id, name), name)) for id, name in PLANTED}),
    ids=lambda x: x,
)
def test_the_true_steps_are_proved(id, function, monkeypatch):
    assert str(steps(id, function, monkeypatch).status) == "proved"

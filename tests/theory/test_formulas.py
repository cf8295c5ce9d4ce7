"""The closed forms of the theory, built here with plain matrices: equal to the last term."""

import functools
import operator

import flint
import numpy as np
import pytest
import sympy

from symtheory.theory import derive
from symtheory.verdict import Status
from symtheory.zoo import load


@functools.cache
def exact_law(name, symmetry, **sizes):
    example = load(name)
    law = derive(example.sized(**sizes), example.symmetries[symmetry])
    assert law.status is Status.PROVED, law.verdict
    return law


class Polys:
    """Polynomials over Q, on FLINT directly, in the symbols of some expressions and 1/S."""

    def __init__(self, expressions, settings):
        self.size = settings["batch_size"]
        fixed = {settings["learning_rate"], settings["weight_decay"]}
        free = set().union(*(e.free_symbols for e in expressions)) | fixed
        self.names = [*sorted(str(s) for s in free - {self.size}), "1/S"]
        generic = [f"x{i}" for i in range(len(self.names))]
        self.context = flint.fmpq_mpoly_ctx.get(generic, flint.Ordering.lex)
        self.position = {name: i for i, name in enumerate(self.names)}
        self.of = dict(zip(self.names, self.context.gens(), strict=True))

    def read(self, expression):
        if expression.is_Mul and any(arg.is_Add for arg in expression.args):
            return functools.reduce(operator.mul, map(self.read, expression.args))
        total, terms = self.context.constant(0), {}
        for term in sympy.Add.make_args(expression):
            if any(arg.is_Add for arg in term.args):
                total = total + self.read(term)
            else:
                exponents, number = self.monomial(term)
                terms[exponents] = terms.get(exponents, 0) + number
        return total + self.context.from_dict(terms)

    def monomial(self, term):
        exponents, number = [0] * len(self.names), sympy.Integer(1)
        for factor in sympy.Mul.make_args(term):
            base, power = factor.as_base_exp()
            if base == self.size:
                exponents[self.position["1/S"]] -= int(power)
            elif base.is_Symbol:
                exponents[self.position[str(base)]] += int(power)
            else:
                assert factor.is_Rational, factor
                number *= factor
        return tuple(exponents), flint.fmpq(int(number.p), int(number.q))

    def replace(self, poly, values):
        """Put polynomials in place of some generators."""
        return poly.compose(*(values.get(name, self.of[name]) for name in self.names))

    def array(self, name, *shape, symmetric=False):
        """Entries U_12 and so on; an entry no expression contains would be an error."""
        out = np.empty(shape, dtype=object)
        for index in np.ndindex(shape):
            place = sorted(index) if symmetric else index
            out[index] = self.of[f"{name}_{''.join(str(i + 1) for i in place)}"]
        return out


def trace(matrix):
    return sum(np.diagonal(matrix))


def times(factor, matrix):
    """A polynomial times a matrix of them (to NumPy a polynomial looks like a sequence)."""
    return np.frompyfunc(lambda entry: factor * entry, 1, 1)(matrix)


# --- scalar factor -----------------------------------------------------------------------------


def scalar_pieces():
    law = exact_law("scalar-factor", "rescaling")
    u, w, a, x, e = (sympy.Symbol(n, real=True) for n in ("u", "w", "a", "Sigma_x", "Sigma_eps"))
    delta = u * w - a
    spread = 4 * (2 * delta**2 * x**2 + e * x)  # variance of 2 r x, with r = delta x - eps
    return law, (u, w), spread, 4 * delta**2 * x**2


def test_scalar_factor_laws():
    law, (u, w), spread, square = scalar_pieces()
    eta, size, gamma, beta, _ = law.drift.settings.values()
    charge, noise, bias = u**2 - w**2, (w**2 - u**2) * spread, (w**2 - u**2) * square
    expected = {
        "charge": charge,
        "noise_trace": noise,
        "drift": -4 * gamma * charge + eta / size * noise,
        "discrete_drift": ((1 - 2 * eta * gamma) ** 2 - 1) * charge
        + eta**2 * (bias + noise / size),
        "momentum_drift": (eta / (1 - beta)) ** 2 * noise / size,
    }
    for name, formula in expected.items():
        assert sympy.expand(getattr(law, name).sympy() - formula) == 0, name
    # Control: the uncentred covariance, and weight decay counted once, are something else.
    assert sympy.expand(law.noise_trace.sympy() - noise - bias) != 0
    assert sympy.expand(law.drift.sympy() - expected["drift"] - 2 * gamma * charge) != 0


def test_scalar_factor_equilibrium():
    law, (u, w), spread, _ = scalar_pieces()
    eta, size, gamma, _, _ = law.drift.settings.values()
    point = law.equilibrium
    found = sympy.exp(4 * point.solution).subs({s: e.sympy() for s, e in point.where.items()})
    sigma2 = eta / (2 * size)
    formula = (sigma2 * w**2 * spread + 2 * gamma * w**2) / (
        sigma2 * u**2 * spread + 2 * gamma * u**2
    )
    assert sympy.cancel(found - formula) == 0
    # It is the zero of the drift: with q = exp(lambda) that is alpha/q^2 - beta q^2 on the orbit.
    q = sympy.Symbol("q", positive=True)
    orbit = sympy.Poly(sympy.expand(law.drift.sympy().subs({u: u * q, w: w / q}) * q**2), q)
    (alpha, beta) = (orbit.coeff_monomial(1), -orbit.coeff_monomial(q**4))
    assert sympy.expand(orbit.as_expr() - alpha + beta * q**4) == 0
    assert sympy.cancel(alpha / beta - formula) == 0
    assert point.kind == "finite"
    assert point.sympy() == sympy.Eq(law.drift.sympy(), 0, evaluate=False)


# --- two-layer linear --------------------------------------------------------------------------


def linear_pieces(dy, h, dx):
    law = exact_law("two-layer-linear", "double-rotation", dy=dy, h=h, dx=dx)
    expressions = [e.sympy() for e in (law.charge, law.drift, law.discrete_drift)]
    polys = Polys(expressions, law.drift.settings)
    u, w, v = polys.array("U", dy, h), polys.array("W", h, dx), polys.array("V", dy, dx)
    x = polys.array("Sigma_x", dx, dx, symmetric=True)
    e = polys.array("Sigma_eps", dy, dy, symmetric=True)
    delta = u @ w - v
    mean = 2 * delta @ x
    gamma_u = 4 * times(trace(x), delta @ x @ delta.T + e) + 8 * delta @ x @ x @ delta.T
    gamma_w = 4 * times(trace(delta @ x @ delta.T) + trace(e), x) + 8 * x @ delta.T @ delta @ x
    return law, polys, (u, w, x, e), mean, (gamma_u - mean @ mean.T, gamma_w - mean.T @ mean)


SIZES = [(1, 1, 1), (2, 2, 2), (2, 3, 2)]


@pytest.mark.parametrize("sizes", SIZES)
def test_two_layer_linear_laws(sizes):
    law, polys, (u, w, _, _), mean, (gamma_u, gamma_w) = linear_pieces(*sizes)
    eta, gamma, inverse = (polys.of[n] for n in ("eta", "gamma", "1/S"))
    charge = u.T @ u - w @ w.T
    noise = w @ gamma_w @ w.T - u.T @ gamma_u @ u
    along_u, along_w = mean @ w.T, u.T @ mean
    bias = along_u.T @ along_u - along_w @ along_w.T
    decay = 4 * eta * gamma * (eta * gamma - 1)
    expected = {
        "charge": charge,
        "drift": times(-4 * gamma, charge) + times(eta * inverse, noise),
        "discrete_drift": times(decay, charge)
        + times(eta**2, bias)
        + times(eta**2 * inverse, noise),
    }
    for name, formula in expected.items():
        found = getattr(law, name).sympy()
        assert found.shape == (sizes[1], sizes[1])
        for i, j in np.ndindex(found.shape):
            assert polys.read(found[i, j]) - formula[i, j] == 0, (name, i, j)
    # Control: without the centring -E[G]E[G]^T the drift is another one.
    uncentred = w @ (gamma_w + mean.T @ mean) @ w.T - u.T @ (gamma_u + mean @ mean.T) @ u
    wrong = times(-4 * gamma, charge) + times(eta * inverse, uncentred)
    assert any(
        polys.read(found[i, j]) - wrong[i, j] != 0
        for found in [law.drift.sympy()]
        for i, j in np.ndindex(found.shape)
    )


@pytest.mark.parametrize("sizes", SIZES)
def test_two_layer_linear_at_a_minimum(sizes):
    dy, h, dx = sizes
    law, polys, (u, w, x, e), _, _ = linear_pieces(*sizes)
    eta, inverse = polys.of["eta"], polys.of["1/S"]
    teacher = u @ w
    values = {f"V_{i + 1}{j + 1}": teacher[i, j] for i, j in np.ndindex(dy, dx)}
    values["gamma"] = polys.context.constant(0)
    balance = times(trace(e), w @ x @ w.T) - times(trace(x), u.T @ e @ u)
    formula = times(4 * eta * inverse, balance)
    drift = law.drift.sympy()
    for i, j in np.ndindex(h, h):
        assert polys.replace(polys.read(drift[i, j]), values) - formula[i, j] == 0
    # Control: norm balance U^T U = W W^T is another condition (for more than one entry).
    if dx > 1:
        other = times(4 * eta * inverse, w @ w.T - u.T @ u)
        assert polys.replace(polys.read(drift[0, 0]), values) - other[0, 0] != 0


def test_two_layer_linear_at_rational_points():
    """The same at random rational numbers, so that nothing rests on polynomial arithmetic."""
    law = exact_law("two-layer-linear", "double-rotation", dy=2, h=3, dx=2)
    rng = np.random.default_rng(0)

    def draw(*shape):
        tops = rng.integers(-9, 10, shape)
        return sympy.Matrix(*shape, [sympy.Rational(int(t), 7) for t in tops.ravel()])

    u, w, v, x, e = draw(2, 3), draw(3, 2), draw(2, 2), draw(2, 2), draw(2, 2)
    x, e = x * x.T, e * e.T
    given = {"U": u, "W": w, "V": v, "Sigma_x": x, "Sigma_eps": e}
    eta, size, gamma, _, _ = law.drift.settings.values()
    numbers = {eta: sympy.Rational(1, 10), size: 3, gamma: sympy.Rational(1, 50)}
    for name, matrix in given.items():
        for i, j in np.ndindex(matrix.shape):
            numbers[sympy.Symbol(f"{name}_{i + 1}{j + 1}", real=True)] = matrix[i, j]
    delta = u * w - v
    mean = 2 * delta * x
    gamma_u = 4 * (x.trace() * (delta * x * delta.T + e) + 2 * delta * x * x * delta.T)
    gamma_w = 4 * ((delta * x * delta.T).trace() + e.trace()) * x + 8 * x * delta.T * delta * x
    noise = w * (gamma_w - mean.T * mean) * w.T - u.T * (gamma_u - mean * mean.T) * u
    formula = -4 * numbers[gamma] * (u.T * u - w * w.T) + numbers[eta] / numbers[size] * noise
    assert law.drift.sympy().xreplace(numbers) - formula == sympy.zeros(3, 3)


def test_the_rescaling_is_the_trace_of_the_double_rotation():
    matrix = exact_law("two-layer-linear", "double-rotation")
    scalar = exact_law("two-layer-linear", "rescaling")
    names = ("charge", "drift", "discrete_drift")
    polys = Polys([getattr(scalar, name).sympy() for name in names], scalar.drift.settings)
    for name in names:
        diagonal = sum(polys.read(getattr(matrix, name).sympy()[i, i]) for i in range(2))
        assert diagonal - polys.read(getattr(scalar, name).sympy()) == 0, name


# --- scale invariance --------------------------------------------------------------------------


@pytest.mark.parametrize("d", [2, 3, 4])
def test_scale_invariant_laws(d):
    law = exact_law("scale-invariant", "scale", d=d)
    eta, size, gamma, _, _ = law.drift.settings.values()
    square = sum(sympy.Symbol(f"w_{i + 1}", real=True) ** 2 for i in range(d))
    drift = -4 * gamma * square + eta / size * (d - 1) / square
    assert sympy.cancel(law.drift.sympy() - drift) == 0
    # The noise has no mean here, so one step sees the same trace.
    step = ((1 - 2 * eta * gamma) ** 2 - 1) * square + eta**2 / size * (d - 1) / square
    assert sympy.cancel(law.discrete_drift.sympy() - step) == 0
    assert sympy.cancel(law.drift.sympy() - drift - eta / size / square) != 0  # s = d - 1, not d


def test_scale_invariant_fixed_points():
    d = 4
    law = exact_law("scale-invariant", "scale", d=d)
    eta, size, gamma, _, _ = law.drift.settings.values()
    point = law.equilibrium
    where = {symbol: expression.sympy() for symbol, expression in point.where.items()}
    square = sum(sympy.Symbol(f"w_{i + 1}", real=True) ** 2 for i in range(d))
    # |theta_lambda|^4 = exp(4 lambda) |theta|^4, to be sigma^2 s / (2 gamma) with sigma^2 = eta/2S.
    fourth = sympy.exp(4 * point.solution).subs(where) * square**2
    assert sympy.cancel(fourth - eta / (2 * size) * (d - 1) / (2 * gamma)) == 0
    discrete = (point.fixed_charge**2).subs(where)
    assert sympy.cancel(discrete - eta * (d - 1) / (4 * size * gamma * (1 - eta * gamma))) == 0
    # The fixed charge is where the exact discrete law stands still.
    c = sympy.Symbol("c", positive=True)
    step = -4 * eta * gamma * (1 - eta * gamma) * c + eta**2 / size * (d - 1) / c
    [root] = [r for r in sympy.solve(step, c) if r.subs({eta: 0.1, gamma: 0.1, size: 1}) > 0]
    assert sympy.simplify(root**2 - discrete) == 0
    assert sympy.cancel(discrete - fourth) != 0  # not the fixed point of the SDE


# --- ReLU --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("h", "dx"), [(1, 1), (2, 3)])
def test_relu_laws(h, dx):
    law = exact_law("relu-rescaling", "neuron-rescaling", h=h, dx=dx)
    eta, size, gamma, _, _ = law.drift.settings.values()
    charges = sympy.Matrix(
        [
            sum(sympy.Symbol(f"W_{j + 1}{i + 1}", real=True) ** 2 for i in range(dx))
            - sympy.Symbol(f"u_{j + 1}", real=True) ** 2
            for j in range(h)
        ]
    )
    assert law.charge.sympy() - charges == sympy.zeros(h, 1)
    formal = sympy.MatrixSymbol("Tr_Sigma_A", h, 1)
    expected = -4 * gamma * charges + eta / size * formal.as_explicit()
    assert sympy.expand(law.drift.sympy().as_explicit() - expected) == sympy.zeros(h, 1)
    assert "Sigma" in law.drift.latex()
    # Left formal, and said so.
    assert law.steps[-1].status is Status.NOT_APPLICABLE
    assert "positive" in law.steps[-1].how


@pytest.mark.parametrize(
    ("name", "symmetry", "pairs"),
    [
        ("attention-scores", "query-key", ("Q", "K", 1, 1)),
        ("low-rank-adapter", "adapter", ("B", "A", 1, 0)),
        ("deep-linear", "layers-1-2", ("W2", "W1", 1, 0)),
        ("deep-linear", "layers-2-3", ("W3", "W2", 1, 0)),
    ],
)
def test_double_rotation_charges(name, symmetry, pairs):
    """C_B = Tr[B (X^T X - Y Y^T)], and Y^T Y where Y is acted on from the right."""
    law = exact_law(name, symmetry)
    first, second, _, right = pairs
    leaves = law.model.leaves

    def matrix(leaf):
        return sympy.Matrix(
            *leaves[leaf],
            lambda i, j: sympy.Symbol(f"{leaf}_{i + 1}{j + 1}", real=True),
        )

    x, y = matrix(first), matrix(second)
    expected = x.T * x - (y.T * y if right else y * y.T)
    assert sympy.expand(law.charge.sympy() - expected) == sympy.zeros(*expected.shape)

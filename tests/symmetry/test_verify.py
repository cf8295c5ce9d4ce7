"""Verification: every symmetry of the zoo is proved, every false one refuted by a true witness."""

import contextlib
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from symtheory.data import Empirical, Normal, Rademacher, Uniform
from symtheory.errors import InputError
from symtheory.model import Model
from symtheory.symmetry import Affine, Exponential, Matrix, SymmetricMatrix, Vector, verify
from symtheory.verdict import Status
from symtheory.zoo import load, names

CASES = [(name, symmetry) for name in names() for symmetry in load(name).symmetries]


@pytest.mark.parametrize(("name", "symmetry"), CASES)
@pytest.mark.parametrize("numbers", [False, True], ids=["symbolic", "bound"])
def test_symmetries_of_the_zoo_are_proved(name, symmetry, numbers):
    example = load(name)
    model = example.bound() if numbers else example.sized()
    verdict = verify(model, example.symmetries[symmetry])
    assert verdict.status is Status.PROVED
    assert verdict.residual == 0
    assert verdict.witness is None
    assert verdict.how


# --- refutations -------------------------------------------------------------------------------


def numbers_of(tree):
    """The rationals of a witness, as arrays of doubles."""
    if isinstance(tree, dict):
        return {key: numbers_of(value) for key, value in tree.items()}
    if isinstance(tree, tuple):
        return tuple(numbers_of(value) for value in tree)
    return jnp.asarray(np.vectorize(lambda text: float(Fraction(text)))(np.asarray(tree)))


def assert_refuted(model, symmetry):
    verdict = verify(model, symmetry)
    assert verdict.status is Status.REFUTED, verdict
    witness = verdict.witness
    params, sample = numbers_of(witness["params"]), numbers_of(witness["sample"])
    members = numbers_of(witness.get("family", {}))
    constants = numbers_of(witness.get("constants", {}))
    tangent = symmetry.action(params, *(members[n] for n in symmetry.family or {}))
    tangent = jax.tree.map(
        lambda p, t: jnp.broadcast_to(jnp.asarray(t, p.dtype), p.shape), params, tangent
    )
    loss = lambda p: model.loss(p, sample, constants) if constants else model.loss(p, sample)
    found = jax.jvp(loss, (params,), (tangent,))[1]
    # Floats lose digits where a tanh is saturated.
    assert found == pytest.approx(witness["derivative"], rel=1e-9, abs=1e-8)
    assert found != 0
    assert verdict.residual == witness["derivative"]
    return verdict


Z = {"z": Normal(())}
PAIR = {"u": (), "w": ()}


def test_scaling_one_factor_only():
    model = Model(lambda p, z: (p["u"] * p["w"] - z["z"]) ** 2, PAIR, Z)
    assert_refuted(model, Exponential(lambda p: {"u": p["u"], "w": 0 * p["w"]}))
    assert_refuted(model, Exponential(lambda p: {"u": p["u"], "w": p["w"]}))
    assert_refuted(model, Exponential(lambda p: {"u": p["u"], "w": -1.001 * p["w"]}))


def test_rescaling_of_a_tanh_net():
    def net(activation):
        return Model(
            lambda p, z: (p["u"] @ activation(p["W"] @ z["x"]) - z["y"]) ** 2,
            {"u": (2,), "W": (2, 3)},
            {"x": Normal(3), "y": Normal(())},
        )

    rescaling = Exponential(
        lambda p, a: {"u": -a * p["u"], "W": a[:, None] * p["W"]}, {"a": Vector(2)}
    )
    assert_refuted(net(jnp.tanh), rescaling)
    assert_refuted(net(jax.nn.softplus), rescaling)
    for activation in (jax.nn.relu, jnp.abs, lambda x: jnp.where(x > 0, x, 0.1 * x)):
        assert verify(net(activation), rescaling).status is Status.PROVED
    # A quadratic activation is homogeneous of degree two.
    quadratic = net(lambda x: x**2)
    assert_refuted(quadratic, rescaling)
    twice = Exponential(
        lambda p, a: {"u": -2 * a * p["u"], "W": a[:, None] * p["W"]}, {"a": Vector(2)}
    )
    assert verify(quadratic, twice).status is Status.PROVED


def test_angular_momentum_and_masses():
    def oscillator(m1, m2):
        return Model(
            lambda p, z: z["z"] * (m1 * p["x"] ** 2 + m2 * p["y"] ** 2), {"x": (), "y": ()}, Z
        )

    rotation = Exponential(lambda p: {"x": -p["y"], "y": p["x"]}, name="rotation")
    assert verify(oscillator(1.0, 1.0), rotation).status is Status.PROVED
    verdict = assert_refuted(oscillator(1.0, 4.0), rotation)
    assert "rotation" in verdict.claim
    # In the anisotropic well an elliptic rotation is the symmetry.
    elliptic = Exponential(lambda p: {"x": -4 * p["y"], "y": p["x"]})
    assert verify(oscillator(1.0, 4.0), elliptic).status is Status.PROVED


def softmax_model():
    def loss(p, z):
        logits = p["W"] @ z["x"] + p["b"]
        return jax.nn.logsumexp(logits) - logits[0]

    return Model(loss, {"W": (3, 2), "b": (3,)}, {"x": Normal(2)})


def test_logit_shift():
    model = softmax_model()
    shift = Affine(lambda p: {"W": 0 * p["W"], "b": 1 + 0 * p["b"]}, name="logit shift")
    assert verify(model, shift).status is Status.PROVED
    one = Affine(lambda p: {"W": 0 * p["W"], "b": jnp.array([1.0, 0, 0]) + 0 * p["b"]})
    assert_refuted(model, one)
    # The translation of all rows of W by one vector, for every vector.
    rows = Affine(
        lambda p, c: {"W": jnp.ones((3, 1)) * c + 0 * p["W"], "b": 0 * p["b"]}, {"c": Vector(2)}
    )
    assert verify(model, rows).status is Status.PROVED
    with pytest.raises(InputError, match="Affine"):
        verify(model, Exponential(shift.action))


def test_members_of_a_family():
    example = load("two-layer-linear")
    model = example.sized()
    right = lambda p, B: {"U": p["U"] @ B, "W": -B @ p["W"]}
    transposed = lambda p, B: {"U": p["U"] @ B, "W": -B.T @ p["W"]}
    double = lambda p, B: {"U": p["U"] @ B, "W": -2 * B @ p["W"]}
    for space, action, status in [
        (SymmetricMatrix("h"), right, Status.PROVED),
        (Matrix("h"), right, Status.PROVED),
        (SymmetricMatrix("h"), transposed, Status.PROVED),
        (Matrix("h"), transposed, Status.REFUTED),
        (SymmetricMatrix("h"), double, Status.REFUTED),
    ]:
        symmetry = Exponential(action, {"B": space})
        assert verify(model, symmetry).status is status
        if status is Status.REFUTED:
            witness = assert_refuted(model, symmetry).witness
            assert np.shape(witness["family"]["B"]) == (2, 2)


def test_a_small_asymmetry_is_found():
    """No tolerance: a millionth of a broken symmetry is a broken symmetry."""
    model = Model(lambda p, z: (p["u"] * p["w"] - z["z"]) ** 2 + 1e-12 * p["u"] ** 2, PAIR, Z)
    assert_refuted(model, Exponential(lambda p: {"u": p["u"], "w": -p["w"]}))


def test_a_constant_that_breaks_the_symmetry_is_part_of_the_witness():
    model = Model(
        lambda p, z, c: (p["u"] * p["w"] - z["z"]) ** 2 + c["k"] * p["u"] ** 2,
        PAIR, Z, constants={"k": ()},
    )  # fmt: skip
    rescaling = Exponential(lambda p: {"u": p["u"], "w": -p["w"]})
    verdict = assert_refuted(model, rescaling)
    assert Fraction(verdict.witness["constants"]["k"]) != 0
    assert verify(model.bind(k=0.0), rescaling).status is Status.PROVED
    assert assert_refuted(model.bind(k=0.1), rescaling).witness["constants"]["k"] == "1/10"


def test_the_same_seed_gives_the_same_witness():
    model = Model(lambda p, z: p["u"] ** 2 * z["z"], {"u": ()}, Z)
    scale = Exponential(lambda p: p)
    assert verify(model, scale, seed=1).witness == verify(model, scale, seed=1).witness
    assert verify(model, scale, seed=1).witness != verify(model, scale, seed=2).witness


# --- only the support of the sample counts -----------------------------------------------------

SCALE = Exponential(lambda p: {"u": p["u"]})


def status(loss, random):
    return verify(Model(loss, {"u": ()}, random), SCALE).status


@pytest.mark.parametrize(
    ("loss", "on", "off"),
    [
        (lambda p, z: (z["z"] ** 2 - 1) * p["u"], Rademacher(()), Normal(())),
        (lambda p, z: jax.nn.relu(-z["z"]) * p["u"], Uniform((), 0, 1), Uniform((), -1, 1)),
        (lambda p, z: (z["z"][0] - 2 * z["z"][1]) * p["u"],
         Normal(2, cov=[[4, 2], [2, 1]]), Normal(2, cov=[[4, 2], [2, 2]])),
        (lambda p, z: (z["z"] - 3) * p["u"], Normal((), mean=3, cov=0), Normal((), mean=2, cov=0)),
        (lambda p, z: (z["z"]["a"] - z["z"]["b"] / 2) * p["u"],
         Empirical({"a": [0.1, 0.25], "b": [0.2, 0.5]}),
         Empirical({"a": [0.1, 0.2], "b": [0.2, 0.5]})),
    ],
    ids=["rademacher", "uniform", "degenerate", "point", "empirical"],
)  # fmt: skip
def test_witnesses_lie_in_the_support(loss, on, off):
    assert status(loss, {"z": on}) is not Status.REFUTED
    assert status(loss, {"z": off}) is Status.REFUTED
    assert_refuted(Model(loss, {"u": ()}, {"z": off}), SCALE)


def test_nothing_is_proved_from_a_support_that_is_not_used():
    """On the support of Rademacher the derivative vanishes; the normal form does not know."""
    assert status(lambda p, z: (z["z"] ** 2 - 1) * p["u"], {"z": Rademacher(())}) in (
        Status.INCONCLUSIVE,
        Status.PROVED,
    )
    # What holds at +-1 only through luck of a sample must not be proved for a Gaussian.
    assert status(lambda p, z: (z["z"] ** 2 - 1) * p["u"], {"z": Normal(())}) is Status.REFUTED


# --- no verdict without time, no verdict on what cannot be read ---------------------------------


def test_a_time_limit_is_inconclusive():
    example = load("deep-linear")
    verdict = verify(example.sized(), example.symmetries["layers-1-2"], seconds=0.0)
    assert verdict.status is Status.INCONCLUSIVE
    assert "time limit" in verdict.how
    assert not verdict.status.holds
    # A false symmetry is not refuted without time either.
    model = Model(lambda p, z: p["u"] ** 2 * z["z"], {"u": ()}, Z)
    assert verify(model, SCALE, seconds=0.0).status is Status.INCONCLUSIVE


def test_an_unreadable_loss_is_refused_by_the_name_of_its_primitive():
    model = Model(lambda p, z: jax.scipy.special.i0e(p["u"]) * p["w"] * z["z"], PAIR, Z)
    with pytest.raises(InputError, match=r"'bessel_i0e'.*test_verify.py"):
        verify(model, Exponential(lambda p: {"u": p["u"], "w": -p["w"]}))


@pytest.mark.parametrize(
    "loss",
    [
        lambda p, z: (p["u"] - p["u"].astype(int)) ** 2 * z["z"],
        lambda p, z: (jnp.round(p["u"]) - p["u"]) * z["z"],
        lambda p, z: jnp.mod(p["u"], 1.0) * z["z"],
    ],
    ids=["truncation", "round", "remainder"],
)
def test_roundings_are_not_read_as_identities(loss):
    """Each would have derivative zero along u -> e^t u if the rounding were the identity."""
    scale = Exponential(lambda p: {"u": p["u"], "w": 0 * p["w"]})
    with contextlib.suppress(InputError):
        assert not verify(Model(loss, PAIR, Z), scale).status.holds


def test_a_jump_is_not_overlooked():
    """sign(u - 1) is constant almost everywhere, but not along the flow."""
    model = Model(lambda p, z: jnp.sign(p["u"] - 1) * z["z"], {"u": ()}, Z)
    assert verify(model, SCALE).status is not Status.PROVED


def test_rates_with_large_denominators():
    """Degrees are exact integers; rates that would overflow them take the other route."""
    primes = (1000003, 999983, 999979)
    model = Model(lambda p, z: p["u"] * p["w"] * p["v"] * z["z"], {**PAIR, "v": ()}, Z)

    def action(third):
        return Exponential(
            lambda p: {"u": p["u"] / primes[0], "w": p["w"] / primes[1], "v": third * p["v"]}
        )

    exact = -(1 / Fraction(primes[0]) + 1 / Fraction(primes[1]))
    assert_refuted(model, action(float(exact) * (1 + 1e-9)))
    balanced = Exponential(
        lambda p: {
            "u": p["u"] / primes[0] / primes[2],
            "w": -p["w"] / primes[0] / primes[2],
            "v": 0 * p["v"],
        }
    )
    assert verify(model, balanced).status is Status.PROVED


# --- input ---------------------------------------------------------------------------------------

MODEL = Model(lambda p, z: (p["u"] * p["w"] - z["z"]) ** 2, PAIR, Z)


@pytest.mark.parametrize(
    ("action", "message"),
    [
        (lambda p: {"u": p["u"] ** 2, "w": -p["w"]}, "not linear"),
        (lambda p: {"u": p["u"] * p["w"], "w": -p["w"]}, "not linear"),
        (lambda p: {"u": jnp.sin(p["u"]), "w": -p["w"]}, "not linear"),
        (lambda p: {"u": p["u"] + 1, "w": -p["w"]}, "not linear.*Affine"),
        (lambda p: {"u": p["u"] / p["w"], "w": p["w"]}, "not linear"),
        (lambda p: {"u": p["u"]}, "structure"),
        (lambda p: (p["u"], p["w"]), "structure"),
        (lambda p: {"u": p["u"] * jnp.ones(2), "w": p["w"]}, r"shape \(2,\).*'u'.*\(\)"),
        (lambda p: {"u": p["q"], "w": p["w"]}, "KeyError"),
        (lambda p, B: {"u": p["u"], "w": -p["w"]}, "it takes params"),
    ],
)
def test_wrong_actions(action, message):
    with pytest.raises(InputError, match=message):
        verify(MODEL, Exponential(action))


def test_a_family_must_enter_linearly():
    for action in (
        lambda p, a: {"u": a[0] ** 2 * p["u"], "w": -p["w"]},
        lambda p, a: {"u": p["u"], "w": -p["w"]},  # not zero at a = 0
        lambda p, a: {"u": a[0] * a[1] * p["u"], "w": -p["w"] * a[0]},
    ):
        with pytest.raises(InputError, match="family"):
            verify(MODEL, Exponential(action, {"a": Vector(2)}))


def test_sizes_must_be_bound():
    example = load("two-layer-linear")
    with pytest.raises(InputError, match=r"'d[xy]' is not bound.*model.bind"):
        verify(example.model, example.symmetries["double-rotation"])
    with pytest.raises(InputError, match="'k' is not bound"):
        verify(MODEL, Exponential(lambda p, B: p, {"B": Matrix("k")}))

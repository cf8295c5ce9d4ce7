"""Counts of the inference, and the recheck of what it finds on the loss itself."""

from __future__ import annotations

import time

import jax
import numpy as np
import pytest

from symtheory.program import trace
from symtheory.symmetry.inference import infer, infer_traced
from tests.symmetry.inference.models import CASES, attention, draw, struct
from tests.symmetry.inference.near_misses import NEAR_MISSES
from tests.symmetry.inference.recheck import worst_change


@pytest.mark.parametrize("name", CASES)
def test_counts_of_a_network(name):
    case = CASES[name]
    found = infer(case.loss, case.params, *case.data)
    assert (found.counts.total, found.counts.affine) == (case.linear, case.affine)
    if case.swaps is not None:
        assert found.counts.swaps == case.swaps
    assert found.differentiable
    assert worst_change(case, found) < 1e-9


@pytest.mark.parametrize("name", NEAR_MISSES)
def test_what_almost_is_a_symmetry(name):
    case, flips = NEAR_MISSES[name]
    found = infer(case.loss, case.params, *case.data)
    counts = found.counts
    assert (counts.total, counts.affine, counts.swaps, counts.flips) == (
        case.linear, case.affine, case.swaps, flips,
    )  # fmt: skip
    assert worst_change(case, found, 12) < 1e-9


@pytest.mark.parametrize(
    "name", ["mixture", "layer norm", "tied", "classifier", "batch norm", "stacked", "grouped"]
)
def test_generators_are_a_basis_along_which_the_loss_does_not_change(name):
    case = CASES[name]
    found = infer(case.loss, case.params, *case.data)
    params, data = draw(case, 0)
    theta = np.concatenate([np.ravel(x) for x in jax.tree.leaves(params)])
    gradient = jax.jit(jax.grad(case.loss))(params, *data)
    gradient = np.concatenate([np.ravel(x) for x in jax.tree.leaves(gradient)])
    generators = list(found.generators())
    assert len(generators) == found.counts.total + found.counts.affine
    rows = []
    for g in generators:
        tangent = np.zeros_like(theta)
        np.add.at(tangent, g.rows, np.array(list(map(float, g.values))) * theta[g.columns])
        np.add.at(tangent, g.shift_rows, np.array(list(map(float, g.shift_values))))
        size = np.linalg.norm(gradient) * np.linalg.norm(tangent)
        assert abs(gradient @ tangent) < 1e-12 * size, g.name
        entries = {}
        for i, j, v in zip(g.rows, g.columns, g.values, strict=True):
            entries[int(i), int(j)] = entries.get((int(i), int(j)), 0.0) + float(v)
        entries |= {
            (int(i), -1): float(v) for i, v in zip(g.shift_rows, g.shift_values, strict=True)
        }
        rows.append(entries)
    places = {key: k for k, key in enumerate(sorted({key for row in rows for key in row}))}
    matrix = np.zeros((len(rows), len(places)))
    for k, row in enumerate(rows):
        for key, value in row.items():
            matrix[k, places[key]] = value
    assert np.linalg.matrix_rank(matrix) == len(rows)
    symmetric = list(found.generators(symmetric=True))
    assert len(symmetric) == found.counts.symmetric
    assert all(g.is_symmetric for g in symmetric)


def test_a_generator_acts_on_parameters_and_has_a_charge():
    case = CASES["factorization"]
    found = infer(case.loss, case.params, *case.data)
    params, data = draw(case, 1)
    [pair] = found.gl_pairs()
    q = params["U"].T @ params["U"] - params["W"] @ params["W"].T
    sign = 1 if pair.left[0].leaf == ("U",) else -1
    np.testing.assert_allclose(pair.charge(params)[0], sign * q, atol=1e-12)
    gradient = jax.grad(case.loss)(params, *data)
    for g in found.generators(symmetric=True):
        tangent = g(params)
        assert abs(sum(np.vdot(gradient[k], tangent[k]) for k in gradient)) < 1e-10
        total = sum(np.vdot(params[k], tangent[k]) for k in params)
        np.testing.assert_allclose(g.charge(params), total, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["attention", "mixture", "recurrent", "tied", "two heads"])
def test_reflections_have_the_rank_they_say_and_keep_the_loss(name):
    case = CASES[name]
    found = infer(case.loss, case.params, *case.data)
    params, data = draw(case, 2)
    flat, tree = jax.tree.flatten(params)
    d = sum(x.size for x in flat)
    kinds = found.reflections()
    assert kinds
    loss = jax.jit(case.loss)
    for mirrors in kinds:
        act = mirrors.example()
        image = act(params)
        np.testing.assert_allclose(loss(image, *data), loss(params, *data), rtol=1e-9)
        trace_of = _trace(act, flat, tree) if d < 200 else None
        if trace_of is not None:
            assert (d - trace_of) / 2 == pytest.approx(mirrors.rank)
        twice = act(image)
        for x, y in zip(jax.tree.leaves(twice), flat, strict=True):
            np.testing.assert_allclose(x, y, atol=1e-12)


def _trace(act, flat, tree):
    total = 0.0
    for k, x in enumerate(flat):
        for place in range(x.size):
            unit = [np.zeros_like(y) for y in flat]
            unit[k].reshape(-1)[place] = 1.0
            total += jax.tree.leaves(act(jax.tree.unflatten(tree, unit)))[k].reshape(-1)[place]
    return total


def test_a_grouped_query_layer_of_width_4096():
    case = attention(4096, 32, 64, 8)
    closed, _ = trace(case.loss, case.params, *case.data)
    found = infer_traced(closed, case.params)
    assert found.counts.total == 262144
    start = time.process_time()
    infer_traced(closed, case.params)
    assert time.process_time() - start < 1.0  # .07 s on an idle core


@pytest.mark.benchmark
def test_a_grouped_query_layer_of_width_4096_in_a_tenth_of_a_second():
    case = attention(4096, 32, 64, 8)
    closed, _ = trace(case.loss, case.params, *case.data)
    best = np.inf
    for _ in range(5):
        start = time.perf_counter()
        infer_traced(closed, case.params)
        best = min(best, time.perf_counter() - start)
    assert best < 0.1


def test_copies_and_nested_structure():
    case = CASES["mixture"]
    found = infer(case.loss, case.params, *case.data)
    experts = next(c for c in found.classes if c.group == "permutations" and c.size == 3)
    units = next(c for c in found.classes if c.group == "permutations" and c.size == 12)
    assert units.copies == 3
    assert [found.classes[k] for k in units.along] == [experts]
    assert {(axis.leaf, axis.axis) for axis in units.axes} == {(("in",), 1), (("out",), 2)}


def test_a_stopped_gradient_is_said():
    loss = lambda p, x: (p["u"] * jax.lax.stop_gradient(p["w"]) - x) ** 2
    found = infer(loss, {"u": struct(), "w": struct()}, struct())
    assert found.counts.total == 1
    assert not found.differentiable

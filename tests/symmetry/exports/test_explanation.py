"""The group structure and the axes: in text, JSON and LaTeX, and as a picture."""

import inspect
import json

import pytest

import symtheory as st
from symtheory.report import draw_axes, save
from tests.symmetry.exports import networks
from tests.symmetry.exports.networks import NETWORKS


@pytest.fixture(scope="module")
def explained():
    return st.explain(NETWORKS["attention"].model)


def test_the_group(explained):
    texts = [factor.text for factor in explained.factors if factor.name]
    assert sorted(texts) == ["GL(4)^3", "GL(4)^3", "GL(6)", "S(3)"]
    counts = explained.inferred.counts
    rescalings = sum(f.size for f in explained.factors if f.kind == "rescalings")
    mixing = sum(f.copies * f.size * (f.size - 1) for f in explained.factors if f.kind == "GL")
    assert rescalings + mixing == counts.total == 2 * 3 * 16 + 36


def test_an_axis_with_the_line_that_fixes_it():
    [_, axis] = st.explain(NETWORKS["mlp"].model).axes("W2")
    lines, start = inspect.getsourcelines(networks.mlp)
    line = start + next(n for n, text in enumerate(lines) if "tanh" in text)
    assert (axis.group, axis.flipped, axis.rescaled) == ("permutations", True, False)
    causes = {cause.kind: (cause.operation, cause.location) for cause in axis.causes}
    assert causes["mixing"] == ("tanh", f"networks.py:{line}")


def test_data_and_latex(explained):
    data = json.loads(json.dumps(explained.to_json()))
    kinds = {(f["kind"], f["size"], f["copies"]) for f in data["group"] if f["name"]}
    assert kinds == {("GL", 4, 3), ("GL", 6, 1), ("permutations", 3, 1)}
    assert len(data["axes"]) == sum(len(axes) for _, axes in explained.rows())
    latex = explained.latex()
    assert r"$\mathrm{GL}_{4}(\mathbb{R})^{3}$ & P" in latex
    assert latex.count(r"\\") == len(explained.factors) + 1


def test_a_parameter_that_is_not_there(explained):
    with pytest.raises(st.InputError, match="no parameter 'Q'"):
        explained.axes("Q")


def test_the_picture_has_a_bar_for_every_factor(explained, tmp_path):
    figure = draw_axes(explained)
    [plot] = figure.axes
    assert [label.get_text() for label in plot.get_yticklabels()] == list("EUkoqv")
    assert len(plot.patches) == sum(len(f) or 1 for _, axes in explained.rows() for f in axes)
    by_class = {}
    names = [name for _, axes in explained.rows() for factors in axes for _, name in factors]
    for patch, name in zip(plot.patches, names, strict=True):
        by_class.setdefault(name, set()).add(patch.get_facecolor())
    colours = [colour for found in by_class.values() for colour in found]
    assert len(colours) == len(set(colours)) == len(by_class)
    assert save(figure, tmp_path / "axes.png").stat().st_size > 1000

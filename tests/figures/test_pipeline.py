"""From data to picture: nothing is computed twice, half written or silently wrong."""

import dataclasses
import json
import os
import pathlib
import sys
import types
import warnings

import jax
import numpy as np
import pytest

import symtheory as st
from figures import Numbers, Spec, conclusion, find, make, said, write_page
from figures._maker import dataset, make_one
from figures._readme import GALLERY, README, text
from figures._registry import Entry, entries
from figures._stamp import stamp
from figures._store import digest, load, save

SOURCE = '''
"""A toy."""
TITLE = "A toy"
def data(spec): return {"x": 1}
def draw(dataset): return None
'''


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A figure of two parts that counts how often each is computed."""
    counts = {"one": 0, "two": 0, "draw": 0, "fail": False}

    def data(spec):
        def part(name):
            def run():
                counts[name] += 1
                if name == "two" and counts["fail"]:
                    raise KeyboardInterrupt
                return {"x": np.asarray(jax.random.normal(spec.key(name), 3))}

            return run

        parts = [spec.part(name, part(name))["x"] for name in ("one", "two")]
        return {"x": np.stack(parts), "words": np.array(["a", "bc"]), "seconds_each": counts["one"]}

    def draw(dataset):
        from matplotlib.figure import Figure

        counts["draw"] += 1
        figure = Figure(figsize=(2, 1))
        figure.subplots().plot(dataset["x"].T)
        return figure

    def numbers(dataset):
        verdict = st.Verdict(st.Status.SUPPORTED, "a <b> & c", predicted=0.0, measured=0.1)
        return Numbers((verdict,), (), ({"seed": 1, "x[0]": float(dataset["x"][0, 0])},))

    module = types.ModuleType("figures.f0_toy")
    for name, value in {
        "TITLE": "A toy", "CAPTION": "It <shows> little.", "STATEMENTS": ("P1.1",), "data": data,
        "draw": draw, "numbers": numbers,
    }.items():  # fmt: skip
        setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "figures.f0_toy", module)
    path = tmp_path / "code" / "f0_toy.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    return Entry((0, 0), "F0", path), counts


def test_files_and_manifest(toy, tmp_path):
    entry, _ = toy
    out = tmp_path / "out"
    [made] = make([entry], Spec(seed=3), out)
    assert [path.name for path in made.files] == ["F0.pdf", "F0.png"]
    assert made.files[0].read_bytes().startswith(b"%PDF")
    assert made.files[1].read_bytes().startswith(b"\x89PNG")
    manifest = json.loads((out / "F0.json").read_text())
    assert manifest["statements"] == ["P1.1"] and manifest["spec"] == {"seed": 3, "fast": False}
    assert manifest["versions"]["jax"] == jax.__version__ and len(manifest["data"]) == 64
    assert manifest["status"] == "supported" and not made.cached
    # Nothing but the outputs and the cache is left behind.
    assert sorted(p.name for p in out.iterdir()) == ["F0.json", "F0.pdf", "F0.png", "cache"]
    assert [p.suffix for p in (out / "cache").iterdir()] == [".npz"]


def test_a_second_run_only_draws_and_gives_the_same_files(toy, tmp_path):
    entry, counts = toy
    first = make_one(entry, Spec(), tmp_path / "out")
    before = [path.read_bytes() for path in first.files]
    second = make_one(entry, Spec(), tmp_path / "out")
    assert second.cached and counts["one"] == 1 and counts["draw"] == 2
    assert [path.read_bytes() for path in second.files] == before
    assert second.seconds == first.seconds


@pytest.mark.parametrize("change", [Spec(seed=1), Spec(fast=True)])
def test_another_spec_is_other_data(toy, tmp_path, change):
    entry, counts = toy
    make_one(entry, Spec(), tmp_path / "out")
    assert not make_one(entry, change, tmp_path / "out").cached
    assert counts["one"] == 2


def test_the_same_seed_reproduces_the_data(toy, tmp_path):
    entry, _ = toy
    one = dataset(entry, Spec(), tmp_path / "a").data
    two = dataset(entry, Spec(), tmp_path / "b").data
    other = dataset(entry, Spec(seed=1), tmp_path / "c").data
    assert one["seconds_each"] != two["seconds_each"]  # the clock may differ
    assert digest(one) == digest(two) != digest(other)


def test_an_interrupted_run_loses_one_part(toy, tmp_path):
    entry, counts = toy
    counts["fail"] = True
    with pytest.raises(KeyboardInterrupt):
        make_one(entry, Spec(), tmp_path / "out")
    assert not (tmp_path / "out" / "F0.png").exists()
    counts["fail"] = False
    make_one(entry, Spec(), tmp_path / "out")
    assert (counts["one"], counts["two"]) == (1, 2)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "text", "empty"])
def test_a_damaged_cache_is_computed_again_with_a_warning(toy, tmp_path, damage):
    entry, counts = toy
    make_one(entry, Spec(), tmp_path / "out")
    [path] = (tmp_path / "out" / "cache").glob("*.npz")
    whole = path.read_bytes()
    middle = whole.index(b"x.npy") + 60
    path.write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "flipped": whole[:middle] + bytes([whole[middle] ^ 255]) + whole[middle + 1 :],
            "text": b"not an archive",
            "empty": b"",
        }[damage]
    )
    again = make_one(entry, Spec(), tmp_path / "out")
    assert not again.cached and counts["one"] == 2
    assert any("damaged and will be computed again" in text for text in again.warnings)
    assert make_one(entry, Spec(), tmp_path / "out").warnings == ()


def test_what_is_saved_is_loaded_and_what_is_not_there_is_none(tmp_path):
    save({"x": np.arange(3)}, tmp_path / "x.npz")
    assert list(load(tmp_path / "x.npz")) == ["x"]
    assert load(tmp_path / "y.npz") is None


def test_no_flip_of_a_bit_goes_unnoticed(tmp_path):
    path = tmp_path / "x.npz"
    save({"x": np.arange(3.0), "words": np.array(["a", "bc"])}, path)
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    for _ in range(300):
        place, bit = rng.integers(len(whole)), rng.integers(8)
        path.write_bytes(whole[:place] + bytes([whole[place] ^ (1 << bit)]) + whole[place + 1 :])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = load(path)
        assert found is None or (set(found) == {"x", "words"} and found["x"].tolist() == [0, 1, 2])


def test_one_that_fails_does_not_stop_the_others(toy, tmp_path):
    entry, _ = toy
    broken = dataclasses.replace(entry, id="F00")

    def fail(spec):
        raise ArithmeticError("it diverged")

    good, entry.module.data = entry.module.data, fail
    first = make_one(broken, Spec(), tmp_path / "out")
    assert "it diverged" in first.problem and first.files == ()
    assert "Traceback" in (tmp_path / "out" / "F00.error.txt").read_text()
    entry.module.data = good
    second = make_one(entry, Spec(), tmp_path / "out")
    assert second.problem == "" and str(conclusion([first, second])) == "inconclusive"
    page = write_page([first, second], tmp_path / "index.html").read_text()
    assert "it diverged" in page and "Full version, seed 0" in page
    make_one(broken, Spec(), tmp_path / "out")
    assert not (tmp_path / "out" / "F00.error.txt").exists()


def test_code_that_changes_meanwhile_is_not_kept(toy, tmp_path):
    entry, counts = toy
    good = entry.module.data

    def data(spec):
        entry.path.write_text(SOURCE.replace("1", str(counts["one"] + 2)))
        return good(spec)

    entry.module.data = data
    made = make_one(entry, Spec(), tmp_path / "out")
    assert any("the code changed while F0 was made" in text for text in made.warnings)
    assert not list((tmp_path / "out" / "cache").glob("*.npz"))


def test_drawing_does_not_outdate_the_data(toy):
    entry, _ = toy
    before = stamp(entry, Spec())
    entry.path.write_text(SOURCE.replace("return None", "return 1  # other colours"))
    assert stamp(entry, Spec()) == before
    entry.path.write_text(SOURCE.replace('{"x": 1}', '{"x": 2}'))
    assert stamp(entry, Spec()) != before


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_without_permission_is_refused_first(toy, tmp_path):
    entry, counts = toy
    tmp_path.chmod(0o500)
    with pytest.raises(st.InputError, match=r"cannot be written.*--out"):
        list(make([entry], Spec(), tmp_path / "out"))
    assert counts["one"] == 0


def test_a_file_in_place_of_the_folder_is_refused_first(toy, tmp_path):
    entry, counts = toy
    (tmp_path / "out").write_text("mine")
    with pytest.raises(st.InputError, match=r"cannot be written.*--out"):
        list(make([entry], Spec(), tmp_path / "out"))
    assert counts["one"] == 0 and (tmp_path / "out").read_text() == "mine"


def test_the_page_holds_everything_and_escapes_it(toy, tmp_path):
    entry, _ = toy
    made = make_one(entry, Spec(), tmp_path / "out")
    page = write_page([made], tmp_path / "index.html").read_text()
    assert "data:image/png;base64," in page and "It &lt;shows&gt; little." in page
    assert "a &lt;b&gt; &amp; c: predicted 0, measured 0.1" in page
    assert "src=" in page and 'src="data:' in page and page.count("src=") == 1


def test_a_missing_package_is_named_with_the_command(toy, monkeypatch):
    entry, _ = toy
    monkeypatch.delitem(sys.modules, "figures.f0_toy")

    def absent(name):
        raise ModuleNotFoundError("No module named 'equinox'", name="equinox.nn")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(st.InputError, match=r"'equinox'.*pip install 'symtheory\[figures\]'"):
        _ = entry.module


def test_names_are_found_or_suggested():
    first = entries()[0]
    assert find([first.id.lower(), first.id]) == [first]
    assert find([]) == list(entries())
    with pytest.raises(st.InputError, match=f"did you mean {first.id}"):
        find([f"{first.id}x"])


def test_a_negative_seed_is_refused():
    with pytest.raises(st.InputError, match="-1"):
        Spec(seed=-1)


def test_verdicts_read_as_sentences():
    verdict = st.Verdict(st.Status.REFUTED, "rank", "5 seeds", "above 3", 2.5, 0.25)
    assert said(verdict) == "rank: predicted above 3, measured 2.5 +- 0.25 (5 seeds)"


@pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.id)
def test_every_figure_says_what_it_is(entry):
    module = entry.module
    assert module.TITLE and len(module.CAPTION) > 80 and isinstance(module.STATEMENTS, tuple)
    assert pathlib.Path(module.__file__) == entry.path
    known = {statement.id for statement in __import__("proofs_check").statements()}
    assert set(module.STATEMENTS) <= known


def test_the_gallery_is_that_of_the_files():
    assert README.read_text() == text(), "run python -m figures._readme"
    assert {path.stem for path in GALLERY.iterdir()} == {entry.id for entry in entries()}

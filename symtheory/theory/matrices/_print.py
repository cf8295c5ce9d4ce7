"""Values of the index domain as text, LaTeX and SymPy matrices."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import sympy

from symtheory.domains.tensors import Indexed, IndexTerm, Tensor, unfolded
from symtheory.theory._expression import latex_name
from symtheory.theory.matrices._words import Letter, MatrixTerm, Word, matrix_term


def text(value: Indexed) -> str:
    """Return a value as plain text, in matrix words where it has them.

    >>> from symtheory.domains.tensors import einsum
    >>> u = Indexed.of(Tensor("param", "U", ("m", "n")))
    >>> text(einsum([(u, "ij"), (u, "ik")], "jk"))
    'U^T U'
    """
    return _sum(value, _text_term)


def latex(value: Indexed) -> str:
    """Return a value as LaTeX."""
    return _sum(value, _latex_term)


def _sum(value: Indexed, write: Callable[[IndexTerm, int], str]) -> str:
    if value.is_zero:
        return "0"
    axes = len(value.sizes)
    latex_style = write is _latex_term
    pieces = []
    for term, c in sorted(value.terms.items(), key=lambda item: _order(item, axes)):
        number = Fraction(int(c.p), int(c.q))
        body = write(term, axes)
        size = abs(number)
        if latex_style:
            shown = (
                "" if size == 1 else sympy.latex(sympy.Rational(size.numerator, size.denominator))
            )
        else:
            shown = "" if size == 1 else f"{size}"
        piece = " ".join(part for part in (shown, body) if part) or "1"
        sign = "-" if number < 0 else "+"
        pieces.append(f"{sign} {piece}" if pieces else (f"-{piece}" if number < 0 else piece))
    return " ".join(pieces)


def _order(item: tuple[IndexTerm, Any], axes: int) -> tuple[Any, ...]:
    term, c = item
    return (c < 0, len(term.components), term)


# --- text ----------------------------------------------------------------------------------------


def _runs(items: Iterable[Any]) -> list[tuple[Any, int]]:
    """Group equal neighbours."""
    return [(item, len(list(group))) for item, group in itertools.groupby(items)]


def _text_word(word: Word) -> str:
    pieces = []
    for letter, n in _runs(word):
        shown = letter.tensor.name + ("^T" if letter.transposed else "")
        power = "" if n == 1 else f"^{n}"
        pieces.append(f"({shown}){power}" if power and letter.transposed else f"{shown}{power}")
    return " ".join(pieces)


def _text_term(term: IndexTerm, axes: int) -> str:
    form = matrix_term(term, axes)
    if form is None:
        return _indexed_text(term, axes)
    parts = [_power_text(name, n) for name, n in form.powers]
    for (kind, word), n in _runs(form.scalars):
        parts.append(_text_scalar(kind, word) + (f"^{n}" if n > 1 else ""))
    parts += [f"|{_text_word(word)}|^{2 * n}" for word, n in _runs(form.squares)]
    if form.identity:
        parts.append("I")
    elif len(form.rows) == 2:
        first, second = form.rows
        left = _text_word(first) if len(first) == 1 else f"({_text_word(first)})"
        parts.append(f"{left} {_vector_row(second)}")
    else:
        parts += [_text_word(word) for word in form.rows]
    return " ".join(parts)


def _vector_row(word: Word) -> str:
    return f"{_text_word(word)}^T" if len(word) == 1 else f"({_text_word(word)})^T"


def _text_scalar(kind: str, word: Word) -> str:
    if kind == "trace":
        return f"Tr[{_text_word(word)}]"
    if kind == "form":
        return f"({word[0].tensor.name}^T {_text_word(word[1:])})"
    return word[0].tensor.name


def _power_text(name: str, n: int) -> str:
    return name if n == 1 else f"{name}^{n}" if n > 0 else f"{name}^({n})"


_LETTERS = "ijklmnpqrstuvw"


def _letters(term: IndexTerm, axes: int) -> dict[tuple[int, int], str]:
    names: dict[tuple[int, int], str] = {}
    for number, part in enumerate(term.components):
        for _, labels in part:
            for label in labels:
                key = (-1, label) if label >= 0 else (number, label)
                if key not in names:
                    place = label if label >= 0 else axes + sum(k[0] >= 0 for k in names)
                    names[key] = _LETTERS[place] if place < len(_LETTERS) else f"i{place}"
    return names


def _indexed_parts(
    term: IndexTerm, axes: int, write: Callable[[str, list[str]], str]
) -> tuple[list[str], list[str]]:
    """Return factors written with their indices, and the summed indices."""
    names = _letters(term, axes)
    factors = []
    for number, part in enumerate(term.components):
        for tensor, labels in part:
            shown = [names[(-1, i) if i >= 0 else (number, i)] for i in labels]
            factors.append(write(tensor.name, shown))
    for a, b in term.deltas:
        factors.append(write("delta", [_LETTERS[a], _LETTERS[b]]))
    summed = [name for key, name in names.items() if key[0] >= 0]
    return factors, summed


def _indexed_text(term: IndexTerm, axes: int) -> str:
    factors, summed = _indexed_parts(
        term, axes, lambda name, idx: f"{name}[{','.join(idx)}]" if idx else name
    )
    powers = [_power_text(name, n) for name, n in term.powers]
    head = [f"sum_{''.join(summed)}"] if summed else []
    return " ".join([*powers, *head, *factors])


# --- LaTeX ---------------------------------------------------------------------------------------


def _latex_letter(letter: Letter) -> str:
    shown = latex_name(letter.tensor.name)
    if not letter.transposed:
        return shown
    return f"{{{shown}}}^{{\\top}}" if "^" in shown else f"{shown}^{{\\top}}"


def _latex_word(word: Word) -> str:
    pieces = []
    for letter, n in _runs(word):
        shown = _latex_letter(letter)
        pieces.append(shown if n == 1 else f"{{({shown})}}^{{{n}}}" if "^" in shown
                      else f"{shown}^{{{n}}}")  # fmt: skip
    return " ".join(pieces)


def _latex_term(term: IndexTerm, axes: int) -> str:
    form = matrix_term(term, axes)
    if form is None:
        return _indexed_latex(term, axes)
    parts = [_power_latex(name, n) for name, n in form.powers]
    for (kind, word), n in _runs(form.scalars):
        if kind == "trace":
            shown = rf"\mathrm{{Tr}}[{_latex_word(word)}]"
        elif kind == "form":
            row = rf"{latex_name(word[0].tensor.name)}^{{\top}} {_latex_word(word[1:])}"
            shown = f"({row})"
        else:
            shown = _latex_word(word)
        parts.append(shown if n == 1 else f"{{{shown}}}^{{{n}}}")
    for word, n in _runs(form.squares):
        parts.append(rf"\lVert {_latex_word(word)} \rVert^{{{2 * n}}}")
    if form.identity:
        parts.append("I")
    elif len(form.rows) == 2:
        left, right = (
            _latex_word(word) if len(word) == 1 else f"({_latex_word(word)})" for word in form.rows
        )
        parts.append(rf"{left} {right}^{{\top}}")
    else:
        parts += [_latex_word(word) for word in form.rows]
    return r" \, ".join(parts) if len(parts) > 1 else "".join(parts)


def _power_latex(name: str, n: int) -> str:
    return latex_name(name) if n == 1 else f"{latex_name(name)}^{{{n}}}"


def _indexed_latex(term: IndexTerm, axes: int) -> str:
    def write(name: str, indices: list[str]) -> str:
        shown = r"\delta" if name == "delta" else latex_name(name)
        return f"{shown}_{{{' '.join(indices)}}}" if indices else shown

    factors, summed = _indexed_parts(term, axes, write)
    head = [rf"\sum_{{{' '.join(summed)}}}"] if summed else []
    return " ".join([*(_power_latex(n, k) for n, k in term.powers), *head, *factors])


# --- SymPy ---------------------------------------------------------------------------------------


def to_sympy(value: Indexed) -> Any:
    """Return a value as a SymPy expression: matrices of symbolic sizes where it has words.

    Terms without matrix words are sums over `sympy.IndexedBase` entries; for values with axes
    those have the indices i, j, ... free.
    """
    axes = len(value.sizes)
    forms = {term: matrix_term(term, axes) for term in value.terms}
    words = all(form is not None for form in forms.values())
    total: list[Any] = []
    for term, c in sorted(value.terms.items(), key=lambda item: _order(item, axes)):
        number = sympy.Rational(int(c.p), int(c.q))
        form = forms[term]
        if words and form is not None:
            total.append(number * _sympy_term(form, value.sizes))
        else:
            total.append(number * _sympy_indexed(term, value))
    if not total:
        if axes == 0:
            return sympy.Integer(0)
        shape = [_dimension(size) for size in value.sizes]
        return sympy.ZeroMatrix(shape[0], shape[1] if axes == 2 else 1)
    return sympy.MatAdd(*total).doit(deep=False) if axes and words else sympy.Add(*total)


def _dimension(size: Any) -> Any:
    return sympy.Symbol(size, integer=True, positive=True) if isinstance(size, str) else size


def _symbol(tensor: Tensor) -> Any:
    name = tensor.name
    if not tensor.sizes:
        return sympy.Symbol(name, real=True)
    shape = [_dimension(size) for size in tensor.sizes]
    return sympy.MatrixSymbol(name, shape[0], shape[1] if len(shape) == 2 else 1)


def _sympy_word(word: Word) -> Any:
    letters = [_symbol(x.tensor).T if x.transposed else _symbol(x.tensor) for x in word]
    out = letters[0]
    for letter in letters[1:]:
        out = out * letter
    return out


def _sympy_term(form: MatrixTerm, sizes: tuple[Any, ...]) -> Any:
    out: Any = sympy.Integer(1)
    for name, n in form.powers:
        out = out * _dimension(name) ** n
    for kind, word in form.scalars:
        if kind == "scalar":
            out = out * _symbol(word[0].tensor)
        elif kind == "form":
            out = out * sympy.Trace(_sympy_word(word[1:]) * _symbol(word[0].tensor).T)
        else:
            out = out * sympy.Trace(_sympy_word(word))
    for word in form.squares:
        whole = _sympy_word(word)
        out = out * sympy.Trace(whole.T * whole)
    if form.identity:
        return out * sympy.Identity(_dimension(sizes[0]))
    if len(form.rows) == 2:
        return out * (_sympy_word(form.rows[0]) * _sympy_word(form.rows[1]).T)
    for word in form.rows:
        out = out * _sympy_word(word)
    return out


def _sympy_indexed(term: IndexTerm, value: Indexed) -> Any:
    factors, sizes = unfolded(term, value.sizes)
    names = {}
    for label in sorted(sizes, key=lambda i: (i < 0, abs(i))):
        place = label if label >= 0 else len(value.sizes) - 1 - label
        shown = _LETTERS[place] if place < len(_LETTERS) else f"i{place}"
        names[label] = sympy.Symbol(shown, integer=True)
    out: Any = sympy.Integer(1)
    for name, n in term.powers:
        out = out * _dimension(name) ** n
    for tensor, labels in factors:
        if labels:
            base: Any = sympy.IndexedBase(tensor.name)
            out = out * base[tuple(names[i] for i in labels)]
        else:
            out = out * _symbol(tensor)
    for a, b in term.deltas:
        out = out * sympy.KroneckerDelta(names[a], names[b])
    for label, size in sizes.items():
        if label < 0:
            out = sympy.Sum(out, (names[label], 0, _dimension(size) - 1))
    return out

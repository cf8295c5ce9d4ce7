"""Run the commands on a case, and hand every claim that is `proved` or `refuted` to the oracle."""

from __future__ import annotations

import contextlib
import dataclasses
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import symtheory as st
from tests.fuzz import laws, witness
from tests.fuzz.losses import Candidate, Case, case
from tests.fuzz.oracle import AGREES, FALSE, UNDECIDED, Answer, Oracle

FAILURES = (FALSE, "contradiction", "traceback", "hang")
"""Outcomes that are failures; `undecided`, `agrees`, `refused` and `open` are none."""


@dataclasses.dataclass(frozen=True)
class Judgement:
    """One claim, what symtheory says of it, and what the oracle says of that."""

    seed: int
    command: str
    claim: str
    status: str
    outcome: str
    detail: str = ""

    @property
    def failed(self) -> bool:
        return self.outcome in FAILURES


class _HangError(Exception):
    pass


class Judge:
    """Runs the commands on one case, each with a time limit in seconds."""

    def __init__(self, subject: Case, *, light: bool = False, scale: float = 1.0) -> None:
        self.case, self.light, self.scale = subject, light, scale
        self.oracle = Oracle(subject, careful=not light)
        self.out: list[Judgement] = []
        self.proved: list[Candidate] = []

    def run(self) -> list[Judgement]:
        first = self.case.seed % 2  # a planted one, or often a near miss of it
        candidates = self.case.candidates
        for candidate in candidates[first : first + 1] if self.light else candidates:
            self._verify(candidate)
        self._discover()
        if not self.light:
            mirrors = self._reflections()
            self._conservation()
            for candidate in self.proved[:2]:
                self._derive(candidate)
            self._certify(mirrors)
        return self.out

    def _ask(self, question: Callable[[Oracle], Answer]) -> Answer:
        """Return the oracle's answer; a suspicion is looked at again, with rounding measured."""
        answer = question(self.oracle)
        if answer.outcome == AGREES or self.oracle.careful:
            return answer
        self.oracle = Oracle(self.case)
        return question(self.oracle)

    def _add(self, command: str, claim: str, status: Any, answer: Answer) -> None:
        """Record a claim; the oracle's answer counts where the claim is decided."""
        judged = str(status) in ("proved", "refuted")
        outcome = answer.outcome if judged else "open"
        self.out.append(Judgement(self.case.seed, command, claim, str(status), outcome, answer.why))

    def _call(self, command: str, limit: float, run: Callable[[float], Any], parts: int = 1) -> Any:
        """Return what a command returns, None where it refuses; failures are recorded."""
        limit = limit * self.scale
        longest = 3 * limit * parts + 2.0
        start = time.process_time()
        fail = lambda outcome, why: self.out.append(
            Judgement(self.case.seed, command, "runs", "", outcome, why)
        )
        try:
            with _alarm(10 * longest):
                out = run(limit)
        except st.SymtheoryError as error:
            fail("refused", f"{type(error).__name__}: {error}"[:300])
            return None
        except _HangError:
            fail("hang", f"not back after {10 * longest:.0f} s with a limit of {limit} s")
            return None
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            text = f"{type(error).__name__}: {error}"[:300]
            fail("traceback", f"{text} at {where.filename.split('/')[-1]}:{where.lineno}")
            return None
        taken = time.process_time() - start
        if taken > longest:
            fail("hang", f"{taken:.1f} s of CPU time with a limit of {limit} s")
        return out

    # --- commands --------------------------------------------------------------------------------

    def _verify(self, candidate: Candidate) -> None:
        model, symmetry = self.case.model, self.case.symmetry(candidate)
        verdict = self._call("verify", 3.0, lambda s: st.verify(model, symmetry, seconds=s))
        if verdict is None:
            return
        answer = Answer(AGREES)
        if verdict.status == "proved":
            answer = self._holds(candidate)
            self.proved += [] if candidate.reflects else [candidate]
        elif verdict.status == "refuted":
            answer = self._ask(lambda o: witness.judge(o, candidate, verdict.witness))
        self._add("verify", candidate.name, verdict.status, answer)

    def _holds(self, candidate: Candidate) -> Answer:
        if not candidate.reflects:
            return self._ask(lambda o: o.generator(candidate.matrix, candidate.shift))
        mirror = np.eye(self.case.dimension) - 2 * candidate.matrix
        return self._ask(lambda o: o.unchanged(mirror[None], candidate.shift[None]))

    def _discover(self) -> None:
        model = self.case.model
        found = self._call("discover", 4.0, lambda s: st.discover(model, seconds=s))
        if found is None:
            return
        fields, known = [], []
        for item in (*found.generators, *found.translations):
            matrix, shift = self._dense(item)
            fields.append(np.concatenate([matrix.ravel(), shift]))
            if item.verdict.status == "proved":
                known.append(fields[-1])
                text = f"{item.name}: {item.latex}"
                answer = self._ask(lambda o, f=(matrix, shift): o.generator(*f))
                self._add("discover", text, "proved", answer)
        dead: list[int] = []
        for name, verdict in found.trivial.items():
            places = self._idle_places(name)
            dead += places
            answer = self._ask(lambda o, n=name, p=places: self._trivial(o, n, p))
            self._add("discover", f"trivial {name}", verdict.status, answer)
        if found.status == "proved":
            claimed = found.total, found.affine, dead
            answer = self._ask(lambda o: laws.completeness(o, *claimed))
            self._add("discover", "no others", "proved", answer)
            for candidate in self.proved:
                matrix, shift = candidate.matrix.copy(), candidate.shift.copy()
                matrix[dead], shift[dead] = 0.0, 0.0
                whole = np.concatenate([matrix.ravel(), shift])
                if np.linalg.matrix_rank(np.array([*fields, whole]), tol=1e-9) > len(fields):
                    why = f"verify proves {candidate.name}, which is not among the {len(fields)}"
                    self._add("discover", "no others", "proved", Answer("contradiction", why))
        rank = np.linalg.matrix_rank(np.array(fields), tol=1e-9) if fields else 0
        if rank != found.affine and fields:
            why = f"{found.affine} generators span {rank} dimensions"
            self._add("discover", "count", "proved", Answer("contradiction", why))
        self._again(found)

    def _again(self, found: Any) -> None:
        """Ask `verify` about a generator that discovery proved."""
        proved = [g for g in (*found.generators, *found.translations)
                  if g.verdict.status == "proved"]  # fmt: skip
        for item in proved[: 0 if self.light else 2]:
            matrix, shift = self._dense(item)
            verdict = self._call(
                "verify", 3.0, lambda s, g=item: st.verify(self.case.model, g.symmetry, seconds=s)
            )
            if verdict is not None and verdict.status == "refuted":
                why = f"discover proves {item.latex}, verify refutes it: {verdict.witness}"
                self._add("verify", item.name, "refuted", Answer("contradiction", why))
            if verdict is not None and verdict.status == "proved":
                self.proved.append(Candidate(f"found {item.name}", matrix, shift))

    def _dense(self, item: Any) -> tuple[np.ndarray, np.ndarray]:
        d = self.case.dimension
        matrix, shift = np.zeros((d, d)), np.zeros(d)
        for place, value in item.matrix.items():
            matrix[place] = float(value)
        for place, value in item.shift.items():
            shift[place] = float(value)
        return matrix, shift

    def _idle_places(self, label: str) -> list[int]:
        """Return the parameters that a label such as "W" or "W (2 of 3 entries)" may speak of."""
        places = self.case.unflatten(np.arange(self.case.dimension))[label.split(" (")[0]].ravel()
        if " (" not in label:
            return [int(i) for i in places]
        idle = lambda i: self._ask(lambda o: o.depends_on([i])).outcome == AGREES
        return [int(i) for i in places if idle(int(i))]

    def _trivial(self, oracle: Oracle, label: str, places: list[int]) -> Answer:
        if " (" in label and len(places) < int(label.split("(")[1].split(" ")[0]):
            return Answer(FALSE, f"the loss depends on all but {places} of {label}")
        return oracle.depends_on(places)

    def _reflections(self) -> list[tuple[Any, np.ndarray]]:
        model, d = self.case.model, self.case.dimension
        found = self._call("reflections", 4.0, lambda s: st.reflections(model, seconds=s))
        out = []
        for item in found or ():
            mirrors = [item.reflection.apply(self.case.unflatten(row)) for row in np.eye(d)]
            flat = lambda tree: np.concatenate([np.ravel(tree[n]) for n in self.case.shapes])
            mirror = np.stack([flat(m) for m in mirrors], axis=1)
            out.append((item, mirror))
            answer = self.oracle.unchanged(mirror[None], np.zeros((1, d)))
            projection = (np.eye(d) - mirror) / 2
            rank = round(float(np.trace(projection)))
            good = np.allclose(projection, projection.T) and np.allclose(mirror @ mirror, np.eye(d))
            if not good or rank != item.rank:
                answer = Answer(FALSE, f"rank {item.rank} of a projection of trace {rank}")
            self._add("reflections", item.name, item.verdict.status, answer)
        return out

    def _conservation(self) -> None:
        model = self.case.model
        found = self._call(
            "conservation_laws", 5.0, lambda s: st.conservation_laws(model, seconds=s)
        )
        if found is None:
            return
        oracle = Oracle(self.case, unstopped=True) if self.case.stops else self.oracle
        text = f"{found.lower} to {found.upper} laws: {'; '.join(found.laws)}"
        # The bounds are claims even where they do not meet.
        self._add("conservation_laws", text, "proved", laws.count(oracle, found.lower, found.upper))
        for law in found.laws:
            self._add("conservation_laws", law, "proved", laws.charge(oracle, law))

    def _derive(self, candidate: Candidate) -> None:
        model, symmetry = self.case.model, self.case.symmetry(candidate)
        assert not isinstance(symmetry, st.Reflection)
        law = self._call("derive", 3.0, lambda s: st.derive(model, symmetry, seconds=s), 2)
        if law is None or law.charge is None:
            return
        for name, answer in laws.noise(self.oracle, candidate, law):
            self._add("derive", f"{name} of {candidate.name}", law.status, answer)

    def _certify(self, mirrors: list[tuple[Any, np.ndarray]]) -> None:
        d, rng = self.case.dimension, np.random.default_rng([self.case.seed, 7])
        flat = rng.choice([0.3, -0.3, 0.1, 0.0, 0.25, -0.125], size=d)
        bias = self.case.unflatten(flat)
        removed = self._call(
            "remove_symmetries", 3.0,
            lambda s: st.remove_symmetries(self.case.model, weight_decay=0.1, bias=bias),
        )  # fmt: skip
        if removed is None:
            return
        theta, z, _ = self.oracle.batches[0]
        row = jax.tree.map(lambda a: a[0], z)
        with jax.enable_x64(True):
            got = removed.loss(self.case.unflatten(jnp.asarray(theta[0])), row)
            want = self.case.loss(self.case.unflatten(jnp.asarray(theta[0] + flat)), row)
        want = float(want) + 0.1 * float(np.sum(theta[0] ** 2))
        wrong = np.isfinite(want) and abs(float(got) - want) > 1e-9 * (1 + abs(want))
        self._add("remove_symmetries", "value", "proved",
                  Answer(FALSE if wrong else AGREES, f"{got} for {want}"))  # fmt: skip
        found = [item for item, _ in mirrors]
        count = 2 * len(found) + 2
        verdict = self._call("certify", 2.0, lambda s: st.certify(removed, seconds=s), count)
        if verdict is None or verdict.status != "proved":
            return
        kept = self.oracle.signed_permutations(flat)
        used = [m for m in kept if not self._idle(m)]
        answer = Answer(AGREES if self.case.dimension <= 6 else UNDECIDED)
        if used:
            why = f"theta_0 = {flat.tolist()} lies on the mirror of {used[0].tolist()}"
            answer = Answer(FALSE, why)
        self._add("certify", "none is left", "proved", answer)

    def _idle(self, mirror: np.ndarray) -> bool:
        """Tell whether a mirror moves only parameters on which the loss does not depend."""
        moved = np.flatnonzero(np.any(mirror != np.eye(len(mirror)), axis=1))
        return self.oracle.depends_on(moved).outcome == AGREES


def judge(seed: int, *, light: bool = False, scale: float = 1.0) -> list[Judgement]:
    """Return all judgements of one seed."""
    return Judge(case(seed), light=light, scale=scale).run()


@contextlib.contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise _HangError

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

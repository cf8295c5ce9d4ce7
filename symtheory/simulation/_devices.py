"""Which devices run the blocks of replicas, and what the processes of one run tell each other."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np

from symtheory.errors import InputError, SymtheoryError

_SOURCE = "jax.devices() lists them"


class LostProcess(SymtheoryError):
    """Another process of the run ended or failed; a run with a checkpoint can be resumed."""


def placement(devices: Any) -> list[Any]:
    """Return the devices in the order in which blocks are dealt to them.

    Args:
        devices: None for all of them, how many, a sequence of them, or a `jax.sharding.Mesh`.

    Raises:
        InputError: There are not as many, or none belongs to this process.
    """
    known = jax.devices()
    if devices is None:
        return known
    if isinstance(devices, jax.sharding.Mesh):
        chosen = list(devices.devices.flat)
    elif isinstance(devices, Sequence) and not isinstance(devices, str):
        chosen = list(devices)
    elif isinstance(devices, (int, np.integer)) and not isinstance(devices, bool):
        if not 1 <= devices <= len(known):
            raise InputError(f"devices is {devices}, but there are {len(known)}; {_SOURCE}")
        chosen = known[:devices]
    else:
        raise InputError(
            f"devices must be a number, a list of JAX devices or a Mesh, got {devices!r}"
        )
    for device in chosen:
        if device not in known:
            raise InputError(f"{device!r} is not a device of this run; {_SOURCE}")
    if not chosen or len(set(chosen)) < len(chosen):
        raise InputError(f"devices must be different ones, at least one, got {devices!r}")
    if not any(d.process_index == jax.process_index() for d in chosen):
        raise InputError(
            f"no device of process {jax.process_index()} is among {chosen}; every process must "
            "take part"
        )
    return chosen


@contextlib.contextmanager
def together() -> Iterator[None]:
    """Do what a block says in every process of a run, or in none.

    Every process must come to it, and it ends when all are through. An error in the block is raised
    in its own process, and in all others a `LostProcess` that quotes it: nobody goes on, and nobody
    waits for one that has given up. What the processes tell each other has no place in the block.

    Raises:
        LostProcess: The block failed in another process.

    >>> with together():
    ...     text = "what may fail in one process"
    """
    error = None
    try:
        yield
    except Exception as found:
        error = found
    if jax.process_count() > 1:
        told = share_text("" if error is None else f"{type(error).__name__}: {error}")
        for process, text in enumerate(told):
            if text and error is None:
                raise LostProcess(f"process {process} of {len(told)} stopped: {text}")
    if error is not None:
        raise error


def share(array: np.ndarray) -> np.ndarray:
    """Return what each process gave, along a new leading axis; all must give the same shape.

    Raises:
        LostProcess: Another process ended.
    """
    array = np.ascontiguousarray(array)
    if jax.process_count() == 1:
        return array[None]
    from jax.experimental import multihost_utils

    # Bytes, because JAX would round numbers to 32 bits where 64 are switched off.
    raw = array.reshape(-1).view(np.uint8)
    with _lost_if_broken():
        out = np.asarray(multihost_utils.process_allgather(raw))
    return out.reshape(jax.process_count(), -1).view(array.dtype).reshape(-1, *array.shape)


@contextlib.contextmanager
def _lost_if_broken() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise LostProcess(
            f"process {jax.process_index()} of {jax.process_count()} lost another one ({reason}); "
            "start all again with the same command: a run with a checkpoint goes on from there"
        ) from error


def share_text(text: str) -> list[str]:
    """Return the texts of all processes."""
    raw = np.frombuffer(text.encode(), np.uint8)
    sizes = share(np.array([raw.size]))[:, 0]
    padded = np.zeros(max(1, int(sizes.max())), np.uint8)
    padded[: raw.size] = raw
    return [row[:size].tobytes().decode() for row, size in zip(share(padded), sizes, strict=True)]


def require_same_run(spec: dict[str, str]) -> None:
    """Refuse processes that were started with different runs or versions.

    Raises:
        InputError: Naming what differs.
    """
    if jax.process_count() == 1:
        return
    told = [json.loads(text) for text in share_text(json.dumps(spec))]
    for process, other in enumerate(told):
        different = [n for n in {**told[0], **other} if told[0].get(n) != other.get(n)]
        if different:
            name = different[0]
            raise InputError(
                f"processes 0 and {process} were started with different runs: "
                f"{', '.join(different)} differ ({name} is {told[0].get(name)} and "
                f"{other.get(name)}); start the same command with the same versions on every host"
            )


def from_first(
    found: tuple[dict[str, Any], dict[str, np.ndarray]] | None,
) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Return the (meta, arrays) that the first process has, if it has any."""
    if jax.process_count() == 1:
        return found
    meta, arrays = found or (None, {})
    kinds = {name: (x.dtype.str, x.shape) for name, x in arrays.items()}
    meta, kinds = json.loads(share_text(json.dumps([meta, kinds]))[0])
    if meta is None:
        return None
    blank = {name: np.zeros(shape, kind) for name, (kind, shape) in kinds.items()}
    return meta, {name: _broadcast(arrays.get(name, x)) for name, x in blank.items()}


def _broadcast(array: np.ndarray) -> np.ndarray:
    from jax.experimental import multihost_utils

    if not array.size:
        return array
    raw = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
    with _lost_if_broken():
        out = np.asarray(multihost_utils.broadcast_one_to_all(raw))
    return out.view(array.dtype).reshape(array.shape)

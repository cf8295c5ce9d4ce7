"""Which devices run the blocks of replicas, and what the processes of one run tell each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from symtheory.errors import InputError, SymtheoryError

_SOURCE = "jax.devices() lists them"


class LostProcess(SymtheoryError):
    """Another process of the run ended; a run with a checkpoint can be resumed."""


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
    try:
        out = np.asarray(multihost_utils.process_allgather(raw))
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise LostProcess(
            f"process {jax.process_index()} of {jax.process_count()} lost another one ({reason}); "
            "start all again with the same command: a run with a checkpoint goes on from there"
        ) from error
    return out.reshape(jax.process_count(), -1).view(array.dtype).reshape(-1, *array.shape)


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


def from_first(data: bytes | None) -> bytes | None:
    """Return what the first process gave."""
    if jax.process_count() == 1:
        return data
    first = jax.process_index() == 0
    size = int(share(np.array([-1 if data is None else len(data)]))[0, 0])
    if size < 0:
        return None
    raw = np.zeros(size, np.uint8)
    if first and data is not None:
        raw[:] = np.frombuffer(data, np.uint8)
    return share(raw)[0].tobytes()

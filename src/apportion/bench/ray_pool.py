"""The engine of a Ray cluster: the same cells on other machines, the folder on this one.

Workers need apportion at the version and code of this process and nothing else: a cell goes out as
its name, comes back as rows, and this process alone writes the folder. Each cell is a Ray task that takes
one CPU; Ray says when its worker or machine is gone, and then it is begun again. Equal versions give equal bytes
on processors of one kind; other kinds may round differently, as they do without Ray.
"""

from __future__ import annotations

import importlib
import os
import socket
from collections import Counter
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, NamedTuple

from ..errors import BenchError
from . import catalog, manifest, memory, store
from .records import Cell
from .settings import Settings
from .work import DIED, ENVIRONMENT, Engine, Failure, Finished, Orders, Work, keep, measure

#: How often a cell whose worker died is begun beside others; then it is done once more, alone.
TRIES = 3


class _Context(NamedTuple):
    """What a worker knows besides the cell. same: what must be equal there and here for numbers to be."""

    work: Work
    settings: Settings
    specs: tuple[str, ...]
    files: Mapping[str, str]
    share: int | None
    same: tuple[str, dict[str, str]]


@contextmanager
def cluster(address: str | None, jobs: int | None) -> Iterator[tuple[Engine, int]]:
    """The engine of the cluster at ``address`` ("auto": the one of this machine), and how many cells it does at a time.

    Without an address a cluster of ``jobs`` workers (one per CPU) is started here and stopped
    afterwards. jobs: one per CPU of the cluster by default; more, where the cluster grows on demand.

    Raises BenchError where ray is missing or the cluster is not to be reached.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray reports use of itself unless told not to
    try:
        ray = importlib.import_module("ray")
    except ImportError:
        raise BenchError("--engine ray needs the ray package: pip install 'apportion[ray]'") from None
    if jobs is not None and jobs < 1:
        raise BenchError(f"--jobs {jobs}: expected at least 1")
    if address is not None:
        _reach(address)
    if ray.is_initialized():
        raise BenchError("--engine ray: this process is connected to a cluster already; ray.shutdown() first")
    where: dict[str, Any] = {"num_cpus": jobs, "include_dashboard": False} if address is None else {"address": address}
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        ray.init(**where, **quiet, runtime_env={"env_vars": ENVIRONMENT})
    except (ConnectionError, OSError, RuntimeError, ValueError) as error:
        ray.shutdown()
        raise BenchError(f"--address {address or '(none)'}: no Ray cluster ({str(error).splitlines()[0]})") from None
    try:
        width = jobs or int(ray.cluster_resources().get("CPU", 0))
        if width < 1:
            raise BenchError(f"--address {address}: the cluster has no CPU; give --jobs if it will grow")
        yield _do_on_ray, width
    finally:
        ray.shutdown()


def _reach(address: str) -> None:
    """Refuse an address where nobody answers: Ray itself would try for minutes."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if colon and port.isdecimal():
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
        except (OSError, OverflowError) as error:
            raise BenchError(f"--address {address}: no Ray cluster ({error})") from None


def _do_on_ray(queue: list[Cell], orders: Orders, width: int) -> Generator[Finished, None, None]:
    """An engine: see :data:`apportion.bench.work.Engine`; the cluster is the one this process is connected to."""
    ray = importlib.import_module("ray")
    plan = orders.plan
    torch = ["torch"] if any(one.neural for one in plan.tasks.values()) else []
    same = (manifest.code_digest(), manifest.versions(*torch))
    context = ray.put(_Context(orders.work, plan.settings, plan.specs, dict(plan.files), orders.share(width), same))
    # Ray would begin a task that ran out of memory again and again; TRIES holds for every death.
    task = ray.remote(num_cpus=1, max_retries=0)(_measure)
    most = 1 if width < orders.jobs else TRIES  # narrower: a cell that has had its tries, alone
    tries: Counter[Cell] = Counter()
    flight: dict[Any, Cell] = {}
    try:
        _start(ray, context)
        while queue or flight:
            while queue and len(flight) < width:
                cell = queue.pop()
                tries[cell] += 1
                flight[task.remote(cell, context)] = cell
            for reference in ray.wait(list(flight), num_returns=1)[0]:
                cell = flight.pop(reference)
                found = _result(ray, reference)
                if found is DIED and tries[cell] < most:
                    queue.append(cell)
                else:
                    yield cell, keep(orders.folder, cell, orders.keys[cell], found)
    finally:
        for reference in flight:  # only where we are interrupted
            ray.cancel(reference, force=True)


def _start(ray: Any, context: Any) -> None:
    """Refuse a cluster that cannot do the work, before any of it is begun."""
    try:
        error = ray.get(ray.remote(num_cpus=1)(_differs).remote(context))
    except ray.exceptions.RayError as failed:
        raise BenchError(f"the workers of the cluster cannot run apportion: {_last_line(failed)}") from None
    if error:
        raise BenchError(error)


def _result(ray: Any, reference: Any) -> store.Done | Failure:
    try:
        found: store.Done | Failure = ray.get(reference)
    except ray.exceptions.RayTaskError as error:  # raised before the cell began: a cell's own errors are results
        return Failure(_last_line(error), str(error))
    except ray.exceptions.RayError:  # the worker, its machine or what it returned is gone
        return DIED
    return found


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def _measure(cell: Cell, context: _Context) -> store.Done | Failure:
    """What a worker of the cluster does."""
    if error := _differs(context):
        return Failure(error, error)
    memory.bound(context.share)
    try:
        return measure(cell, context.work, context.settings, context.share)
    finally:
        if context.share is not None:
            memory.unbound()


def _differs(context: _Context) -> str:
    """Why numbers made here would not be those of the process that leads; empty where they are."""
    code, versions = context.same
    here = manifest.versions(*(["torch"] if "torch" in versions else []))
    found = [f"{name} {here[name]} (not {there})" for name, there in versions.items() if here[name] != there]
    found += [] if found or manifest.code_digest() == code else ["the code of apportion edited"]
    for spec in context.specs:
        digests = _own(spec)
        found += [f"another file {spec}" for id_, digest in digests.items() if context.files.get(id_) != digest]
    return f"{socket.gethostname()} of the cluster has {', '.join(found)}: results would not be the same" if found else ""


@cache
def _own(spec: str) -> dict[str, str]:
    tasks, digest = catalog.load(spec)
    return {task.id: digest for task in tasks}

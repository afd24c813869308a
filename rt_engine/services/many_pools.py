"""Where many pieces of work are done: processes of this computer, or a cluster by way of dask."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

from rt_engine.interfaces.errors import ConfigError, ServiceError

_CONNECT_S = 30
_INSTALL = 'pip install "spikeloop[cluster]"'


@dataclass(frozen=True)
class Pool:
    """A way to make executors, and how many work at once."""

    make: Callable[[], Executor]
    n_workers: int


@contextlib.contextmanager
def open_pool(scheduler: str, n_workers: int | None) -> Iterator[Pool]:
    """A pool for as long as the `with` block lasts.

    Parameters
    ----------
    scheduler : str
        ``pool``, ``local``, ``slurm``, or the address of a dask scheduler.
    n_workers : int or None
        None: the cores of this computer; of a cluster, one job.

    Raises
    ------
    ConfigError
        No such scheduler, or the library is not installed.
    ServiceError
        The scheduler does not answer.
    """
    if scheduler == "pool":
        n = n_workers or os.cpu_count() or 1
        # Spawned everywhere, so that a worker is the same on every system.
        context = multiprocessing.get_context("spawn")
        yield Pool(lambda: ProcessPoolExecutor(n, mp_context=context), n)
        return
    if scheduler not in ("local", "slurm") and "://" not in scheduler:
        raise ConfigError(f"there is no scheduler {scheduler!r}", "pool, local, slurm, or tcp://HOST:PORT")
    try:
        import dask
        from distributed import Client
    except ImportError as error:
        raise ConfigError(f"dask is not installed ({error.name})", _INSTALL, key="--scheduler") from error
    # Workers may have children of their own: a replay is several processes.
    dask.config.set({"distributed.worker.daemon": False})
    with contextlib.ExitStack() as stack:
        address = scheduler if "://" in scheduler else stack.enter_context(_cluster(scheduler, n_workers))
        try:
            client = stack.enter_context(Client(address, timeout=_CONNECT_S))
        except OSError as error:
            raise ServiceError(
                f"the scheduler {scheduler} does not answer: {error}", "is its address right?"
            ) from error
        n = n_workers or max(1, len(client.scheduler_info(n_workers=-1)["workers"]))
        yield Pool(lambda: client.get_executor(pure=False), n)


def _cluster(scheduler: str, n_workers: int | None) -> Any:
    """A cluster of our own; how SLURM is to be asked stands in dask's own configuration (`jobqueue.slurm`)."""
    if scheduler == "local":
        from distributed import LocalCluster

        n = n_workers or os.cpu_count() or 1
        return LocalCluster(n_workers=n, threads_per_worker=1, host="127.0.0.1", dashboard_address=None)
    try:
        from dask_jobqueue import SLURMCluster
    except ImportError as error:
        raise ConfigError(f"dask-jobqueue is not installed ({error.name})", _INSTALL, key="--scheduler") from error
    cluster = SLURMCluster()
    cluster.scale(n_workers or 1)
    return cluster

"""Workers by dask.distributed: processes of this machine, a scheduler that runs elsewhere, or jobs of a queue."""

from __future__ import annotations

import logging
import queue
import secrets
import signal
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import Any

from recon3d.batch.jobs import Job, Outcome
from recon3d.batch.worker import Tell, run_job
from recon3d.errors import ConfigError, InputError, Interrupted, MissingPackageError

QUEUES = {"slurm": "SLURMCluster", "pbs": "PBSCluster", "lsf": "LSFCluster"}
CONNECT_S = 30
_SETTINGS = {
    "distributed.scheduler.allowed-failures": 0,  # a case whose worker died is retried by us, and counted
    "distributed.deploy.lost-worker-timeout": "10 minutes",  # which a new process may need on a busy machine
    "distributed.scheduler.worker-ttl": None,  # a projection may keep a worker from answering for minutes
    "distributed.comm.timeouts.connect": "120s",  # so may a machine with more to do than it can
    "distributed.comm.timeouts.tcp": "120s",
    "distributed.worker.memory.target": False,  # the plan of a case keeps to its memory
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
}

Connect = Callable[[ExitStack], Any]
"""Makes a dask client; what is to be closed after it goes onto the stack."""


# On the worker

_ONE_CASE = threading.Lock()
"""A worker takes a case at a time, whatever threads it was started with: cases fill its memory and its cores."""
_stops: dict[str, threading.Event] = {}


def _do(text: str, batch: str) -> str:
    from distributed import get_worker

    worker = get_worker()
    with _ONE_CASE:
        stop = _stops.setdefault(batch, threading.Event())
        return run_job(Job.from_json(text), lambda event: worker.log_event(batch, dict(event)), stop).to_json()


def _stop_here(batch: str) -> None:
    _stops.setdefault(batch, threading.Event()).set()


# At the batch


class DaskPool:
    """Cases as tasks of dask.distributed; they go out as JSON, inputs are read and results written by the workers."""

    def __init__(self, tell: Tell, connect: Connect, where: str) -> None:
        self._tell, self._connect, self._where = tell, connect, where
        self._name = f"recon3d-{secrets.token_hex(6)}"
        self._waiting: deque[Job] = deque()  # here, where they do not die with a worker
        self._running: dict[str, tuple[Job, Any]] = {}  # with its future: dask forgets a task that nobody waits for
        self._ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._stack = ExitStack()

    @property
    def workers(self) -> int:
        return len(self._client.scheduler_info(n_workers=-1)["workers"])

    def __enter__(self) -> DaskPool:
        try:
            import dask
            import distributed  # noqa: F401
        except ImportError as error:
            raise MissingPackageError(
                "Several workers need dask: pip install 'recon3d[batch]', or leave --workers and --scheduler out."
            ) from error
        if not logging.getLogger().isEnabledFor(logging.DEBUG):  # which --debug enables
            logging.getLogger("distributed").setLevel(logging.CRITICAL)
        with ExitStack() as stack:
            stack.enter_context(dask.config.set(_SETTINGS))
            self._client = self._connect(stack)
            self._client.subscribe_topic(self._name, lambda event: self._tell(event[1]))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def submit(self, job: Job) -> None:
        self._waiting.append(job)

    def _send(self) -> None:
        """Give every worker a case, and the first to come one where there is none yet."""
        try:
            while self._waiting and len(self._running) < max(1, self.workers):
                self._start(self._waiting.popleft())
        except (OSError, TimeoutError) as error:
            raise self._lost() from error

    def _start(self, job: Job) -> None:
        key = f"{self._name}-{job.case}-{job.attempt}"
        future = self._client.submit(_do, job.to_json(), self._name, key=key, pure=False, retries=0)
        self._running[key] = (job, future)
        future.add_done_callback(self._ended.put)

    def next(self) -> tuple[Job, Outcome] | None:
        while self._running or self._waiting:
            self._send()
            try:
                future = self._ended.get(timeout=0.5)
            except queue.Empty:
                if self._client.status == "closed":
                    raise self._lost() from None
                continue
            if future.status in ("cancelled", "lost"):
                raise self._lost()
            job, _ = self._running.pop(future.key)
            return job, self._outcome(job, future)
        return None

    def stop(self) -> None:
        self._waiting.clear()
        with suppress(OSError):
            self._client.run(_stop_here, self._name, on_error="ignore")

    def _outcome(self, job: Job, future: Any) -> Outcome:
        from distributed import KilledWorker

        if future.status == "finished":
            return Outcome.from_json(future.result())
        error = future.exception()
        if isinstance(error, KilledWorker):
            address = getattr(error.last_worker, "address", "")
            return Outcome(job.case, "failed", "lost", f"The worker {address} died; memory is the usual reason.")
        return Outcome(job.case, "failed", "permanent", f"Unexpected {type(error).__name__} on a worker: {error}.")

    def _lost(self) -> Interrupted:
        return Interrupted(f"{self._where} was lost; start it again, and the same command goes on from here.")


def on_this_machine(workers: int, threads: int, gpus: Sequence[str] = ()) -> Connect:
    """Worker processes of this machine, which listen on it alone and start anew when they die."""

    def connect(stack: ExitStack) -> Any:
        from distributed import Client, Nanny, Scheduler, SpecCluster

        listen = {"host": "127.0.0.1", "dashboard": False}
        own = {"nthreads": 1, "memory_limit": None, "preload": ["recon3d.runtime.case"]}  # imported before it is asked
        spec = {
            k: {"cls": Nanny, "options": {**listen, **own, "env": env}}
            for k, env in enumerate(environments(workers, threads, gpus))
        }
        scheduler = {"cls": Scheduler, "options": {**listen, "port": 0}}
        cluster = stack.enter_context(SpecCluster(workers=spec, scheduler=scheduler, silence_logs=False))
        return stack.enter_context(Client(cluster, set_as_default=False))

    return connect


def environments(workers: int, threads: int, gpus: Sequence[str] = ()) -> list[dict[str, str]]:
    """Variables of each local worker: its share of the threads, and a GPU of its own where there are some.

    Raises
    ------
    ConfigError
        If more workers than GPUs are asked for.
    """
    if gpus and workers > len(gpus):
        raise ConfigError(
            f"{workers} workers were asked for, this machine has {len(gpus)} GPUs and each worker takes one: "
            f"give --workers {len(gpus)}, or run.device=cpu."
        )
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
    shared = {name: str(threads) for name in names}
    return [{**shared, **({"CUDA_VISIBLE_DEVICES": gpus[k]} if gpus else {})} for k in range(workers)]


def at_scheduler(address: str) -> Connect:
    """Whatever workers a running scheduler has, and will have."""

    def connect(stack: ExitStack) -> Any:
        from distributed import Client

        try:
            client = Client(address, timeout=CONNECT_S, set_as_default=False)
        except (OSError, ValueError, TimeoutError) as error:
            raise InputError(
                f"No scheduler answers at {address}: start one with `dask scheduler`, and its workers with "
                "`dask worker ADDRESS --nthreads 1 --memory-limit 0`."
            ) from error
        return stack.enter_context(client)

    return connect


def in_queue(kind: str, workers: int, threads: int | None, options: Mapping[str, Any]) -> Connect:
    """Workers that are jobs of a queue, each with its cores.

    Parameters
    ----------
    kind : one of `QUEUES`
    options : of dask-jobqueue's cluster, e.g. {"queue": "gpu", "walltime": "08:00:00", "memory": "16GB"}
    """

    def connect(stack: ExitStack) -> Any:
        from distributed import Client

        cluster = stack.enter_context(queue_cluster(kind, threads, options))
        cluster.scale(jobs=workers)
        return stack.enter_context(Client(cluster, set_as_default=False))

    return connect


def queue_cluster(kind: str, threads: int | None, options: Mapping[str, Any]) -> Any:
    """The cluster of dask-jobqueue; its `job_script()` shows what it would submit."""
    before = signal.getsignal(signal.SIGINT)
    try:
        import dask_jobqueue
    except ImportError as error:
        raise MissingPackageError(f"--cluster {kind} needs dask-jobqueue: pip install 'recon3d[slurm]'.") from error
    if signal.getsignal(signal.SIGINT) is not before:  # its import takes Ctrl-C for itself
        signal.signal(signal.SIGINT, before)
    given = dict(options)
    extra = [*given.pop("worker_extra_args", []), "--nthreads", "1", "--memory-limit", "0"]
    if threads is not None:
        given.setdefault("cores", threads)
    try:
        return getattr(dask_jobqueue, QUEUES[kind])(processes=1, worker_extra_args=extra, **given)
    except (ValueError, TypeError) as error:
        raise ConfigError(
            f"The queue {kind} takes no such jobs: {' '.join(str(error).split())} Give what is missing with "
            "--cluster-option, e.g. memory=16GB or walltime=08:00:00."
        ) from error


def visible_gpus() -> list[str]:
    """What CUDA_VISIBLE_DEVICES may name on this machine, without touching a device."""
    import os

    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    return named.split(",")[:count] if named else [str(k) for k in range(count)]

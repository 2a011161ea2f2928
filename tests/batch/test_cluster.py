"""The dask pool on a cluster inside this process; variables of workers; jobs of queues; what is missing is said."""

from __future__ import annotations

import asyncio
import importlib.util
import signal
import sys
import time
from contextlib import ExitStack
from types import SimpleNamespace
from typing import Any

import pytest

from recon3d.batch import cluster
from recon3d.batch.jobs import Job, Outcome
from recon3d.errors import ConfigError, Interrupted, MissingPackageError

distributed = pytest.importorskip("distributed")


def connect(stack: ExitStack) -> Any:
    local = distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None)
    return stack.enter_context(distributed.Client(stack.enter_context(local), set_as_default=False))


@pytest.mark.filterwarnings("ignore")
def test_jobs_go_out_and_outcomes_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    pool = cluster.DaskPool(told.append, connect, "The scheduler")

    def work(job: Job, tell: Any, stop: Any) -> Outcome:
        if job.case == "defect":
            raise ZeroDivisionError("x")
        tell({"case": job.case, "event": "start"})
        return Outcome(job.case, "interrupted" if stop.is_set() else "done", worker=str(cluster._ONE_CASE.locked()))

    monkeypatch.setattr(cluster, "run_job", work)
    with pool:
        assert pool.workers == 1
        for name in ("a", "b", "defect"):
            pool.submit(Job(name, "in", "out", {}))
        ended = {}
        while (end := pool.next()) is not None:
            ended[end[0].case] = end[1]
        assert [ended[name].state for name in ("a", "b", "defect")] == ["done", "done", "failed"]
        assert ended["a"].worker == "True"  # a case at a time
        assert "Unexpected ZeroDivisionError on a worker: x" in ended["defect"].fault
        pool.stop()
        pool.submit(Job("last", "in", "out", {}))
        end = pool.next()
        assert end is not None
        assert end[1].state == "interrupted"
        monkeypatch.setattr(cluster, "run_job", lambda job, tell, stop: time.sleep(2))
        pool.submit(Job("never", "in", "out", {}))
        pool._send()
        pool._running[next(iter(pool._running))][1].cancel()
        with pytest.raises(Interrupted, match="The scheduler was lost; start it again"):
            pool.next()
    assert {event["case"] for event in told} >= {"a", "b"}


def test_a_worker_that_died_is_a_fault_of_its_own() -> None:
    pool = cluster.DaskPool(print, connect, "The scheduler")
    killed = distributed.KilledWorker("task", SimpleNamespace(address="tcp://here:1"), 0)
    outcome = pool._outcome(Job("c", "in", "out", {}), SimpleNamespace(status="error", exception=lambda: killed))
    assert (outcome.case, outcome.kind) == ("c", "lost")
    assert "The worker tcp://here:1 died" in outcome.fault


def test_workers_share_threads_and_have_a_gpu_each() -> None:
    assert cluster.environments(2, 3)[1]["OMP_NUM_THREADS"] == "3"
    assert "CUDA_VISIBLE_DEVICES" not in cluster.environments(1, 1)[0]
    assert [env["CUDA_VISIBLE_DEVICES"] for env in cluster.environments(2, 1, ["0", "3"])] == ["0", "3"]
    with pytest.raises(ConfigError, match="3 workers were asked for, this machine has 2 GPUs"):
        cluster.environments(3, 1, ["0", "1"])


def test_without_dask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(MissingPackageError, match=r"recon3d\[batch\]"), cluster.DaskPool(print, connect, "x"):
        pass
    monkeypatch.setitem(sys.modules, "dask_jobqueue", None)
    with pytest.raises(MissingPackageError, match=r"recon3d\[slurm\]"):
        cluster.queue_cluster("slurm", 1, {})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "walltime", "lines"),
    [
        ("pbs", "02:00:00", ("#PBS -l select=1:ncpus=4:mem=7630MB", "#PBS -l walltime=02:00:00", "#PBS -q gpu")),
        ("lsf", "02:00", ("#BSUB -n 4", "#BSUB -M 8000000", "#BSUB -W 02:00", "#BSUB -q gpu")),
    ],
)
def test_what_pbs_and_lsf_are_given(kind: str, walltime: str, lines: tuple[str, ...]) -> None:
    if importlib.util.find_spec("dask_jobqueue") is None:
        pytest.skip("needs dask-jobqueue")

    async def script() -> str:
        options = {"memory": "8GB", "walltime": walltime, "queue": "gpu", "asynchronous": True}
        return str(cluster.queue_cluster(kind, 4, options).job_script())

    text = asyncio.run(script())
    assert [line for line in lines if line not in text] == []
    assert text.rstrip().split("--nthreads")[-1].split()[:3] == ["1", "--memory-limit", "0"]  # the last one counts


@pytest.mark.filterwarnings("ignore")
def test_what_a_queue_is_given() -> None:
    if importlib.util.find_spec("dask_jobqueue") is None:  # importing it here would leave its handler of Ctrl-C
        pytest.skip("needs dask-jobqueue")
    options = {"memory": "8GB", "walltime": "02:00:00", "job_extra_directives": ["--gres=gpu:1"]}

    async def script() -> str:
        made = cluster.queue_cluster("slurm", 4, {**options, "asynchronous": True})
        return str(made.job_script())

    before = signal.getsignal(signal.SIGINT)
    text = asyncio.run(script())
    assert signal.getsignal(signal.SIGINT) is before
    for line in ("#SBATCH --cpus-per-task=4", "#SBATCH --mem=8G", "#SBATCH -t 02:00:00", "#SBATCH --gres=gpu:1"):
        assert line in text
    assert text.rstrip().split("--nthreads")[-1].split()[0] == "1"  # the last one counts
    with pytest.raises(ConfigError, match="--cluster-option"):
        cluster.queue_cluster("slurm", 4, {})

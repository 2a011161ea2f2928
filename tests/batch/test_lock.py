"""Locks: one holder at a time, given back however a process ends, and a left one is told."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recon3d.batch.lock import InUse, locked
from recon3d.errors import DiskFullError, InputError

HOLDER = """
import fcntl, os, sys, time
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
fcntl.flock(file, fcntl.LOCK_EX)
os.write(file, b'{"pid": 7, "host": "elsewhere", "since": "today"}')
print("held", flush=True)
time.sleep(60)
"""


def test_another_process_is_named_and_its_death_frees_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen([sys.executable, "-S", "-c", HOLDER, str(path)], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    with holder:
        assert holder.stdout.readline() == "held\n"
        said = "The folder out is in use by process 7 on elsewhere since today"
        with pytest.raises(InUse, match=said), locked(path, "The folder out"):
            pass
        holder.send_signal(signal.SIGKILL)
    with locked(path, "The folder out") as left:
        assert left
    with locked(path, "The folder out") as left:
        assert not left
    assert not path.exists()


def test_a_lock_is_held_once_in_a_process(tmp_path: Path) -> None:
    with locked(tmp_path / "lock", "It"):
        with pytest.raises(InUse, match=f"process {os.getpid()} on"), locked(tmp_path / "lock", "It"):
            pass
        assert (tmp_path / "lock").exists()


def test_a_holder_that_says_nothing(tmp_path: Path) -> None:
    file = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(file, fcntl.LOCK_EX)
    with pytest.raises(InUse, match="by another process"), locked(tmp_path / "lock", "It"):
        pass
    os.close(file)


@pytest.mark.parametrize(
    ("number", "error", "said"),
    [(errno.EROFS, InputError, "is protected"), (errno.ENOSPC, DiskFullError, "disk is full")],
)
def test_where_no_file_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, error: type[Exception], said: str
) -> None:
    def refuse(*arguments: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(error, match=said), locked(tmp_path / "lock", "The folder"):
        pass


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(InputError, match="without locks"), locked(tmp_path / "lock", "The folder"):
        pass

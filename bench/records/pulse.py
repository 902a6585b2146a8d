"""The sign of life that the driver of a run leaves in its folder, `driver.json`, and what it says.

It is written anew every other second while the run goes on, and marked when it ends. A driver that was killed leaves
it as it was; whether its process is still there tells the two apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from bench.errors import StoreError
from bench.records.canonical import parse_record
from bench.records.card import timestamp
from bench.records.folder import read_json

__all__ = ["BEAT_SECONDS", "FILE", "Pulse", "RunningCell", "new_pulse", "read_pulse", "write_pulse"]

FILE = "driver.json"
BEAT_SECONDS = 2.0
_DEAD_SECONDS = 60.0  # of silence, after which a driver on another machine is taken for dead


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningCell:
    """A cell that is being computed.

    Args:
        key: of the cell.
        title: method, model, dataset, mode and seed.
        phase: what it is doing.
        done, total: how far it has come in that; total 0: unknown.
        seconds_left: of the phase, or None.
        since: when it was first heard of; ISO 8601, UTC.
    """

    key: str
    title: str
    phase: str
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    since: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulse:
    """What a driver says of itself.

    Args:
        host, pid: where it runs, and as which process.
        birth: when that process began, in the system's own ticks; empty where the system does not say.
        started: when the run began; ISO 8601, UTC, like the other times.
        updated: when this was written.
        to_run: how many cells there were to compute.
        computed: how many of them have been.
        running: those that are being computed.
        ended: when the run ended by itself, by an error or by Ctrl-C; None while it goes on.
    """

    host: str
    pid: int
    birth: str
    started: str
    updated: str
    to_run: int
    computed: int = 0
    running: tuple[RunningCell, ...] = ()
    ended: str | None = None

    @property
    def silence_seconds(self) -> float:
        """How long ago it was written."""
        try:
            return (datetime.now(UTC) - datetime.fromisoformat(self.updated)).total_seconds()
        except (ValueError, TypeError):
            return float("inf")

    @property
    def is_alive(self) -> bool:
        """Say whether the driver still runs; of one on another machine, whether it was heard of lately."""
        if self.ended is not None:
            return False
        if self.host != socket.gethostname():
            return self.silence_seconds < _DEAD_SECONDS
        return _exists(self.pid) and _birth(self.pid) in ("", self.birth)

    @property
    def is_mine(self) -> bool:
        """Say whether it is of this very process."""
        return (self.host, self.pid, self.birth) == (socket.gethostname(), os.getpid(), _birth(os.getpid()))


def new_pulse(*, to_run: int) -> Pulse:
    """Give the first sign of life of this process."""
    now, pid = timestamp(), os.getpid()
    return Pulse(host=socket.gethostname(), pid=pid, birth=_birth(pid), started=now, updated=now, to_run=to_run)


def read_pulse(run: Path) -> Pulse | None:
    """Read the sign of life in a run's folder; None if there is none that can be read."""
    try:
        return parse_record(Pulse, read_json(run / FILE))
    except (StoreError, OSError):
        return None


def write_pulse(run: Path, pulse: Pulse) -> None:
    """Replace the sign of life in a run's folder. That it can not be written stops no run: cells say so themselves."""
    temporary = run / f".tmp-{FILE}-{secrets.token_hex(4)}"
    values: Mapping[str, object] = asdict(replace(pulse, updated=timestamp()))
    try:
        temporary.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")
        temporary.replace(run / FILE)  # not synced: after a power cut nobody is alive anyway
    except OSError:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # of another user, but there
        return True
    return True


def _birth(pid: int) -> str:
    """Give when a process began, so that another one with its number is not taken for it."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] == "Z" else words[19]

"""The engine `ray`: workers are actors of a Ray cluster, so that each loads a model once; only the driver writes.

Importing this needs the extra `editbench[ray]`. What the workers say comes back as the items of one streaming task
a cell: in order, and behind them the outcome, or Ray's word that the process is gone.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, NamedTuple

import ray
from ray.exceptions import RayError

from bench import __version__
from bench.errors import ConfigError
from bench.records.cell import Cell
from bench.running.attempt import Attempt
from bench.running.reports import thinned
from bench.running.task import Message, Outcome, Task
from bench.running.team import work_through

__all__ = ["RayEngine"]

_STACK_SECONDS = 1.0  # for a worker that was asked where it is; one that holds Python's lock can not say
_STARTS = 3  # of a worker that fails each time; then no more are tried


class RayEngine:
    """Computes cells in actors; one that dies, hangs or is damaged costs its cell and is replaced.

    Args:
        workers: how many actors; 0: as many as the cluster has room for now.
        address: of a cluster: `auto`, or HOST:PORT of its head; empty: a Ray of our own on this machine, ended with
            the run.
        gpus_per_cell: GPUs of an actor that computes on GPUs; below 1, several share one.
        timeout_seconds: how long a cell may take; None: as long as it likes.
    """

    def __init__(
        self, workers: int, *, address: str = "", gpus_per_cell: float = 1.0, timeout_seconds: float | None = None
    ) -> None:
        self._workers = workers
        self._address = address
        self._gpus_per_cell = gpus_per_cell
        self._timeout = timeout_seconds

    def run(
        self, cells: Sequence[Cell], task: Callable[[Cell], Task | None], on_message: Callable[[Message], None]
    ) -> Generator[tuple[Cell, Outcome], None, None]:
        """Compute cells; closing the iterator ends all actors, and Ray if it was started for them."""
        if not cells:
            return
        threads = max(cell.threads for cell in cells)
        # Where there are GPUs they say how many fit on a machine; threads mostly wait for them.
        is_gpu = cells[0].device == "cuda"
        share = _Share(cpus=1, gpus=self._gpus_per_cell) if is_gpu else _Share(cpus=threads, gpus=0.0)
        with _connected(self._address, share.cpus * max(1, self._workers)):
            team: list[_RayWorker] = []
            try:
                for _ in range(min(self._size(share), len(cells))):
                    team.append(_RayWorker(share))
                yield from work_through(cells, task, on_message, team, _listen, self._timeout)
            finally:
                for member in team:
                    member.end()

    def _size(self, share: _Share) -> int:
        cluster: Any = ray  # this function of Ray has no types
        room = sum(share.room(node["Resources"]) for node in cluster.nodes() if node["Alive"])
        if room:
            return self._workers or room
        lacks = f"no node of the Ray cluster has {share}"
        if not self._workers:
            raise ConfigError(f"{lacks}. Ask for less with --threads or --gpus-per-cell, or start such a node.")
        warnings.warn(f"{lacks}, as a cell needs; the run waits until one comes.", stacklevel=2)
        return self._workers


class _Share(NamedTuple):
    """What an actor takes of its node."""

    cpus: int
    gpus: float

    def __str__(self) -> str:
        return f"{self.gpus:g} GPUs and a CPU to spare" if self.gpus else f"{self.cpus} CPUs to spare"

    def room(self, resources: dict[str, float]) -> int:
        """Say how many fit on a node."""
        fit = resources.get("CPU", 0.0) // self.cpus
        if self.gpus:
            gpus = resources.get("GPU", 0.0)
            # An actor gets whole GPUs, or a part of a single one.
            fit = min(fit, gpus // self.gpus if self.gpus >= 1 else gpus * (1.0001 // self.gpus))
        return int(fit)


@contextmanager
def _connected(address: str, cpus: int) -> Iterator[None]:
    """Be connected to a cluster; one of our own has at least so many CPUs, and is ended behind the block."""
    if ray.is_initialized():
        yield
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}  # a worker's print is no result
    if not address:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent to Ray's makers
        cores = len(os.sched_getaffinity(0))
        quiet |= {"num_cpus": max(cores, cpus), "include_dashboard": False}
    try:
        ray.init(address=address or "local", **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"--address is {address!r}, and no Ray answers there: {error} Start it on this machine with `ray start`, "
            "or leave --address out for a Ray of this run's own."
        ) from error
    try:
        with _silenced():
            yield
    finally:
        ray.shutdown()


@contextmanager
def _silenced() -> Iterator[None]:
    """Keep Ray from printing about lost workers: it does so on stdout, which may be JSON. Their cells have the text."""
    # No option reaches this; log_to_driver is about what workers print.
    printer: Any = ray._private.worker
    before = printer.print_to_stdstream
    printer.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        printer.print_to_stdstream = before


class _RayWorker:
    """One actor, replaced when it has ended; it takes cells once its process has loaded what all cells need."""

    def __init__(self, share: _Share) -> None:
        self.attempt: Attempt | None = None
        self._share = share
        self._failed_starts = 0
        self._launch()

    def _launch(self) -> None:
        options: dict[str, Any] = {"num_cpus": self._share.cpus, "num_gpus": self._share.gpus}
        actor_class: Any = ray.remote(_Seat)
        # The second thread says where the first one is.
        actor_class = actor_class.options(max_concurrency=2, max_restarts=0, scheduling_strategy="SPREAD", **options)
        self._actor: Any = actor_class.remote(os.getcwd(), __version__)
        self._ready: Any = self._actor.is_ready.remote()
        self._said: Any = None

    @property
    def awaited(self) -> Any:  # what ray.wait can wait for; Ray's types are missing where Ray is
        """Give what it will say next; None if it has nothing to say."""
        return self._ready if self._ready is not None else self._said

    @property
    def is_free(self) -> bool:
        return self.attempt is None and self._ready is None

    @property
    def is_overdue(self) -> bool:
        left = self.attempt.seconds_left() if self.attempt else None
        return left is not None and left <= 0 and not ray.wait([self.awaited], timeout=0)[0]

    def start(self, task: Task, timeout_seconds: float | None) -> None:
        self.attempt = Attempt(task.cell, timeout_seconds)
        self._said = self._actor.run.options(num_returns="streaming").remote(task)

    def receive(self) -> Message | Outcome | None:
        if self._ready is not None:
            self._begin()
            return None
        assert self.attempt is not None  # only those at work are listened to
        try:
            message: Message | Outcome = ray.get(next(self._said))
        except (RayError, StopIteration) as error:
            self._replace()
            hint = "Its node may have run out of memory; what Ray knows is in the traceback."
            return self.attempt.lost("ended", hint=hint, traceback=str(error))
        if not isinstance(message, Outcome):
            self.attempt.hear(message)
            return message
        self._said = None
        if message.ends_worker:
            self._replace()
        return message

    def stop(self) -> Outcome:
        assert self.attempt is not None
        where = ""
        with suppress(RayError):
            where = str(ray.get(self._actor.stack.remote(), timeout=_STACK_SECONDS))
        self._replace()
        return self.attempt.overdue(where)

    def end(self) -> None:
        with suppress(RayError):
            ray.kill(self._actor)

    def _begin(self) -> None:
        """Take note that its process is there, or try another one."""
        try:
            ray.get(self._ready)
        except RayError as error:
            self._failed_starts += 1
            if self._failed_starts == _STARTS:
                raise ConfigError(
                    f"a Ray worker could not be started {_STARTS} times. Every node needs this version of editbench "
                    f"in the Python that Ray was started with. Ray says: {error}"
                ) from error
            self._replace()
            return
        self._ready = None
        self._failed_starts = 0

    def _replace(self) -> None:
        self.end()
        self._launch()


def _listen(team: Sequence[_RayWorker], seconds: float | None) -> list[_RayWorker]:
    """Wait until a worker has said something, so many seconds at most."""
    awaited = {member.awaited: member for member in team if member.awaited is not None}
    ready, _ = ray.wait(list(awaited), timeout=seconds)
    return [awaited[sign] for sign in ready]


class _Seat:
    """What an actor is: a worker in a thread of its own, so that it can be listened to while it computes.

    Args:
        folder: of the driver; paths that were given relative to it hold where the node has it, too.
        version: of the driver's editbench.
    """

    def __init__(self, folder: str, version: str) -> None:
        if version != __version__:
            raise ConfigError(f"the driver has editbench {version}, a node has {__version__}. Install one everywhere.")
        with suppress(OSError):
            os.chdir(folder)
        self._tasks: queue.SimpleQueue[Task] = queue.SimpleQueue()
        self._said: queue.SimpleQueue[Message | Outcome] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def is_ready(self) -> bool:
        """Answer when what all cells need has been loaded."""
        import bench.running.worker  # noqa: F401  # torch

        return True

    def run(self, task: Task) -> Iterator[Message | Outcome]:
        """Compute a cell; give what is said meanwhile, and its outcome last."""
        self._tasks.put(task)
        while True:
            said = self._said.get()
            yield said
            if isinstance(said, Outcome):
                return

    def stack(self) -> str:
        """Say where the worker is."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        return "".join(traceback.format_stack(frame)) if frame else ""

    def _work(self) -> None:
        """Be the worker; whatever it can not turn into an outcome ends the process, and so becomes a lost worker."""
        try:
            from bench.running.worker import Worker

            worker = Worker(thinned(self._said.put))
            while True:
                self._said.put(worker.run(self._tasks.get()))
        except BaseException:
            traceback.print_exc()
            os._exit(1)

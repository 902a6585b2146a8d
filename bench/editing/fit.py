"""The fit loop of learned editors, written once."""

from __future__ import annotations

import math
import time
from dataclasses import asdict

import torch

from bench.editing.accumulation import Gathered, gather
from bench.editing.checkpoint import joined, log_rows, log_state, optimiser_state, part, resume_optimiser
from bench.editing.edit import State
from bench.editing.editor import FitProgress, PreparationData
from bench.editing.fit_config import PAPER_FIT, FitConfig
from bench.editing.learner import Diverged, FitScores, Learner
from bench.editing.look import Look
from bench.editing.sampling import Sampler, micro_batches

__all__ = ["PAPER_FIT", "FitConfig", "FitScores", "fit"]

_MOST_SKIPPED = 0.05  # of all micro-batches; a fit that skips more is not to be trusted
_MOST_IN_A_ROW = 20  # steps of which nothing was finite; by then the editor itself is not
_LOG_EVERY = 10  # steps


def fit(learner: Learner, settings: FitConfig, data: PreparationData) -> State:
    """Fit an editor and give its best state on the tune split.

    Each step draws independent edits of the fit split; each starts from the unedited model. After each step
    `data.keep` is offered a checkpoint. With `data.resume` the fit goes on from one; `learner` must then have been
    made from its part `editor`, and the result is bit for bit that of a fit which was never interrupted (on a CPU,
    with the same number of threads).

    Raises:
        DataError: the fit split has too few cases, or they lack probes.
        Diverged: more than one micro-batch in twenty had a loss or gradient with NaN or infinity, or every
            look at the tune split.
    """
    loop = _Loop(learner, settings, data)
    if data.resume is not None:
        loop.resume(data.resume)
    return loop.run()


class _Loop:
    def __init__(self, learner: Learner, settings: FitConfig, data: PreparationData) -> None:
        self._learner = learner
        self._settings = settings
        self._data = data
        self._sampler = Sampler(data.cases, settings, seed=data.seed)
        self._optimiser = learner.optimiser(learner.outer_parameters())
        self._rates = [group["lr"] for group in self._optimiser.param_groups]
        self._parameters = [p for group in self._optimiser.param_groups for p in group["params"] if p.requires_grad]
        self._look = Look(learner, settings, data.tune)
        self._step = 0
        self._skipped = 0  # micro-batches
        self._empty_steps = 0  # the last steps, as far as nothing in them was finite
        self._loss = math.nan
        self._seconds_before = 0.0  # of the parts before a checkpoint
        self._started = time.perf_counter()
        self._paced_from: tuple[int, float] | None = None  # step and seconds, once the first step is done

    def run(self) -> State:
        settings = self._settings
        while self._step < settings.steps:
            if self._step % settings.validate_every == 0:
                self._take_look()
                if self._look.is_stalled:
                    break
            self._take_step()
            self._data.keep(self.checkpoint)
        else:
            self._take_look()
        if self._look.is_blind:
            raise self._diverged("no look at the tune split gave a finite loss")
        return self._look.best

    def checkpoint(self) -> State:
        """Give all that the rest of the fit depends on."""
        numbers = {
            "step": self._step,
            "skipped": self._skipped,
            "empty_steps": self._empty_steps,
            "seconds": self._seconds(),
        }
        return joined(
            {
                "editor": self._learner.state(),
                "editor_fit": self._learner.fit_state(),
                "optimiser": optimiser_state(self._optimiser),
                "sampler": self._sampler.state(),
                "look": self._look.state(),
                "log": log_state(self._data.log),
                "loop": State(values=numbers),
            }
        )

    def resume(self, checkpoint: State) -> None:
        """Go on from a checkpoint."""
        numbers = part(checkpoint, "loop").values
        self._step, self._skipped = numbers["step"], numbers["skipped"]
        self._empty_steps, self._seconds_before = numbers["empty_steps"], numbers["seconds"]
        self._learner.resume(part(checkpoint, "editor_fit"))
        resume_optimiser(self._optimiser, part(checkpoint, "optimiser"))
        self._sampler.resume(part(checkpoint, "sampler"))
        self._look.resume(part(checkpoint, "look"))
        self._data.log[:] = log_rows(part(checkpoint, "log"))

    def _take_step(self) -> None:
        settings, step = self._settings, self._step
        factor = self._factor(step)
        for group, rate in zip(self._optimiser.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor
        batches = micro_batches(self._sampler.draw(), settings.micro_batch)
        gathered = gather(self._learner, batches, self._parameters, precision=settings.precision)
        if gathered.loss is not None:
            self._descend(gathered)
            self._learner.after_step(gathered.loss)
            self._loss = float(gathered.loss.total)
        self._step += 1
        self._count_skipped(gathered, self._step * len(batches), settings.steps * len(batches))
        if step % _LOG_EVERY == 0 or self._step == settings.steps:
            self._log_step(gathered, step, factor)
        self._report()

    def _descend(self, gathered: Gathered) -> None:
        # As torch's clip_grad_norm_, but not in place: a gradient may be a view that autograd expanded.
        scale = min(self._settings.clip / (gathered.norm + 1e-6), 1.0)
        for parameter, gradient in zip(self._parameters, gathered.gradient, strict=True):
            parameter.grad = gradient if gradient is None or scale == 1 else gradient * scale
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)

    def _factor(self, step: int) -> float:
        factor = self._learner.schedule(step)
        if factor is None:
            cosine = (1 + math.cos(math.pi * step / self._settings.steps)) / 2
            factor = self._settings.decay_to + (1 - self._settings.decay_to) * cosine
        return factor

    def _count_skipped(self, gathered: Gathered, tried: int, planned: int) -> None:
        self._skipped += gathered.skipped
        self._empty_steps = 0 if gathered.loss is not None else self._empty_steps + 1
        if self._skipped > max(_MOST_SKIPPED * planned, 3) or self._empty_steps > _MOST_IN_A_ROW:
            raise self._diverged(
                f"{self._skipped} of {tried} micro-batches had a loss or gradient with NaN or infinity"
            )

    def _diverged(self, what: str) -> Diverged:
        look = self._look
        return Diverged(f"{what}; the fit was stopped after step {self._step}.", state=look.best, step=look.best_step)

    def _take_look(self) -> None:
        scores = self._look.take(self._step)
        if scores is not None:
            self._data.log.append({k if k == "step" else f"tune_{k}": float(v) for k, v in asdict(scores).items()})

    def _log_step(self, gathered: Gathered, step: int, factor: float) -> None:
        row = {"step": float(step), "seconds": self._seconds(), "rate": factor, "skipped": float(self._skipped)}
        if gathered.loss is not None:
            loss = gathered.loss
            row |= {
                "loss": float(loss.total),
                "edit_loss": float(loss.edit),
                "locality_loss": float(loss.locality),
                "success": float(loss.success),
                "drawdown": float(loss.drawdown),
                "gradient_norm": gathered.norm,
                **{name: float(value) for name, value in loss.parts.items()},
            }
        sizes = self._learner.step_sizes()
        if sizes:
            values = torch.stack([size.detach() for size in sizes.values()]).tolist()
            row |= {f"alpha/{name}": value for name, value in zip(sizes, values, strict=True)}
        self._data.log.append(row)

    def _report(self) -> None:
        seconds, left = self._seconds(), self._settings.steps - self._step
        if self._paced_from is None:  # before it a look was taken and everything was used for the first time
            self._paced_from = (self._step, seconds)
        step, since = self._paced_from
        pace = (seconds - since) / (self._step - step) if self._step > step else None
        scores = self._look.scores
        self._data.on_progress(
            FitProgress(
                step=self._step,
                steps=self._settings.steps,
                loss=self._loss,
                success=None if scores is None else scores.success,
                skipped=self._skipped,
                seconds_left=None if pace is None else pace * left,
            )
        )

    def _seconds(self) -> float:
        return self._seconds_before + time.perf_counter() - self._started

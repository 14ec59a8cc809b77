"""Tune one level: Adam along a cosine, looks at the held-out inputs, the best look kept.

    rate(step) = peak * size(tensor) * min(1, step / warm) * (1 + cos(pi * step / planned)) / 2

Time is planned, not raced against: after a few steps their speed says how many fit, and the cosine ends there. Without
a time limit, or where it does not bind, the result depends on the seed alone.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from elsa_edge.errors import NotFiniteError
from elsa_edge.repairing.distance import outputs_of
from elsa_edge.repairing.group import Alone
from elsa_edge.repairing.records import Clock, LevelResult, Look
from elsa_edge.repairing.samples import Samples
from elsa_edge.repairing.settings import RepairSettings
from elsa_edge.repairing.student import Student
from elsa_edge.repairing.teacher import Features, Teacher, run
from elsa_edge.sparsify.norms import batch_norms

if TYPE_CHECKING:
    from torch import nn

__all__ = ["LevelTuner"]

# Steps after which their speed is known; the first ones are slower.
_TRIAL: Final = 6
_WARM: Final = 0.05
_CLIP: Final = 1.0
# Of the running statistics while tuning; a network's own may be too slow for some hundred steps.
_MOMENTUM: Final = 0.1


class LevelTuner:
    """One level in work, from its first or a later step.

    Args:
        student: The network that learns.
        level: Which level.
        teacher: The dense network.
        samples: The inputs.
        settings: How.
        clock: The time for everything.
        team: The processes that work together.
        share_s: Seconds for this level, getting ready included.
    """

    def __init__(
        self,
        student: Student,
        level: int,
        teacher: Teacher,
        samples: Samples,
        *,
        settings: RepairSettings,
        clock: Clock,
        team: Alone | None = None,
        share_s: float = math.inf,
    ) -> None:
        import torch

        self.clock, self._ends_s = clock, clock.elapsed_s + share_s
        self.student, self.level, self.teacher = student, level, teacher
        self.samples, self.settings = samples, settings
        self.team = Alone(teacher.device) if team is None else team
        tuned = student.enter(level)
        self.parameters = [parameter for parameter, _ in tuned]
        self.optimizer = torch.optim.Adam(
            [{"params": [parameter], "size": size} for parameter, size in tuned]
        )
        self.step, self.planned, self.stale = 0, settings.steps, 0
        self._features = Features(student.model, settings.features)
        began_s = clock.elapsed_s
        self.best, self.kept, self.from_tuning = self.look(), student.snapshot(), False
        self._look_s = clock.elapsed_s - began_s
        self.cut = self.best
        if student.mode == "weights" and level > 0:  # what the sparser levels gave has changed since
            student.show_cut(level)
            self.cut = self.look()
            student.restore(self.kept)
        began_s = clock.elapsed_s
        self._offer_statistics()
        self._statistics_s = clock.elapsed_s - began_s
        self.started = self.best
        student.restore(self.kept)

    def look(self) -> Look:
        """Compare the level as it is with the dense network on the held-out inputs; the first process's word counts."""
        self.student.model.eval()
        found = self._look() if self.team.first else Look(0.0, 0.0)
        return Look(*self.team.decided(found.agreement, found.loss))

    def _look(self) -> Look:
        import torch

        agreement, total, count = self.teacher.distance.agreement(), 0.0, 0
        with torch.no_grad():
            for arguments, target in self.teacher.held_out:
                answer = run(self.student.model, arguments, self.teacher.device)
                size = len(outputs_of(target)[0])
                total, count = total + float(self.teacher.distance(answer, target)) * size, count + size
                agreement.add(outputs_of(answer), outputs_of(target))
        return Look(agreement.value, total / count if math.isfinite(total) else math.inf)

    def _offer(self, *, tuned: bool) -> bool:
        """Keep the level as it is where it is better than the best so far."""
        self.team.average(self.student.statistics())
        found = self.look()
        if not found.better_than(self.best):
            return False
        self.best, self.kept, self.from_tuning = found, self.student.snapshot(), tuned or self.from_tuning
        return True

    def _offer_statistics(self) -> None:
        """Estimate BatchNorm's statistics anew and keep them where they are better."""
        if batch_norms(self.student.model):
            self.teacher.estimate(self.student.model)
            self._offer(tuned=False)

    def train_step(self) -> float:
        """Do one optimiser step and return its loss.

        Raises:
            NotFiniteError: When the loss is NaN or infinite.
        """
        import torch

        settings = self.settings
        warm = max(1.0, _WARM * self.planned)
        progress = self.step / self.planned
        rate = settings.rate * min(1.0, (self.step + 1) / warm) * 0.5 * (1.0 + math.cos(math.pi * progress))
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["size"]
        arguments, target = self.teacher.lesson(
            self.level, self.step, share=self.team.place, shares=self.team.count
        )
        expected = dict(self.teacher.features)
        self.student.training_mode()
        answer = run(self.student.model, arguments, self.teacher.device)
        loss = self.teacher.distance(answer, target)
        for name, value in expected.items():
            loss = loss + (self._features.seen[name] - value).square().mean() / self.teacher.scales[name]
        found = loss.detach().reshape(1).clone()
        self.team.average([found])
        if not math.isfinite(float(found)):
            raise NotFiniteError(
                f"The loss is NaN or infinite at level {self.level}, step {self.step}",
                fix="Lower the learning rate",
            )
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]  # torch gives it no types
        self.team.average(p.grad for p in self.parameters if p.grad is not None)
        self.student.mask_gradients()
        torch.nn.utils.clip_grad_norm_(self.parameters, _CLIP)
        self.optimizer.step()
        self.student.hold()
        self.step += 1
        return float(found)

    def tune(
        self,
        *,
        progress: Callable[[int, int, float, bool], None],
        save: Callable[[], None],
    ) -> LevelResult:
        """Run the steps that are left and keep the best; a loss that is NaN ends them.

        Args:
            progress: Called with step, planned steps, best agreement, and whether there was a look.
            save: Called after each look.
        """
        settings, clock = self.settings, self.clock
        first, began_s = self.step, clock.elapsed_s
        why = "steps"
        with _momentum(self.student.model, _MOMENTUM):
            while self.step < self.planned:
                if self._over():
                    why = "time"
                    break
                try:
                    self.train_step()
                except NotFiniteError:
                    why = "NaN"
                    break
                if self.step - first == _TRIAL and math.isfinite(self._ends_s):
                    self._plan((clock.elapsed_s - began_s) / _TRIAL)
                looks = self.step % settings.check_every == 0 or self.step == self.planned
                if looks:
                    self.stale = 0 if self._offer(tuned=True) else self.stale + 1
                progress(self.step, self.planned, self.best.agreement, looks)
                if looks:
                    save()
                if self.stale >= settings.patience:
                    why = "no gain"
                    break
        if why == "time":
            self._offer(tuned=True)
        elif self.planned < settings.steps and why == "steps":
            why = "time"
        self.student.restore(self.kept)
        if self.from_tuning and not self._over(self._statistics_s):
            self._offer_statistics()
        self.student.restore(self.kept)
        self.student.keep(self.kept)
        self._features.remove()
        return LevelResult(
            self.cut.agreement, self.started.agreement, self.best.agreement, self.step, why, self.from_tuning
        )

    def _over(self, margin_s: float = 0.0) -> bool:
        """Whether the level's time is over, or would be after so many seconds."""
        if math.isinf(self._ends_s):
            return False
        (over,) = self.team.decided(self.clock.elapsed_s + margin_s >= self._ends_s)
        return bool(over)

    def _plan(self, step_s: float) -> None:
        """Plan as many of the steps that are left as fit; looks and the statistics in the end take time too."""
        left_s = self._ends_s - self.clock.elapsed_s - self._statistics_s - self._look_s
        with_looks_s = step_s + self._look_s / self.settings.check_every
        fit = self.step + max(0, int(left_s / max(with_looks_s, 1e-9)))
        self.planned = int(self.team.decided(min(self.settings.steps, fit))[0])

    def state(self) -> dict[str, Any]:
        """Return what is needed to go on after an interruption."""
        return {
            "step": self.step,
            "planned": self.planned,
            "stale": self.stale,
            "now": self.student.snapshot(),
            "kept": self.kept,
            "optimizer": self.optimizer.state_dict(),
            "from_tuning": self.from_tuning,
            "looks": [(x.agreement, x.loss) for x in (self.cut, self.started, self.best)],
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Undo `state`."""
        self.step, self.planned, self.stale = int(state["step"]), int(state["planned"]), int(state["stale"])
        self.kept, self.from_tuning = dict(state["kept"]), bool(state["from_tuning"])
        self.cut, self.started, self.best = (Look(*pair) for pair in state["looks"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.student.restore(state["now"])


@contextlib.contextmanager
def _momentum(model: nn.Module, momentum: float) -> Iterator[None]:
    norms = batch_norms(model).values()
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = momentum  # type: ignore[assignment]  # a float, typed as a module
    try:
        yield
    finally:
        for norm, own in zip(norms, before, strict=True):
            norm.momentum = own

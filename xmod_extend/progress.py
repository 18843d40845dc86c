"""What a run tells while it works. The library itself is silent: a caller hands in an observer."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xmod_extend.evaluation.probe import Candidate
    from xmod_extend.training.history import CurvePoint, StepReport


class Observer:
    """Hears of everything and shows nothing; a display overrides what it wants to show.

    A method may also decide that enough was trained:

        class Enough(Observer):
            def on_validation(self, point):
                if point.held_out_loss < 3.0:
                    self.request_stop()
    """

    stop_requested = False

    def request_stop(self) -> None:
        """Ends the training that is going on as if it was done: the best adapter is written.

        It is heard after the next step, and may be called from another thread. Where several
        languages are added, the next one is trained as usual.
        """
        self.stop_requested = True

    def on_stage(self, name: str) -> None:
        """A part of the job begins: a short sentence in the present tense."""

    def on_note(self, text: str) -> None:
        """Something worth knowing was found or decided."""

    def on_warning(self, text: str) -> None:
        """Something may make the result less useful."""

    def on_candidate(self, candidate: Candidate, count: int) -> None:
        """An existing adapter was scored, one of `count` scorings in all rounds."""

    def on_step(self, report: StepReport) -> None:
        """An optimiser step was done."""

    def on_validation(self, point: CurvePoint) -> None:
        """The held-out sample was scored."""

"""Work for a process that the system ends; a module of its own, which that process imports."""

from __future__ import annotations

import os
import signal

from xmod_extend import several
from xmod_extend.preflight import Request
from xmod_extend.progress import Observer

_train_alone = several.train_alone


def die(request: Request, observer: Observer) -> None:
    """Stands for `train_alone` of a process that the system ends."""
    if request.language.code == "ay_BO":
        os.kill(os.getpid(), signal.SIGKILL)
    _train_alone(request, observer)

"""Work for a process that the system ends; a module of its own, which that process imports."""

from __future__ import annotations

import os
import signal

from xmod_extend.jobs import add_many
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.checks import Request

_train_alone = add_many.train_alone


def die(request: Request, callback: Callback) -> None:
    """Stands for `train_alone` of a process that the system ends."""
    if request.language.code == "ay_BO":
        os.kill(os.getpid(), signal.SIGKILL)
    _train_alone(request, callback)

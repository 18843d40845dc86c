"""One of two processes that add several languages together; run by torchrun.

usage: torchrun --nproc-per-node 2 add_many_together.py BASE CORPUS OUTPUT FAILURE

FAILURE is where the second process alone fails at the first language: in `reading` its text, or in
`training`, at the fourth step: those before are also run to time them.
"""

from __future__ import annotations

import sys

import xmod_extend
from xmod_extend.errors import CorpusError, LanguagesFailedError
from xmod_extend.jobs import add_many
from xmod_extend.training.processes import Processes
from xmod_extend.training.step import Stepper

next_job, run = add_many.next_job, Stepper.run


def fail_to_read(loaded, request, callback):  # type: ignore[no-untyped-def]
    if loaded.processes.rank == 1 and request.language.code == "quz_PE":
        raise CorpusError("quz.txt is not on this machine.")
    return next_job(loaded, request, callback)


def fail_to_train(self, given, **options):  # type: ignore[no-untyped-def]
    processes: Processes = self._processes
    if processes.rank == 1 and given.step == 3:
        raise MemoryError("no room")
    return run(self, given, **options)


def main() -> None:
    base, corpus, output, failure = sys.argv[1:]
    if failure == "reading":
        add_many.next_job = fail_to_read
    else:
        Stepper.run = fail_to_train  # type: ignore[method-assign]
    languages = [{"lang": lang, "corpus": corpus} for lang in ("quz_PE", "ay_BO")]
    options = {"max_steps": 6, "batch_size": 4, "lr": 0.02}
    try:
        xmod_extend.add_languages(languages=languages, base=base, output=output, **options)
    except LanguagesFailedError as error:
        assert list(error.failures) == ["quz_PE"]
        assert "In process 1 of 2: quz.txt is not on this machine." in error.message


if __name__ == "__main__":
    main()

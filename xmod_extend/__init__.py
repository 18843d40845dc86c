"""Add a language to a pretrained X-MOD, and prove that nothing else changed.

    import xmod_extend

    record = xmod_extend.add_language(lang="quz_PE", corpus="quechua.txt", base="tiny")

Names are imported when they are first used, so `import xmod_extend` is fast and needs no torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xmod_extend.errors import XmodExtendError
    from xmod_extend.evaluation.verify import verify_checkpoint
    from xmod_extend.jobs.add import add_language
    from xmod_extend.jobs.add_many import add_languages
    from xmod_extend.jobs.callbacks import Callback
    from xmod_extend.jobs.convert import convert_checkpoint
    from xmod_extend.jobs.evaluate import compare, evaluate
    from xmod_extend.jobs.guess import fill_mask
    from xmod_extend.jobs.inspect import check_corpus, probe_corpus
    from xmod_extend.jobs.install import install_packs
    from xmod_extend.jobs.load import load
    from xmod_extend.jobs.pack import pack_language
    from xmod_extend.jobs.publication import Publication
    from xmod_extend.jobs.push import push_to_hub
    from xmod_extend.jobs.remove import remove_language
    from xmod_extend.jobs.report import write_report
    from xmod_extend.jobs.slice import slice_checkpoint
    from xmod_extend.jobs.states import State
    from xmod_extend.jobs.transfer import transfer
    from xmod_extend.languages import parse_language
    from xmod_extend.model.info import describe
    from xmod_extend.report.evaluation import Comparison, Evaluation
    from xmod_extend.report.record import RunRecord
    from xmod_extend.text.samples import sample_text

__version__ = "0.2.0"

_MODULE_OF = {
    "Callback": "jobs.callbacks",
    "Comparison": "report.evaluation",
    "Evaluation": "report.evaluation",
    "Publication": "jobs.publication",
    "RunRecord": "report.record",
    "State": "jobs.states",
    "XmodExtendError": "errors",
    "add_language": "jobs.add",
    "add_languages": "jobs.add_many",
    "check_corpus": "jobs.inspect",
    "compare": "jobs.evaluate",
    "convert_checkpoint": "jobs.convert",
    "describe": "model.info",
    "evaluate": "jobs.evaluate",
    "fill_mask": "jobs.guess",
    "install_packs": "jobs.install",
    "load": "jobs.load",
    "pack_language": "jobs.pack",
    "parse_language": "languages",
    "probe_corpus": "jobs.inspect",
    "push_to_hub": "jobs.push",
    "remove_language": "jobs.remove",
    "sample_text": "text.samples",
    "slice_checkpoint": "jobs.slice",
    "transfer": "jobs.transfer",
    "verify_checkpoint": "evaluation.verify",
    "write_report": "jobs.report",
}

__all__ = [
    "Callback",
    "Comparison",
    "Evaluation",
    "Publication",
    "RunRecord",
    "State",
    "XmodExtendError",
    "__version__",
    "add_language",
    "add_languages",
    "check_corpus",
    "compare",
    "convert_checkpoint",
    "describe",
    "evaluate",
    "fill_mask",
    "install_packs",
    "load",
    "pack_language",
    "parse_language",
    "probe_corpus",
    "push_to_hub",
    "remove_language",
    "sample_text",
    "slice_checkpoint",
    "transfer",
    "verify_checkpoint",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULE_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)

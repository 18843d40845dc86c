"""Between X-MOD's form and those of other libraries: AdapterHub's, and fairseq's."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from xmod_extend.arguments import PathOrName, as_bool, as_path, as_path_or_name, as_text
from xmod_extend.errors import CheckFailedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

To = Literal["adapterhub"]
From = Literal["adapterhub", "fairseq"]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """What was written.

    Attributes:
        output: The folder.
        form: The form that it has: of a standard `checkpoint` of X-MOD, of a language `pack`, or of
            AdapterHub, as one `adapterhub-adapter` or a whole `adapterhub-model`.
        languages: Its codes, in the order of their ids.
        num_bytes: The size of all its files.
        notes: Sentences on what was left out, if anything was.
    """

    output: Path
    form: Literal["checkpoint", "pack", "adapterhub-adapter", "adapterhub-model"]
    languages: tuple[str, ...]
    num_bytes: int
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return it as values that JSON can hold."""
        return dataclasses.asdict(self) | {"output": str(self.output)}


@dataclass(frozen=True, kw_only=True)
class ConvertRequest:
    """The arguments of `convert_checkpoint`, each of the right type.

    Attributes:
        source: A folder, a file, or a name on the Hub, as the user wrote it.
    """

    source: str
    output: Path
    lang: str | None
    base: str | None
    tokenizer: Path | None
    force: bool


def convert_checkpoint(
    checkpoint: PathOrName,
    *,
    output: PathOrName,
    to: To | None = None,
    from_: From | None = None,
    lang: str | None = None,
    base: PathOrName | None = None,
    tokenizer: PathOrName | None = None,
    force: bool = False,
) -> Conversion:
    """Write a checkpoint, or one language of it, in the form of another library, or from one.

    What was written is read again and compared, tensor by tensor, before it gets its name.

    Args:
        checkpoint: An X-MOD (folder, Hub id or `tiny`) to convert `to` another form; else a folder
            in AdapterHub's form, or fairseq's file.
        output: Folder to write.
        to: `adapterhub`: one language that `load_adapter` of `adapters` 1.3.0 loads or, without
            `lang`, the model with a folder for each language.
        from_: `adapterhub`: a language adapter becomes a language pack, a whole model a standard
            checkpoint. `fairseq`: a `.pt` file becomes a standard checkpoint.
        lang: The language to convert or, where an adapter is read, the code that it gets; by
            default the name that it has.
        base: The X-MOD that a language adapter of AdapterHub belongs to.
        tokenizer: Folder of the tokenizer to lay beside fairseq's weights, which have none.
        force: Replace a folder that the program wrote.

    Raises:
        UsageError: The arguments do not fit together, or the output cannot be written.
        ModelError: The source is damaged, or computes what the other form cannot.
        LanguageError: The checkpoint lacks the language, or the code is none.
        HubError: The source cannot be downloaded.
    """
    request = ConvertRequest(
        source=as_path_or_name("checkpoint", checkpoint),
        output=as_path("output", output),
        lang=None if lang is None else as_text("lang", lang),
        base=None if base is None else as_path_or_name("base", base),
        tokenizer=None if tokenizer is None else as_path("tokenizer", tokenizer),
        force=as_bool("force", force),
    )
    return _chosen(to, from_)(request)


def _chosen(to: object, from_: object) -> Callable[[ConvertRequest], Conversion]:
    """Return the conversion that is asked for.

    Raises:
        UsageError: None is, several are, or one that there is not.
    """
    from xmod_extend.jobs.convert_adapterhub import from_adapterhub, to_adapterhub
    from xmod_extend.jobs.convert_fairseq import from_fairseq

    if (to is None) == (from_ is None):
        raise UsageError(
            "Exactly one of --to and --from says what to convert.",
            hint="Give --to adapterhub, --from adapterhub or --from fairseq.",
        )
    if to is not None:
        _check_known("--to", to, get_args(To))
        return to_adapterhub
    _check_known("--from", from_, get_args(From))
    return from_adapterhub if from_ == "adapterhub" else from_fairseq


def _check_known(option: str, form: object, known: tuple[str, ...]) -> None:
    if form not in known:
        raise UsageError(
            f"{option} {form} is a form that there is no conversion for.",
            hint=f"It may be {' or '.join(known)}.",
        )


def refuse_options(request: ConvertRequest, *names: str, why: str) -> None:
    """Refuse options that a conversion has no use for.

    Raises:
        UsageError: One was given.
    """
    for name in names:
        if getattr(request, name) is not None:
            raise UsageError(f"--{name} has no use here: {why}.", hint=f"Leave --{name} out.")


def compare_digests(written: Mapping[str, str], expected: Mapping[str, str]) -> None:
    """Compare what was written with what it was written from, tensor by tensor.

    Raises:
        CheckFailedError: A tensor differs, is missing, or is one too many.
    """
    if written != expected:
        raise CheckFailedError(
            "What was written is not what the source has, and was removed.",
            hint="The disk may be damaged; please report it if it happens again.",
        )


def size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())

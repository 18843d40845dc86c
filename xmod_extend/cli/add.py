"""`xmod-extend add`: the main job."""

from __future__ import annotations

import dataclasses
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmod_extend.cli.errors import error_boundary
from xmod_extend.cli.output import Display, Output, duration, num_bytes
from xmod_extend.options import AddOptions, merge_options

if TYPE_CHECKING:
    from xmod_extend.report.record import RunRecord

EPILOG = (
    "Exit codes: 0 done; 1 unexpected; 2 usage; 3 corpus; 4 model or language; 5 Hub; "
    "6 a check failed; 130 interrupted, 143 terminated."
)


def add(config: Path | None, json: bool, quiet: bool, **given: Any) -> None:
    """Add a language: train its adapter on text, write the extended checkpoint, verify it."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output) as boundary:
        # What was not typed must not hide what the file says.
        chosen = {
            name: value
            for name, value in given.items()
            if value is not None and value is not False and value != []
        }
        options = merge_options(config, chosen)
        from xmod_extend.preflight import check_request

        display = Display(output)
        request = check_request(options, display)
        boundary.watch(request.output)
        output.note("Loading torch and transformers ...")
        from xmod_extend.pipeline import run_add

        try:
            record = run_add(request, display)
        finally:
            display.close()
        if output.is_first:
            _show(output, record)


def _show(output: Output, record: RunRecord) -> None:
    if record.plan is not None:
        plan = record.plan
        output.minimal(
            record.to_dict(),
            f"{plan.estimated_seconds:.0f}",
            f"Would train {plan.num_steps:,} steps, {plan.num_tokens:,} tokens "
            f"({plan.num_epochs:.1f} epochs) at a peak learning rate of {plan.lr:g}: about "
            f"{duration(plan.estimated_seconds)} at {plan.seconds_per_step:.2f} s a step.",
            f"{plan.output} would need up to {num_bytes(plan.output_bytes)} of disk. Nothing was "
            "written.",
        )
        return
    assert record.evaluation is not None and record.verification is not None
    before, after = record.evaluation.before, record.evaluation.after
    gain, proof = record.evaluation.improvement, record.verification
    output.minimal(
        record.to_dict(),
        str(record.output),
        f"{record.language}, {record.language_name}, is in {record.output}",
        f"Held-out perplexity: {before.perplexity:,.1f} with {record.evaluation.best_existing}, "
        f"the best existing adapter; {after.perplexity:,.1f} with the new one: {gain.ratio:.1f} "
        f"times lower (95 % interval {gain.low:.1f} to {gain.high:.1f})",
        f"Verified: {proof.tensors_compared:,} tensors are the same byte for byte, and the logits "
        f"of {proof.languages_compared} languages bit for bit",
        f"  {after.signature}",
        f"Load it: AutoModelForMaskedLM.from_pretrained({str(record.output)!r}), then "
        f"model.set_default_language({record.language!r})",
    )


def _signature() -> inspect.Signature:
    """The command's parameters: one for each field of `AddOptions`, and what only a shell has."""
    parameters = [_parameter(item) for item in dataclasses.fields(AddOptions)]
    extra = {
        "config": (
            Path | None,
            typer.Option("--config", metavar="FILE", help="YAML file of the same options."),
            None,
        ),
        "json": (bool, typer.Option("--json", help="Print the run record on stdout."), False),
        "quiet": (
            bool,
            typer.Option("--quiet", "-q", help="Print only the output folder, and warnings."),
            False,
        ),
    }
    parameters += [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=default,
            annotation=Annotated[kind, option],
        )
        for name, (kind, option, default) in extra.items()
    ]
    return inspect.Signature(parameters)


def _parameter(item: dataclasses.Field[Any]) -> inspect.Parameter:
    kinds: dict[str, Any] = {"int": int, "float": float, "bool": bool}
    spelled = str(item.type).removesuffix(" | None")
    kind = list[str] if item.name == "corpus" else kinds.get(spelled, str)
    help_text = item.metadata["help"]
    if item.default not in (dataclasses.MISSING, None, False):
        help_text += f" [default: {item.default}]"
    flag = "--" + item.name.replace("_", "-")
    metavar = {"corpus": "PATH", "lang": "CODE", "held_out": "PATH", "output": "DIR"}
    option = typer.Option(
        flag,
        help=help_text,
        metavar=metavar.get(item.name),
        show_default=False,
    )
    return inspect.Parameter(
        item.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=False if kind is bool else None,
        annotation=Annotated[kind if kind is bool else kind | None, option],
    )


add.__signature__ = _signature()  # type: ignore[attr-defined]
add.__annotations__ = {
    name: parameter.annotation for name, parameter in _signature().parameters.items()
}

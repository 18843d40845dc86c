"""`xmod-extend add`: the main job."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xmod_extend.cli.errors import Boundary, error_boundary
from xmod_extend.cli.options import Json, Quiet, takes, typed
from xmod_extend.cli.output import Display, Output
from xmod_extend.cli.push import hide_bars
from xmod_extend.cli.result import show_many, show_one
from xmod_extend.errors import HubError, LanguagesFailedError, UsageError
from xmod_extend.jobs.options import ALIASES, AddOptions, merge_options, named_options
from xmod_extend.options import flag
from xmod_extend.training.options import PER_PROCESS

if TYPE_CHECKING:
    from xmod_extend.jobs.checks import Request
    from xmod_extend.jobs.publication import Publication


def _alias_line() -> str:
    names = [
        f"{flag(alias)} for {flag(name)}"
        for alias, name in ALIASES.items()
        if name not in PER_PROCESS
    ]
    size, steps = map(flag, PER_PROCESS.values())
    return (
        f"Names of transformers' and AdapterHub's scripts are understood too: {', '.join(names)}; "
        f"and {size}, which times {steps} times the number of processes is the batch size."
    )


EPILOG = f"""
{_alias_line()}

Examples:

  # one language from one file
  xmod-extend add --lang quz_PE \\
    --corpus quechua.txt

  # many files; from the adapter that
  # fits best so far
  xmod-extend add --lang quz_PE \\
    --corpus 'texts/*.jsonl' \\
    --init nearest --output extended

  # two languages, each on two GPUs
  torchrun --nproc-per-node=2 \\
    -m xmod_extend add \\
    --lang quz_PE --corpus quz.txt \\
    --lang ay_BO --corpus ay.txt
"""


ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config",
        metavar="FILE",
        rich_help_panel="Running",
        help="YAML file of the same options. [default: none]",
    ),
]
PlanFile = Annotated[
    Path | None,
    typer.Option(
        "--plan-file",
        metavar="FILE",
        rich_help_panel="Running",
        help="YAML file with several languages and the options of each. [default: none]",
    ),
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs",
        metavar="N",
        rich_help_panel="Running",
        help="Languages that are trained at a time. [default: 1]",
    ),
]


@takes(AddOptions, repeated=["lang"], is_for_run=True)
def add(
    config: ConfigFile = None,
    plan_file: PlanFile = None,
    jobs: Jobs = None,
    json: Json = False,
    quiet: Quiet = False,
    **options: Any,
) -> None:
    """Add a language: train its adapter on text, write the extended checkpoint, verify it."""
    output = Output(as_json=json, quiet=quiet)
    with error_boundary(output) as boundary:
        chosen = named_options(typed(options))
        languages = chosen.pop("lang", [])
        if plan_file is not None or len(languages) > 1:
            _add_many(output, boundary, config, plan_file, jobs, languages, chosen)
            return
        if jobs is not None:
            raise UsageError(
                "--jobs is given for one language.", hint="Leave it out, or use --plan-file."
            )
        if languages:
            chosen["lang"] = languages[0]
        merged = merge_options(config, chosen)
        from xmod_extend.jobs.checks import check_request

        display = Display(output)
        request = check_request(merged, display)
        boundary.watch(request.output)
        output.note("Loading torch and transformers ...")
        from xmod_extend.jobs.add import run_add

        try:
            record = run_add(request, display)
            published = _publish(output, request, display)
        finally:
            display.close()
        if output.is_first:
            show_one(output, record, published.value)
        published.require()


def _add_many(
    output: Output,
    boundary: Boundary,
    config: Path | None,
    plan_file: Path | None,
    jobs: int | None,
    languages: list[str],
    chosen: dict[str, Any],
) -> None:
    from xmod_extend.jobs.checks import check_requests
    from xmod_extend.jobs.plan_file import pair_up, read_plan_file

    if plan_file is None:
        entries = pair_up(languages, chosen.pop("corpus", []), config, chosen)
    elif config is not None:
        raise UsageError(
            "--config and --plan-file are both given.",
            hint="Put the options for all languages at the top of the plan file.",
        )
    else:
        if languages:
            chosen["lang"] = languages
        entries = read_plan_file(plan_file, chosen)
    display = Display(output)
    requests = check_requests(entries, display)
    boundary.watch(requests[0].output)
    output.note("Loading torch and transformers ...")
    from xmod_extend.jobs.add_many import run_add_many

    try:
        records = run_add_many(requests, display, jobs=1 if jobs is None else jobs)
        published = _publish(output, requests[0], display)
    except LanguagesFailedError as error:
        display.close()
        if error.records and output.is_first:
            show_many(output, error.records, error.failures)
        raise
    finally:
        display.close()
    if output.is_first:
        show_many(output, records, {}, published.value)
    published.require()


@dataclass(frozen=True)
class _Published:
    """What became of publishing; a failure is raised when the result has been shown."""

    value: Publication | None = None
    failure: HubError | None = None

    def require(self) -> None:
        if self.failure is not None:
            raise self.failure


def _publish(output: Output, request: Request, display: Display) -> _Published:
    if request.options.push_to_hub is None or request.options.plan:
        return _Published()
    if output.quiet:
        hide_bars()
    from xmod_extend.jobs.push import publish_added

    try:
        return _Published(publish_added(request.options, request.output, display))
    except HubError as error:
        return _Published(failure=error)

"""A card's metadata as the Hub reads it, and its rules as far as they are known offline.

Source: the Hub's documentation, `model-cards` and `modelcard.md`, as of August 2026, and what its
`validate-yaml` was seen to refuse.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from xmod_extend.arguments import shown
from xmod_extend.report.card_language import DescribedLanguage
from xmod_extend.report.iso639 import is_iso639
from xmod_extend.report.licenses import LICENSE_NAME, LICENSES, OTHER, license_fields
from xmod_extend.report.markdown import plain_text

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

RELATIONS = ("adapter", "merge", "quantized", "finetune")
MOST_BYTES = 10_000_000
"""The Hub takes no larger file that is not in its storage for large ones."""
_TAG = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8}){0,3}")
"""The form of a BCP 47 tag that a record may have."""
NOT_LANGUAGES = frozenset({"code", "multilingual"})
"""What the Hub takes in a language's place."""


class _Quoted(str):
    """Text that stands in quotes in YAML, whether or not it needs them."""

    __slots__ = ()


def front_matter(
    languages: Sequence[DescribedLanguage],
    *,
    what: str,
    name: str,
    base_id: str | None,
    license: str | None,
) -> str:
    """Return the metadata of a card in YAML, as the Hub's own library writes it.

    Args:
        languages: What the card tells of.
        what: `checkpoint`, `slice` or `pack`.
        name: The folder's name, under which the results are listed.
        base_id: The base on the Hub; None of one that is not there.
        license: As the publisher named it.
    """
    import yaml
    from huggingface_hub import ModelCardData

    yaml.add_representer(_Quoted, _represent_quoted)
    codes = [_language_of(language.code) for language in languages]
    known = [code for code in codes if is_iso639(code)]
    # A region, and a code for private use, are no part of ISO 639.
    tags = [
        language.record.bcp47 if language.record is not None else code
        for language, code in zip(languages, codes, strict=True)
    ]
    others = [tag for tag in tags if tag not in known and _TAG.fullmatch(tag)]
    results = [result for language in languages for result in _results(language)]
    named = license_fields(license)
    data = ModelCardData(
        # YAML takes `no` for false, and other readers of it have their own words.
        language=_unique([_Quoted(code) for code in known]),
        language_bcp47=_unique(others),
        license=named.get("license"),
        license_name=named.get("license_name"),
        library_name="xmod-extend" if what == "pack" else "transformers",
        pipeline_tag="fill-mask",
        base_model=base_id,
        base_model_relation=base_id and ("adapter" if what == "pack" else "finetune"),
        tags=["xmod", "language-adapter", "masked-lm", "xmod-extend"],
        datasets=_unique([one for language in languages for one in language.datasets]),
        model_name=(plain_text(name)[:96] or what) if results else None,
        eval_results=results or None,
    )
    text: str = data.to_yaml()
    return text


def _represent_quoted(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"')


def _language_of(code: str) -> str:
    """Return the language of a code of X-MOD's, with two letters where ISO 639 has them."""
    from langcodes.data_dicts import LANGUAGE_ALPHA3

    language = code.partition("_")[0].lower()
    return {three: two for two, three in LANGUAGE_ALPHA3.items()}.get(language, language)


def _unique(texts: Sequence[str]) -> list[str] | None:
    return list(dict.fromkeys(texts)) or None


def _results(language: DescribedLanguage) -> Iterator[EvalResult]:
    """Yield the scores before and after, unless they mean nothing."""
    from huggingface_hub import EvalResult

    record, evaluation = language.record, language.evaluation
    if record is None or evaluation is None or not language.is_readable:
        return
    adapters = (
        (f"before, with {evaluation.best_existing}", evaluation.before),
        (f"after, with {language.code}", evaluation.after),
    )
    for state, score in adapters:
        for metric, title, value in (
            ("perplexity", score.metric.replace("_", " ").capitalize(), score.perplexity),
            ("bits_per_byte", "Bits per byte", score.bits_per_byte),
        ):
            yield EvalResult(
                task_type="fill-mask",
                task_name="Masked language modelling",
                dataset_type=language.datasets[0] if len(language.datasets) == 1 else "text",
                dataset_name=plain_text(f"Held-out text in {language.name}")[:200],
                dataset_config=language.code,
                dataset_split="held-out",
                dataset_revision=plain_text(record.corpus.held_out_sha256)[:64] or None,
                metric_type=metric,
                metric_name=plain_text(f"{title} {state}")[:200],
                metric_value=round(float(value), 6),
                metric_args={"signature": plain_text(score.signature)[:1000]},
            )


def is_hub_id(name: object) -> bool:
    """Return whether a name has the form of a repository's id."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    if not isinstance(name, str):
        return False
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return True


def check_metadata(card: str) -> list[str]:
    """Return what the Hub would refuse of a card, in sentences.

    What it only warns of is left out: a card without metadata, a task that is not in its list.
    """
    import yaml
    from huggingface_hub.repocard import REGEX_YAML_BLOCK

    if len(card.encode("utf-8", "replace")) > MOST_BYTES:
        return [f"The card has more than {MOST_BYTES:,} bytes."]
    match = REGEX_YAML_BLOCK.search(card)
    if match is None:
        return []
    try:
        fields = yaml.safe_load(match[2])
        twice = _find_repeated(yaml.compose(match[2], yaml.SafeLoader))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        return [f"The metadata is not YAML: {' '.join(str(error).split())[:200]}."]
    if fields is None:
        return []
    if not isinstance(fields, dict):
        return [f"The metadata is {shown(fields)}, not a mapping of names to values."]
    if twice is not None:
        return [f"`{twice}` is given twice in the metadata."]
    return [sentence for check in _CHECKS for sentence in check(fields)]


def _find_repeated(node: Any) -> str | None:
    """Return a key that a mapping of YAML has twice."""
    import yaml

    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            for key in keys:
                if keys.count(key) > 1:
                    return str(key)[:60]
            waiting += [value for _, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value
    return None


def _listed(fields: dict[str, Any], name: str) -> list[Any]:
    """Return a field that may be one value or a list of them."""
    value = fields.get(name)
    return [] if value is None else value if isinstance(value, list) else [value]


def _check_empty(fields: dict[str, Any]) -> Iterator[str]:
    for name, value in fields.items():
        if value is None:
            yield f"`{str(name)[:60]}` has no value."


def _check_texts(fields: dict[str, Any]) -> Iterator[str]:
    for name in ("library_name", "pipeline_tag", "license_link", "inference", "new_version"):
        value = fields.get(name)
        if value is not None and not isinstance(value, str | bool):
            yield f"`{name}` is {shown(value)}; it must be text."
    for name in ("tags", "language_bcp47", "metrics"):
        for value in _listed(fields, name):
            if not isinstance(value, str) or not value.strip():
                yield f"`{name}` has {shown(value)}; it must be text."


def _check_language(fields: dict[str, Any]) -> Iterator[str]:
    for value in _listed(fields, "language"):
        if value is False:
            yield "`language` has `no` without quotes, which YAML reads as false."
        elif not isinstance(value, str):
            yield f"`language` has {shown(value)}; it must be text."
        elif value != value.lower():
            yield f"`language` has {shown(value)}; it must be in lower case."
        elif value not in NOT_LANGUAGES and not is_iso639(value):
            yield (
                f"`language` has {shown(value)}, which is no code of ISO 639-1, 639-2 or 639-3; "
                "other tags belong into `language_bcp47`."
            )


def _check_license(fields: dict[str, Any]) -> Iterator[str]:
    for value in _listed(fields, "license"):
        if value not in LICENSES if isinstance(value, str) else True:
            yield f"`license` is {shown(value)}, which is no license that the Hub knows."
    name = fields.get("license_name")
    if OTHER in _listed(fields, "license") and name is None:
        yield "`license` is other, which needs a `license_name`."
    if name is not None and not (isinstance(name, str) and LICENSE_NAME.fullmatch(name)):
        yield (
            f"`license_name` is {shown(name)}; it must be in lower case, of letters, digits, "
            "points and hyphens."
        )


def _check_ids(fields: dict[str, Any]) -> Iterator[str]:
    for name in ("base_model", "datasets"):
        for value in _listed(fields, name):
            if not is_hub_id(value):
                yield f"`{name}` has {shown(value)}, which is no id on the Hub."
    relation = fields.get("base_model_relation")
    if relation is not None and relation not in RELATIONS:
        yield f"`base_model_relation` is {shown(relation)}; it must be {' or '.join(RELATIONS)}."


def _check_results(fields: dict[str, Any]) -> Iterator[str]:
    if fields.get("model-index") is None:
        return
    index = fields["model-index"]
    if not isinstance(index, list):
        yield f"`model-index` is {shown(index)}; it must be a list."
        return
    for i, model in enumerate(index):
        place = f"model-index[{i}]"
        yield from _require_texts(model, place, ["name"])
        results = model.get("results") if isinstance(model, dict) else None
        if not isinstance(results, list):
            yield f"`{place}.results` is {shown(results)}; it must be a list."
            continue
        for j, result in enumerate(results):
            yield from _check_result(result, f"{place}.results[{j}]")


def _check_result(result: Any, place: str) -> Iterator[str]:
    if not isinstance(result, dict):
        yield f"`{place}` is {shown(result)}; it must be a mapping."
        return
    yield from _require_texts(result.get("task"), f"{place}.task", ["type"], ["name"])
    yield from _require_texts(
        result.get("dataset"),
        f"{place}.dataset",
        ["type", "name"],
        ["config", "split", "revision"],
    )
    metrics = result.get("metrics")
    if not isinstance(metrics, list) or not metrics:
        yield f"`{place}.metrics` is {shown(metrics)}; it must be a list."
        return
    for k, metric in enumerate(metrics):
        yield from _require_texts(metric, f"{place}.metrics[{k}]", ["type"], ["name", "config"])
        value = metric.get("value") if isinstance(metric, dict) else None
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            yield f"`{place}.metrics[{k}].value` is {shown(value)}; it must be a number."


def _require_texts(
    mapping: Any, place: str, required: list[str], optional: list[str] | None = None
) -> Iterator[str]:
    if not isinstance(mapping, dict):
        yield f"`{place}` is {shown(mapping)}; it must be a mapping."
        return
    for name in [*required, *(optional or [])]:
        value = mapping.get(name)
        is_left_out = value is None and name not in required
        if not is_left_out and not (isinstance(value, str) and value):
            yield f"`{place}.{name}` is {shown(value)}; it must be text."


_CHECKS = (
    _check_empty,
    _check_texts,
    _check_language,
    _check_license,
    _check_ids,
    _check_results,
)

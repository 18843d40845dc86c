"""Several languages from a file or from pairs: what is combined, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from xmod_extend.errors import LanguageError, UsageError, XmodExtendError
from xmod_extend.jobs.callbacks import Callback
from xmod_extend.jobs.checks import check_requests
from xmod_extend.jobs.plan_file import combine_options, pair_up, read_plan_file


def write_plan(folder: Path, text: str) -> Path:
    path = folder / "languages.yaml"
    path.write_text(text)
    return path


def test_the_typed_comes_before_the_entry_before_the_top(tmp_path: Path) -> None:
    path = write_plan(
        tmp_path,
        "max-steps: 10\nlr: 1e-3\noutput: out\nlanguages:\n"
        "  - {lang: quz_PE, corpus: quz.txt}\n"
        "  - {lang: ay_BO, corpus: [a.txt, b.txt], max_steps: 500, held-out: h.txt}\n",
    )
    first, second = read_plan_file(path, {"lr": 5e-3})
    assert (first.lang, first.corpus, first.max_steps) == ("quz_PE", ("quz.txt",), 10)
    assert (second.lang, second.corpus, second.max_steps) == ("ay_BO", ("a.txt", "b.txt"), 500)
    assert (first.held_out, second.held_out) == (None, "h.txt")
    assert first.lr == second.lr == 5e-3
    assert first.output == second.output == Path("out")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("base: tiny\n", "no list of languages"),
        ("- lang\n", "no list of languages"),
        ("languages: []\n", "at least one"),
        ("languages: quz_PE\n", "at least one"),
        ("languages: [quz_PE]\n", "entry 1"),
        ("languages: [{lang: quz_PE}]\n", r"entry 1 \(quz_PE\): --corpus"),
        ("languages: [{corpus: a.txt}]\n", "entry 1: --lang"),
        ("languages: [{lang: quz_PE, corpus: a, base: tiny}]\n", r"entry 1 \(quz_PE\): base"),
        ("languages: [{lang: quz_PE, corpus: a, max_step: 1}]\n", "entry 1.*max_step"),
        ("languages: [{lang: quz_PE, corpus: a, lr: fast}]\n", "entry 1.*lr"),
        ("languages: [{lang: quz_PE, corpus: a, max_steps: 0}]\n", "entry 1.*--max-steps"),
        ("held_out: h.txt\nlanguages: [{lang: quz_PE, corpus: a}]\n", "--held-out"),
        ("langs: []\nlanguages: [{lang: quz_PE, corpus: a}]\n", "langs"),
        ("languages: [", "YAML"),
    ],
)
def test_a_wrong_plan_is_refused_by_the_entrys_name(tmp_path: Path, text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        read_plan_file(write_plan(tmp_path, text), {})


def test_a_corpus_for_all_languages_is_refused() -> None:
    with pytest.raises(UsageError, match="--corpus"):
        combine_options([{"lang": "quz_PE"}], {}, {"corpus": ("a.txt",)}, where="here")


def test_pairs_belong_together_in_their_order(tmp_path: Path) -> None:
    config = write_plan(tmp_path, "max_steps: 7\n")
    pairs = pair_up(["quz_PE", "ay_BO"], ["q.txt", "a.txt"], config, {"seed": 3})
    assert [(each.lang, each.corpus) for each in pairs] == [
        ("quz_PE", ("q.txt",)),
        ("ay_BO", ("a.txt",)),
    ]
    assert {(each.max_steps, each.seed) for each in pairs} == {(7, 3)}
    with pytest.raises(UsageError, match="2 --lang and 1 --corpus"):
        pair_up(["quz_PE", "ay_BO"], ["q.txt"], None, {})


@pytest.mark.parametrize(
    ("second", "error", "named"),
    [
        ({"lang": "quz_PE"}, LanguageError, r"entry 2 \(quz_PE\): quz_PE is listed twice"),
        ({"lang": "de_DE"}, LanguageError, r"entry 2 \(de_DE\)"),
        ({"lang": "ay-BO"}, LanguageError, r"entry 2 \(ay-BO\)"),
        ({"corpus": "missing.txt"}, XmodExtendError, r"entry 2 \(ay_BO\).*missing.txt"),
        ({"held_out": "missing.txt"}, XmodExtendError, r"entry 2 \(ay_BO\).*missing.txt"),
        ({"init": "from:xx_XX"}, LanguageError, r"entry 2 \(ay_BO\).*xx_XX"),
        ({"max_length": 33}, UsageError, r"entry 2 \(ay_BO\).*--max-length"),
    ],
)
def test_all_entries_are_checked_before_anything_heavy(
    base: Path,
    corpus: Path,
    tmp_path: Path,
    second: dict[str, Any],
    error: type[XmodExtendError],
    named: str,
) -> None:
    entries = [{"lang": "quz_PE"}, {"lang": "ay_BO"} | second]
    several = combine_options(
        [{"corpus": str(corpus)} | entry for entry in entries],
        {"base": str(base), "output": tmp_path / "out"},
        {},
        where="here",
    )
    with pytest.raises(error, match=named):
        check_requests(several, Callback())
    assert list(tmp_path.iterdir()) == []

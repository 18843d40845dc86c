"""`report` and `write_report`: the page again from the record, and never over a user's file."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from run_records import make_record

import xmod_extend
from xmod_extend.errors import ModelError, UsageError
from xmod_extend.files.output_folder import check_target
from xmod_extend.report.html import html_report, is_report
from xmod_extend.report.record import RunRecord


@pytest.fixture(scope="module")
def added(base: Path, corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("reported") / "out"
    xmod_extend.add_language(
        lang="quz_PE", corpus=corpus, base=base, output=output, max_steps=2, batch_size=2
    )
    return output


@pytest.fixture
def output(added: Path, tmp_path: Path) -> Path:
    return shutil.copytree(added, tmp_path / "out")


@pytest.mark.slow
def test_a_run_leaves_a_report_with_samples(output: Path) -> None:
    page = (output / "report.html").read_text(encoding="utf-8")
    record = RunRecord.from_dict(json.loads((output / "run.json").read_text(encoding="utf-8")))
    assert page == html_report(record)
    for section in ("sentences", "guesses", "curve", "probe", "tokenizer"):
        assert f'<h2 id="{section}">' in page
    assert "report.html" in (output / "README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_report_is_written_again_from_the_record_alone(output: Path) -> None:
    page = (output / "report.html").read_bytes()
    (output / "report.html").unlink()
    for path in output.glob("*.safetensors"):
        path.unlink()
    assert xmod_extend.write_report(output) == (output / "report.html",)
    assert (output / "report.html").read_bytes() == page


def test_a_report_written_again_is_still_the_programs(output: Path) -> None:
    (output / "report.html").unlink()
    xmod_extend.write_report(output)
    xmod_extend.write_report(output)
    check_target(output, force=True)


def test_a_report_that_the_user_changed_is_not_replaced(output: Path) -> None:
    with (output / "report.html").open("a") as file:
        file.write("<!-- mine -->")
    with pytest.raises(UsageError, match=r"report\.html was changed since"):
        xmod_extend.write_report(output)
    assert (output / "report.html").read_text(encoding="utf-8").endswith("<!-- mine -->")


def test_a_file_of_the_users_is_not_replaced_where_there_is_no_mark(output: Path) -> None:
    (output / ".xmod-extend.json").unlink()
    (output / "run.json").touch()
    (output / "model.safetensors.index.json").unlink()
    xmod_extend.write_report(output)
    (output / "report.html").write_text("<p>mine", encoding="utf-8")
    with pytest.raises(UsageError, match="was not written by xmod-extend"):
        xmod_extend.write_report(output)
    (output / "report.html").unlink()
    (output / "report.html").mkdir()
    with pytest.raises(UsageError, match="is not a file"):
        xmod_extend.write_report(output)


def test_a_checkpoint_of_version_0_1_stays_one_that_force_replaces(output: Path) -> None:
    (output / ".xmod-extend.json").unlink()
    (output / "report.html").unlink()
    (output / "run.json").touch()
    check_target(output, force=True)
    xmod_extend.write_report(output)
    check_target(output, force=True)
    (output / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"notes\.txt"):
        check_target(output, force=True)


@pytest.mark.slow
def test_each_language_keeps_its_report(output: Path, corpus: Path, tmp_path: Path) -> None:
    first = (output / "report.html").read_bytes()
    both = tmp_path / "both"
    xmod_extend.add_language(
        lang="ay_BO", corpus=corpus, base=output, output=both, max_steps=1, batch_size=2
    )
    assert (both / "report-quz_PE.html").read_bytes() == first
    assert b"Aymara" in (both / "report.html").read_bytes()
    found = xmod_extend.write_report(both)
    assert [path.name for path in found] == ["report.html", "report-quz_PE.html"]
    assert (both / "report-quz_PE.html").read_bytes() == first
    assert xmod_extend.verify_checkpoint(both, output).differences == ()


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is not there"):
        xmod_extend.write_report(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="is a file"):
        xmod_extend.write_report(tmp_path / "file")
    with pytest.raises(ModelError, match=r"has no run\.json"):
        xmod_extend.write_report(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 9}, "schema_version 9"),
        ({"surprise": 1}, "surprise"),
        ({"evaluation": {"before": 3}}, "not a run record"),
        ({"probe": [{"language": "en_XX", "perplexity": "much", "num_scored_tokens": 3}]}, "much"),
        ({"training": 7}, "not a run record"),
    ],
)
def test_a_damaged_record_is_refused_and_leaves_nothing(
    tmp_path: Path, change: dict[str, object], said: str
) -> None:
    values = make_record().to_dict() | change
    (tmp_path / "run.json").write_text(json.dumps(values))
    with pytest.raises(ModelError, match=r"run\.json") as caught:
        xmod_extend.write_report(tmp_path)
    assert said in str(caught.value) or said == "much"
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_a_checkpoint_from_elsewhere_gets_a_report(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(make_record("hi_IN").to_json(), encoding="utf-8")
    (path,) = xmod_extend.write_report(str(tmp_path))
    assert is_report(path.read_text(encoding="utf-8"))
    assert xmod_extend.write_report(tmp_path) == (path,)

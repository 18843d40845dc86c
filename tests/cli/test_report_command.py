"""`xmod-extend report`: what it prints, and what it leaves of a folder that it refuses."""

from __future__ import annotations

import json
from pathlib import Path

from refusals import Invoke, listing
from run_records import make_record


def write_record(folder: Path) -> Path:
    folder.mkdir()
    (folder / "run.json").write_text(make_record().to_json(), encoding="utf-8")
    return folder


def test_it_names_the_page(invoke: Invoke, work: Path) -> None:
    folder = write_record(work / "out")
    code, out, err = invoke("report", "out")
    assert (code, err) == (0, "")
    assert out == "out/report.html opens in any browser, without a network\n"
    assert (folder / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert invoke("report", "out", "-q") == (0, "out/report.html\n", "")
    code, out, _ = invoke("report", "out", "--json")
    assert json.loads(out) == {"schema_version": 1, "reports": ["out/report.html"]}


def test_what_it_cannot_use_is_left_as_it_is(invoke: Invoke, work: Path) -> None:
    write_record(work / "out")
    (work / "out" / "report.html").write_text("mine", encoding="utf-8")
    (work / "empty").mkdir()
    before = listing(work)
    for folder, expected, said in (
        ("nowhere", 2, "nowhere is not there."),
        ("empty", 4, "empty has no run.json"),
        ("out", 2, "out/report.html was not written by xmod-extend"),
    ):
        code, out, err = invoke("report", folder)
        assert (code, out) == (expected, "")
        assert said in err and "hint:" in err
    assert listing(work) == before
    assert (work / "out" / "report.html").read_text(encoding="utf-8") == "mine"

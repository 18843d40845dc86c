"""docs/architecture.md is a map of what is there."""

from __future__ import annotations

import re

from documents import DOCUMENTS, ROOT
from test_layers import STAGES

PACKAGE = ROOT / "xmod_extend"
TEXT = DOCUMENTS["docs/architecture.md"].read_text(encoding="utf-8")


def test_the_tree_has_all_folders_in_the_order_of_imports() -> None:
    (tree,) = re.findall(r"```text\n(.*?)```", TEXT, flags=re.DOTALL)
    folders = re.findall(r"^(\w+)/ ", tree, flags=re.MULTILINE)
    assert folders == [stage for stage in STAGES if (PACKAGE / stage).is_dir()]
    modules = tree.split("  ", 1)[0].split(", ")
    assert sorted(modules) == sorted(stage for stage in STAGES if stage not in folders)


def test_every_file_that_it_names_exists() -> None:
    for name in re.findall(r"`([\w/]+/(?:\w+\.\w+)?)`", TEXT):
        assert (PACKAGE / name).exists() or (ROOT / name).exists(), name


def test_every_name_is_in_the_module_that_it_gives() -> None:
    found = re.findall(r"`(\w+)`\s+in\s+`([\w/]+\.py)`", TEXT)
    assert len(found) > 10
    for name, module in found:
        source = (PACKAGE / module).read_text(encoding="utf-8")
        assert re.search(rf"^(?:def |class )?{name}\b", source, flags=re.MULTILINE), name

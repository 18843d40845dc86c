"""File names of all letters, whatever the locale."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from sample_text import sentences

SCRIPT = """
import json, os, sys
from pathlib import Path
from xmod_extend.text.corpus import read_corpus
folder = Path(sys.argv[1])
cache = folder / os.fsdecode(b"cache-\\xc3\\xb1")
found = {}
for path in sorted((folder / "texts").iterdir()):
    corpus = read_corpus([path], cache_dir=cache)
    found[corpus.report.files[0].rpartition("/")[2]] = len(corpus.train) + len(corpus.held_out)
print(json.dumps(found))
"""


def test_names_that_an_ascii_locale_cannot_spell_are_read(tmp_path: Path) -> None:
    lines = sentences(300)
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "ñandú тест.txt").write_text("\n".join(lines), encoding="utf-8")
    (texts / "ñ.csv").write_text("\n".join(["text", *lines]), encoding="utf-8")
    packed = pa.Codec("zstd").compress("\n".join(lines).encode())
    (texts / "ñ.txt.zst").write_bytes(bytes(packed))
    pq.write_table(pa.table({"text": lines}), texts / "ñ.parquet")
    ascii_only = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    process = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=os.environ | ascii_only,
        capture_output=True,
        check=True,
    )
    assert json.loads(process.stdout) == dict.fromkeys(
        ["ñ.csv", "ñ.parquet", "ñ.txt.zst", "ñandú тест.txt"], 300
    )
    assert (tmp_path / "cache-ñ").is_dir()

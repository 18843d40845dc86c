"""Tables with named fields, as the files of sentence tasks are."""

from __future__ import annotations

from typing import Any

from xmod_extend.errors import CorpusError
from xmod_extend.text.formats import Format
from xmod_extend.text.sources import Source

TABLES: dict[str, Format] = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".json": "jsonl",
    ".parquet": "parquet",
}
"""The form of a table, by the end of its name before the compression's."""

_DELIMITERS = ",;\t|"
_MOST_JSON_BYTES = (1 << 31) - 1


def read_table(source: Source, content: bytes) -> dict[str, list[Any]]:
    """Return the columns of a table by their names; in .csv and .tsv all values are text.

    Raises:
        CorpusError: It is no table, a row is too long or too short, or a name occurs twice.
    """
    import pyarrow as pa

    try:
        table = _parse(source, content)
    except pa.ArrowException as error:
        reason = " ".join(str(error).split())[:200].rstrip(".")
        raise CorpusError(
            f"{source.name} is not a valid {source.format} table: {reason}.",
            hint="A .jsonl file has one JSON object a line; in .csv, put quotation marks around "
            "what holds the separator.",
        ) from error
    names = table.column_names
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise CorpusError(
            f"{source.name} has {names.count(twice[0])} columns named {twice[0]!r}.",
            hint="Give each another name.",
        )
    columns: dict[str, list[Any]] = table.to_pydict()
    return columns


def _parse(source: Source, content: bytes) -> Any:
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.json
    import pyarrow.parquet

    buffer = pa.BufferReader(content)
    if source.format == "parquet":
        return pyarrow.parquet.read_table(buffer)
    if source.format == "jsonl":
        # A block must hold whole objects.
        reading = pyarrow.json.ReadOptions(block_size=min(len(content) + 1, _MOST_JSON_BYTES))
        return pyarrow.json.read_json(buffer, read_options=reading)
    first = content.split(b"\n", 1)[0].decode()
    is_tsv = source.format == "tsv"
    parsing = pyarrow.csv.ParseOptions(
        delimiter="\t" if is_tsv else max(_DELIMITERS, key=first.count),
        # With tabs between the fields, quotation marks are a part of the text.
        quote_char=False if is_tsv else '"',
        newlines_in_values=not is_tsv,
    )
    reader = pyarrow.csv.read_csv(pa.BufferReader(content), parse_options=parsing)
    converting = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(reader.column_names, pa.string()), strings_can_be_null=False
    )
    return pyarrow.csv.read_csv(buffer, parse_options=parsing, convert_options=converting)

"""Tables of results as pandas frames."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from xmod_extend.report.extras import require

if TYPE_CHECKING:
    import pandas


def to_frame(rows: Iterable[Mapping[str, Any]]) -> pandas.DataFrame:
    """Return a frame with a row for each mapping.

    Raises:
        UsageError: pandas is not installed.
    """
    frame: pandas.DataFrame = require("pandas", caller="to_pandas()").DataFrame(list(rows))
    return frame

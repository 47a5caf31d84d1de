"""Values for machines: csv that no spreadsheet runs as a formula, and the types of JSON."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from reports.escape import csv_cell

__all__ = ["csv_text", "plain"]


def csv_text(header: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """A csv file's text; see :func:`reports.escape.csv_cell` for the cells."""
    output = io.StringIO()
    writer = csv.writer(output, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([csv_cell(value) for value in row] for row in rows)
    return output.getvalue()


def plain(value: Any) -> Any:
    """The same value of JSON's types: dataclasses become objects, tuples lists, what is not finite null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return plain(vars(value)) if hasattr(value, "__dict__") else value

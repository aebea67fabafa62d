"""Tenants from reference/tenants.yaml or tenants.csv: declared strictly, then judged by their contract like any other source.

What a tenant is stands in `reference.py`, what its contract says in checks/contracts/tenants.odcs.yaml.
"""

import csv
import json
import tempfile
from collections.abc import Sequence
from functools import cache
from io import StringIO
from pathlib import Path
from typing import Any

from mc_pipelines.errors import MissionError
from mc_pipelines.yamlread import bytes_of

COLUMNS_AS_JSON = frozenset({"stages"})


def csv_rows(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """(line, row) of a CSV file with a header; an empty cell is an absent key. MissionError names a row of another width."""
    rows = []
    try:
        with StringIO(bytes_of(path).decode("utf-8-sig"), newline="") as stream:
            reader = csv.reader(stream)
            header = next(reader, [])
            if len(set(header)) < len(header):
                raise MissionError(f"{path}:1: a column is there twice: {', '.join(header)}. Keep one.")
            for cells in reader:
                if not cells:
                    continue
                if len(cells) != len(header):
                    raise MissionError(
                        f"{path}:{reader.line_num}: {len(cells)} cells, the header has {len(header)}. Quote cells with commas."
                    )
                row = {name: cell for name, cell in zip(header, cells, strict=True) if cell != ""}
                rows.append((reader.line_num, {name: _cell(path, reader.line_num, name, cell) for name, cell in row.items()}))
    except (UnicodeDecodeError, csv.Error) as error:
        raise MissionError(f"{path}: not a CSV file in UTF-8: {error}") from error
    return rows


def _cell(path: Path, line: int, name: str, cell: str) -> Any:
    if name not in COLUMNS_AS_JSON:
        return cell
    try:
        return json.loads(cell)
    except (ValueError, RecursionError) as error:  # too many digits, too deep
        raise MissionError(f"{path}:{line}: {name}: {cell!r} is no JSON: {error}") from error


@cache
def refused(contract_path: Path, contract_text: str, rows: str) -> Sequence[tuple[int, str]]:
    """(index, reasons) of the rows, given as JSON Lines, that the contract refuses; the text is there so that an edit is seen."""
    from mc_pipelines.engine import connect
    from mc_pipelines.landing import single
    from mc_pipelines.odcs import load_contract
    from mc_pipelines.staging import stage

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "tenants.ndjson"
        file.write_text(rows, encoding="utf-8")
        staged = stage(connect(), load_contract(contract_path), [("1970-01-01", single(file))])
        found = staged.refused.project('"offset", reasons').fetchall()
    return [(int(offset) - 1, str(reasons)) for offset, reasons in found]

"""Landed files into the lake: a landing day's files are staged by their contract, refused rows and file facts are written beside.

Order of commits: quarantine, file facts, staged rows. The staged table's window is the commit point; a killed run does all three again.
How a row is judged stands in `staging.py`, what a file is in `landing.py`.
"""

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines import contracts, fields, landing, personal, rawlines, staging
from mc_pipelines.contracts import PARTNERS, Contract
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.faults import reach
from mc_pipelines.lake import Draft
from mc_pipelines.odcs import load_contract

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Work, Workshop

PACKED = 10
"""How many times larger compressed rows become as text, about."""
LOG = logging.getLogger(__name__)


def contract_of(home: "Home", source: str) -> Contract:
    """The contract of a source, the home's replacing the checkout's."""
    path = home.declared(f"checks/contracts/{source}.odcs.yaml")
    if not path.exists():
        names = sorted(Path(name).name.partition(".")[0] for name in home.declarations("checks/contracts", "*.odcs.yaml"))
        raise MissionError(f"{path}: no contract for source {source!r}. There are {', '.join(names)}; name one of them, or write this one.")
    return load_contract(path)


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of what a landing day's rows come from: its files' bytes, the contract, and the code that reads them."""
    source = model.key.partition(".")[2]
    files, left = landing.look(shop.home, source, window)
    whole = hashlib.sha256()
    for line in left:
        LOG.warning(line)
        whole.update(f"{line}\n".encode())
    for file in files:
        whole.update(f"{file.name} {file.scan.sha256}\n".encode())
    contract = contract_of(shop.home, source)
    if contract.personal:
        whole.update(hashlib.sha256(b"key of personal fields" + personal.key(shop.home)).digest())
    for path in (contract.path, *(Path(module.__file__ or "") for module in (contracts, fields, landing, personal, rawlines, staging))):
        whole.update(hashlib.sha256(path.read_bytes()).digest())
    return whole.hexdigest()


def weight(shop: "Workshop", model: "Model", window: str) -> int:
    """About how many bytes a landing day's rows take as text."""
    files, _ = landing.look(shop.home, model.key.partition(".")[2], window)
    return sum(file.bytes * (PACKED if file.gzipped or file.format == "parquet" else 1) for file in files)


def staged(work: "Work") -> "duckdb.DuckDBPyRelation":
    """The accepted rows of the windows' files; quarantine and file facts are committed first, from the same pass.

    Raises MissionError where a landed file's bytes changed or it is gone.
    """
    shop, source = work.shop, work.model.key.partition(".")[2]
    result: staging.Staged
    recipes: dict[str, str]

    # One inside the other: what each table may overwrite is fixed before the files are looked at, so that a run which saw fewer files
    # conflicts with one that saw more, whichever of the tables it comes too late for.
    def refused() -> Draft:
        nonlocal result, recipes
        result, recipes = _judged(work, source)
        return Draft(result.refused, recipes, {})

    def facts() -> Draft:
        shop.lake.replace(f"quarantine.{source}", "landing_day", refused, shop.run_id)
        reach("staging.quarantine_committed")
        return Draft(result.facts, recipes, {})

    shop.lake.replace(f"landing.{source}", "landing_day", facts, shop.run_id)
    reach("staging.rows_committed")
    return result.accepted


def _judged(work: "Work", source: str) -> tuple[staging.Staged, dict[str, str]]:
    """The rows of the windows' files as they lie there now, and a digest of those files for every window."""
    known = _known(work.shop, f"landing.{source}")
    files, unread = [], []
    for window in work.windows:
        found, left = landing.look(work.shop.home, source, window)
        landing.unchanged(found, known.get(window, {}))
        files += [(window, file) for file in found]
        unread += [
            (window, line) for line in left if not Path(line.partition(":")[0]).name.startswith(".")
        ]  # hidden ones are nobody's data
    digest = hashlib.sha256("\n".join([*(file.scan.sha256 for _, file in files), *(line for _, line in unread)]).encode()).hexdigest()
    contract = contract_of(work.shop.home, source)
    personal.bind(work.con, contract, work.shop.home)
    staged = staging.stage(work.con, contract, files, work.shop.run_id, unread)
    return staged, dict.fromkeys(work.windows, digest)


def _known(shop: "Workshop", table: str) -> dict[str, dict[str, tuple[str, int]]]:
    """sha256 and size of every file landed before, by landing day and name."""
    con = connect()
    if shop.lake.view(con, table) is None:
        return {}
    known: dict[str, dict[str, tuple[str, int]]] = {}
    for day, file, sha, size in con.sql(
        f"SELECT CAST(landing_day AS VARCHAR), file, sha256, bytes FROM {table} WHERE left_because IS NULL"
    ).fetchall():
        known.setdefault(day, {})[file] = sha, int(size)
    return known


def try_rows(home: "Home", path: Path, source: str) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Accepted and refused rows of one file, wherever it lies; nothing is written."""
    from mc_pipelines.calendars import calendar_instants
    from mc_pipelines.marketplace.declared import read_partners
    from mc_pipelines.reference import read, read_calendar

    contract, file = contract_of(home, source), landing.single(path)
    con = connect()
    personal.bind(con, contract, home, make=False)
    con.execute("CREATE SCHEMA reference")
    con.execute("CREATE TABLE reference.tenants (tenant_id VARCHAR)")
    con.executemany("INSERT INTO reference.tenants VALUES (?)", [[tenant.tenant_id] for tenant in read(home, "tenants")] or [[""]])
    con.execute("CREATE TABLE reference.calendar (begins TIMESTAMP, ends TIMESTAMP)")
    con.execute("INSERT INTO reference.calendar VALUES (?, ?)", calendar_instants(read_calendar(home)))
    if any(PARTNERS in rule for _, rule in contract.rules):
        con.execute("CREATE SCHEMA marketplace")
        con.execute(f"CREATE TABLE {PARTNERS} (partner_id VARCHAR)")
        con.executemany(f"INSERT INTO {PARTNERS} VALUES (?)", [[each.partner_id] for each in read_partners(home)] or [[""]])
    result = staging.stage(con, contract, [("1970-01-01", file)])
    for (why,) in result.facts.filter("left_because IS NOT NULL").project("left_because").fetchall():
        raise MissionError(f"{path}: {why}.")
    return _records(result.accepted), _records(result.refused)


def _records(relation: "duckdb.DuckDBPyRelation") -> list[dict[str, Any]]:
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]

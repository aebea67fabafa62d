"""The predicate of an attempt: what is written about how its numbers came to be, and the way to read that back.

Here and nowhere else are its keys named. Computing belongs to attempts.py, close.py and reproduce.py, the signature around it to bundle.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines import report
from mc_pipelines.catalog import Catalog, Model
from mc_pipelines.code import code_digest, code_version
from mc_pipelines.declarations import Header
from mc_pipelines.engine import connect
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import PROVENANCE
from mc_pipelines.evidence.canonical import parse, sha256
from mc_pipelines.evidence.checkpoint import Head
from mc_pipelines.evidence.dsse import STATEMENT_TYPE, envelope_payload
from mc_pipelines.evidence.proofs import roots
from mc_pipelines.evidence.retention import read_retention
from mc_pipelines.gates import Gate
from mc_pipelines.home import Home
from mc_pipelines.runner import Workshop
from mc_pipelines.windows import Window

if TYPE_CHECKING:
    from mc_pipelines.attempts import Judged
    from mc_pipelines.evidence.entry import Entry

MAX_BYTES = 32 << 20
REPEATED = ("deliverable", "period", "as_of", "code", "inputs", "acceptance", "models")
"""The keys that `Recorded.read` needs to compute a window again."""


def predicate(
    shop: Workshop, judged: "Judged", waivers: Sequence[Mapping[str, Any]], earlier: "Sequence[Entry]", head: Head
) -> dict[str, Any]:
    """Code, parameters, pinned inputs, landing files, SQL, gates, the waivers that stand, earlier attempts, and the journal's head before this one."""
    retention = read_retention(shop.home)
    return {
        "deliverable": judged.deliverable,
        "period": judged.window.name,
        "window": judged.window.key,
        "as_of": judged.as_of,
        "code": {"version": code_version(), "digest": code_digest(shop.home)},
        "run_id": shop.run_id,
        "verdict": report.verdict(judged.results),
        "inputs": [
            {"name": name, "version": version, "digest": shop.lake.files_digest(name, version)}
            for name, version in sorted(judged.pins.items())
        ],
        "landing": _landed(shop, judged.pins),
        "models": {model.key: _declared(model) for model in shop.catalog.behind(shop.catalog.judged(judged.deliverable))},
        "acceptance": [gate.model_dump() for gate in judged.gates],
        "gates": [result.to_json() for result in judged.results],
        "waivers": [*waivers, *_explained(shop, judged)],
        "merkle": roots(judged.files),
        "earlier_attempts": [
            {key: entry.body[key] for key in ("edition", "verdict", "digest", "bundle")} | {"refused": entry.refused} for entry in earlier
        ],
        "checkpoint": head.document(),
        "retention": {"years": retention.evidence_years, "until": retention.until(judged.as_of)},
    }


def _explained(shop: Workshop, judged: "Judged") -> list[dict[str, Any]]:
    """The signed explanations of the window: each waives one difference. None where nothing here is explained."""
    if "reference.explained" not in judged.pins:
        return []
    con = connect()
    shop.lake.view(con, "reference.explained", judged.pins["reference.explained"])
    return report.records(
        con,
        "SELECT tenant_id, meter, reason, note AS rationale, owner, expires, signed_by AS person, entry FROM reference.explained "
        f"WHERE signed_by IS NOT NULL AND period = DATE '{judged.window.key}' ORDER BY tenant_id, meter",
    )


def _landed(shop: Workshop, pins: Mapping[str, int]) -> list[dict[str, Any]]:
    con, tables = connect(), sorted(name for name in pins if name.startswith("landing."))
    for table in tables:
        shop.lake.view(con, table, pins[table])
    files = [
        f"SELECT '{table.partition('.')[2]}' AS source, landing_day, file, sha256, bytes FROM {table} WHERE left_because IS NULL"
        for table in tables
    ]
    return report.records(con, f"{' UNION ALL '.join(files)} ORDER BY ALL") if files else []


def _declared(model: Model) -> dict[str, Any]:
    header = model.header.model_dump(mode="json", exclude_defaults=True)
    return {
        "recipe": model.recipe,
        "sql": model.sql,
        "reads": list(model.deps),
        "header": header,
        "deliverable": model.deliverable,
        "owner": model.owner,
    }


@dataclass(frozen=True)
class Recorded:
    """What a predicate says, in the types that computing takes. `digests` are those of the pinned tables, by name."""

    deliverable: str
    window: Window
    code: str
    pins: Mapping[str, int]
    digests: Mapping[str, str]
    gates: tuple[Gate, ...]
    catalog: Catalog

    @classmethod
    def read(cls, found: Mapping[str, Any]) -> "Recorded":
        """From a verified predicate. MissionError where it is not that of a close, or of one that recorded less."""
        try:
            models = {key: _model(key, declared) for key, declared in found["models"].items()}
            return cls(
                deliverable=found["deliverable"],
                window=Window(found["period"], found.get("window", f"{found['period']}-01"), found["as_of"]),
                code=found["code"]["digest"],
                pins={each["name"]: each["version"] for each in found["inputs"]},
                digests={each["name"]: each["digest"] for each in found["inputs"]},
                gates=tuple(Gate.model_validate(each) for each in found["acceptance"]),
                catalog=Catalog(models, {}),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise MissionError(
                f"the predicate is not that of an attempt which can be computed again ({type(error).__name__}: {error}); name the bundle of one"
            ) from error


def _model(key: str, declared: Mapping[str, Any]) -> Model:
    header = Header.model_validate(declared["header"])
    return Model(key, header, declared["deliverable"], declared["owner"], Path(f"{key}.sql"), declared["sql"])


def named_predicate(home: Home, entry: "Entry") -> Mapping[str, Any]:
    """The predicate of the bundle that a journal entry names. MissionError where it is gone, or is not the one that was named."""
    path = home.evidence / str(entry.body["bundle"]) / PROVENANCE
    try:
        data = path.read_bytes()
        if sha256(data) != entry.body["envelope"]:
            raise ValueError(f"its sha256 is {sha256(data)[:16]}, entry {entry.number} of the journal names {entry.body['envelope'][:16]}")
        found = parse(envelope_payload(parse(data, limit=MAX_BYTES), STATEMENT_TYPE), limit=MAX_BYTES)["predicate"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MissionError(f"{path}: {error}; restore the bundle from a copy") from error
    assert isinstance(found, Mapping)
    return found

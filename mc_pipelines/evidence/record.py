"""The predicate of a close: what is written about how its numbers came to be, and the way to read that back.

Here and nowhere else are its keys named. Computing belongs to close.py and reproduce.py, the signature around it to bundle.py.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mc_pipelines import report
from mc_pipelines.catalog import Catalog, Header, Model
from mc_pipelines.code import code_digest, code_version
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

if TYPE_CHECKING:
    from mc_pipelines.close import Closing
    from mc_pipelines.evidence.entry import Entry

MAX_BYTES = 32 << 20
REPEATED = ("period", "as_of", "code", "inputs", "acceptance", "models")
"""The keys that `Recorded.read` needs to compute the close again."""


def predicate(
    shop: Workshop, closing: "Closing", waivers: Sequence[Mapping[str, Any]], earlier: "Sequence[Entry]", head: Head
) -> dict[str, Any]:
    """Code, parameters, pinned inputs, landing files, SQL, gates, the waivers that stand, earlier attempts, and the journal's head before this one."""
    retention = read_retention(shop.home)
    return {
        "deliverable": closing.deliverable,
        "period": closing.period[:7],
        "as_of": closing.as_of,
        "code": {"version": code_version(), "digest": code_digest(shop.home)},
        "run_id": shop.run_id,
        "verdict": report.verdict(closing.results),
        "inputs": [
            {"name": name, "version": version, "digest": shop.lake.files_digest(name, version)}
            for name, version in sorted(closing.pins.items())
        ],
        "landing": _landed(shop, closing.pins),
        "models": {model.key: _declared(model) for model in shop.catalog.ordered()},
        "acceptance": [gate.model_dump() for gate in closing.gates],
        "gates": [result.to_json() for result in closing.results],
        "waivers": [*waivers, *_explained(shop, closing)],
        "merkle": roots(closing.files),
        "earlier_attempts": [
            {key: entry.body[key] for key in ("edition", "verdict", "digest", "bundle")} | {"refused": entry.refused} for entry in earlier
        ],
        "checkpoint": head.document(),
        "retention": {"years": retention.evidence_years, "until": retention.until(closing.as_of)},
    }


def _explained(shop: Workshop, closing: "Closing") -> list[dict[str, Any]]:
    """The signed explanations of the month: each waives one difference."""
    con = connect()
    shop.lake.view(con, "reference.explained", closing.pins["reference.explained"])
    return report.records(
        con,
        "SELECT tenant_id, meter, reason, note AS rationale, owner, expires, signed_by AS person, entry FROM reference.explained "
        f"WHERE signed_by IS NOT NULL AND period = DATE '{closing.period}' ORDER BY tenant_id, meter",
    )


def _landed(shop: Workshop, pins: Mapping[str, int]) -> list[dict[str, Any]]:
    con = connect()
    for table in ("landing.usage_events", "landing.gateway_log"):
        shop.lake.view(con, table, pins[table])
    return report.records(
        con,
        "SELECT 'usage_events' AS source, landing_day, file, sha256, bytes FROM landing.usage_events WHERE left_because IS NULL "
        "UNION ALL SELECT 'gateway_log', landing_day, file, sha256, bytes FROM landing.gateway_log WHERE left_because IS NULL ORDER BY ALL",
    )


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

    period: str
    as_of: str
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
                period=f"{found['period']}-01",
                as_of=found["as_of"],
                code=found["code"]["digest"],
                pins={each["name"]: each["version"] for each in found["inputs"]},
                digests={each["name"]: each["digest"] for each in found["inputs"]},
                gates=tuple(Gate.model_validate(each) for each in found["acceptance"]),
                catalog=Catalog(models, {}),
            )
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise MissionError(
                f"the predicate is not that of a close which can be computed again ({type(error).__name__}: {error}); name a close's bundle"
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

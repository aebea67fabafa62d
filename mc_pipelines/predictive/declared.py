"""What a home declares for predictive operations, read strictly, and as tables: audit settings, quotas, playbooks, the card's surfaces.

Abuse rules are read in `abuse.py`, the card in `card.py`.
"""

import hashlib
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, field_validator, model_validator

from mc_pipelines.code import package_digest
from mc_pipelines.disk import there
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.canonical import canonical
from mc_pipelines.predictive.quotas import MOST
from mc_pipelines.predictive.sampling import Ladder
from mc_pipelines.reference import Declared, declared_list, line_of_item, read, read_one
from mc_pipelines.reference_tables import relation_of
from mc_pipelines.yamlread import bytes_of, line_at

if TYPE_CHECKING:
    import duckdb

    from mc_pipelines.catalog import Model
    from mc_pipelines.home import Home
    from mc_pipelines.runner import Work, Workshop

FILES = {
    "settings": ("audits.yaml",),
    "quotas": ("quotas.yaml",),
    "playbooks": ("playbooks.yaml",),
    "card": ("model_card.yaml",),
    "surfaces": ("model_card.yaml",),
    "rules": ("abuse_rules.yaml",),
}


class Settings(Declared):
    """How a model's decisions are audited. Shares lie between 0 and 1."""

    product: str
    model: str
    confidence: Decimal = Field(gt=0, lt=1)
    tolerable: Decimal = Field(gt=0, lt=1)
    """Share of overturned decisions that must be found with that confidence."""
    expected: Decimal = Field(ge=0, lt=1)
    """Share that is expected, for which the sample leaves room."""
    second_share: Decimal = Field(ge=0, le=1)
    """Share of the sampled decisions that a second auditor reads without seeing the first verdict."""
    due_days: int = Field(ge=0, le=60)
    auditors: tuple[str, ...] = Field(min_length=2)
    ladder: tuple[tuple[int, int], ...] = ()
    """Stop-or-go, which is registered with the seed: (decisions read so far, overturned ones up to which the audit may stop)."""

    @model_validator(mode="after")
    def _possible(self) -> "Settings":
        if self.expected >= self.tolerable:
            raise ValueError(f"expected {self.expected} is not below tolerable {self.tolerable}; no sample could tell them apart")
        if len(set(self.auditors)) < len(self.auditors):
            raise ValueError("an auditor stands twice; name each once")
        return self


class ToRegister(Settings):
    """What may be declared, and so be signed from now on; what stands signed was judged by the rules of its day."""

    auditors: tuple[Annotated[str, Field(pattern="^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")], ...] = Field(min_length=2)
    """Pseudonyms that are part of a file's name and a cell of a CSV, so that none is a path or a formula."""

    @field_validator("confidence", "tolerable", "expected", "second_share")
    @classmethod
    def _short(cls, value: Decimal) -> Decimal:
        if value != round(value, 9):
            raise ValueError("write at most nine decimals")
        return value

    @model_validator(mode="after")
    def _told_apart(self) -> "ToRegister":
        if len({each.casefold() for each in self.auditors}) < len(self.auditors):
            raise ValueError("two auditors differ in capitals only, as no two names of files should; name each once")
        return self


class Quota(Declared):
    tenant_id: str
    rate: Decimal = Field(gt=0, le=MOST, decimal_places=9)
    """Tokens a second; both as `quotas.Bucket` takes them."""
    capacity: Decimal = Field(gt=0, le=MOST, decimal_places=9)
    monthly_budget: Decimal = Field(ge=0, max_digits=29, decimal_places=9)


class Playbook(Declared):
    playbook: str
    title: str
    owner: str
    runbook: str
    steps: int = Field(ge=1, le=1000)


def read_settings(home: "Home") -> Settings:
    """`reference/audits.yaml`. MissionError names file, line, value and remedy."""
    path = home.reference / "audits.yaml"
    found = Settings.model_validate(read_one(path, ToRegister).model_dump())
    if found.ladder:
        try:
            Ladder(found.ladder, found.tolerable, found.confidence)
        except MissionError as error:
            raise MissionError(f"{path}:{line_at(path, ('ladder',))}: {error}") from error
    return found


def read_playbooks(home: "Home") -> list[Playbook]:
    """`reference/playbooks.yaml`. MissionError where a playbook stands twice."""
    path = home.reference / "playbooks.yaml"
    rows = declared_list(path, "playbooks", Playbook)
    for place, row in enumerate(rows):
        if row.playbook in {other.playbook for other in rows[:place]}:
            raise MissionError(f"{path}:{line_of_item(path, 'playbooks', place)}: playbook {row.playbook} is declared twice. Keep one.")
    return rows


def read_quotas(home: "Home") -> list[Quota]:
    """`reference/quotas.yaml`. MissionError where a tenant stands twice, or is not declared."""
    path = home.reference / "quotas.yaml"
    rows = declared_list(path, "quotas", Quota)
    known = {tenant.tenant_id for tenant in read(home, "tenants")}
    for place, row in enumerate(rows):
        where = f"{path}:{line_of_item(path, 'quotas', place)}: tenant {row.tenant_id}"
        if row.tenant_id not in known:
            raise MissionError(f"{where} is not declared among the tenants. Mend it, or take the row out.")
        if row.tenant_id in {other.tenant_id for other in rows[:place]}:
            raise MissionError(f"{where} has two quotas. Keep one.")
    return rows


def read_all(home: "Home") -> None:
    """Everything that a home declares for predictive operations; MissionError for the first file that is wrong."""
    from mc_pipelines.predictive.abuse import read_rules
    from mc_pipelines.predictive.card import read_card

    read_settings(home)
    read_quotas(home)
    read_playbooks(home)
    read_card(home)
    read_rules(home.reference / "abuse_rules.yaml")


def fingerprint(shop: "Workshop", model: "Model", window: str) -> str:
    """Digest of the files that a table is read from, and of the code that reads them."""
    paths: list[Path] = [shop.home.reference / name for name in FILES[model.key.partition(".")[2]]]
    files = [hashlib.sha256(bytes_of(path)).hexdigest() if there(path) else "absent" for path in paths]
    return " ".join([*files, package_digest("predictive")])


def settings(work: "Work") -> "duckdb.DuckDBPyRelation":
    found = read_settings(work.shop.home)
    schema = {"product": "VARCHAR", "model": "VARCHAR", "declared": "VARCHAR", "due_days": "BIGINT"}
    text = canonical(found.model_dump(mode="json")).decode()
    return relation_of(work, schema, iter([(found.product, found.model, text, found.due_days)]))


def settings_of(con: "duckdb.DuckDBPyConnection") -> Settings:
    """The audit settings as they are declared now, from the table that a connection sees; what stands with a seed is `seeds.registered`."""
    ((text,),) = con.sql("SELECT declared FROM predictive.settings").fetchall()
    return Settings.model_validate_json(text)


def quotas(work: "Work") -> "duckdb.DuckDBPyRelation":
    rows = read_quotas(work.shop.home)
    schema = {"tenant_id": "VARCHAR", "rate": "DECIMAL", "capacity": "DECIMAL", "monthly_budget": "DECIMAL"}
    return relation_of(work, schema, ((row.tenant_id, row.rate, row.capacity, row.monthly_budget) for row in rows))


def playbooks(work: "Work") -> "duckdb.DuckDBPyRelation":
    schema = {"playbook": "VARCHAR", "title": "VARCHAR", "owner": "VARCHAR", "runbook": "VARCHAR", "steps": "BIGINT"}
    rows = read_playbooks(work.shop.home)
    return relation_of(work, schema, ((row.playbook, row.title, row.owner, row.runbook, row.steps) for row in rows))


def card(work: "Work") -> "duckdb.DuckDBPyRelation":
    from mc_pipelines.predictive.card import read_card

    found = read_card(work.shop.home)
    schema = {"model": "VARCHAR", "card_version": "VARCHAR", "model_version": "VARCHAR", "declared": "VARCHAR"}
    row = (found.model, found.card_version, found.model_version, canonical(found.model_dump(mode="json")).decode())
    return relation_of(work, schema, iter([row]))


def surfaces(work: "Work") -> "duckdb.DuckDBPyRelation":
    from mc_pipelines.predictive.card import read_card

    found = read_card(work.shop.home)
    schema = {"surface": "VARCHAR", "link": "VARCHAR", "card_version": "VARCHAR"}
    return relation_of(work, schema, ((surface, found.link, found.card_version) for surface in found.surfaces))


def rules(work: "Work") -> "duckdb.DuckDBPyRelation":
    from mc_pipelines.predictive.abuse import read_rules

    rows = read_rules(work.shop.home.reference / "abuse_rules.yaml")
    schema = {"rule": "VARCHAR", "about": "VARCHAR", "owner": "VARCHAR", "declared": "VARCHAR"}
    return relation_of(work, schema, ((row.rule, row.about, row.owner, row.model_dump_json()) for row in rows))

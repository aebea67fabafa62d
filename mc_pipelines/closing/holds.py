"""Which tenants a failed gate holds: those of its offending rows, or everybody where the rows name none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mc_pipelines.gates import Gate, GateResult

if TYPE_CHECKING:
    import duckdb


@dataclass(frozen=True)
class Holds:
    """Tenants of a period, and the critical gates that hold each, or all of them."""

    tenants: tuple[str, ...]
    held: Mapping[str, tuple[str, ...]]
    everybody: tuple[str, ...]

    @property
    def green(self) -> tuple[str, ...]:
        """Tenants that nothing holds."""
        return () if self.everybody else tuple(tenant for tenant in self.tenants if tenant not in self.held)

    def frees(self, tenant: str) -> bool:
        """Whether it is one of those that nothing holds."""
        return not self.everybody and tenant not in self.held and self.knows(tenant)

    def knows(self, tenant: str) -> bool:
        """Whether it is one of the period's."""
        return tenant in self._known

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(self.tenants)

    def document(self) -> dict[str, Any]:
        """As the journal has it."""
        return {
            "tenants": list(self.tenants),
            "held": {tenant: list(gates) for tenant, gates in self.held.items()},
            "everybody": list(self.everybody),
        }

    @classmethod
    def read(cls, document: Mapping[str, Any]) -> "Holds":
        """The inverse of `document`."""
        held = {tenant: tuple(gates) for tenant, gates in document["held"].items()}
        return cls(tuple(document["tenants"]), held, tuple(document["everybody"]))


def holds(con: "duckdb.DuckDBPyConnection", gates: Sequence[Gate], results: Sequence[GateResult]) -> Holds:
    """From the gates as they were judged on the month that `con` shows. A gate without evidence holds everybody; a warning holds nobody."""
    tenants = [
        tenant
        for (tenant,) in con.sql(
            "SELECT tenant_id FROM metering.variance UNION SELECT tenant_id FROM metering.invoices ORDER BY tenant_id"
        ).fetchall()
    ]
    declared = {gate.gate: gate for gate in gates}
    held: dict[str, list[str]] = {}
    everybody = []
    for result in results:
        if result.status == "passed" or result.severity != "critical":
            continue
        found = _offending(con, declared[result.gate]) if result.status == "failed" else None
        if not found:  # nobody is named, so nobody is let through
            everybody.append(result.gate)
        for tenant in found or ():
            held.setdefault(tenant, []).append(result.gate)
    return Holds(tuple(tenants), {tenant: tuple(names) for tenant, names in sorted(held.items())}, tuple(everybody))


def _offending(con: "duckdb.DuckDBPyConnection", gate: Gate) -> list[str] | None:
    """The tenants of the rows that offend; None where the table is not by tenant."""
    if "tenant_id" not in con.sql(f"FROM {gate.table} LIMIT 0").columns:
        return None
    bounds = {"min_value": gate.between.min_value, "max_value": gate.between.max_value}
    used = {name: value for name, value in bounds.items() if value is not None and f"${name}" in gate.offending}
    rows = con.sql(f"SELECT DISTINCT tenant_id FROM {gate.table} WHERE {gate.offending} ORDER BY tenant_id", params=used or None)
    return [tenant for (tenant,) in rows.fetchall()]

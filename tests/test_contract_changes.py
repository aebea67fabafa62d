"""A contract is a promise to producers: what breaks it needs a new major version. `released.json` holds the last reviewed contracts.

After a change that breaks nothing, or a new major version: `python tests/test_contract_changes.py`.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from mc_pipelines.contracts import breaking, promise
from mc_pipelines.home import CHECKOUT
from mc_pipelines.odcs import load_contract

RELEASED = Path(__file__).with_name("released.json")
FOLDER = CHECKOUT / "checks" / "contracts"


def promises() -> dict[str, Any]:
    return {path.name.partition(".")[0]: promise(load_contract(path)) for path in sorted(FOLDER.glob("*.odcs.yaml"))}


def test_no_contract_breaks_its_promise_without_a_new_major_version() -> None:
    released = json.loads(RELEASED.read_text(encoding="utf-8"))
    now = promises()
    assert set(now) >= set(released), "a contract was removed"
    assert {name: breaking(released[name], now[name]) for name in released} == {name: [] for name in released}
    assert released == now, "rewrite released.json: python tests/test_contract_changes.py"


def field(**changes: Any) -> dict[str, Any]:
    return {"path": "data.bytes", "logical": "number", "required": False, "options": {"minimum": 0}} | changes


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({}, ["bytes: removed"]),
        ({"bytes": field(path="data.size")}, ["bytes: stands at data.size, was data.bytes"]),
        ({"bytes": field(logical="string")}, ["bytes: is a string, was a number"]),
        ({"bytes": field(required=True)}, ["bytes: is required now"]),
        ({"bytes": field(options={"minimum": 1})}, ["bytes: minimum is 1, was 0"]),
        ({"bytes": field(options={"minimum": 0, "maximum": 9})}, ["bytes: maximum is 9, was None"]),
        ({"bytes": field(), "size": field(required=True)}, ["size: new and required"]),
        ({"bytes": field(), "size": field()}, []),
        ({"bytes": field(options={})}, []),
    ],
)
def test_what_breaks_a_promise(after: dict[str, Any], said: list[str]) -> None:
    before = {"version": "1.0.0", "fields": {"bytes": field()}}
    assert breaking(before, {"version": "1.4.0", "fields": after}) == said
    assert breaking(before, {"version": "2.0.0", "fields": after}) == []


if __name__ == "__main__":
    if RELEASED.exists():
        broken = {name: breaking(old, promises()[name]) for name, old in json.loads(RELEASED.read_text(encoding="utf-8")).items()}
        if any(broken.values()):
            raise SystemExit(f"breaking, so raise the major version first: {broken}")
    RELEASED.write_text(json.dumps(promises(), indent=1, sort_keys=True) + "\n", encoding="utf-8")

"""Documents judged by the JSON Schemas of docs/schemas: every fault with its place, its line and what to do."""

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from mc_pipelines.home import CHECKOUT
from mc_pipelines.marketplace.located import Located, Problem, Where, shown

if TYPE_CHECKING:
    from jsonschema import ValidationError

FOLDER = CHECKOUT / "docs" / "schemas"
MOST_TEXT = 200


@cache
def _validator(name: str) -> Any:
    from jsonschema import Draft202012Validator

    schema = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


def properties(name: str) -> frozenset[str]:
    """The keys that a document of this schema may have at its top."""
    return frozenset(_validator(name).schema["properties"])


def schema_problems(document: Located, name: str) -> list[Problem]:
    """Where a document is not as `docs/schemas/<name>.json` says, in order of its lines."""
    found = [_problem(document, error) for error in _validator(name).iter_errors(document.value)]
    return sorted(found, key=lambda each: (each.line or 0, each.where, each.message))


def _problem(document: Located, error: "ValidationError") -> Problem:
    where: Where = tuple(error.absolute_path)
    message = error.message if len(error.message) <= MOST_TEXT else f"{error.message[:MOST_TEXT]}…"
    schema = error.schema if isinstance(error.schema, dict) else {}
    if error.validator == "not":
        message = "not allowed beside what else is said"
    if error.validator == "required":
        missing = error.message.split("'")[1]
        schema = _resolved(schema.get("properties", {}).get(missing, {}))
    return Problem(shown(where), document.line(where), message, schema.get("description") or "See the schema in docs/schemas.")


def _resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return (
        {"description": "An id is lower-case letters, digits, - and _, a letter first."} if schema.get("$ref") == "#/$defs/id" else schema
    )


def fault(document: Located, where: Where, message: str, remedy: str) -> Problem:
    """A problem that no schema can say."""
    return Problem(shown(where), document.line(where), message, remedy)

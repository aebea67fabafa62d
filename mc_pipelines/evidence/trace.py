"""From a gate back to everything that made its value: SQL, table versions, landed files, as the bundle's predicate recorded them."""

from collections.abc import Iterator, Mapping
from typing import Any

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.proofs import rows_file


def trace(predicate: Mapping[str, Any], gate: str) -> dict[str, Any]:
    """The gate's result, the tables it rests on (the judged one first, upstream after), and the landed files of the sources among them.

    From a verified predicate of a close. MissionError for a gate that it has not.
    """
    if "gates" not in predicate:
        raise MissionError("the bundle is not that of an attempt, so it judged no gate; name the bundle of one.")
    results = {result["gate"]: result for result in predicate["gates"]}
    if gate not in results:
        raise MissionError(f"{gate}: the bundle judged no such gate. It judged {', '.join(sorted(results))}.")
    tables = [_table(predicate, name) for name in _upstream(predicate["models"], results[gate]["table"])]
    sources = {each["name"].partition(".")[2] for each in tables if each["name"].startswith("landing.")}
    return {
        "gate": results[gate],
        "period": predicate["period"],
        "code": predicate["code"],
        "tables": tables,
        "landing": [each for each in predicate["landing"] if each["source"] in sources],
    }


def _upstream(models: Mapping[str, Any], table: str) -> list[str]:
    """The table and all that it reads, breadth first; with each also what the same computation writes beside it."""
    owners = {also: key for key, model in models.items() for also in model["header"].get("also", ())}
    found, waiting = list[str](), [table]
    while waiting:
        name = waiting.pop(0)
        if name in found:
            continue
        found.append(name)
        model = models[owners.get(name, name)]
        waiting += [*model["reads"], *(model["header"].get("also", ()))]
    return found


def _table(predicate: Mapping[str, Any], name: str) -> dict[str, Any]:
    models = predicate["models"]
    key = next((key for key, model in models.items() if name in model["header"].get("also", ())), name)
    pin = next((each for each in predicate["inputs"] if each["name"] == name), {"version": None, "digest": None})
    model = models[key]
    return {
        "name": name,
        "version": pin["version"],
        "digest": pin["digest"],
        "about": model["header"]["about"],
        "owner": model["owner"],
        "reads": model["reads"],
        "sql": model["sql"],
        "compute": model["header"].get("compute"),
        "rows": f"data/{rows_file(name)}" if model["header"]["every"] in {"month", "sprint"} and not model["header"].get("view") else None,
    }


def lines(found: Mapping[str, Any], every_file: bool = False) -> Iterator[str]:
    """A trace as text. `every_file` lists each landed file, otherwise their number and days."""
    gate = found["gate"]
    yield f"gate     {gate['gate']} ({gate['owner']}): {gate['status']}. {gate['reason']}"
    for row in gate["offending"]:
        yield f"offends  {row}"
    yield f"window   {found['period']}, code {found['code']['digest'][:12]}"
    for table in found["tables"]:
        yield f"\ntable    {table['name']} version {table['version']}, digest {(table['digest'] or '-')[:12]}. {table['about']}"
        if table["rows"]:
            yield f"rows     {table['rows']}"
        if table["reads"]:
            yield f"reads    {', '.join(table['reads'])}"
        yield from (f"    {line}" for line in (table["sql"] or f"computed by {table['compute']}").splitlines())
    yield ""
    for source in sorted({each["source"] for each in found["landing"]}):
        files = [each for each in found["landing"] if each["source"] == source]
        days = sorted({each["landing_day"] for each in files})
        yield f"landing  {source}: {len(files)} file(s) of {days[0]}..{days[-1]}"
        if every_file:
            yield from (f"    {each['sha256']}  {each['file']} ({each['bytes']} bytes)" for each in files)

"""A generated marketplace with known truth: requests to connect, feedback and actions, landed.

Everything follows from the seed, and the same arguments give the same bytes. Nothing here calls the pipeline; the truth is counted while
the rows are made.
"""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from mc_pipelines.errors import MissionError
from mc_pipelines.generated import AGAIN, Place, Row, Spoil, by_day, land, land_spoilt, new_file, text_of
from mc_pipelines.marketplace.simulated_feedback import CATEGORIES, ROUNDS, SIZE, feedback
from mc_pipelines.marketplace.simulated_requests import IMPOSSIBLE, PEOPLE, requests
from mc_pipelines.marketplace.simulated_truth import PLAIN, Troubles, Truth

REPEATED = 20
"""One row in so many lands again the day after."""
LOCAL = "2026-04-20T10:00:00"
SPOILS: dict[str, tuple[Spoil, ...]] = {
    "connect_requests": (
        ("tenant_id:unknown_tenant", {"tenant_id": "nobody"}),
        ("request_id:missing", {"request_id": None}),
        ("occurred_at:zone", {"occurred_at": LOCAL}),
        ("state:pattern", {"state": "lost"}),
        (AGAIN, {}),
    ),
    "feedback": (
        ("text:missing", {"text": None}),
        ("category:pattern", {"category": "praise"}),
        ("severity:pattern", {"severity": "mild"}),
        ("contact_consent:pattern", {"contact_consent": "maybe"}),
        ("submitted_at:zone", {"submitted_at": LOCAL}),
        ("feedback_id:pattern", {"feedback_id": "Remark 1"}),
        ("partner_id:unknown_partner", {"partner_id": "nobody"}),
        ("text:blank", {"text": " \n"}),
        ("contact:consent", {"contact": "partner-contact@people.example", "contact_consent": "no"}),
    ),
    "actions": (
        ("action_id:missing", {"action_id": None}),
        ("state:pattern", {"state": "lost"}),
        ("recorded_at:zone", {"recorded_at": LOCAL}),
        ("due:day", {"due": "2026-02-31"}),
    ),
}
"""Per source, what is wrong with its bad rows and the reason that its contract gives."""


def simulate(
    landing: Path,
    sources: Sequence[str],
    tenants: Sequence[str],
    partners: Sequence[str],
    first: date,
    last: date,
    count: int,
    issues: int,
    seed: int,
    troubles: Troubles = PLAIN,
    faults: bool = True,
    place: Place = new_file,
) -> Truth:
    """Land `count` requests to connect and `issues` different issues of UTC days `first` to `last` under `landing`.

    `faults` plants bad rows and copies; impossible transitions are always there. MissionError for impossible arguments and for a landed
    file that `place` refuses.
    """
    most = len(CATEGORIES) * SIZE * ROUNDS
    if (
        not (sources and len(tenants) > 1 and partners)
        or last - first < timedelta(days=9)
        or count < len(IMPOSSIBLE)
        or not 3 <= issues <= most
    ):
        raise MissionError(
            f"simulate: {len(sources)} sources, {len(tenants)} tenants, {len(partners)} partners, {first}..{last}, {count} requests, {issues} "
            f"issues: name some of each and two tenants, at least 10 days, at least {len(IMPOSSIBLE)} requests, and 3 to {most} issues."
        )
    begin, end = datetime.combine(first, time(), UTC), datetime.combine(last + timedelta(days=1), time(), UTC) - timedelta(seconds=1)
    events, known, refused = requests(seed, sources, tenants, begin, end, count, troubles)
    said = feedback(seed, partners, begin, end, issues, troubles)
    landed: dict[str, tuple[Sequence[Row], str]] = {
        "connect_requests": (events, "occurred_at"),
        "feedback": (said.rows, "submitted_at"),
        "actions": (said.actions, "recorded_at"),
    }
    rows: dict[str, int] = {}
    malformed: dict[str, dict[str, int]] = {}
    copies: dict[str, int] = {}
    for source, (each, field) in landed.items():
        rows[source] = land(landing, source, source, by_day(each, field), place)
        if faults:
            copies[source] = _copies(seed, source, landing, each, field, last, place)
            malformed[source] = land_spoilt(landing, source, first + (last - first) / 2, each, SPOILS[source], place)
            rows[source] += copies[source] + sum(malformed[source].values())
    return Truth(
        seed=seed,
        end=end,
        rows=rows,
        malformed=malformed,
        requests=known,
        impossible=refused,
        copies=copies,
        feedback={row["feedback_id"]: row["category"] for row in said.rows},
        tags=said.tags,
        same_words=said.same_words,
        other_words=said.other_words,
        untracked=said.untracked,
        actions={row["action_id"]: row["state"] for row in said.actions},
        personal=said.personal | set(PEOPLE),
    )


def _copies(seed: int, source: str, landing: Path, rows: Sequence[Row], field: str, last: date, place: Place) -> int:
    """Land some rows again the day after, none after the last day; returns how many."""
    again = {}
    for day, each in by_day(rows, field).items():
        chosen = [row for row in each if int(text_of(seed, f"again {source}", str(row))[:8], 16) % REPEATED == 0]
        if chosen and day < last:
            again[day + timedelta(days=1)] = chosen
    return land(landing, source, "copies", again, place)

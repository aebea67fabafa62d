"""Generated feedback of partners and the actions that follow it: issues in their own words, again in other ones, with people's data inside."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from mc_pipelines.generated import Chance, Row, instant
from mc_pipelines.marketplace.simulated_truth import Troubles

CATEGORIES = {
    "bug": (
        ("The export", "Login", "The preview", "The connector", "The schedule", "The webhook"),
        ("stops half way", "shows an empty page", "answers twice", "loses the last row", "ends in a timeout", "rounds amounts"),
    ),
    "data_quality": (
        ("Postal codes", "Birth years", "Currency codes", "Company names", "Coordinates", "Timestamps"),
        ("are missing", "stand in the wrong column", "repeat", "are outdated", "have mixed units", "contradict the totals"),
    ),
    "sla": (
        ("The first reply", "The weekly refresh", "The hotline", "The escalation", "The status page", "The onboarding call"),
        ("came a day late", "was cancelled", "took three reminders", "fell on a holiday", "got no answer", "was not announced"),
    ),
    "docs": (
        ("The quick start", "The error list", "The field guide", "The example notebook", "The glossary", "The changelog"),
        ("names an old endpoint", "has no dates", "skips authentication", "is unclear", "is only in English", "differs from the API"),
    ),
    "feature": (
        ("Licence filters", "Alerts", "Parquet files", "A sandbox", "Bulk approval", "Saved views"),
        ("would spare us mornings", "are what customers ask for", "belong into the plan", "should work offline", "need a quota", "could be shared"),
    ),
    "other": (
        ("Your newsletter", "The partner badge", "The privacy notice", "The invoice layout", "The logo", "The meeting room"),
        ("needs a new date", "uses an old name", "pleased the team", "is hard to find", "should be smaller", "arrived by post"),
    ),
}  # fmt: skip
"""By category: what feedback is about, and what it says of it."""
TAGGED = {
    "Login": "access",
    "The connector": "access",
    "ends in a timeout": "performance",
    "are missing": "quality",
    "stand in the wrong column": "quality",
    "are outdated": "freshness",
    "came a day late": "freshness",
    "got no answer": "response-time",
    "The example notebook": "documentation",
    "is unclear": "documentation",
    "Licence filters": "licence",
    "The privacy notice": "privacy",
}
"""By part of a text, the tag that data/reference/marketplace/tagging.yaml gives it."""
WHEN = ("since the release", "on two of nine days", "for large accounts", "in the evening hours", "after a retry", "under the new plan")
AGAIN = "Once more in other words, so that it is not lost: "
NEEDLES = ("mara.lindqvist@partner.invalid", "+49 30 901820 77", "Mr Obadiah Fenwick")
"""No word of these is one that a tag stands for."""
SEVERITIES = ("low", "medium", "medium", "high", "critical")
OWNERS = ("team:marketplace", "team:data-eng", "team:docs")
SIZE, ROUNDS = 6, 3
"""Subjects, symptoms and times a category; so many issues may share a subject, for more would share a second part too."""


@dataclass(frozen=True)
class Feedback:
    """Rows of feedback and actions, and what is true of them; see `simulated_truth.Truth`."""

    rows: list[Row]
    actions: list[Row]
    tags: dict[str, frozenset[str]]
    same_words: frozenset[frozenset[str]]
    other_words: frozenset[frozenset[str]]
    untracked: frozenset[str]
    personal: frozenset[str]


def feedback(seed: int, partners: Sequence[str], first: datetime, end: datetime, issues: int, troubles: Troubles) -> Feedback:
    """`issues` different issues; every seventh comes again in another case, every eleventh in other words, every ninth names a person.

    At most 18 issues a category: any two of them share at most one of their three parts.
    """
    span = end - first - timedelta(days=2)
    rows: list[Row] = []
    actions: list[Row] = []
    tags: dict[str, frozenset[str]] = {}
    same, other, untracked, personal = set(), set(), set(), set()
    for number in range(issues):
        chance = Chance(seed, "feedback", number)
        ident, at = f"fb-{number:04d}", first + span * chance.below(100_000) / 100_000
        category, parts = _issue(number)
        tags[ident] = frozenset(TAGGED[part] for part in parts if part in TAGGED)
        row = {"feedback_id": ident, "partner_id": chance.one_of(partners), "category": category, "text": f"{' '.join(parts)}."}
        row["severity"] = chance.one_of(SEVERITIES)
        if number % 9 == 0:
            needle = NEEDLES[number // 9 % len(NEEDLES)]
            row["text"] += f" Ask {needle} for details."
            personal.add(needle)
        consent = chance.below(2) == 1
        contact = f"partner-contact-{number}@people.example" if consent else None
        if contact:
            row["contact"] = contact
            personal.add(contact)
        row |= {"contact_consent": "yes" if consent else "no", "submitted_at": instant(at)}
        rows.append(row)
        later = at + timedelta(hours=chance.between(2, 40))
        again = {"feedback_id": f"{ident}-b", "submitted_at": instant(later)}
        if number % 7 == 3:
            rows.append(row | again | {"text": f"{_loud(row['text'])} !!"})
            personal |= {_loud(needle) for needle in NEEDLES if needle in row["text"]}
            same.add(frozenset({ident, f"{ident}-b"}))
        elif number % 11 == 5:
            text = f"{AGAIN}{row['text'].split(' ', 1)[1]}: {row['text'].split(' ', 1)[0]}."
            rows.append(row | again | {"text": text})
            actions += _actions(seed, row["partner_id"], f"{ident}-b", later, end, ("dropped",))
            other.add(frozenset({ident, f"{ident}-b"}))
        if troubles.untracked and number in (1, 2):
            untracked.add(ident)
        else:
            actions += _actions(seed, row["partner_id"], ident, at, end, ("open", "in_progress", "done"))
    tags |= {row["feedback_id"]: tags[row["feedback_id"][:-2]] for row in rows if row["feedback_id"] not in tags}
    return Feedback(rows, actions, tags, frozenset(same), frozenset(other), frozenset(untracked), frozenset(personal))


def _loud(text: str) -> str:
    return text.upper().replace(" ", "  ")


def _issue(number: int) -> tuple[str, tuple[str, str, str]]:
    """The category of an issue and the three parts of its text."""
    category = list(CATEGORIES)[number % len(CATEGORIES)]
    subjects, symptoms = CATEGORIES[category]
    one, two = number // len(CATEGORIES) % SIZE, number // (len(CATEGORIES) * SIZE) % ROUNDS
    return category, (subjects[one], symptoms[(one + two) % SIZE], WHEN[(one + 2 * two) % SIZE])


def _actions(seed: int, partner: str, feedback_id: str, at: datetime, end: datetime, states: Sequence[str]) -> list[Row]:
    """An action's states as they were recorded until the end: taken up within hours, done within days, every tenth late."""
    chance = Chance(seed, "action", feedback_id)
    owner, late = chance.one_of(OWNERS), chance.below(10) == 0
    due = (at + timedelta(days=5)).date().isoformat()
    rows: list[Row] = []
    for state in states:
        at = (
            min(at + timedelta(minutes=chance.between(30, 2400) * (4 if late else 1)), end)
            if rows
            else at + timedelta(minutes=chance.between(30, 400))
        )
        if rows and at == end:
            break
        rows.append(
            {
                "action_id": f"ac-{feedback_id[3:]}",
                "partner_id": partner,
                "feedback_id": feedback_id,
                "owner": owner,
                "due": due,
                "state": state,
                "recorded_at": instant(at),
            }
        )
    return rows

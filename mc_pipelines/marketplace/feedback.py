"""What partners say: forms checked, tagged by declared rules, the same words taken for one issue, and actions joined to issues.

Free text is compared and tagged here and shown nowhere: an issue is named by ids.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache, lru_cache

from mc_pipelines.marketplace.declared import Tag, Tagging
from mc_pipelines.marketplace.located import Problem, located
from mc_pipelines.marketplace.schemas import schema_problems

SCHEMA = "partner-feedback"
DONE = frozenset({"done", "dropped"})
SEVERITIES = ("low", "medium", "high", "critical")
"""From the least to the worst."""
Key = tuple[str, str]
"""Partner and its own id of a form: two partners may give the same id."""


@dataclass(frozen=True)
class Feedback:
    """A landed form. `submitted_at` is naive UTC."""

    feedback_id: str
    partner_id: str
    category: str
    severity: str
    text: str
    submitted_at: datetime

    @property
    def key(self) -> Key:
        return self.partner_id, self.feedback_id


@dataclass(frozen=True)
class Action:
    """What is done about a remark, as it stood when it was recorded (naive UTC); `landed` orders rows of one instant. `due` is a UTC day."""

    action_id: str
    partner_id: str
    feedback_id: str
    owner: str
    due: date
    state: str
    recorded_at: datetime
    landed: tuple[str | int, ...]

    @property
    def key(self) -> Key:
        return self.partner_id, self.feedback_id


@dataclass(frozen=True)
class Issue:
    """Remarks of one partner and category in the same words, as bad as the worst of them; its id is partner and first remark.

    `actions` are the newest rows, by action id. `tracked`: some action has an owner. `overdue`: some open action's day is over. Untagged issues need no action.
    """

    issue_id: str
    partner_id: str
    category: str
    severity: str
    tags: tuple[str, ...]
    feedback_ids: tuple[str, ...]
    first_at: datetime
    last_at: datetime
    actions: tuple[Action, ...]
    overdue: bool

    @property
    def tracked(self) -> bool:
        return any(action.owner.strip() for action in self.actions)


def check_form(data: bytes) -> list[Problem]:
    """Every problem of a filled-in form (JSON, docs/schemas/partner-feedback.json), in order of lines."""
    form = located(data)
    return list(form.problems) if form.broken else [*form.problems, *schema_problems(form, SCHEMA)]


@lru_cache(maxsize=4096)
def normalised(text: str) -> str:
    """Compatibility form, case folded; whatever is no letter, mark or digit is a blank, and blanks are one."""
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    return " ".join("".join(each if unicodedata.category(each)[0] in "LMN" else " " for each in folded).split())


def tags_of(feedback: Feedback, rules: Iterable[Tag]) -> tuple[str, ...]:
    """The tags of a remark, in order of their names."""
    words = f" {normalised(feedback.text)} "
    return tuple(sorted(rule.tag for rule in rules if _applies(rule, feedback.category, words)))


def _applies(rule: Tag, category: str, words: str) -> bool:
    return (not rule.categories or category in rule.categories) and any(_needle(each) in words for each in rule.any_of)


@cache
def _needle(phrase: str) -> str:
    """A phrase as it stands among normalised words; with * at its end the last word goes on as it likes."""
    return f" {normalised(phrase)}" if phrase.endswith("*") else f" {normalised(phrase)} "


def first_landed(landed: Iterable[Feedback]) -> tuple[Feedback, ...]:
    """Of every form, in the order in which rows landed, the first one."""
    first: dict[Key, Feedback] = {}
    for each in landed:
        first.setdefault(each.key, each)
    return tuple(first.values())


def groups(remarks: Iterable[Feedback], days: int) -> tuple[tuple[Feedback, ...], ...]:
    """Remarks that are one issue: same normalised words, partner and category, at most `days` after the first; text without words is alone."""
    found: list[list[Feedback]] = []
    current: dict[tuple[str, str, str], list[Feedback]] = {}
    for each in sorted(remarks, key=lambda one: (one.submitted_at, one.feedback_id, one.partner_id)):
        key = (each.partner_id, each.category, normalised(each.text))
        group = current.get(key)
        if group is None or not key[2] or each.submitted_at - group[0].submitted_at > timedelta(days=days):
            group = current[key] = []
            found.append(group)
        group.append(each)
    return tuple(map(tuple, found))


def newest(actions: Iterable[Action], as_of: datetime) -> tuple[Action, ...]:
    """Each action as it stood at `as_of` (naive UTC), in order of ids."""
    known = (each for each in actions if each.recorded_at <= as_of)
    return tuple({each.action_id: each for each in sorted(known, key=lambda one: (one.action_id, one.recorded_at, one.landed))}.values())


def issues(
    remarks: Sequence[Feedback], actions: Iterable[Action], tagging: Tagging, as_of: datetime
) -> tuple[tuple[Issue, ...], tuple[Action, ...]]:
    """Issues in order of their first remark, and actions that name no known remark. `as_of` is naive UTC."""
    standing = newest(actions, as_of)
    known = [each for each in remarks if each.submitted_at <= as_of]
    found = tuple(_issue(group, standing, tagging, as_of) for group in groups(known, tagging.duplicate_days))
    named = {each.key for each in known}
    return found, tuple(each for each in standing if each.key not in named)


def _issue(group: Sequence[Feedback], actions: Iterable[Action], tagging: Tagging, as_of: datetime) -> Issue:
    members = {each.key for each in group}
    own = tuple(each for each in actions if each.key in members)
    first, last = group[0], group[-1]
    return Issue(
        f"{first.partner_id}/{first.feedback_id}",
        first.partner_id,
        first.category,
        max((each.severity for each in group), key=SEVERITIES.index),
        tags_of(first, tagging.tags),
        tuple(each.feedback_id for each in group),
        first.submitted_at,
        last.submitted_at,
        own,
        overdue=any(each.state not in DONE and as_of >= _end_of(each.due) for each in own),
    )


def _end_of(day: date) -> datetime:
    return datetime.fromordinal(day.toordinal() + 1)

"""The finance note, and the publication that it allows: locked invoices are handed over in a signed bundle, once, for ever.

The journal entry that names the bundle is the commit point. Nothing unpublishes, and nothing here computes an invoice.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mc_pipelines.close import DELIVERABLE
from mc_pipelines.closing.handover import files
from mc_pipelines.closing.ledger import corrections_of, read_accounts
from mc_pipelines.closing.states import NOTE, PUBLICATION, Close, Lock, fold, in_order
from mc_pipelines.code import code_digest, code_version
from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import build, payload_digest, payload_file, payload_files
from mc_pipelines.evidence.canonical import instant, parse, sha256
from mc_pipelines.evidence.checkpoint import Head
from mc_pipelines.evidence.people import Person
from mc_pipelines.evidence.signing import known_keys
from mc_pipelines.evidence.signoff import read_sign_off, request
from mc_pipelines.evidence.verify import verify
from mc_pipelines.faults import reach
from mc_pipelines.home import Home
from mc_pipelines.invoicing.batch_files import BATCH, Sums
from mc_pipelines.invoicing.batch_files import FOLDER as INVOICES
from mc_pipelines.journaling import journal_of
from mc_pipelines.windows import month_key

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry

FOLDER = "finance/metering/publication"
STATEMENT = {"period", "editions", "figures", "note"}
SHOWN = ("net", "tax", "total", "corrected", "credits_used", "payable")


def unpublished(close: Close) -> dict[str, Lock]:
    """Locked tenants that nobody has published, in order."""
    return {tenant: lock for tenant, lock in sorted(close.locks.items()) if tenant not in close.publications}


def note_request(home: Home, month: str, text: str, requested_by: str) -> bytes:
    """The request for a finance note on everything that is locked and not published."""
    period = month_key(month)[:7]
    close = fold(journal_of(home).entries(), period)
    waiting = unpublished(close)
    if not waiting:
        raise MissionError(
            f"{period}: no locked tenant waits to be published, so there is nothing to note. `mission status {period}` says why."
        )
    return request(NOTE, requested_by, {"period": period, "note": text, **_stated(home, close, waiting)})


def _stated(home: Home, close: Close, tenants: Iterable[str]) -> dict[str, Any]:
    """What a note says of locked tenants: by edition who they are, whom its gates held and which did not pass; and what all invoices add up to."""
    by_edition: dict[tuple[int, str], list[str]] = {}
    for tenant in sorted(tenants):
        by_edition.setdefault((close.locks[tenant].edition, close.locks[tenant].digest), []).append(tenant)
    sums, editions = Sums("currency"), []
    for (number, digest), own in sorted(by_edition.items()):
        edition, named = next(each for each in close.editions if each.number == number), frozenset(own)
        held = sorted({*edition.holds.tenants} - {*edition.holds.green} - named)
        editions.append({"edition": number, "digest": digest, "tenants": own, "held": held, "not_passed": sorted(edition.failures)})
        for row in _rows(home, close.locks[own[0]]):
            if row["tenant_id"] in named:
                sums.add((row["currency"],), {name: row.get(name, "0") for name in SHOWN})
    return {"editions": editions, "figures": sums.rows()}


def file_note(home: Home, people: Sequence[Person], envelope: bytes, where: str) -> "Entry":
    """Take a signed finance note into the journal; the same again returns what stands.

    MissionError, beginning with `where`, for an envelope that does not verify; for a note on a tenant that is not locked, or that states
    anything else than what is locked; and for one by whoever asked for an edition of it.
    """
    found = read_sign_off(envelope, people, where)
    said = found.statement
    if found.kind != NOTE or set(said) != STATEMENT:
        raise MissionError(f"{where}: a signed {found.kind}, no finance note. Make one with `mission note MONTH`.")
    body = {**said, "person": found.person.person, "requested_by": found.requested_by, "sign_off": parse(envelope)}
    tenants = _noted(said, where)

    def validate(entries: "list[Entry]") -> "Entry | None":
        close = fold(entries, str(said["period"]))
        if odd := sorted(set(tenants) - set(close.locks)):
            raise MissionError(f"{where}: {odd[0]} is not locked in {close.period}. `mission status {close.period}` says where it stands.")
        if any(said[name] != value for name, value in _stated(home, close, tenants).items()):
            raise MissionError(f"{where}: states something else than what is locked. Make a new one with `mission note {close.period}`.")
        for each in said["editions"]:
            askers = {edition.requested_by for edition in close.editions if edition.digest == each["digest"]}
            if askers & {found.person.person, *found.person.logins}:
                raise MissionError(
                    f"{found.person.person} prepared edition {each['edition']} of {close.period} and cannot note it. Let somebody else."
                )
        same = [note for note in close.notes if note.person == found.person.person and note.entry.body["editions"] == said["editions"]]
        return same[0].entry if same else None

    return journal_of(home).append(NOTE, body, validate)


def _noted(said: Mapping[str, Any], where: str) -> list[str]:
    try:
        return [str(tenant) for each in said["editions"] for tenant in each["tenants"]]
    except (KeyError, TypeError) as error:
        raise MissionError(f"{where}: no finance note as `mission note MONTH` asks for it: {error!r}") from error


def publish(home: Home, month: str, tenants: Sequence[str] | None, requested_by: str) -> "Entry":
    """Hand over the locked invoices of tenants: those named, or all that wait. Asked again for what is published, it returns that entry.

    MissionError for a tenant that is not locked, or was published otherwise (and by whom); without a finance note on its edition; where a
    bundle is not as it was locked, or no account is declared.
    """
    period, journal = month_key(month)[:7], journal_of(home)
    close = fold(journal.entries(), period)
    asked = _asked(close, tenants)
    if (done := _published_already(close, asked)) is not None:
        return done
    locks, accounts = {tenant: close.locks[tenant] for tenant in asked}, read_accounts(home)
    documents = [
        each for lock in in_order(locks.values()) for each in _documents(home, lock, [tenant for tenant in asked if locks[tenant] == lock])
    ]
    if not documents:
        raise MissionError(f"{period}: none of these tenants has an invoice. Give the home price books before its months are locked.")
    handed = files(documents, accounts, _numbers(home, journal.entries(), documents))
    assert journal.signer is not None
    chain = journal.chain()
    predicate = {
        "deliverable": DELIVERABLE,
        "period": period,
        "publication": [{"edition": lock.edition, "digest": lock.digest, "bundle": lock.bundle} for lock in in_order(locks.values())],
        "tenants": list(asked),
        "accounts": accounts.model_dump(mode="json"),
        "notes": [{"entry": note.entry.number, "person": note.person} for note in close.notes],
        "code": {"version": code_version(), "digest": code_digest(home)},
        "checkpoint": Head.of(chain).document(),
    }
    digest = payload_digest({f"data/{name}": sha256(data) for name, data in handed.items()})
    number = 1 + sum(entry.kind == PUBLICATION and entry.body["period"] == period for entry in chain)  # those of a revoked key keep theirs
    bundle = build(home.evidence / FOLDER / period, f"{number:03d}-{digest[:12]}", handed, predicate, journal.signer)
    reach("publish.bundle_built")
    body = {
        "period": period,
        "tenants": list(asked),
        "invoices": len(documents),
        "digest": digest,
        "envelope": bundle.envelope,
        "bundle": bundle.path.relative_to(home.evidence).as_posix(),
        "editions": sorted({lock.edition for lock in locks.values()}),
        "notes": sorted(note.entry.number for note in close.notes),
        "requested_by": requested_by,
    }
    return journal.append(PUBLICATION, body, lambda entries: _published_already(fold(entries, period), asked))


def _asked(close: Close, tenants: Sequence[str] | None) -> tuple[str, ...]:
    if tenants is not None:
        return tuple(sorted(set(tenants)))
    if waiting := tuple(unpublished(close)):
        return waiting
    if close.publications:
        newest = max((each.entry for each in close.publications.values()), key=lambda entry: entry.number)
        return tuple(newest.body["tenants"])
    raise MissionError(
        f"{close.period}: no tenant is locked, so nothing can be published. `mission status {close.period}` says where it stands."
    )


def _published_already(close: Close, asked: Sequence[str]) -> "Entry | None":
    """The entry by which the same tenants were published; None where they may be now."""
    for tenant in asked:
        if tenant not in close.locks:
            raise MissionError(f"{tenant} is not locked in {close.period}. `mission status {close.period}` says where it stands.")
    earlier = {tenant: close.publications[tenant].entry for tenant in asked if tenant in close.publications}
    if len(earlier) == len(asked) and len({entry.number for entry in earlier.values()}) == 1:
        return next(iter(earlier.values()))
    for tenant, entry in earlier.items():
        raise MissionError(
            f"{tenant} was published by {entry.body['requested_by']} at {instant(entry.signed_at)} (entry {entry.number}). "
            "Name the tenants that are left, or none for all that wait."
        )
    covered = frozenset(pair for note in close.notes for pair in note.covers)
    for tenant in asked:
        if (close.locks[tenant].digest, tenant) not in covered:
            raise MissionError(
                f"{close.period} edition {close.locks[tenant].edition} has no finance note on {tenant}. "
                f"Somebody with the role finance files one: mission note {close.period}"
            )
    return None


def _rows(home: Home, lock: Lock) -> list[dict[str, Any]]:
    """What the batch of a locked edition says of each invoice."""
    found: list[dict[str, Any]] = json.loads(payload_file(home.evidence / lock.bundle, lock.digest, BATCH, absent=b'{"invoices": []}'))[
        "invoices"
    ]
    return found


def _documents(home: Home, lock: Lock, tenants: Sequence[str]) -> list[dict[str, Any]]:
    """The locked previews of some tenants, from a bundle that verifies; a tenant without an invoice has none."""
    bundle = home.evidence / lock.bundle
    verdict = verify(bundle, known_keys(home.keys))
    if not verdict.ok:
        raise MissionError(f"{bundle}: {verdict.reasons[0]}. Restore it from a copy; nothing was published.")
    folders = {each["tenant_id"]: each["folder"] for each in _rows(home, lock)}
    paths = [f"{INVOICES}/{folders[tenant]}/preview.json" for tenant in tenants if tenant in folders]
    found = payload_files(bundle, lock.digest, frozenset(paths))
    return [{**json.loads(found[path]), "edition": lock.edition} for path in paths]


def _numbers(home: Home, entries: "Sequence[Entry]", documents: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """By digest the numbers of the published invoices of every month that these documents correct."""
    months = sorted({each["original_period"] for document in documents for each in corrections_of(document["rated"])})
    return {row["digest"]: row["invoice"] for month in months for row in handed_over(home, fold(entries, month))}


def handed_over(home: Home, close: Close) -> list[dict[str, Any]]:
    """Every published invoice of a month, as its list has it. MissionError where a bundle is not as it was published."""
    entries = {each.entry.number: each.entry for each in close.publications.values()}
    found: list[dict[str, Any]] = []
    for _, entry in sorted(entries.items()):
        listed = payload_file(home.evidence / entry.body["bundle"], entry.body["digest"], "invoices.json")
        found += json.loads(listed)["invoices"]
    return found

"""Commands of `mission` that look at evidence: verify, prove, reproduce, trace, journal, keys, vacuum. Each imports what it needs when it runs.

None of them makes evidence; `keys revoke` alone adds to the journal, and `vacuum` alone deletes.
"""

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mc_pipelines.errors import FAILED, MissionError
from mc_pipelines.home import Home

if TYPE_CHECKING:
    from mc_pipelines.evidence.entry import Entry
    from mc_pipelines.evidence.journal import Journal
    from mc_pipelines.evidence.signing import TrustedKeys

A_PATH = click.Path(path_type=Path)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print the outcome as JSON.")


def _conclude(reasons: Iterable[str], warnings: Iterable[str], word: str) -> None:
    """Print what speaks against it and the verdict; ends with 1 where anything does."""
    against = list(reasons)
    for reason in against:
        click.echo(f"refused: {reason}")
    for warning in warnings:
        click.echo(f"note: {warning}")
    click.echo(f"NOT {word}" if against else word)
    sys.exit(FAILED if against else 0)


@click.command()
@click.argument("bundle", type=A_PATH, required=False)
@click.option("--proof", type=A_PATH, help="A file that `mission prove` wrote, instead of a bundle.")
@click.option("--trusted", type=A_PATH, help="File of trusted public keys; without it the bundle can only attest itself.")
@click.option("--threshold", default=1, show_default=True, help="Distinct trusted keys that must have signed.")
@click.option("--journal", "folder", type=A_PATH, help="The journal that names the bundle (default: this home's, where it has one).")
@as_json_option
def verify(bundle: Path | None, proof: Path | None, trusted: Path | None, threshold: int, folder: Path | None, as_json: bool) -> None:
    """Verify a signed bundle, or the proof of one row, offline. Example: mission verify data/evidence/finance/metering/close/2026-04/001-…"""
    from mc_pipelines.evidence.position import journal_at_hand
    from mc_pipelines.evidence.signing import TrustedKeys
    from mc_pipelines.evidence.verify import verify as verify_bundle

    if (bundle is None) == (proof is None):
        raise MissionError("name a bundle, or a proof with --proof FILE; one of them")
    keys = TrustedKeys.load(trusted) if trusted else None
    journal = journal_at_hand(Home.find(), folder, keys)
    if proof is not None:
        _verify_proof(proof, keys, journal, as_json)
    assert bundle is not None
    found = verify_bundle(bundle, keys, threshold, journal=journal)
    if as_json:
        click.echo(
            json.dumps({"ok": found.ok, "reasons": found.reasons, "warnings": found.warnings, "checked": found.checked}, default=str)
        )
        sys.exit(0 if found.ok else FAILED)
    _conclude(found.reasons, found.warnings, "verified")


def _verify_proof(path: Path, keys: "TrustedKeys | None", journal: "Journal | None", as_json: bool) -> None:
    from mc_pipelines.evidence.position import verify_proof
    from mc_pipelines.evidence.signing import known_keys

    trusted = keys or known_keys(Home.find().keys)
    if trusted is None:
        raise MissionError(f"{path}: a proof brings no keys of its own; name trusted keys with --trusted FILE")
    shown, reasons, warnings = verify_proof(path, trusted, journal)
    if as_json:
        click.echo(json.dumps({"ok": not reasons, "reasons": reasons, "warnings": warnings, "checked": shown}))
        sys.exit(FAILED if reasons else 0)
    for key in ("table", "row", "bundle", "entry"):
        if key in shown:
            click.echo(f"{key:<7} {shown[key]}")
    _conclude(reasons, warnings, "verified")


def _verified(home: Home, bundle: Path) -> Mapping[str, Any]:
    """The predicate of a bundle that this home's keys and journal verify; ends with 1 where they do not."""
    from mc_pipelines.evidence.position import journal_at_hand
    from mc_pipelines.evidence.verify import verify as verify_bundle

    found = verify_bundle(bundle, None, journal=journal_at_hand(home))
    if not found.ok:
        _conclude(found.reasons, (), "verified")
    return found.predicate


def _journal(home: Home) -> "Journal":
    from mc_pipelines.evidence.position import journal_at_hand

    journal = journal_at_hand(home)
    if journal is None:
        raise MissionError(f"{home.journal}: no journal yet. `mission close MONTH` begins one.")
    return journal


@click.command()
@click.argument("bundle", type=A_PATH)
@click.argument("table")
@click.argument("row", type=int)
def prove(bundle: Path, table: str, row: int) -> None:
    """Print the proof of one row (1 is the first line of its table). Example: mission prove BUNDLE metering.usage_period 3 > proof.json"""
    from mc_pipelines.evidence.proofs import prove as prove_row

    home = Home.find()
    _verified(home, bundle)
    click.echo(json.dumps(prove_row(bundle, table, row, _journal(home)), ensure_ascii=False))


@click.command()
@click.argument("bundle", type=A_PATH)
@as_json_option
def reproduce(bundle: Path, as_json: bool) -> None:
    """Compute a close again from what it pins, and compare byte by byte. Example: mission reproduce BUNDLE"""
    from mc_pipelines.evidence.record import Recorded
    from mc_pipelines.evidence.reproduce import reproduce as again

    home = Home.find()
    done = again(home, bundle, Recorded.read(_verified(home, bundle)))
    if as_json:
        click.echo(
            json.dumps(
                {
                    "ok": done.ok,
                    "compared": done.compared,
                    "differing": done.differing,
                    "changed": done.changed,
                    "same_code": done.same_code,
                }
            )
        )
        sys.exit(0 if done.ok else FAILED)
    if not done.same_code:
        click.echo("note: this code is not the one that made the bundle")
    for name in done.changed:
        click.echo(f"changed: the files of {name} are not those that were pinned")
    for name in done.differing:
        click.echo(f"differs: data/{name}")
    click.echo(f"{done.compared} file(s) compared: " + ("the same bytes" if done.ok else "NOT the same"))
    sys.exit(0 if done.ok else FAILED)


@click.command()
@click.argument("gate")
@click.option(
    "--month", "--window", "window", help="The month or sprint whose newest attempt is looked at (default: the last one attempted)."
)
@click.option("--of", "deliverable", default="metering", show_default=True, help="The deliverable that was attempted.")
@click.option("--bundle", type=A_PATH, help="The bundle of any attempt, instead.")
@click.option("--files", is_flag=True, help="List every landed file, not only their number and days.")
@as_json_option
def trace(gate: str, window: str | None, deliverable: str, bundle: Path | None, files: bool, as_json: bool) -> None:
    """Show what made a gate's value: SQL, table versions, landed files. Example: mission trace metering_variance --month 2026-04"""
    from mc_pipelines.evidence.trace import lines
    from mc_pipelines.evidence.trace import trace as trace_gate

    home = Home.find()
    found = trace_gate(_verified(home, bundle or _newest(home, deliverable, window)), gate)
    click.echo(json.dumps(found, ensure_ascii=False) if as_json else "\n".join(lines(found, files)))


def _newest(home: Home, deliverable: str, window: str | None) -> Path:
    """The bundle of the newest attempt that counts, of a window or of all."""
    from mc_pipelines.catalog import read_catalog
    from mc_pipelines.journaling import kind_of
    from mc_pipelines.windows import window_named

    every = read_catalog(home).exit_of(deliverable).every
    wanted = window_named(home, every, window).name if window else None
    kind = kind_of(deliverable)
    tried = [each for each in _journal(home).entries() if each.kind == kind and wanted in {None, each.body["period"]}]
    if not tried:
        raise MissionError(f"{home.journal}: {deliverable} has no attempt at {wanted or f'any {every}'}. Attempt it first.")
    return home.evidence / str(tried[-1].body["bundle"])


@click.command()
@click.option("--checkpoint", type=A_PATH, help="A copy of checkpoint.json that was kept elsewhere, to hold the journal against.")
@as_json_option
def journal(checkpoint: Path | None, as_json: bool) -> None:
    """Verify the whole journal and list it. Example: mission journal --checkpoint /backup/checkpoint.json"""
    from mc_pipelines.evidence.checkpoint import Head, read_checkpoint
    from mc_pipelines.evidence.journal import JournalError

    home = Home.find()
    found = _journal(home)
    chain: list[Entry] = []
    reasons: list[str] = []
    try:
        chain = found.chain()
        reasons += [f"{home.evidence / str(each.body['bundle'])}: {fault}" for each in chain if (fault := _bundle_fault(home, each))]
        if checkpoint is not None:
            head = read_checkpoint(checkpoint, found.trusted)
            if head is None:
                raise MissionError(f"{checkpoint}: no such file; name a copy of {found.checkpoint}")
            reasons += [f"{checkpoint}: {fault}" for fault in [head.fault(chain)] if fault]
    except JournalError as error:
        reasons.append(str(error))
    if as_json:
        shown = {"ok": not reasons, "reasons": reasons, "head": Head.of(chain).document(), "entries": [_entry_json(each) for each in chain]}
        click.echo(json.dumps(shown))
        sys.exit(FAILED if reasons else 0)
    for each in chain:
        about = " ".join(str(each.body[key]) for key in ("period", "verdict", "bundle", "reason") if key in each.body)
        click.echo(f"{each.number:>4}  {each.signed_at:%Y-%m-%dT%H:%MZ}  {each.keyids[0][:8]}  {each.digest[:12]}  {each.kind}  {about}")
        if each.refused:
            click.echo(f"      does not count: {each.refused}")
    _conclude(reasons, (), "verified")


def _bundle_fault(home: Home, entry: "Entry") -> str | None:
    """Why the bundle that an entry names is not there as it was named; bundles taken elsewhere are no fault, changed ones are."""
    from mc_pipelines.evidence.bundle import PROVENANCE
    from mc_pipelines.evidence.canonical import sha256

    path = home.evidence / str(entry.body.get("bundle")) / PROVENANCE
    if "bundle" not in entry.body or not path.is_file() or sha256(path.read_bytes()) == entry.body["envelope"]:
        return None
    return f"not the bundle that entry {entry.number} names; restore it from a copy"


def _entry_json(entry: "Entry") -> dict[str, Any]:
    from mc_pipelines.evidence.canonical import instant

    return {
        "number": entry.number,
        "kind": entry.kind,
        "signed_at": instant(entry.signed_at),
        "keyid": entry.keyids[0],
        "digest": entry.digest,
        "development": entry.development,
        "refused": entry.refused,
        "body": entry.body,
    }


@click.group()
def keys() -> None:
    """List the keys that count here, or revoke one. Example: mission keys list"""


@keys.command("list")
def keys_list() -> None:
    """Show every known key, its roles and dates, and up to which entry it counts. Example: mission keys list"""
    from mc_pipelines.evidence.position import journal_at_hand
    from mc_pipelines.evidence.revocation import limits
    from mc_pipelines.evidence.signing import known_keys

    home = Home.find()
    known = known_keys(home.keys)
    at_hand = journal_at_hand(home)
    revoked = limits(at_hand.chain()) if at_hand else {}
    for key, declared in zip(known.keys, known.document()["keys"], strict=True) if known else ():
        span = f"{declared['valid_from'] or 'ever'} .. {declared['valid_until'] or 'ever'}"
        last = f"  revoked after entry {revoked[key.keyid].last}" if key.keyid in revoked else ""
        click.echo(f"{key.keyid}  {', '.join(declared['roles']) or 'any role'}  {span}{last}")


@keys.command()
@click.argument("key")
@click.option("--last-valid", type=int, required=True, help="The last journal entry up to which the key counts; 0 for none.")
@click.option("--reason", required=True, help="Why, for whoever reads the journal.")
def revoke(key: str, last_valid: int, reason: str) -> None:
    """Revoke KEY (an id or its beginning) from an entry on. Example: mission keys revoke 3f2a --last-valid 12 --reason "laptop stolen" """
    from mc_pipelines.evidence.journal import Journal
    from mc_pipelines.evidence.journal import revoke as revoke_key
    from mc_pipelines.evidence.signing import signer

    home = Home.find()
    writer = signer(home.keys)
    named = sorted({each.keyid for each in writer.known.keys if each.keyid.startswith(key)})
    if len(named) != 1:
        raise MissionError(f"{key!r} names {len(named)} of the keys known here; `mission keys list` shows them")
    done = revoke_key(Journal(home.journal, writer), named[0], last_valid, reason)
    click.echo(f"entry {done.number}: key {named[0][:16]} counts up to entry {last_valid}")


@click.command()
@click.option("--hours", default=24, show_default=True, help="Spare files younger than this: a run may still write or read them.")
@click.option("--dry-run", is_flag=True, help="List what would go; delete nothing.")
@click.option("--as-of", type=click.DateTime(["%Y-%m-%d"]), help="The day that retention is judged on (default: today in UTC).")
def vacuum(hours: int, dry_run: bool, as_of: datetime | None) -> None:
    """Delete table versions that are neither the newest nor pinned by signed work; list what is past retention. Example: mission vacuum --dry-run"""
    from mc_pipelines.evidence.expiry import lines, past
    from mc_pipelines.evidence.vacuum import pins
    from mc_pipelines.evidence.vacuum import vacuum as sweep

    home = Home.find()
    chain = _journal(home).chain()
    overdue = past(home, (as_of or datetime.now(UTC)).date(), chain)
    swept = sweep(home, pins(home, chain), hours, dry_run)
    for table, files in swept.items():
        for file in files:
            click.echo(f"{table}  {file}")
    click.echo(f"{sum(map(len, swept.values()))} file(s) of {len(swept)} table(s) {'would go' if dry_run else 'deleted'}")
    for line in lines(overdue):
        click.echo(line)
    if overdue:
        click.echo("What is past retention is not deleted here; docs/operations.md says how.")


COMMANDS = (verify, prove, reproduce, trace, journal, keys, vacuum)

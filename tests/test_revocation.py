"""Trust by position: what a revoked key signed beyond its place does not count, whatever time it claims; rotation keeps the rest."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.checkpoint import Head
from mc_pipelines.evidence.entry import Entry
from mc_pipelines.evidence.journal import Journal, JournalError, revoke
from mc_pipelines.evidence.revocation import REVOKED, limits
from mc_pipelines.evidence.signing import Signer, TrustedKey, TrustedKeys

NOW = datetime(2026, 5, 2, 3, 4, 5, tzinfo=UTC)
DAY = timedelta(days=1)


def free(_: list[Entry]) -> None:
    """Everything is allowed."""


class Keys:
    """Two keys that one installation knows, the second after the first, and its journal as each of them opens it."""

    def __init__(self, folder: Path) -> None:
        old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        known = TrustedKeys((TrustedKey(old.public_key()), TrustedKey(new.public_key())))
        self.old, self.new = Signer(old, False, known), Signer(new, False, known)
        self.folder = folder

    def journal(self, signer: Signer) -> Journal:
        return Journal(self.folder / "journal", signer)


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    return Keys(tmp_path)


def test_beyond_its_last_valid_entry_a_revoked_key_does_not_count_whatever_time_it_claims(keys: Keys) -> None:
    journal = keys.journal(keys.old)
    for number in range(4):  # entries 3 and 4 by a thief, who backdates them before everything
        journal.append("attempt", {"n": number}, free, NOW if number < 2 else NOW - 100 * DAY)
    done = revoke(keys.journal(keys.new), keys.old.keyid, 2, "stolen")
    assert done.body["last_valid"] == Head.of(journal.chain()[:2]).document()
    assert [entry.number for entry in journal.entries()] == [1, 2, 5]
    refused = {entry.number: entry.refused for entry in journal.chain() if entry.refused}
    assert refused == {
        number: f"key {keys.old.keyid[:16]} is revoked by entry 5, its last valid entry is 2, this is at {number}" for number in (3, 4)
    }
    with pytest.raises(MissionError, match=r"is revoked in .*journal; set MISSION_SIGNING_KEY"):
        journal.append("attempt", {}, free, NOW - 100 * DAY)
    assert keys.journal(keys.new).append("attempt", {}, lambda entries: seen(entries, [1, 2, 5])).number == 6


def seen(entries: list[Entry], numbers: list[int]) -> None:
    assert [entry.number for entry in entries] == numbers


def test_the_same_revocation_is_written_once_and_only_an_earlier_place_changes_it(keys: Keys) -> None:
    for number in range(3):
        keys.journal(keys.old).append("attempt", {"n": number}, free)
    journal = keys.journal(keys.new)
    assert revoke(journal, keys.old.keyid, 2, "stolen") == revoke(journal, keys.old.keyid, 2, "again")
    revoke(journal, keys.old.keyid, 3, "after all not")
    assert limits(journal.chain())[keys.old.keyid].last == 2
    revoke(journal, keys.old.keyid, 0, "from the beginning")
    assert [entry.kind for entry in journal.entries()] == [REVOKED] * 3


def test_a_key_revokes_neither_itself_nor_beyond_its_limit(keys: Keys) -> None:
    old, new = keys.journal(keys.old), keys.journal(keys.new)
    old.append("attempt", {}, free)
    with pytest.raises(MissionError, match="cannot revoke itself"):
        revoke(old, keys.old.keyid, 0, "")
    body = {"keyid": keys.old.keyid, "last_valid": Head(0, "0" * 64).document(), "reason": "repudiated"}
    old.append(REVOKED, body, free)
    assert [entry.refused for entry in old.chain()] == ["", "a key cannot revoke itself"]
    assert limits(old.chain()) == {}
    revoke(new, keys.old.keyid, 1, "stolen")
    thief = keys.journal(Signer(keys.old.private, False, keys.old.known))
    with pytest.raises(MissionError, match="is revoked"):
        revoke(thief, keys.new.keyid, 0, "revenge")


@pytest.mark.parametrize(("last", "digest"), [(1, "a" * 64), (7, "a" * 64), (-1, "a" * 64), ("x", "a"), (None, None)])
def test_a_revocation_that_names_no_entry_makes_the_journal_unreadable(keys: Keys, last: object, digest: object) -> None:
    journal = keys.journal(keys.new)
    journal.append("attempt", {}, free)
    journal.append(REVOKED, {"keyid": keys.old.keyid, "last_valid": {"number": last, "digest": digest}}, free)
    with pytest.raises(JournalError, match=r"entry 2 (revokes a key|names)"):
        journal.entries()


def test_what_cannot_be_revoked_is_said(keys: Keys) -> None:
    journal = keys.journal(keys.new)
    with pytest.raises(MissionError, match="entry 1 does not exist; the journal has entries 1 to 0"):
        revoke(journal, keys.old.keyid, 1, "")
    with pytest.raises(MissionError, match="none that this journal knows"):
        revoke(journal, "f" * 64, 0, "")


def test_after_a_rotation_with_overlap_the_old_entries_still_verify(tmp_path: Path) -> None:
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    known = TrustedKeys(
        (TrustedKey(old.public_key(), valid_until=NOW + 2 * DAY), TrustedKey(new.public_key(), valid_from=NOW + DAY))  # a day of both
    )
    before, after = (Journal(tmp_path / "journal", Signer(key, False, known)) for key in (old, new))
    before.append("attempt", {}, free, NOW)
    after.append("attempt", {}, free, NOW + DAY)
    before.append("attempt", {}, free, NOW + 2 * DAY - timedelta(microseconds=1))
    after.append("attempt", {}, free, NOW + 9 * DAY)
    assert [entry.number for entry in after.entries()] == [1, 2, 3, 4]
    with pytest.raises(JournalError, match="was valid before"):
        before.append("attempt", {}, free, NOW + 2 * DAY)

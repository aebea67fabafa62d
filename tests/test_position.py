"""A bundle's place in the journal: named, by a key that counted there, after the head that it saw."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mc_pipelines.errors import MissionError
from mc_pipelines.evidence.bundle import Bundle, build
from mc_pipelines.evidence.checkpoint import Head
from mc_pipelines.evidence.journal import Journal, revoke
from mc_pipelines.evidence.position import journal_at_hand
from mc_pipelines.evidence.signing import Signer, TrustedKey, TrustedKeys
from mc_pipelines.evidence.verify import Verdict, verify
from mc_pipelines.home import Home

NOW = datetime(2026, 5, 2, 3, 4, 5, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=1000)


class Office:
    """Two keys, a journal, and bundles that its entries name."""

    def __init__(self, root: Path) -> None:
        old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
        self.trusted = TrustedKeys((TrustedKey(old.public_key()), TrustedKey(new.public_key())))
        self.old, self.new = Signer(old, False, self.trusted), Signer(new, False, self.trusted)
        self.root = root

    def journal(self, signer: Signer | None = None) -> Journal:
        return Journal(self.root / "journal", signer or self.old)

    def bundle(self, name: str, signer: Signer, head: Head | None = None, at: datetime = NOW, **predicate: Any) -> Bundle:
        seen = (head or Head.of(self.journal().chain())).document()
        return build(self.root / "evidence", name, {"a.txt": name.encode()}, {"checkpoint": seen, **predicate}, signer, signed_at=at)

    def named(self, name: str, signer: Signer, at: datetime = NOW) -> Path:
        made = self.bundle(name, signer, at=at)
        self.journal(signer).append("attempt", {"envelope": made.envelope, "bundle": name}, lambda _: None, at)
        return made.path

    def verdict(self, bundle: Path, trusted: TrustedKeys | None = None) -> Verdict:
        return verify(bundle, trusted or self.trusted, journal=self.journal())


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def refused(verdict: Verdict, *reasons: str) -> None:
    assert not verdict.ok
    assert verdict.predicate == {}
    for reason in reasons:
        assert any(reason in found for found in verdict.reasons), verdict.reasons


def test_a_named_bundle_says_its_entry(office: Office) -> None:
    office.named("one", office.old)
    verdict = office.verdict(office.named("two", office.old))
    assert verdict.ok, verdict.reasons
    assert verdict.checked["entry"] == 2
    assert verdict.predicate["checkpoint"]["number"] == 1


def test_a_bundle_of_our_key_that_no_entry_names_is_refused(office: Office) -> None:
    office.named("one", office.old)
    refused(office.verdict(office.bundle("forged", office.old).path), "no entry of", "a bundle counts once an entry does")


def test_a_bundle_of_a_key_that_never_signed_here_is_only_noted(office: Office) -> None:
    office.named("one", office.old)
    stranger = Signer(Ed25519PrivateKey.generate(), False, TrustedKeys(()))
    verdict = office.verdict(office.bundle("theirs", stranger).path, stranger.trusted())
    assert verdict.ok, verdict.reasons
    assert any("may belong to another journal" in warning for warning in verdict.warnings)


def test_earlier_bundles_of_a_revoked_key_verify_later_ones_do_not_whatever_time_they_claim(office: Office) -> None:
    good, late = office.named("good", office.old), office.named("late", office.old, LONG_AGO)
    backdated = office.bundle("backdated", office.old, Head(0, "0" * 64), LONG_AGO).path
    assert office.verdict(late).ok
    revoke(office.journal(office.new), office.old.keyid, 1, "stolen")
    assert office.verdict(good).ok
    assert office.verdict(office.named("after", office.new)).ok
    refused(office.verdict(late), "is revoked by entry 3, its last valid entry is 1", "and counts: key")
    refused(office.verdict(backdated), "is revoked by entry 3, its last valid entry is 1", "no entry of")


def test_after_a_rotation_bundles_of_both_keys_verify(office: Office) -> None:
    paths = [office.named("one", office.old), office.named("two", office.new), office.named("three", office.old)]
    assert all(office.verdict(path).ok for path in paths)


def cut(office: Office) -> None:
    (office.root / "journal/00000002.json").unlink()
    (office.root / "checkpoint.json").unlink()


def rewrite(office: Office) -> None:
    """Somebody with the key writes another first entry, and names the bundle again."""
    for path in (office.root / "journal").iterdir():
        path.unlink()
    (office.root / "checkpoint.json").unlink()
    office.journal().append("attempt", {"envelope": "x"}, lambda _: None)
    last = office.bundle("two", office.old)
    office.journal().append("attempt", {"envelope": last.envelope, "bundle": "two"}, lambda _: None)


@pytest.mark.parametrize(
    ("change", "reason"), [(cut, "no entry of"), (rewrite, "the predicate's checkpoint: entry 1 had the digest")], ids=["cut", "rewritten"]
)
def test_a_journal_that_is_no_longer_the_one_a_bundle_saw_is_found(office: Office, change: Any, reason: str) -> None:
    office.named("one", office.old)
    path = office.named("two", office.old)
    change(office)
    refused(office.verdict(path), reason)


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        ({"number": 1, "digest": "0" * 64}, "was written anew"),
        ({"number": 2}, "a place in a journal"),
        ("x", "a place in a journal"),
        ({"number": 9, "digest": "0" * 64}, "existed, but the journal ends with entry 1"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused(office: Office, head: Any, reason: str) -> None:
    made = office.bundle("odd", office.old, checkpoint=head)
    office.journal().append("attempt", {"envelope": made.envelope}, lambda _: None)
    refused(office.verdict(made.path), reason)


def test_a_journal_that_cannot_be_read_refuses(office: Office) -> None:
    path = office.named("one", office.old)
    file = office.root / "journal/00000001.json"
    file.write_bytes(file.read_bytes().replace(b"attempt", b"attempu") + b" ")
    refused(office.verdict(path), "journal: ")


def test_the_journal_at_hand(tmp_path: Path, office: Office) -> None:
    home = Home(tmp_path / "other")
    assert journal_at_hand(home) is None
    with pytest.raises(MissionError, match="nowhere: no such folder"):
        journal_at_hand(home, tmp_path / "nowhere")
    office.named("one", office.old)
    with pytest.raises(MissionError, match="no keys to read this journal with"):
        journal_at_hand(home, tmp_path / "journal")
    found = journal_at_hand(home, tmp_path / "journal", office.trusted)
    assert found is not None
    assert len(found.chain()) == 1


def claims(**changes: Any) -> Mapping[str, Any]:
    return {"size": 2, "root": "0" * 64} | changes


@pytest.mark.parametrize(
    "merkle", [None, [], "x", {"t": None}, {"t": claims()}, {"metering.usage_period": claims(size=3)}, {"../x": claims()}]
)
def test_nonsense_about_leaves_is_refused(office: Office, merkle: Any) -> None:
    refused(verify(office.bundle("leaves", office.old, merkle=merkle).path, office.trusted), "")

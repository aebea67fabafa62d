"""Order, exactly-once and tamper evidence, with real processes."""

import json
import multiprocessing
import os
import signal
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from mc_pipelines.evidence.canonical import canonical, sha256
from mc_pipelines.evidence.checkpoint import GENESIS, Head, read_checkpoint, write_checkpoint
from mc_pipelines.evidence.dsse import sign
from mc_pipelines.evidence.entry import Entry
from mc_pipelines.evidence.journal import ENTRY_TYPE, Journal, JournalError
from mc_pipelines.evidence.signing import TrustedKeys, signer

NOW = datetime(2026, 5, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _no_configured_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MISSION_SIGNING_KEY", raising=False)


def free(_: list[Entry]) -> None:
    """Everything is allowed."""


def open_journal(root: Path) -> Journal:
    return Journal(root / "journal", signer(root / "keys"))


def once(key: int) -> Callable[[list[Entry]], Entry | None]:
    return lambda found: next((entry for entry in found if entry.body["key"] == key), None)


def test_entries_are_numbered_chained_and_read_back(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert journal.entries() == []
    first = journal.append("attempt", {"edition": 1}, free, NOW)
    second = journal.append("attempt", lambda found: {"edition": len(found) + 1}, free, NOW)
    assert journal.entries() == [first, second]
    assert (first.number, first.prev, second.prev) == (1, GENESIS, first.digest)
    assert first.digest == sha256((tmp_path / "journal/00000001.json").read_bytes())
    assert second.body == {"edition": 2}
    assert (second.signed_at, second.development) == (NOW, True)
    assert sorted(path.name for path in (tmp_path / "journal").iterdir()) == ["00000001.json", "00000002.json"]


def test_what_is_done_is_returned_and_what_is_not_allowed_raises(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    first = journal.append("lock", {"key": 1}, once(1))
    assert journal.append("lock", {"key": 1}, once(1)) == first

    def never(_: list[Entry]) -> None:
        raise RuntimeError("locked")

    with pytest.raises(RuntimeError, match="locked"):
        journal.append("lock", {"key": 2}, never)
    assert len(journal.entries()) == 1


def test_where_somebody_was_first_it_is_read_and_judged_again(tmp_path: Path) -> None:
    journal, other = open_journal(tmp_path), open_journal(tmp_path)
    seen = []

    def overtaken(found: list[Entry]) -> Entry | None:
        seen.append(len(found))
        if not found:
            other.append("lock", {"key": 1}, free)
        return once(1)(found)

    assert journal.append("lock", {"key": 1}, overtaken).number == 1
    assert seen == [0, 1]
    assert len(journal.entries()) == 1


def add_many(root: Path, worker: int) -> None:
    journal = open_journal(root)
    for step in range(5):
        journal.append("own", {"key": worker * 100 + step}, once(worker * 100 + step))
        journal.append("shared", {"key": 10_000 + step}, once(10_000 + step))


def test_eight_processes_append_at_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=add_many, args=(tmp_path, worker)) for worker in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 8
    found = open_journal(tmp_path).entries()
    keys = [entry.body["key"] for entry in found]
    assert len(keys) == len(set(keys)) == 8 * 5 + 5
    assert len({name for entry in found for name in entry.keyids}) == 1  # eight first uses made one development key
    assert not [path for path in (tmp_path / "journal").iterdir() if path.name.startswith(".")]


def die_before_link(root: Path) -> None:
    def die(*_: Any, **__: Any) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    journal = open_journal(root)
    os.link = die
    journal.append("attempt", {}, free)


def test_killed_before_the_link_there_is_no_entry(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    first = journal.append("attempt", {}, free)
    process = multiprocessing.get_context("spawn").Process(target=die_before_link, args=(tmp_path,))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert journal.entries() == [first]
    assert journal.append("attempt", {}, free).number == 2


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for number in range(2):
        journal.append("attempt", {"number": number}, free, NOW)
    for path in sorted((tmp_path / "journal").iterdir()):
        good = path.read_bytes()
        for at in range(0, len(good), 7):
            path.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
            with pytest.raises(JournalError, match=r"0000000[12].json: "):
                journal.entries()
        path.write_bytes(good)
    assert len(journal.entries()) == 2


def test_removed_swapped_forged_and_foreign_files_are_named(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for number in range(3):
        journal.append("attempt", {"number": number}, free, NOW)
    one, two, three = (tmp_path / f"journal/0000000{number}.json" for number in (1, 2, 3))
    saved = two.read_bytes()
    two.unlink()
    with pytest.raises(JournalError, match=r"00000002.json: missing, though 00000003.json is there"):
        journal.entries()
    two.write_bytes(three.read_bytes())
    with pytest.raises(JournalError, match=r"00000002.json: it says that it is number 3"):
        journal.entries()
    fields = {"number": 2, "prev": GENESIS, "kind": "attempt", "signedAt": "2026-05-02T03:04:05.000000Z", "development": True, "body": {}}
    two.write_bytes(canonical(sign(canonical(fields), ENTRY_TYPE, [signer(tmp_path / "keys")])) + b"\n")
    with pytest.raises(JournalError, match=r"00000002.json: it follows 0000000000000000, but the entry before"):
        journal.entries()
    two.write_bytes(canonical(sign(canonical(fields), ENTRY_TYPE, [signer(tmp_path / "others")])) + b"\n")
    with pytest.raises(JournalError, match=r"00000002.json: .* is by no trusted key"):
        journal.entries()
    two.write_bytes(json.dumps(json.loads(saved)).encode())
    with pytest.raises(JournalError, match="not in canonical JSON"):
        journal.entries()
    two.unlink()
    two.symlink_to(one)
    with pytest.raises(JournalError, match=r"00000002.json: a link"):
        journal.entries()
    two.unlink()
    two.write_bytes(saved)
    (tmp_path / "journal/notes.txt").write_text("")
    with pytest.raises(JournalError, match=r"notes.txt: no journal entry"):
        journal.entries()


def test_a_journal_is_read_without_a_private_key(tmp_path: Path) -> None:
    first = open_journal(tmp_path).append("attempt", {}, free)
    reader = Journal(tmp_path / "journal", trusted=signer(tmp_path / "keys").trusted())
    assert reader.entries() == [first]
    with pytest.raises(ValueError, match="opened for reading"):
        reader.append("attempt", {}, free)
    with pytest.raises(JournalError, match="0 of 1 needed"):
        Journal(tmp_path / "journal", trusted=TrustedKeys(())).entries()


def test_nothing_is_written_that_could_not_be_read_back(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal", signer(tmp_path / "keys"), signer(tmp_path / "others").trusted())
    with pytest.raises(JournalError, match="no trusted key"):
        journal.append("attempt", {}, free)
    assert list((tmp_path / "journal").iterdir()) == []


def test_a_checkpoint_follows_each_entry_and_shows_what_was_cut_off(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    for number in range(3):
        journal.append("attempt", {"number": number}, free, NOW)
    head = Head.of(journal.chain())
    assert head.number == 3
    assert read_checkpoint(tmp_path / "checkpoint.json", journal.trusted) == head
    saved = (tmp_path / "checkpoint.json").read_bytes()
    (tmp_path / "journal/00000003.json").unlink()
    with pytest.raises(
        JournalError, match=r"checkpoint.json says that entry 3 existed, but the journal ends with entry 2: entries were cut off"
    ):
        journal.entries()
    with pytest.raises(JournalError, match="cut off"):
        journal.append("attempt", {}, free)
    (tmp_path / "checkpoint.json").unlink()  # whoever cuts both is found by a copy kept elsewhere
    assert journal.append("attempt", {"number": 9}, free).number == 3
    (tmp_path / "checkpoint.json").write_bytes(saved)
    with pytest.raises(JournalError, match="was written anew"):
        journal.entries()


def test_a_changed_or_foreign_checkpoint_is_refused(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.append("attempt", {}, free, NOW)
    file = tmp_path / "checkpoint.json"
    good = file.read_bytes()
    for at in range(0, len(good), 5):
        file.write_bytes(good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        with pytest.raises(JournalError, match=r"checkpoint.json: .*restore"):
            journal.entries()
    write_checkpoint(file, Head(7, GENESIS), signer(tmp_path / "others"), NOW)
    with pytest.raises(JournalError, match="by no trusted key"):
        journal.entries()

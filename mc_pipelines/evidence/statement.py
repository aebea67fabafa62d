"""The in-toto Statement v1 in a bundle's envelope, read strictly: its form, its signed time, and that it is about exactly these files."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from mc_pipelines.evidence.bundle import STATEMENT
from mc_pipelines.evidence.canonical import parse_instant

MAX_SUBJECTS = 100_000


def read_statement(statement: Any) -> tuple[dict[str, Any], datetime]:
    """The predicate and its signed time, from an in-toto Statement v1 of the exact form that bundle.py writes. ValueError otherwise."""
    if (
        not isinstance(statement, dict)
        or set(statement) != {"_type", "subject", "predicateType", "predicate"}
        or statement["_type"] != STATEMENT
    ):
        raise ValueError(f"the payload is no {STATEMENT}")
    subject = statement["subject"]
    if not isinstance(subject, list) or not 1 <= len(subject) <= MAX_SUBJECTS:
        raise ValueError(f"subject should list 1 to {MAX_SUBJECTS} files")
    for number, one in enumerate(subject, 1):
        digest = one.get("digest") if isinstance(one, dict) and set(one) == {"name", "digest"} else None
        hexed = digest.get("sha256") if isinstance(digest, dict) and set(digest) == {"sha256"} else None
        if not isinstance(hexed, str) or not re.fullmatch(r"[0-9a-f]{64}", hexed) or not isinstance(one["name"], str):
            raise ValueError(f"subject {number} should have a name and one lower-case sha256")
    if len({one["name"] for one in subject}) != len(subject):
        raise ValueError("subject lists a file twice")
    predicate = statement["predicate"]
    if not isinstance(predicate, dict) or not isinstance(predicate.get("signing"), dict):
        raise ValueError("the predicate says nothing about its signing")
    return predicate, parse_instant(str(predicate["signing"].get("signedAt")))


def inequalities(statement: Mapping[str, Any], digests: Mapping[str, str]) -> list[str]:
    """Where what was signed and what is there (sha256 by path) are not equal. Equality, not inclusion: nothing may be there unsigned."""
    subject = {(one["name"], one["digest"]["sha256"]) for one in statement["subject"]}
    payload = set(digests.items())
    unmet = [f"{name!r}: the signature is over sha256 {digest}, which is not in the bundle" for name, digest in sorted(subject - payload)]
    return unmet + [f"{name!r}: sha256 {digest} is in the bundle, but nobody signed it" for name, digest in sorted(payload - subject)]

"""Packets for the sample sources, made from their declarations alone: the same declarations give the same bytes. Nobody has signed them.

They are for the demo. A real packet is written by the partner and judged by people.
"""

import json
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from mc_pipelines.durable import create
from mc_pipelines.home import Home
from mc_pipelines.marketplace.declared import Source
from mc_pipelines.marketplace.packets import packet_file

LICENCES = ("CC-BY-4.0", "ODbL-1.0", "CC0-1.0", "CC-BY-4.0 AND LicenseRef-partner-terms")
PERSONAL = frozenset({"footfall", "business-register"})
"""Sample sources whose data could lead to a person."""


def write_packets(home: Home, sources: Sequence[Source]) -> list[Path]:
    """Write both packets of every source that has none yet; returns the files made."""
    made = []
    for place, source in enumerate(sources):
        for kind, document in (("dpia", dpia(source)), ("licence", licence(source, LICENCES[place % len(LICENCES)]))):
            path = packet_file(home, source.source_id, kind)
            path.parent.mkdir(parents=True, exist_ok=True)
            if create(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()):
                made.append(path)
    return made


def dpia(source: Source) -> dict[str, Any]:
    """An assessment that has no problems; validated two days before the source is offered."""
    personal = source.source_id in PERSONAL
    return {
        "packet": "dpia",
        "source_id": source.source_id,
        "version": 1,
        "context": {
            "purpose": f"Offer {source.name} to tenants who ask to connect.",
            "controller": f"The partner {source.partner_id}.",
            "processors": ["The marketplace, which keeps requests and shows the source."],
            "standards": [],
        },
        "data": [
            {"id": "items", "about": f"Items of {source.name}.", "personal": personal, "retention": "13 months"},
            {"id": "requests", "about": "Who asked to connect, and when.", "personal": True, "retention": "13 months"},
        ],
        "processes": [
            {"id": "collect", "about": "The partner collects and cleans the items.", "assets": ["The partner's collection system"]},
            {"id": "offer", "about": "Tenants find the source and ask to connect.", "assets": ["The marketplace"]},
        ],
        "proportionality": {
            "purposes": "The purposes are those named above and no others.",
            "lawful_basis": "Legitimate interest; what a tenant asks for rests on its contract.",
            "minimisation": "Counts are shown from ten people on." if personal else "The items name nobody.",
            "accuracy": "The partner corrects items within its resolution time.",
            "retention": "Thirteen months cover a yearly comparison.",
        },
        "rights": {
            "information": "The partner's notice says what is collected.",
            "consent": "Not needed on this basis.",
            "access": "Through the partner's contact, within a month.",
            "rectification": "Through the partner's contact, within a month.",
            "objection": "Through the partner's contact, within a month.",
            "processors": "A processing agreement binds the marketplace.",
            "transfers": "None outside of what the agreement names.",
        },
        "risks": [
            {"id": "access", "about": "Somebody sees requests that are not theirs.", "severity": 2, "likelihood": 2},
            {"id": "singled-out", "about": "Somebody is singled out in the items.", "severity": 3 if personal else 1, "likelihood": 2},
        ],
        "measures": [
            {"id": "roles", "about": "Only people with a role see requests.", "treats": ["access"]},
            {"id": "ten-people", "about": "Small counts are left out.", "treats": ["singled-out"]},
        ],
        "dpo_opinion": {
            "name": "Data protection officer of the partner",
            "date": (source.offered - timedelta(days=5)).isoformat(),
            "verdict": "favourable_with_conditions" if personal else "favourable",
            "text": "Small counts stay left out." if personal else "Nothing speaks against it.",
        },
        "validation": {"by": "Head of data of the partner", "date": (source.offered - timedelta(days=2)).isoformat()},
    }


def licence(source: Source, expression: str) -> dict[str, Any]:
    """A licence with a clause of each kind, in force until the end of the year after."""
    return {
        "packet": "licence",
        "source_id": source.source_id,
        "version": 1,
        "licence": expression,
        "clauses": [
            {"id": "embargo", "kind": "block", "items": {"tags": ["embargoed"]}, "text": "Nothing is shown before its embargo ends."},
            {"id": "previews", "kind": "allow", "items": {"pattern": "preview/*"}, "text": "Previews may always be shown."},
            {"id": "drafts", "kind": "demote", "items": {"tags": ["draft"]}, "text": "Drafts stand after what is final."},
        ],
        "attribution": f"{source.name}, {source.partner_id}",
        "expires": date(source.offered.year + 1, 12, 31).isoformat(),
    }

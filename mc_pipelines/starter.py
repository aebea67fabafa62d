"""A new home to start from: folders and reference files with one example each. Never overwrites."""

from pathlib import Path

BOOK = "reference/price_books/example.yaml"
FILES = {
    "reference/calendar.yaml": (
        "# First and last day for which partitions, local days and billing periods exist.\nstart: 2026-01-01\nend: 2027-12-31\n"
    ),
    "reference/tenants.yaml": (
        "tenants:\n"
        "  - {tenant_id: acme, name: Acme, zone: Europe/Berlin, currency: EUR, plan: standard, grace_days: 2,\n"
        "     stages: [{product: api, stage: ga, from: 2026-01-01T00:00:00Z}]}\n"
    ),
    BOOK: (
        "# What usage costs: docs/price-book.md. In force before 2026, because January begins earlier east of Greenwich.\n"
        "# Without a file in this folder nothing is priced, and a close asks for no invoices.\n"
        'price_book: example\nversion: "1"\neffective: 2025-12-31T00:00:00Z\ncurrency: EUR\ntaxes: {vat: "19"}\nplans:\n  standard:\n'
        "    tax: vat\n    charges:\n"
        '      - {id: platform, model: flat, price: "49", prorate: true}\n'
        '      - {id: requests, model: per_unit, meter: api_requests, price: "0.002", allowance: "1000"}\n'
    ),
    "reference/subscriptions.yaml": (
        "# Tenants that change their plan; all others have the plan that the tenants' file names.\nsubscriptions: []\n"
    ),
    "reference/credits.yaml": "# Money that tenants paid before.\ncredits: []\n",
    "reference/meters.yaml": "meters:\n  - {meter: api_requests, type: http.request, aggregation: count, unit: request, floor: 1}\n",
    "reference/explained.yaml": "explained: []\n",
    "reference/conflicts.yaml": "conflicts: []\n",
    "reference/retention.yaml": (
        "# How long signed evidence is kept, in years after the month's cut-off. Landed files and refused rows are kept for ever,\n"
        "# unless `landing_days` and `quarantine_days` say for how many days after they landed.\nevidence_years: 7\n"
    ),
    "reference/sources.yaml": (
        "sources:\n"
        "  usage_events: {about: Usage events of the product, owner: 'team:product-ops', start: 2026-01-01}\n"
        "  gateway_log: {about: The gateway's own log, owner: 'team:sre', start: 2026-01-01, counts_repeats: false,\n"
        "                counts_repeats_why: The gateway writes one line a request.}\n"
    ),
}


def write_home(directory: Path) -> list[str]:
    """Make the folders and the files that are absent; returns a line for each.

    The price book comes with the tenant that it is for: beside tenants of your own it would ask for invoices that it cannot price.
    """
    lines = []
    own = [name for name in ("tenants.yaml", "tenants.csv") if (directory / "reference" / name).exists()]
    for folder in ("landing/usage_events", "landing/gateway_log", "reference/price_books"):
        (directory / folder).mkdir(parents=True, exist_ok=True)
    for name, text in FILES.items():
        target = directory / name
        if own and name == BOOK:
            continue
        if target.exists():
            lines.append(f"kept   {name}")
        else:
            target.write_text(text, encoding="utf-8")
            lines.append(f"wrote  {name}")
    return lines

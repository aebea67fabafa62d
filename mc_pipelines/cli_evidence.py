"""Commands of `mission` that look at evidence. None of them signs, except that a key is revoked; each imports what it needs when it runs."""

import json
import sys
from pathlib import Path

import click

from mc_pipelines.errors import FAILED


@click.command()
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "--trusted", type=click.Path(path_type=Path), help="File of trusted public keys; without it the bundle can only attest itself."
)
@click.option("--threshold", default=1, show_default=True, help="Distinct trusted keys that must have signed.")
@click.option("--json", "as_json", is_flag=True, help="Print the verdict as JSON.")
def verify(bundle: Path, trusted: Path | None, threshold: int, as_json: bool) -> None:
    """Verify a signed bundle offline. Example: mission verify data/evidence/finance/metering/close/2026-04/001-…"""
    from mc_pipelines.verify import verify as verify_bundle

    found = verify_bundle(bundle, trusted, threshold)
    if as_json:
        click.echo(
            json.dumps({"ok": found.ok, "reasons": found.reasons, "warnings": found.warnings, "checked": found.checked}, default=str)
        )
    else:
        for reason in found.reasons:
            click.echo(f"refused: {reason}")
        for warning in found.warnings:
            click.echo(f"note: {warning}")
        click.echo("verified" if found.ok else "NOT verified")
    sys.exit(0 if found.ok else FAILED)


COMMANDS = (verify,)

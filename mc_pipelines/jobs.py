"""Dagster jobs that are no assets: what people do to a close, and the night's rehearsal. Each does what the command of the same name does.

A job takes what a person has signed already; it never signs for anybody.
"""

from functools import partial
from pathlib import Path

import dagster as dg
from pydantic import Field

from mc_pipelines.home import Home


class Signed(dg.Config):
    """`sign_off` is the path of what a person has signed with `mission sign`; a job never signs for anybody."""

    sign_off: str


SIGNED = {
    "approve": "A person's signed approval of a month's newest edition.",
    "waive": "A person's signed waiver of what failed in a month's newest edition.",
    "note": "A signed finance note on the locked invoices of a month.",
}
"""By command the job that takes what was signed for it."""


class OfMonth(dg.Config):
    """The month, for example 2026-04, and its tenants; without tenants all that are ready for it."""

    month: str
    tenants: list[str] = Field(default_factory=list)


def _signed_job(home: Home, name: str) -> dg.JobDefinition:
    """The job `<name>_close`: take a signed file into the journal, if it is about what stands now, and show it."""

    @dg.op(name=name, description=SIGNED[name])
    def take(context: dg.OpExecutionContext, config: Signed) -> None:
        from mc_pipelines.closing.acts import approve
        from mc_pipelines.closing.publication import file_note
        from mc_pipelines.closing.waive import waive
        from mc_pipelines.evidence.people import read_people
        from mc_pipelines.journaling import journal_of
        from mc_pipelines.showing import show_board, show_month

        path, journal = Path(config.sign_off), journal_of(home)
        taken = {"approve": partial(approve, journal), "waive": partial(waive, journal), "note": partial(file_note, home)}[name]
        entry = taken(read_people(home), path.read_bytes(), str(path))
        if name == "waive":
            show_month(home, entry.body["period"])
        show_board(home, entry.body["period"])
        context.log.info(f"entry {entry.number}: {entry.kind} by {entry.body['person']}")

    @dg.job(name=f"{name}_close", description=SIGNED[name])
    def signed() -> None:
        take()

    return signed


def life_jobs(home: Home) -> list[dg.JobDefinition]:
    """What approve, waive and note do with `--signed`, and lock and publish, for whoever works in the UI."""

    @dg.op(description="Fix the close of approved tenants, for ever.")
    def lock(context: dg.OpExecutionContext, config: OfMonth) -> None:
        from mc_pipelines.close import lock as fix
        from mc_pipelines.journaling import requester
        from mc_pipelines.showing import show_board

        entry = fix(home, config.month, config.tenants or None, context.run.tags.get("requested_by") or requester())
        show_board(home, entry.body["period"])
        context.log.info(f"entry {entry.number}: {len(entry.body['tenants'])} tenant(s) of edition {entry.body['edition']} locked")

    @dg.op(description="Hand over locked invoices that a finance note covers.")
    def publish(context: dg.OpExecutionContext, config: OfMonth) -> None:
        from mc_pipelines.closing.publication import publish as hand_over
        from mc_pipelines.journaling import requester
        from mc_pipelines.showing import show_board

        entry = hand_over(home, config.month, config.tenants or None, context.run.tags.get("requested_by") or requester())
        show_board(home, entry.body["period"])
        context.log.info(f"entry {entry.number}: {entry.body['invoices']} invoice(s) published")

    @dg.job(name="lock_close", description="Lock the approved tenants of a month. Nothing unlocks.")
    def lock_close() -> None:
        lock()

    @dg.job(
        name="publish_close", description="Publish the locked invoices of a month: list, ledger entries, credit notes. Nothing unpublishes."
    )
    def publish_close() -> None:
        publish()

    return [*(_signed_job(home, name) for name in SIGNED), lock_close, publish_close]


class OfDocument(dg.Config):
    """The deliverable, its window (a sprint's name), and one document of it; without one all that it publishes."""

    deliverable: str
    window: str
    document: str = ""


def edition_job(home: Home) -> dg.JobDefinition:
    """What `mission edition` does."""

    @dg.op(description="Sign and publish what a deliverable shows others of a window, as its tables make it now.")
    def publish_documents(context: dg.OpExecutionContext, config: OfDocument) -> None:
        from mc_pipelines.editions import publish_all
        from mc_pipelines.journaling import requester
        from mc_pipelines.showing import show_editions, show_scoreboard

        asked_by = context.run.tags.get("requested_by") or requester()
        named = [config.document] if config.document else []
        for entry in publish_all(home, config.deliverable, config.window, named, asked_by, context.log.info):
            context.log.info(f"entry {entry.number}: edition {entry.body['edition']} of {entry.body['document']}")
        show_editions(home, config.deliverable)
        show_scoreboard(home)

    @dg.job(name="publish_edition", description="Publish the model card or the feedback report of a sprint. Nothing unpublishes.")
    def publish_edition() -> None:
        publish_documents()

    return publish_edition


class Tonight(dg.Config):
    """The day after which the month is closed as if it ended; without one the last that has landed."""

    day: str = ""


def tonight_job(home: Home) -> dg.JobDefinition:
    """What `mission tonight` does."""

    @dg.op(description="Close the running month as if it ended after its last landing day, as a rehearsal that cannot be locked.")
    def rehearse(context: dg.OpExecutionContext, config: Tonight) -> None:
        from mc_pipelines.closing.rehearsal import rehearse as close_tonight
        from mc_pipelines.journaling import requester
        from mc_pipelines.showing import show_tonight

        asked_by = context.run.tags.get("requested_by") or requester()
        found = close_tonight(home, day=config.day, run_id=context.run.run_id, progress=context.log.info, requested_by=asked_by).document
        show_tonight(home, found)
        context.log.info(f"{found['would_close']} of {found['tenants']} tenant(s) would close after {found['day']}")

    @dg.job(name="tonight", description="The running month closed as if it ended now: a rehearsal each night, after the day's run.")
    def tonight() -> None:
        rehearse()

    return tonight

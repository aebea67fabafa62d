"""docs/price-book.md is run: every command gives the output that the page shows, and its Python is a doctest."""

import doctest
import re
from pathlib import Path
from textwrap import indent

import pytest
import yaml
from click.testing import CliRunner

from mc_pipelines.cli import main
from mc_pipelines.home import CHECKOUT
from mc_pipelines.rating.declared import declare
from mc_pipelines.rating.plans import AnyCharge, Flat
from mc_pipelines.rating.subscriptions import Subscription

PAGE = (CHECKOUT / "docs" / "price-book.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
DECLARED = [text for language, text in BLOCKS if language == "yaml"]
COMMANDS = [text for language, text in BLOCKS if text.startswith("$ ")]


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The page's price book: its head, the charges of every section, and its second plan."""
    head, *others = DECLARED
    charges = [text for text in others if text.startswith("- ")]
    plan = next(text for text in others if text.startswith("committed:"))
    path = tmp_path / "example.yaml"
    path.write_text(head + indent("".join(charges), " " * 6) + indent(plan, " " * 2), encoding="utf-8")
    return path


@pytest.mark.parametrize("shown", COMMANDS, ids=lambda shown: shown.split("--charge ")[1].split("\n")[0])
def test_a_command_of_the_page_gives_what_the_page_shows(example: Path, shown: str) -> None:
    command, *expected = shown.splitlines()
    arguments = command.removeprefix("$ mission ").split()
    result = CliRunner().invoke(main, [*arguments, "--plan", "standard", "--price", str(example)])
    assert result.output.splitlines() == expected


def test_the_page_has_an_example_of_every_model() -> None:
    charges = [item for text in DECLARED if text.startswith("- ") for item in yaml.safe_load(text)]
    kinds = AnyCharge.__args__[0].__args__
    assert {charge["model"] for charge in charges} == {kind.model_fields["model"].annotation.__args__[0] for kind in kinds}
    shown = {command.split("--charge ")[1].split()[0] for command in COMMANDS}
    assert shown == {charge["id"] for charge in charges}
    assert Flat in kinds


def test_the_python_of_the_page_is_a_doctest(example: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(example.parent)
    found = doctest.DocTestParser().get_doctest(
        next(text for language, text in BLOCKS if language == "python"), {}, "price-book.md", None, 0
    )
    assert doctest.DocTestRunner().run(found) == doctest.TestResults(failed=0, attempted=len(found.examples))


def test_the_subscriptions_of_the_page_can_be_read() -> None:
    text = next(text for text in DECLARED if text.startswith("subscriptions:"))
    plans = [declare(Path("page"), Subscription, item).plan for item in yaml.safe_load(text)["subscriptions"]]
    assert plans == ["standard", "committed"]

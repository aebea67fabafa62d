"""The team's example files load, fit together and hold no secret. The containers themselves cannot be run in a test."""

import re
from pathlib import Path
from typing import Any

import yaml
from dagster._config import validate_config
from dagster._core.instance.config import dagster_instance_config_schema

from mc_pipelines.home import CHECKOUT

DEPLOY = CHECKOUT / "deploy"


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text(encoding="utf-8"))


def test_dagster_accepts_both_settings() -> None:
    for name in ("dagster.yaml", "dagster.team.yaml"):
        checked = validate_config(dagster_instance_config_schema(), read(name))
        assert checked.success, (name, checked.errors)


def test_the_teams_settings_are_one_persons_with_postgres() -> None:
    team = read("dagster.team.yaml")
    store = team.pop("storage")["postgres"]["postgres_db"]
    own = read("dagster.yaml")
    assert own.pop("event_log_storage")["class"] == "KeptEngines"  # SQLite only
    assert team == own
    assert store["scheme"] == "postgresql+psycopg2"
    assert {name for name, value in store.items() if isinstance(value, dict) and set(value) == {"env"}} >= {"username", "password"}


def test_every_secret_comes_from_the_environment() -> None:
    services = read("compose.yaml")["services"]
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|SECRET|CLIENT_ID|NOTIFY", name):
                assert re.fullmatch(r"\$\{[A-Z0-9_]+:(\?|-)[^}]*\}", value), name


def test_the_services_find_each_other_and_only_the_proxy_is_reachable() -> None:
    compose, text = read("compose.yaml"), (DEPLOY / "nginx.conf.template").read_text(encoding="utf-8")
    services = compose["services"]
    assert [name for name, service in services.items() if "ports" in service] == ["nginx"]
    assert set(re.findall(r"proxy_pass http://([a-z0-9-]+):", text)) <= set(services)
    assert read("workspace.team.yaml")["load_from"][0]["grpc_server"]["host"] in services
    assert "--read-only" in services["web-read"]["command"]
    assert "--read-only" not in services["web-ops"]["command"]
    assert compose["networks"]["inside"] == {"internal": True}
    for service in services.values():
        for volume in service.get("volumes", []):
            if volume.startswith("./"):
                assert (DEPLOY / Path(volume.split(":")[0])).is_file(), volume


def test_the_readme_names_every_setting() -> None:
    said = (DEPLOY / "README.md").read_text(encoding="utf-8")
    asked = set(re.findall(r"\$\{([A-Z0-9_]+):", (DEPLOY / "compose.yaml").read_text(encoding="utf-8")))
    assert asked <= set(re.findall(r"`([A-Z0-9_]+)`", said))


def test_every_location_behind_the_proxy_asks_who_it_is() -> None:
    text = (DEPLOY / "nginx.conf.template").read_text(encoding="utf-8")
    locations = re.findall(r"location (?:= )?(\S+) \{(.*?)\n    \}", text, re.DOTALL)
    assert {path for path, _ in locations} == {"/oauth2/", "/oauth2/auth", "/oauth2/auth_ops", "/site/", "/ops/", "/"}
    for path, body in locations:
        assert path.startswith("/oauth2/") or "auth_request /oauth2/auth" in body, path

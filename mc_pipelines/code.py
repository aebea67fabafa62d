"""Which code made a number: one digest over the package, the declared assets and the checks. Git is not asked: a deployment has none."""

import hashlib
from functools import cache
from importlib.metadata import PackageNotFoundError, version

from mc_pipelines.home import CHECKOUT, Home


@cache
def code_digest(home: Home) -> str:
    """sha256 hex over every source file that can change a number, by relative path."""
    whole = hashlib.sha256()
    files = {path.relative_to(CHECKOUT).as_posix(): path for path in sorted((CHECKOUT / "mc_pipelines").rglob("*.py"))}
    for folder, pattern in (("assets", "*/*"), ("checks", "*.yaml"), ("checks/contracts", "*.yaml")):
        files |= home.declarations(folder, pattern)
    for name, path in sorted(files.items()):
        whole.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return whole.hexdigest()


def code_version() -> str:
    """The installed version of the package, or 'unreleased' in a bare checkout."""
    try:
        return version("mc_pipelines")
    except PackageNotFoundError:
        return "unreleased"


def package_digest(*packages: str) -> str:
    """sha256 over the Python sources of packages of mc_pipelines, for tables that more than one module computes."""
    found = hashlib.sha256()
    for package in packages:
        for path in sorted((CHECKOUT / "mc_pipelines" / package).rglob("*.py")):
            found.update(f"{path.name}\n".encode() + path.read_bytes())
    return found.hexdigest()

"""An auditor's installation, as docs/bundles.md has it: the libraries named there, and Headrace without its dependencies."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, packages_distributions, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.bundled import model, signer
from tests.running import scrubbed

DOCUMENT = Path(__file__).parents[2] / "docs/bundles.md"
ALONE = """
import sys

class Nothing:
    # no other library than those that were named can be imported
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in HIDDEN:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

HIDDEN = set(sys.argv.pop(1).split(","))
sys.meta_path.insert(0, Nothing())
from headrace.cli import main
main()
"""


def named() -> list[str]:
    """The libraries that the document has installed."""
    (line,) = re.findall(r"^auditor/bin/pip install ((?!--no-deps).*)$", DOCUMENT.read_text(), re.MULTILINE)
    return shlex.split(line)


def hidden() -> str:
    """All other modules that are installed here."""
    there, waiting = {"headrace"}, [Requirement(one) for one in named()]
    while waiting:
        one = waiting.pop()
        there.add(canonicalize_name(one.name))
        try:
            needs = [Requirement(need) for need in requires(one.name) or ()]
        except PackageNotFoundError:
            continue
        waiting += [need for need in needs if _needed(need, one) and canonicalize_name(need.name) not in there]
    modules = packages_distributions()
    return ",".join(name for name, by in modules.items() if not there & {canonicalize_name(each) for each in by})


def _needed(need: Requirement, of: Requirement) -> bool:
    return need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in ("", *of.extras))


def test_a_bundle_is_checked_with_what_is_named_and_no_more(tmp_path: Path) -> None:
    made = model(tmp_path)
    path, without = made.write(), hidden()
    assert {"httpx", "numpy", "fastapi", "sqlalchemy", "yaml"} <= set(without.split(","))
    environment = scrubbed() | {"HEADRACE_HOME": str(tmp_path / "home")}

    def headrace(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", ALONE, without, *arguments]
        return subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)

    done = headrace("verify", str(path), "--offline", "--key", signer("acme").public.fingerprint)
    assert done.returncode == 0 and "md_acme verified, level L1" in done.stdout, done.stderr
    assert "✗" not in done.stdout
    assert headrace("trust", "add", "hub", "--operator", made.ledger.operator).returncode == 0
    assert headrace("verify", str(path)).returncode == 0
    other = headrace("model", "list")
    assert other.returncode == 1 and "this command needs httpx" in other.stderr and "Traceback" not in other.stderr


@pytest.mark.parametrize("gone", ["coincurve", "Crypto"])
def test_what_is_missing_is_no_word_about_the_bundle(gone: str, tmp_path: Path) -> None:
    path = model(tmp_path).write()
    command = [
        sys.executable,
        "-c",
        ALONE,
        f"{hidden()},{gone}" + (",sha3" if gone == "Crypto" else ""),
        "verify",
        str(path),
    ]
    environment = scrubbed() | {"HEADRACE_HOME": str(tmp_path / "home")}
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "✗" in done.stdout) == (1, False), done
    assert "Nothing was checked" in done.stderr and "pip install coincurve 'eth-hash[pycryptodome]'" in done.stderr

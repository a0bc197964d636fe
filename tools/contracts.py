"""Compiles the contracts: ``python -m tools.contracts [--check]``.

The compiler is solc's own build in JavaScript, which npm installs into a cache folder at the first run; node runs it. What it
gives stands in ``src/headrace/trust/ledgers/contracts.json`` and is committed; `--check` fails when it would differ.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
SOURCES = ROOT / "contracts"
COMPILED = ROOT / "src" / "headrace" / "trust" / "ledgers" / "contracts.json"
HOME = ROOT / ".solc"
VERSION = "0.8.30"
DEPLOYED = ("Dataset", "Model", "Anchors")
SETTINGS = {
    "evmVersion": "istanbul",
    "viaIR": True,  # a quarter shorter
    "optimizer": {"enabled": True, "runs": 200},
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.methodIdentifiers"]}},
}
"""Without metadata the bytecode is a function of the sources' code alone; istanbul runs on every chain of ours."""
RUN = "const fs = require('fs'); process.stdout.write(require('solc').compile(fs.readFileSync(0, 'utf8')))"


class NoCompiler(Exception):
    """There is no way to a compiler here."""


WAIT = 120
"""Seconds npm has."""


def compiler() -> Path:
    """The folder with the compiler, installed when it is missing or of another version.

    Raises NoCompiler: node or npm is missing, or npm cannot install it.
    """
    for name in ("node", "npm"):
        if shutil.which(name) is None:
            raise NoCompiler(f"{name} is not installed")
    HOME.mkdir(exist_ok=True)
    with (HOME / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run beside each other
        stamp = HOME / f"solc-{VERSION}"
        if not stamp.exists():
            command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", HOME, f"solc@{VERSION}"]
            try:
                done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=WAIT)
            except subprocess.TimeoutExpired as error:
                raise NoCompiler(f"npm did not install solc {VERSION} within {WAIT} s") from error
            if done.returncode:
                raise NoCompiler(f"npm cannot install solc {VERSION}: {done.stdout}{done.stderr}")
            stamp.touch()
    return HOME


def compile_all(sources: Path = SOURCES) -> dict[str, Any]:
    """What `contracts.json` has to be."""
    files = {path.name: {"content": path.read_text()} for path in sorted(sources.glob("*.sol"))}
    asked = {"language": "Solidity", "sources": files, "settings": SETTINGS}
    done = subprocess.run(
        ["node", "-e", RUN], input=json.dumps(asked), check=True, capture_output=True, text=True, cwd=compiler()
    )
    found = json.loads(done.stdout)
    if found.get("errors"):  # warnings are errors
        sys.exit("".join(error["formattedMessage"] for error in found["errors"]))
    return {
        "compiler": f"solc {VERSION}",
        "evm": SETTINGS["evmVersion"],
        "contracts": {name: _entry(found["contracts"][f"{name}.sol"][name]) for name in DEPLOYED},
    }


def _entry(found: dict[str, Any]) -> dict[str, Any]:
    evm = found["evm"]
    return {"abi": found["abi"], "methods": evm["methodIdentifiers"], "bytecode": evm["bytecode"]["object"]}


def text(compiled: dict[str, Any]) -> str:
    """As it stands in the file."""
    return json.dumps(compiled, indent=1) + "\n"


def main() -> None:
    """Write the file, or say that it differs."""
    made = text(compile_all())
    if "--check" not in sys.argv:
        COMPILED.write_text(made)
    elif COMPILED.read_text() != made:
        sys.exit("contracts.json is not what the sources give: python -m tools.contracts")


if __name__ == "__main__":
    main()

"""The chapter's evaluation (section 4.4.4), whole: share a dataset and a model, train, verify, download, translate, compare.

    python examples/02-share-and-verify/run.py FOLDER [--cmp CMP_facade_DB_base.zip] [--url http://127.0.0.1:8080]

Everything it makes is in FOLDER. Without --url it starts a platform of its own there, and stops it at the end. It does what you
would do, with the commands you would type, and prints each. Given again, it goes on where it stopped.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
RECIPE = HERE / "pix2pix"
NAME = "facades"
"""Of the deployment."""
WAIT = 120.0
"""Seconds for the ledger to have what it was told."""


class Run:
    """The steps. What was done stands in FOLDER/state.json."""

    def __init__(self, given: argparse.Namespace) -> None:
        self.given, self.folder = given, given.folder.resolve()
        self.file = self.folder / "state.json"
        self.url, self.environment = given.url, dict(os.environ)
        self.done: dict[str, Any] = json.loads(self.file.read_text()) if self.file.exists() else {}

    def step(self, name: str, work: Callable[[], Any]) -> Any:
        """What a step found; done before, it is not done again."""
        if name not in self.done:
            print(f"\n== {name}", flush=True)
            started = time.monotonic()
            self.done[name] = {"found": work(), "seconds": round(time.monotonic() - started, 2)}
            self.file.write_text(json.dumps(self.done, indent=2))
        return self.done[name]["found"]

    def headrace(self, *arguments: str, shown: bool = True) -> str:
        """What a command prints. Ends the run if it fails."""
        if shown:
            print("$ headrace", shlex.join(arguments), flush=True)
        command = [sys.executable, "-m", "headrace.cli", *arguments]
        done = subprocess.run(command, env=self._own(), check=False, stdout=subprocess.PIPE, text=True)
        if done.returncode:
            sys.exit(f"that ended with {done.returncode}; give the same command again to go on")
        return done.stdout

    def json(self, *arguments: str, shown: bool = True) -> Any:
        return json.loads(self.headrace(*arguments, "--json", shown=shown))

    def _own(self) -> dict[str, str]:
        return {**self.environment, "HEADRACE_URL": self.url}

    # -- the chapter's steps

    def data(self) -> list[str]:
        """Register both datasets. Of each its statistics and a contract are made."""
        import facades

        source = self.given.cmp or self.folder / "facades"
        if not self.given.cmp:
            facades.draw(source, self.given.pictures)
        about = "CMP Facade Database" if self.given.cmp else "facades drawn by examples/02-share-and-verify/facades.py"
        paths = facades.pack(source, self.folder, self.given.size)
        return [
            self.json("dataset", "add", str(path), "--description", f"{about}, {path.stem}")["id"] for path in paths
        ]

    def model(self) -> dict[str, str]:
        """Register the model: its job is queued, and waits for the contracts of all."""
        train, held_out = self.done["register the datasets"]["found"]
        settings = [f"--set={name}={value}" for name, value in self.settings().items()]
        made = self.json("model", "train", str(RECIPE), "--data", train, "--evaluate", held_out, *settings)
        return {"id": made["id"], "job": made["job"]}

    def settings(self) -> dict[str, int]:
        """Hyper-parameters other than the recipe's defaults."""
        wanted = {"epochs": self.given.epochs, "width": self.given.width}
        return {name: value for name, value in wanted.items() if value is not None}

    def train(self) -> dict[str, Any]:
        """Follow the job to its end."""
        job = self.done["register the model"]["found"]["job"]
        print(f"$ headrace job log -f {job}", flush=True)
        subprocess.run([sys.executable, "-m", "headrace.cli", "job", "log", "-f", job], env=self._own(), check=True)
        ended = self.json("job", "show", job, shown=False)
        if ended["state"] != "done":
            sys.exit(f"{job} {ended['state']}: {ended['reason']}")
        return {"seconds": (ended["ended_ms"] - ended["started_ms"]) / 1000, "metrics": ended["metrics"]}

    def contract(self, id: str) -> dict[str, Any]:
        """Until the contract says all that the record says; None of it where there is no ledger."""
        kind, deadline = ("dataset" if id.startswith("ds_") else "model"), time.monotonic() + WAIT
        while (one := self.json(kind, "show", id, shown=False))["anchoring"] == "waiting":
            if time.monotonic() > deadline:
                sys.exit(f"{id} waits for the ledger: {one['anchoring_note']}")
            time.sleep(0.2)
        if one["anchoring"] != "anchored":
            print(f"{id} is on no ledger: {one['anchoring']} {one['anchoring_note']}")
            return {}
        print(self.headrace("contract", id))
        said: dict[str, Any] = self.json("contract", id, shown=False)
        claimed = (said["result"] or said["claim"]).get("digest") or said["claim"].get("sha256")
        held = one.get("digest") or one["stored"]["sha256"]
        if claimed != held:
            sys.exit(f"the contract of {id} says {claimed}, its record {held}")
        return {"address": said["address"], "digest": claimed}

    def download(self) -> str:
        """Each file is compared with its record, and the record with the contract."""
        target = self.folder / "model"
        print(self.headrace("model", "get", self.id, "--output", str(target), "--force"))
        return str(target)

    def verify(self) -> str:
        """As somebody else would: a bundle, with the two keys it was said to be signed with."""
        bundle = str(self.folder / "pix2pix.bundle")
        keys = self.json("ledger", shown=False)
        print(made := self.headrace("bundle", self.id, "--output", bundle, "--force"))
        signer = made.split("--key ")[1].split()[0]
        print(said := self.headrace("verify", bundle, "--offline", "--key", signer, "--operator", keys["operator"]))
        return next(line for line in said.splitlines() if "level" in line)

    def translate(self) -> dict[str, Any]:
        """To ONNX, under a new id."""
        print(self.headrace("translate", self.id))
        made = self.json("translate", self.id, shown=False)  # asked again: the same one
        onnx = self.folder / "generator.onnx"
        print(self.headrace("model", "get", made["id"], "--output", str(onnx), "--force"))
        return {"id": made["id"], "onnx": str(onnx), "parity": made["translation"]["parity"]}

    def compare(self) -> dict[str, float]:
        """The downloaded weights in PyTorch, the downloaded ONNX file in ONNX Runtime."""
        from figure import compare

        given = self.json("model", "show", self.id, shown=False)["recipe"]["parameters"]
        known = yaml.safe_load((RECIPE / "headrace-recipe.yaml").read_text())["parameters"]
        parameters = {**{name: one["default"] for name, one in known.items()}, **given}
        onnx = Path(self.done["translate to ONNX"]["found"]["onnx"])
        target = self.folder / "figure.png"
        found = compare(self.folder / "model", onnx, self.folder / "facades-held-out.zip", parameters, target)
        print(f"{target}: {json.dumps(found)}")
        return found

    def serve(self) -> dict[str, Any]:
        """The translation at the inference doors, asked for the picture of one held-out label map."""
        from figure import answered

        id = self.done["translate to ONNX"]["found"]["id"]
        print(self.headrace("deploy", id, "--name", NAME))
        token = self.headrace("token", shown=False).strip()
        onnx = Path(self.done["translate to ONNX"]["found"]["onnx"])
        target = self.folder / "answer.png"
        found = answered(f"{self.url}/v2/models/{NAME}", token, onnx, self.folder / "facades-held-out.zip", target)
        print(f"{target}: {json.dumps(found)}; `headrace delete {NAME}` takes it out of service")
        return found

    def describe(self) -> list[str]:
        """The model card and the bill of materials."""
        made = []
        for command, name in (("card", "card.md"), ("bom", "bom.cdx.json")):
            print(self.headrace(command, self.id, "--output", str(self.folder / name)), end="")
            made.append(name)
        return made

    def again(self) -> str:
        """Train once more, and compare the bytes."""
        print(self.headrace("model", "reproduce", self.id, "--watch"))
        return str(self.json("model", "show", self.id, shown=False)["reproducible"])

    @property
    def id(self) -> str:
        """Of the model."""
        return str(self.done["register the model"]["found"]["id"])

    def all(self) -> None:
        """One after the other."""
        datasets = self.step("register the datasets", self.data)
        self.step("contracts of the datasets", lambda: [self.contract(id) for id in datasets])
        self.step("register the model", self.model)
        self.step("train in the sandbox", self.train)
        recorded = self.step("contract of the model, updated", lambda: self.contract(self.id))
        self.step("verified download", self.download)
        if recorded:
            self.step("bundle, verified offline", self.verify)
        translation = self.step("translate to ONNX", self.translate)
        self.step("contract of the translation", lambda: self.contract(translation["id"]))
        self.step("compare the pictures", self.compare)
        self.step("deploy, and ask for a picture", self.serve)
        self.step("model card and bill of materials", self.describe)
        if self.given.again:
            self.step("train again, the same bytes", self.again)

    def summary(self) -> None:
        """Seconds of each step, and what matters of what was found."""
        print("\nstep                                seconds")
        for name, one in self.done.items():
            print(f"{name:36}{one['seconds']:7.2f}")
        trained, apart = self.done["train in the sandbox"]["found"], self.done["compare the pictures"]["found"]
        print(
            f"training {trained['seconds']:.1f} s; held-out L1 {trained['metrics']['l1_of_255']} of 255, as one colour"
        )
        print(
            f"{trained['metrics']['l1_of_255_one_colour']}; PyTorch and ONNX at most {apart['worst']:.2g} of 255 apart"
        )
        print(f"look at {self.folder / 'figure.png'}")


@contextlib.contextmanager
def platform(run: Run) -> Iterator[None]:
    """One of our own in the folder, as long as it is needed."""
    if run.url:
        yield
        return
    command = [sys.executable, "-m", "headrace.cli", "up", "--data", str(run.folder / "data"), "--json"]
    command += ["--http-port", "0", "--mqtt-port", "0"]
    with (run.folder / "platform.log").open("a") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                sys.exit(f"the platform did not start: see {run.folder / 'platform.log'}")
            run.url = json.loads(line)["http"]
            run.environment["HEADRACE_TOKEN"] = Path(json.loads(line)["token_file"]).read_text().strip()
            print(f"a platform of its own at {run.url}, its data in {run.folder / 'data'}")
            yield
        finally:
            process.terminate()
            process.wait()


def main() -> None:
    """Read what is wanted, and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where everything goes")
    parser.add_argument("--cmp", type=Path, help="the real CMP Facade Database: its zip, or the folder it unpacks to")
    parser.add_argument("--url", default="", help="a platform that runs (default: one of its own)")
    parser.add_argument("--pictures", type=int, default=192, help="facades drawn without --cmp (192)")
    parser.add_argument("--size", type=int, default=64, help="pixels of a side, a multiple of 32 (64)")
    parser.add_argument("--epochs", type=int, help="default: the recipe's")
    parser.add_argument("--width", type=int, help="default: the recipe's")
    parser.add_argument("--again", action="store_true", help="train once more, and compare the bytes")
    run = Run(parser.parse_args())
    run.folder.mkdir(parents=True, exist_ok=True)
    with platform(run):
        run.all()
    run.summary()


if __name__ == "__main__":
    main()

"""The GRU of the examples to ONNX, over HTTP, in the sandbox, compared and registered. ``python -m benchmarks.translation``.

A platform is started, the recipe trained for one epoch, and the model translated again and again, each time with another
tolerance, so that each is work of its own: the same wish under another name would not be. The last line printed is a JSON
object.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import peers

EXAMPLE = peers.ROOT / "examples" / "02-train"


def headrace(platform: peers.Headrace, *words: object) -> Any:
    """What a command prints as JSON."""
    line = [*peers.HEADRACE, *map(str, words), "--url", platform.http, "--json"]
    token = Path(platform.token_file).read_text().strip()
    done = subprocess.run(line, check=True, capture_output=True, text=True, env=os.environ | {"HEADRACE_TOKEN": token})
    return json.loads(done.stdout)


def measure(rounds: int) -> dict[str, object]:
    """Seconds of each translation, and what was reached."""
    import httpx

    with tempfile.TemporaryDirectory(prefix="bench-translation-") as name:
        folder = Path(name)
        subprocess.run([sys.executable, EXAMPLE / "hourly.py", folder], check=True, stdout=subprocess.DEVNULL)
        with peers.start_headrace(folder / "data") as platform:
            data = headrace(platform, "dataset", "add", folder / "train.csv")["id"]
            asked = ["--data", data, "--set", "epochs=1", "--watch"]
            model = headrace(platform, "model", "train", EXAMPLE / "gru", *asked)["model"]
            headers = {"authorization": f"Bearer {Path(platform.token_file).read_text().strip()}"}
            seconds = []
            for index in range(rounds):
                began = time.perf_counter()
                url, wish = (
                    f"{platform.http}/translate/{model}",
                    {"name": f"round {index}", "tolerance": 0.1 + index / 1000},
                )
                answer = httpx.post(url, json=wish, headers=headers, timeout=120, trust_env=False)
                seconds.append(time.perf_counter() - began)
                answer.raise_for_status()
    said = answer.json()["translation"]
    return {
        "rounds": rounds,
        "median_s": round(statistics.median(seconds), 3),
        "least_s": round(min(seconds), 3),
        "most_s": round(max(seconds), 3),
        "exporter": said["exporter"],
        "worst": said["parity"]["worst"],
        "tolerance": said["parity"]["tolerance"],
    }


def main() -> None:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    print(json.dumps(measure(parser.parse_args().rounds)))


if __name__ == "__main__":
    main()

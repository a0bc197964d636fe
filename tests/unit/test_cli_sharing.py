"""Sharing and training from the command line, against a platform that checks what it is sent and can be told to fail."""

from __future__ import annotations

import hashlib
import json
import os
import random
import re
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from headrace.assets import Model, OutputFile, Recipe
from headrace.cli import app
from headrace.commands import calling, jobs, packing, sending
from headrace.errors import BadInput
from tests.fake_sharing import OWN, TOKEN, Fake, job, serving, stored

Run = Callable[..., Any]


@pytest.fixture(scope="module")
def platform() -> Iterator[tuple[Fake, str]]:
    fake = Fake()
    with serving(fake) as url:
        yield fake, url


@pytest.fixture
def fake(platform: tuple[Fake, str]) -> Fake:
    platform[0].__init__()  # type: ignore[misc]
    return platform[0]


@pytest.fixture
def run(platform: tuple[Fake, str], fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command; returns what it printed. `code=1`: returns the one line of its error."""
    for name, value in {
        "HEADRACE_HOME": str(tmp_path / "home"),
        "HEADRACE_TOKEN": TOKEN,
        "HEADRACE_URL": platform[1],
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(jobs, "POLL", 0.001)
    monkeypatch.setattr(sending, "WAIT", 0.001)

    def go(*arguments: str, code: int = 0) -> Any:
        done = CliRunner().invoke(app, [str(one) for one in arguments])
        assert done.exit_code == code, (done.output, done.exception)
        if code == 0:
            return json.loads(done.stdout) if "--json" in arguments else done.stdout
        (line,) = [line for line in done.stderr.splitlines() if line.startswith("headrace: ")]
        return line

    return go


def test_a_dataset_is_added_listed_shown_fetched_deleted(run: Run, fake: Fake, tmp_path: Path) -> None:
    data = random.Random(1).randbytes(300_000)
    (tmp_path / "meters.csv").write_bytes(data)
    made = run("dataset", "add", "meters.csv", "--description", "of March", "--media", "csv", "--json")
    assert made["stored"]["sha256"] == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert fake.asked == [{"name": "meters.csv", "description": "of March", "confidential": False, "media": "csv"}]
    for n in range(4):
        run("dataset", "add", "meters.csv", "--name", f"copy {n}")
    assert [one["name"] for one in run("dataset", "list", "--json")] == [
        "copy 3",
        "copy 2",
        "copy 1",
        "copy 0",
        "meters.csv",
    ]
    assert len(run("dataset", "list", "--limit", "3").splitlines()) == 4
    assert "293 KiB" in run("dataset", "list")
    shown = run("dataset", "show", made["id"])
    assert "of March" in shown and "300,000 bytes" in shown and "statistics: being measured" in shown
    assert "exists; --force" in run("dataset", "get", made["id"], code=1)
    assert run("dataset", "get", made["id"], "-o", "copy.csv").startswith("copy.csv: as its record says, sha256:")
    assert (tmp_path / "copy.csv").read_bytes() == data
    (tmp_path / "meters.csv").write_bytes(b"mine")
    run("dataset", "get", made["id"], "--force")
    assert (tmp_path / "meters.csv").read_bytes() == data
    assert "(meters.csv) was not deleted: --yes" in run("dataset", "delete", made["id"], code=1)
    assert "its record stays" in run("dataset", "delete", made["id"], "--yes")
    assert "was deleted on" in run("dataset", "get", made["id"], "-o", "again", code=1)
    assert "no such thing" in run("dataset", "show", "ds_other", code=1)


EVIL = "roof\x1b[2J\x1b]0;pwned\x07\x9b31m\u202egnp.exe\u2066\x7f\r"


def test_no_terminal_obeys_what_others_wrote(run: Run, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    made = run("dataset", "add", "a", "--name", EVIL, "--description", EVIL + "\n\tsecond", "--json")
    fake.jobs = [job("failed", id="jb_1", message=EVIL, reason=EVIL)]
    fake.script["jb_1"] = [job("failed", id="jb_1", message=EVIL, reason=EVIL, created_by=EVIL)]
    said = [run("dataset", "list"), run("dataset", "show", made["id"]), run("job", "list"), run("job", "show", "jb_1")]
    said.append(run("dataset", "show", EVIL, code=1))
    for text in said:
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text), text
    assert "roof\ufffd[2J" in said[0] and "\n\tsecond\n" in said[1] and "roof\ufffd[2J" in said[3]


def test_a_terminal_is_given_line_breaks_and_tabs_of_a_log_only(
    monkeypatch: pytest.MonkeyPatch, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    jobs._print(EVIL.encode() + b"\xff\n\tnext\n")
    shown = "roof\ufffd[2J\ufffd]0;pwned\ufffd\ufffd31m\ufffdgnp.exe\ufffd\ufffd\ufffd\ufffd\n\tnext\n"
    assert capsysbinary.readouterr().out.decode() == shown


def test_statistics_are_shown(run: Run, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    made = run("dataset", "add", "a", "--json")
    columns = [
        {"name": "t", "type": "TIMESTAMP", "missing": 0, "first": "2024-01-01", "last": "2024-02-01"},
        {"name": "power", "type": "DOUBLE", "missing": 3, "min": 0.0, "max": 5000.25, "mean": 812.5, "std": None},
    ]
    about = {"samples": 1200, "sample_shape": [2], "statistics_state": "done", "statistics": {"columns": columns}}
    fake.records[made["id"]] = fake.records[made["id"]].model_copy(update=about)
    shown = run("dataset", "show", made["id"])
    assert "1,200 samples of shape [2]" in shown
    assert [line.split() for line in shown.splitlines()[-2:]] == [
        ["t", "TIMESTAMP", "0", "2024-01-01", "2024-02-01"], ["power", "DOUBLE", "3", "0", "5,000.25", "812.5"],
    ]  # fmt: skip
    times = {
        "name": "time_ns",
        "type": "BIGINT",
        "missing": 0,
        "min": 1.7e18,
        "max": 1.8e18,
        "mean": 1.75e18,
        "std": 1.0,
    }
    matrix = {"columns": ["a", "b", "c"], "correlation": [[1, 0.1, -0.9], [0.1, 1, None], [-0.9, None, 1]]}
    figures = {"missing": 1, "min": 0.0, "max": 1234567.0, "mean": 2.0, "std": None}
    arrays = {"x": {"shape": [1000, 3], "type": "float64", "features": [figures] * 3, "matrix": matrix}}
    arrays["y"] = {"shape": [1000], "type": "int64", "values": figures}
    about = {"samples": 1, "sample_shape": [3], "statistics": {"columns": [times], "arrays": arrays}}
    fake.records[made["id"]] = fake.records[made["id"]].model_copy(update=about)
    shown = run("dataset", "show", made["id"])
    assert "1 sample of shape [3]" in shown and "2023-11-14 22:13:20" in shown and "2027-01-15 08:00:00" in shown
    lines = [line.split() for line in shown.splitlines()]
    assert ["x[2]", "1", "0", "1.23457e+06", "2"] in lines and ["x", "float64,", "1,000", "x", "3"] in lines
    assert ["y", "int64,", "1,000", "1", "0", "1.23457e+06", "2"] in lines
    assert "correlation of 3 columns, strongest: a and c -0.90, a and b +0.10" in shown


def test_a_download_that_is_not_as_recorded_is_not_kept(run: Run, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"1,2,3")
    made = run("dataset", "add", "a.csv", "--json")
    fake.lying = True
    assert "not what the record says" in run("dataset", "get", made["id"], "-o", "b.csv", code=1)
    fake.lying = False
    fake.contents[made["id"]] = {"a.csv": b"1,2,3,4"}
    assert "more than the 5 bytes" in run("dataset", "get", made["id"], "-o", "b.csv", code=1)
    fake.contents[made["id"]] = {"a.csv": b"1,2"}
    assert "not what the record says" in run("dataset", "get", made["id"], "-o", "b.csv", code=1)
    fake.damaged = True
    line = run("dataset", "get", made["id"], "-o", "b.csv", code=1)
    assert line == "headrace: the stored content is damaged at leaf 0; nothing was kept"
    assert sorted(one.name for one in tmp_path.iterdir() if one.is_file()) == ["a.csv"], "no part is left"


def test_a_large_file_goes_on_where_it_stopped(
    run: Run, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "RESUMABLE", 100_000)
    monkeypatch.setattr(sending, "PIECE", 64 * 1024)
    data = random.Random(2).randbytes(400_000)
    (tmp_path / "large.bin").write_bytes(data)
    fake.break_at = 150_000
    line = run("dataset", "add", "large.bin", code=1)
    assert "at 150,000 of 400,000 bytes" in line and "the same command goes on" in line
    assert (tmp_path / "home" / "uploads.json").stat().st_mode & 0o077 == 0
    fake.break_at, before = -1, len(fake.patched)
    done = CliRunner().invoke(app, ["dataset", "add", "large.bin", "--json"])
    made = json.loads(done.stdout)
    assert done.stderr == "large.bin: resumed at 150,000 of 400,000 bytes\n"
    assert fake.patched[before][0] == 150_000, "nothing is sent twice"
    assert made["stored"]["sha256"] == f"sha256:{hashlib.sha256(data).hexdigest()}" and made["filename"] == "large.bin"
    assert fake.contents[made["id"]]["large.bin"] == data
    assert json.loads((tmp_path / "home" / "uploads.json").read_text()) == {}
    run("dataset", "add", "large.bin")
    assert fake.patched[-7][0] == 0, "a finished upload is not gone on with"


def test_an_upload_goes_on_by_itself_after_a_broken_piece(
    run: Run, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "RESUMABLE", 1000)
    (tmp_path / "large.bin").write_bytes(bytes(range(256)) * 2000)
    piece = sending._piece

    def once(*arguments: Any) -> int:
        fake.break_at = 100_000 if not fake.patched else -1
        return piece(*arguments)

    monkeypatch.setattr(sending, "_piece", once)
    assert run("dataset", "add", "large.bin", "--json")["stored"]["size"] == 512_000
    assert fake.patched == [(0, 100_000), (100_000, 412_000)]


@pytest.mark.parametrize("what", ["forgotten", "changed"])
def test_an_upload_begins_anew_when_it_has_to(
    what: str, run: Run, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "RESUMABLE", 1000)
    (tmp_path / "large.bin").write_bytes(bytes(5000))
    fake.break_at = 3000
    run("model", "add", "large.bin", code=1)
    fake.break_at = -1
    if what == "forgotten":
        fake.uploads.clear()
    else:
        (tmp_path / "large.bin").write_bytes(bytes(4000) + b"x" * 1000)
        os.utime(tmp_path / "large.bin", ns=(1, 1))
    made = run("model", "add", "large.bin", "--json")
    assert fake.contents[made["id"]]["large.bin"] == (tmp_path / "large.bin").read_bytes()
    assert fake.patched[-1] == (0, 5000)


def test_what_cannot_be_sent(run: Run, fake: Fake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "No such file" in run("dataset", "add", "none.csv", code=1)
    assert "pack a folder into a zip" in run("dataset", "add", str(tmp_path), code=1)
    (tmp_path / "a").write_bytes(b"1")
    monkeypatch.setenv("HEADRACE_TOKEN", "wrong")
    assert "headrace login" in run("dataset", "add", "a", code=1)
    assert fake.records == {}


def test_a_dataset_of_a_stream(run: Run, fake: Fake, tmp_path: Path) -> None:
    run("dataset", "from-stream", "site/meter", "--from", "2024-03-01T00:00+01:00", "--to", "2024-03-02")
    assert fake.asked[-1]["from_ms"] == 1_709_247_600_000 and fake.asked[-1]["to_ms"] == 1_709_337_600_000
    run("dataset", "from-stream", "site/meter", "--from", "7d", "--to", "1d", "--name", "week")
    assert fake.asked[-1]["to_ms"] - fake.asked[-1]["from_ms"] == 6 * 86_400_000 and fake.asked[-1]["name"] == "week"
    assert "is not after --from" in run("dataset", "from-stream", "t", "--from", "1d", "--to", "7d", code=1)
    made = run("dataset", "from-stream", "t", "--from", "7d", "--json")["id"]
    assert run("dataset", "get", made, "--raw").startswith(f"{made}.jsonl: as its record says")
    assert (tmp_path / f"{made}.jsonl").read_bytes() == b"{}\n"
    (tmp_path / "a").write_bytes(b"1")
    other = run("dataset", "add", "a", "--json")["id"]
    assert "was not made of a stream" in run("dataset", "get", other, "--raw", code=1)
    assert "got 'yesterday'" in run("dataset", "from-stream", "t", "--from", "yesterday", code=1)


def test_models(run: Run, fake: Fake, tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"model")
    made = run("model", "add", "m.onnx", "--name", "mine", "--json")
    assert "mine" in run("model", "list") and "uploaded" in run("model", "show", made["id"])
    run("model", "get", made["id"], "-o", "folder/copy.onnx")
    assert (tmp_path / "folder" / "copy.onnx").read_bytes() == b"model"
    files = {"weights.pt": b"w" * 10, "parts/scaler.json": b"{}"}
    listed = [OutputFile(path=path, stored=stored(data)) for path, data in files.items()]
    fake.records["md_2"] = Model(
        id="md_2", name="two", state="trained", files=listed, digest="sha256:d", metrics={"mse": 0.5}, **OWN
    )
    fake.contents["md_2"] = files
    assert "mse" in run("model", "show", "md_2")
    ran = Recipe(code=stored(b"c"), evaluation=["ds_out"])  # type: ignore[call-arg]
    later = {"ds_9": {"job": "jb_1", "mse": 0.25}}
    about = {"name": "three", "state": "trained", "recipe": ran, "metrics": later, **OWN}
    fake.records["md_3"] = Model(id="md_3", held_for=["bolt"], **about)  # type: ignore[arg-type]
    shown = run("model", "show", "md_3")
    assert "held out: ds_out" in shown and "reproducible: unknown" in shown
    assert "evaluated later on" in shown and "ds_9" in shown and "0.25" in shown and "jb_1" not in shown
    assert "md_3 is held for bolt" in run("model", "get", "md_3", code=1)
    run("model", "get", "md_2")
    assert {path: (tmp_path / "md_2" / path).read_bytes() for path in files} == files
    assert "exists; --force" in run("model", "get", "md_2", code=1)
    run("model", "get", "md_2", "--force")
    assert "released" in run("model", "release", "md_2")
    assert "deleted" in run("model", "delete", "md_2", "--yes")


@pytest.mark.parametrize("path", ["../evil", "/etc/evil", "a/../../evil", "a\\evil"])
def test_a_platform_cannot_write_outside_of_the_folder(path: str, run: Run, fake: Fake, tmp_path: Path) -> None:
    files = [OutputFile(path=name, stored=stored(b"x")) for name in (path, "good")]
    fake.records["md_3"] = Model(id="md_3", name="evil", state="trained", files=files, **OWN)
    fake.contents["md_3"] = {path: b"x", "good": b"x"}
    assert "would leave the folder" in run("model", "get", "md_3", "-o", "out", code=1)
    assert list(tmp_path.rglob("evil")) == []


def code(folder: Path) -> Path:
    folder.mkdir()
    (folder / "train.py").write_text("print('hello')\n")
    (folder / "net").mkdir()
    (folder / "net" / "gru.py").write_text("x = 1\n")
    (folder / "data").mkdir()
    (folder / "data" / "big.csv").write_text("1,2\n")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "train.cpython-311.pyc").write_bytes(b"x")
    (folder / ".headraceignore").write_text("# not needed\ndata/\n*.log\n")
    (folder / "run.log").write_text("old\n")
    return folder


def test_packing_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = code(tmp_path / "code")
    assert packing.pack(folder, tmp_path / "one.zip") == ["net/gru.py", "train.py"]
    os.utime(folder / "train.py", (5, 5))
    (folder / "train.py").chmod(0o755)
    packing.pack(folder, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert archive.read("train.py") == b"print('hello')\n"
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_what_is_not_packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = code(tmp_path / "code")
    monkeypatch.setattr(packing, "BYTES", 10)
    with pytest.raises(BadInput, match=r"\(train.py is the largest\)"):
        packing.pack(folder, tmp_path / "z")
    monkeypatch.setattr(packing, "BYTES", 1000)
    (folder / "passwords").symlink_to("/etc/passwd")
    with pytest.raises(BadInput, match="passwords is a link"):
        packing.pack(folder, tmp_path / "z")
    (folder / "passwords").unlink()
    (folder / "home").symlink_to(tmp_path)
    with pytest.raises(BadInput, match="home is a link"):
        packing.pack(folder, tmp_path / "z")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="no file to send"):
        packing.pack(tmp_path / "empty", tmp_path / "z")


SETTINGS = ["--set", "lr=0.01", "--set", "epochs=20", "--set", "bias=true", "--set", "name=gru", "--set", 'tag="7"']


def test_training(run: Run, fake: Fake, tmp_path: Path) -> None:
    code(tmp_path / "code")
    fake.jobs = [[job("queued")]]
    more = [
        "--data",
        "ds_1",
        "--data",
        "ds_2",
        "--evaluate",
        "ds_3",
        "--parent",
        "md_1",
        "--seed",
        "SEED=7",
        "--seed",
        "OTHER=-1",
    ]
    limits = [
        "--memory-mb",
        "512",
        "--minutes",
        "5",
        "--require",
        "torch==2.13.0",
        "--attempts",
        "2",
        "--priority",
        "3",
    ]
    limits += ["--processes", "9", "--output-mb", "3", "--output-files", "7", "--log-mb", "1"]
    made = run("model", "train", "code", *SETTINGS, *more, *limits, "--json")
    recipe = made["recipe"]
    assert recipe["parameters"] == {"lr": 0.01, "epochs": 20, "bias": True, "name": "gru", "tag": "7"}
    assert recipe["seeds"] == {"SEED": 7, "OTHER": -1} and recipe["environment"]["requires"] == {"torch": "2.13.0"}
    assert (recipe["datasets"], recipe["evaluation"], recipe["parent"]) == (["ds_1", "ds_2"], ["ds_3"], "md_1")
    assert (recipe["limits"]["memory_bytes"], recipe["limits"]["seconds"]) == (512 * 2**20, 300)
    told = [recipe["limits"][name] for name in ("processes", "output_bytes", "output_files", "log_bytes")]
    assert told == [9, 3 * 2**20, 7, 2**20]
    assert made["name"] == "code" and made["state"] == "training"
    used = {"lr": 0.01, "width": 64}
    fake.records[made["id"]] = fake.records[made["id"]].model_copy(update={"metadata": {"hyperparameters": used}})
    assert "lr=0.01, epochs=20, bias=True, name=gru, tag=7, width=64, SEED=7" in run("model", "show", made["id"])
    assert "as its record says" in run("model", "code", made["id"], "-o", "back.zip")
    assert zipfile.ZipFile(tmp_path / "back.zip").read("train.py") == (tmp_path / "code" / "train.py").read_bytes()


def test_training_on_nothing_is_said(run: Run, fake: Fake, tmp_path: Path) -> None:
    code(tmp_path / "code")
    fake.jobs = [[job("queued")], [job("queued")]]
    for more, lines in (([], 1), (["--data", "ds_1"], 0)):
        done = CliRunner().invoke(app, ["model", "train", "code", *more])
        assert done.exit_code == 0 and done.stderr.count("HEADRACE_DATA empty\n") == lines


def test_watching_a_job_to_its_end(run: Run, fake: Fake, tmp_path: Path) -> None:
    code(tmp_path / "code")
    fake.log = b"epoch 1\n::progress 0.5 half\nepoch 2\n"
    fake.jobs = [[job("queued"), job("running", progress=0.5, message="half"), job("done", progress=1.0)]]
    shown = run("model", "train", "code", "--watch")
    assert shown.startswith(fake.log.decode()) and "done in 4.2 s" in shown
    fake.jobs = [[job("running"), job("failed", reason="exit code 3; see the log", exit_code=3)]]
    assert run("model", "train", "code", "--watch", code=1).endswith(": failed: exit code 3; see the log")
    fake.jobs, fake.held = [[job("running"), job("done")]], True
    assert "done in" in run("model", "train", "code", "--watch")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--entry", "go.py"], "no file 'go.py'"), (["--set", "lr"], "--set: expected NAME=VALUE"),
        (["--seed", "SEED=x"], "expected an integer"), (["--require", "torch>=2"], "exact version"),
    ],
)  # fmt: skip
def test_a_recipe_that_is_wrong(arguments: list[str], words: str, run: Run, fake: Fake, tmp_path: Path) -> None:
    code(tmp_path / "code")
    assert words in run("model", "train", "code", *arguments, code=1)
    assert "is no folder" in run("model", "train", "nowhere", code=1)
    assert fake.records == {}


def test_jobs(run: Run, fake: Fake, tmp_path: Path) -> None:
    code(tmp_path / "code")
    fake.jobs, fake.log = (
        [[job("running", progress=0.25, message="epoch 1", peak_memory_bytes=2**28)]],
        b"hello\nworld\n",
    )
    id = run("model", "train", "code", "--json")["job"]
    assert "25%" in run("job", "list") and run("job", "list", "--state", "failed").startswith("no jobs")
    assert run("job", "list").splitlines()[1].split()[1:4] == ["train", "code", fake.script[id][0].model]
    shown = run("job", "show", id)
    assert "256 MiB" in shown and "25% epoch 1" in shown
    assert run("job", "log", id) == "hello\nworld\n"
    going = fake.script[id]
    fake.script[id] = [*going, job("done")]
    assert run("job", "log", "-f", id) == "hello\nworld\n"
    fake.script[id] = going
    assert run("job", "log", id, "--offset", "6", "--json")["text"] == "world\n"
    assert run("job", "cancel", id) == f"{id}: cancelled\n"
    assert run("job", "retry", id) == f"{id}: queued\n"
    fake.script[id] = [job("done")]
    assert "has ended" in run("job", "cancel", id, code=1)


def test_grants_audit_and_lineage(run: Run, fake: Fake) -> None:
    made = run("grant", "add", "ds_1", "solar", "--right", "train", "--expires", "30d", "--json")
    assert made["right"] == "train" and made["expires_ms"] > 1_700_000_000_000
    assert "solar may read ds_2 until revoked" in run("grant", "add", "ds_2", "solar")
    assert [line.split()[1:5] for line in run("grant", "list").splitlines()[1:]] == [
        ["ds_1", "acme", "solar", "train"], ["ds_2", "acme", "solar", "read"],
    ]  # fmt: skip
    assert "revoked" in run("grant", "revoke", made["id"])
    assert "not granted" in run("audit") and run("audit", "--json")[0]["allowed"] is False
    lines = run("lineage", "md_1").splitlines()
    assert lines[1].split() == ["dataset", "ds_1", "meters"] and lines[2].split() == [
        "model",
        "md_1",
        "(this)",
        "trained",
        "ds_1",
    ]


def test_what_lasts_says_what_it_waits_for(
    run: Run, fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with calling.waiting("its ledger", 0.01):
        time.sleep(0.2)
    with calling.waiting("nothing", 0.05) as heard:
        heard()
        time.sleep(0.2)
    assert capsys.readouterr().err == "its ledger …\n"
    monkeypatch.setattr(jobs, "SOON", 0)
    held = "waits until the ledger has md_1"
    fake.script["jb_1"] = [*[job("queued", id="jb_1", message=held)] * 3, job("done", id="jb_1")]
    assert jobs.watched(os.environ["HEADRACE_URL"], "jb_1", quiet=True)["state"] == "done"
    assert capsys.readouterr().err == f"queued: {held}\n"  # once


def test_a_job_that_made_nothing_has_no_lineage_but_its_model_has(run: Run, fake: Fake) -> None:
    fake.script["jb_2"] = [job("done", id="jb_2", kind="evaluate", model="md_1")]
    line = run("lineage", "jb_2", code=1)
    assert "it measured md_1; `headrace lineage md_1`" in line
    assert "no job 'jb_9'" in run("lineage", "jb_9", code=1)


def test_what_breaks_off_goes_on_where_it_stopped(run: Run, fake: Fake, tmp_path: Path) -> None:
    """As it does when the token ends in the middle."""
    data = random.Random(2).randbytes(10_000)
    (tmp_path / "a.bin").write_bytes(data)
    made = run("dataset", "add", "a.bin", "--json")
    fake.breaks = 3_000
    run("dataset", "get", made["id"], "-o", "b.bin")
    assert (tmp_path / "b.bin").read_bytes() == data
    fake.log, fake.breaks = b"one\ntwo\nthree\n", 6
    running = [job("running", id="jb_1")]
    fake.script["jb_1"] = [*running * 3, job("done", id="jb_1")]
    assert run("job", "log", "-f", "jb_1") == "one\ntwo\nthree\n"


def test_a_trained_model_is_measured_and_reproduced(run: Run, fake: Fake) -> None:
    measured = {"kind": "evaluate", "dataset": "ds_1", "metrics": {"rmse": 0.25}}
    fake.script["jb_2"] = [job("queued", id="jb_2", model="md_1", **measured)]
    said = run("job", "evaluate", "md_1", "ds_1", "--entry", "measure.py", "--priority", "3")
    assert said == "jb_2: queued; `headrace job log -f jb_2` shows what it prints\n"
    assert fake.asked.pop() == {"model": "md_1", "dataset": "ds_1", "entry_point": "measure.py", "priority": 3}
    assert run("model", "reproduce", "md_1", "--json")["id"] == "jb_2" and fake.asked.pop() == {"model": "md_1"}
    run("model", "reproduce", "md_1", "--priority", "-2")
    assert fake.asked.pop() == {"model": "md_1", "priority": "-2"}
    fake.script["jb_2"] = [job(state, id="jb_2", model="md_1", **measured) for state in ("queued", "running", "done")]
    said = run("job", "evaluate", "md_1", "ds_1", "--watch")
    assert "jb_2: done" in said and "rmse" in said and "0.25" in said
    fake.script["jb_2"] = [job("running", id="jb_2"), job("failed", id="jb_2", reason="two runs differ")]
    assert "two runs differ" in run("model", "reproduce", "md_1", "--watch", code=1)


def test_what_happened_to_a_job(run: Run) -> None:
    assert "2023-11-14 22:13" in run("job", "events", "jb_1") and "by eva" in run("job", "events", "jb_1")
    assert run("job", "events", "jb_1", "--json") == [
        {"time_ms": 1_700_000_000_000, "what": "queued", "detail": "by eva"}
    ]

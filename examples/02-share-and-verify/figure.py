"""Held-out facades side by side: label map, picture, what the network makes of it in PyTorch and in ONNX, and the difference."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

RECIPE = Path(__file__).parent / "pix2pix"
sys.path.insert(0, str(RECIPE))
TITLES = ("label map", "picture", "PyTorch", "ONNX", "difference x {gain:,}")
SIDE, EDGE, GAP = 192, 20, 8
"""Pixels of a picture of the figure, around it, and between two."""


def answers(model: Path, onnx: Path, parameters: dict, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What both make of label maps (n, 3, h, w), 0 to 255."""
    import onnxruntime
    import torch
    from train import headrace_model

    network = headrace_model(model, parameters).eval()
    with torch.no_grad():
        ours = network(torch.from_numpy(labels)).numpy()
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (theirs,) = session.run(None, {session.get_inputs()[0].name: labels})
    return ours, theirs


def answered(model: str, token: str, onnx: Path, held_out: Path, target: Path) -> dict:
    """Ask a deployed generator for the picture of the first held-out label map, as raw bytes, and write it.

    Args:
        model: address of the deployed model, `.../v2/models/NAME`.
        onnx: the file it was deployed from; returned is how far the answer is from what this file says here.
    """
    import httpx
    import onnxruntime
    from pictures import image, read

    labels = np.ascontiguousarray(read([str(held_out)])[0][:1], np.float32)
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(headers=headers, timeout=60, trust_env=False) as client:
        name = client.get(model).raise_for_status().json()["inputs"][0]["name"]
        size = {"binary_data_size": labels.nbytes}
        tensor = {"name": name, "datatype": "FP32", "shape": list(labels.shape), "parameters": size}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        length = {"inference-header-content-length": str(len(head))}
        got = client.post(f"{model}/infer", content=head + labels.tobytes(), headers=length).raise_for_status()
    place = int(got.headers["inference-header-content-length"])
    about = json.loads(got.content[:place])
    picture = np.frombuffer(got.content[place:], "<f4").reshape(about["outputs"][0]["shape"])
    image(picture[0]).save(target)
    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])
    (here,) = session.run(None, {name: labels})
    return {**about["parameters"], "worst": float(np.abs(picture - here).max())}


def compare(
    model: Path, onnx: Path, held_out: Path, parameters: dict, target: Path, count: int = 6
) -> dict[str, float]:
    """Write the figure; returns how far both are apart on all held-out facades, of 0 to 255.

    Args:
        model: folder of the downloaded weights; `onnx`: the downloaded translation.
    """
    from pictures import read

    labels, pictures = read([str(held_out)])
    ours, theirs = answers(model, onnx, parameters, labels)
    apart = np.abs(ours - theirs)
    worst = float(apart.max())
    gain = 10 ** int(np.floor(np.log10(255 / worst))) if worst else 1
    shown = np.unique(np.linspace(0, len(labels) - 1, min(count, len(labels))).astype(int))
    columns = [one[shown] for one in (labels, pictures, ours, theirs, np.minimum(apart * gain, 255))]
    said = f"{len(labels)} held-out facades; PyTorch and ONNX are at most {worst:.2g} of 255 apart"
    draw([title.format(gain=gain) for title in TITLES], columns, said).save(target)
    return {"worst": worst, "mean": float(apart.mean()), "l1": float(np.abs(ours - pictures).mean())}


def draw(titles: list[str], columns: list[np.ndarray], said: str) -> Image.Image:
    """A column of pictures (n, 3, h, w) under each title, and a line below."""
    from pictures import image

    font, step, top = ImageFont.load_default(15), SIDE + GAP, EDGE + 24
    width, height = 2 * EDGE + len(columns) * step - GAP, top + len(columns[0]) * step + EDGE + 12
    sheet = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(sheet)
    for at, (title, column) in enumerate(zip(titles, columns, strict=True)):
        x = EDGE + at * step
        pen.text((x + SIDE / 2, EDGE), title, "black", font, anchor="mt")
        for row, one in enumerate(column):
            scaled = image(one).resize((SIDE, SIDE), Image.Resampling.NEAREST)
            sheet.paste(scaled, (x, top + row * step))
    pen.text((EDGE, height - EDGE), said, "black", font, anchor="lb")
    return sheet

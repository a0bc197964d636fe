"""Pairs in a zip as arrays, and pictures written: numpy and Pillow only."""

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def read(paths: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """(label maps, pictures) of all the zips, by name: each (n, 3, h, w), float32, 0 to 255."""
    found: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for path in paths:
        with zipfile.ZipFile(path) as archive:
            names = sorted(name for name in archive.namelist() if name.startswith("input/"))
            for name in names:
                stem = Path(name).stem
                for into, file in zip(found, (name, f"target/{stem}.jpg"), strict=True):
                    into.append(colours(archive.read(file)))
    if not found[0]:
        raise SystemExit("there are no pairs input/NAME.png, target/NAME.jpg in the datasets: see facades.py")
    return np.stack(found[0]), np.stack(found[1])


def colours(data: bytes) -> np.ndarray:
    """(3, h, w) of an image file."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), np.float32).transpose(2, 0, 1)


def image(values: np.ndarray) -> Image.Image:
    """An image of (3, h, w), 0 to 255."""
    return Image.fromarray(values.transpose(1, 2, 0).round().clip(0, 255).astype(np.uint8))


def rows(columns: list[np.ndarray]) -> Image.Image:
    """Pictures side by side: each column (n, 3, h, w)."""
    return image(np.concatenate([np.concatenate(list(one), 1) for one in columns], 2))

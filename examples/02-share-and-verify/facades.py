"""Building facades as pairs of label map and picture: drawn by this file, or taken from the CMP Facade Database.

    python facades.py draw FOLDER [--count 192] [--seed 1] [--size 128]     # FOLDER/base/cmp_b0001.jpg, cmp_b0001.png, ...
    python facades.py pack SOURCE FOLDER [--size 64]                        # facades-train.zip and facades-held-out.zip

`draw` writes what the CMP Facade Database (R. Tyleček, R. Šára, GCPR 2013) looks like: a folder ``base`` of photographs
``cmp_b0001.jpg`` and label maps ``cmp_b0001.png``, indexed PNG with 1 to 12 for its classes, in its palette. The photographs are
not photographs: four styles of building are drawn with numpy, and what a label map does not say (tint, noise, bricks, glass) is
drawn at random. CMP's third file, the rectangles as XML, is not written: nothing here reads it. The same seed gives the same
bytes, with the same numpy and Pillow.

`pack` takes such a folder, the one that CMP's archive unpacks to, or CMP's archive (CMP_facade_DB_base.zip, ..._extended.zip) as
it was downloaded; makes squares of one size; and holds every sixth facade out. Each zip has ``input/NAME.png`` (labels)
and ``target/NAME.jpg`` (pictures): folders that Headrace's statistics know as pairs.
"""

from __future__ import annotations

import argparse
import io
import re
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

CLASSES = (
    "background", "facade", "window", "door", "cornice", "sill", "balcony", "blind", "deco", "molding", "pillar", "shop",
)  # fmt: skip
"""CMP's classes: 1 to 12 in a label map."""
PALETTE = (
    (0, 0, 0), (0, 0, 170), (0, 0, 255), (0, 85, 255), (0, 170, 255), (0, 255, 255), (85, 255, 170),
    (170, 255, 85), (255, 255, 0), (255, 170, 0), (255, 85, 0), (255, 0, 0), (170, 0, 0),
)  # fmt: skip
"""CMP's colours of 0 (nothing) to 12."""
NAME = re.compile(r"cmp_[bx]\d{4}\.png$")
HELD_OUT = 6
"""One of so many facades is held out."""
QUALITY = 92
"""Of JPEG."""


@dataclass(frozen=True)
class Style:
    """What buildings of a style have in common. It can be told from the label map, so there is something to learn."""

    wall: tuple[int, int, int]
    trim: tuple[int, int, int]
    storeys: tuple[int, int]
    columns: tuple[int, int]
    bricks: bool = False
    cornice: bool = True
    molding: bool = False
    pillars: bool = False
    deco: bool = False
    sills: bool = True
    balconies: float = 0.0
    blinds: float = 0.0
    shop: bool = False


STYLES = (
    Style(wall=(154, 84, 66), trim=(214, 200, 180), storeys=(3, 5), columns=(3, 5), bricks=True),
    Style(
        wall=(222, 190, 122), trim=(246, 236, 214), storeys=(3, 4), columns=(3, 5), molding=True, pillars=True, deco=True
    ),
    Style(
        wall=(162, 172, 178), trim=(205, 210, 212), storeys=(4, 6), columns=(3, 5), cornice=False, sills=False,
        balconies=0.4, blinds=0.5,
    ),
    Style(
        wall=(196, 182, 170), trim=(232, 226, 218), storeys=(3, 5), columns=(3, 6), molding=True, balconies=0.15,
        blinds=0.2, shop=True,
    ),
)  # fmt: skip
Area = np.ndarray
"""(height, width, 3), 0 to 255: a part of the picture, drawn into."""


class Facade:
    """One building while it is drawn: label map and picture."""

    def __init__(self, random: np.random.Generator, size: int) -> None:
        self.random, self.size = random, size
        self.style = STYLES[random.integers(len(STYLES))]
        self.label = np.ones((size, size), np.uint8)
        self.picture = np.zeros((size, size, 3))
        self.tint = random.normal(0, 7, 3) + random.normal(0, 9)

    def put(self, what: str, top: float, left: float, bottom: float, right: float, shadow: int = 0) -> None:
        """One rectangle, in 128ths of the side; `shadow`: rows below it that it darkens."""
        box = [round(value * self.size / 128) for value in (top, left, bottom, right)]
        y0, x0, y1, x1 = box[0], max(box[1], 0), max(box[2], box[0] + 1), min(max(box[3], box[1] + 1), self.size)
        self.label[y0:y1, x0:x1] = 1 + CLASSES.index(what)
        DRAWN[what](self.picture[y0:y1, x0:x1], self)
        self.picture[y1 : y1 + round(shadow * self.size / 128), x0:x1] *= 0.62


def _flat(area: Area, colour: tuple[float, ...], noise: float, facade: Facade) -> None:
    area[:] = np.asarray(colour) + facade.random.normal(0, noise, (*area.shape[:2], 1))


def _background(area: Area, facade: Facade) -> None:
    height = len(area)
    down = np.linspace(0, 1, height)[:, None, None]
    area[:] = (1 - down) * np.array([128, 170, 214]) + down * np.array([206, 220, 232])
    ground = round(height * 0.93)
    _flat(area[ground:], (104, 102, 100), 6, facade)


def _wall(area: Area, facade: Facade) -> None:
    _flat(area, tuple(np.array(facade.style.wall) + facade.tint), 5, facade)
    if facade.style.bricks:
        rows, columns = np.indices(area.shape[:2])
        joint = (rows % 4 == 0) | ((columns + 4 * (rows // 4 % 2)) % 8 == 0)
        area[joint] *= 0.86
    area *= np.linspace(1.07, 0.93, area.shape[1])[None, :, None]  # the sun is on the left


def _window(area: Area, facade: Facade) -> None:
    _flat(area, (236, 236, 230), 3, facade)
    glass = area[1:-1, 1:-1]
    down = np.linspace(0, 1, len(glass))[:, None, None]
    glass[:] = (1 - down) * np.array([104, 132, 158]) + down * np.array([34, 44, 58])
    glass *= facade.random.uniform(0.75, 1.15)
    if area.shape[1] >= 8:
        area[:, area.shape[1] // 2] = (224, 224, 218)


def _door(area: Area, facade: Facade) -> None:
    _flat(area, (92, 58, 38), 4, facade)
    area[:2] = area[:, :1] = area[:, -1:] = (58, 38, 28)
    area[len(area) // 4 : len(area) // 2, 2:-2] *= 1.3


def _trim(area: Area, facade: Facade) -> None:
    _flat(area, facade.style.trim, 4, facade)
    area *= np.linspace(1.06, 0.84, len(area))[:, None, None]


def _pillar(area: Area, facade: Facade) -> None:
    _flat(area, facade.style.trim, 4, facade)
    area *= (1.06 - 0.3 * np.linspace(-0.6, 1, area.shape[1]) ** 2)[None, :, None]


def _deco(area: Area, facade: Facade) -> None:
    _flat(area, facade.style.trim, 4, facade)
    columns = np.arange(area.shape[1])
    area *= np.where(columns % 4 < 2, 1.0, 0.8)[None, :, None]


def _balcony(area: Area, facade: Facade) -> None:
    area *= 0.5
    area[:, ::2] = (52, 54, 58)
    area[:1] = area[-2:] = (88, 90, 94)


def _blind(area: Area, facade: Facade) -> None:
    _flat(area, (214, 208, 190), 3, facade)
    area[1::2] *= 0.84


def _shop(area: Area, facade: Facade) -> None:
    _flat(area, (40, 48, 56), 4, facade)
    inside = area[len(area) // 3 :, 1:-1]
    inside += np.linspace(90, 20, len(inside))[:, None, None] * np.array([1.0, 0.9, 0.62])
    stripes = np.arange(area.shape[1]) // 4 % 2
    area[: len(area) // 3] = np.where(stripes[None, :, None] == 0, (172, 46, 44), (232, 226, 214))


DRAWN: dict[str, Callable[[Area, Facade], None]] = {
    "background": _background, "facade": _wall, "window": _window, "door": _door, "cornice": _trim, "sill": _trim,
    "balcony": _balcony, "blind": _blind, "deco": _deco, "molding": _trim, "pillar": _pillar, "shop": _shop,
}  # fmt: skip


def facade(seed: int, number: int, size: int) -> tuple[Image.Image, Image.Image]:
    """(label map, picture) of one facade of a set, `size` pixels square."""
    one = Facade(np.random.default_rng([seed, number]), size)
    random, style = one.random, one.style
    one.put("background", 0, 0, 128, 128)
    top, left, right = random.integers(6, 16), random.integers(0, 10), 128 - random.integers(0, 10)
    storeys, columns = random.integers(*style.storeys, endpoint=True), random.integers(*style.columns, endpoint=True)
    one.put("facade", top, left, 120, right)
    edge = 7 if style.pillars else 3
    height, width = (120 - top - 6) / storeys, (right - left - 2 * edge) / columns
    if style.cornice:
        one.put("cornice", top, left, top + 5, right, shadow=2)
    for storey in range(storeys):
        at = top + 6 + storey * height
        if style.molding and storey:
            one.put("molding", at - 2, left, at + 1, right, shadow=1)
        if storey == storeys - 1:
            _ground(one, at, left + edge, width, columns)
        else:
            for column in range(columns):
                _cell(one, at, left + edge + column * width, height, width)
    if style.pillars:
        for x in (left, right - 5):
            one.put("pillar", top + 6, x, 120, x + 5)
    label = Image.fromarray(one.label)
    label.putpalette([value for colour in PALETTE for value in colour])
    return label, Image.fromarray(one.picture.clip(0, 255).astype(np.uint8))


def _cell(one: Facade, top: float, left: float, height: float, width: float) -> None:
    """A window with what belongs to it."""
    style, random = one.style, one.random
    y0, y1 = top + 0.24 * height, top + 0.8 * height
    x0, x1 = left + 0.24 * width, left + 0.76 * width
    one.put("window", y0, x0, y1, x1)
    if random.random() < style.blinds:
        one.put("blind", y0, x0, y0 + random.uniform(0.3, 0.8) * (y1 - y0), x1)
    if style.deco:
        one.put("deco", y0 - 4, x0 - 1, y0 - 1, x1 + 1)
    if random.random() < style.balconies:
        one.put("balcony", y1 - 0.3 * (y1 - y0), left + 0.06 * width, y1 + 2, left + 0.94 * width, shadow=2)
    elif style.sills:
        one.put("sill", y1, x0 - 2, y1 + 2.2, x1 + 2, shadow=1)


def _ground(one: Facade, top: float, left: float, width: float, columns: int) -> None:
    """The ground floor: a door, and shops or windows beside it."""
    door = one.random.integers(columns)
    for column in range(columns):
        x = left + column * width
        if column == door:
            one.put("door", top + 5, x + 0.25 * width, 120, x + 0.75 * width)
        elif one.style.shop:
            one.put("shop", top + 4, x + 0.06 * width, 119, x + 0.94 * width)
        else:
            _cell(one, top, x, 120 - top, width)


def draw(folder: Path, count: int, seed: int = 1, size: int = 128) -> None:
    """Write a set with CMP's layout and names."""
    base = folder / "base"
    base.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        label, picture = facade(seed, number, size)
        label.save(base / f"cmp_b{number:04}.png")
        picture.save(base / f"cmp_b{number:04}.jpg", quality=QUALITY)


def pairs(source: Path) -> Iterator[tuple[str, Image.Image, Image.Image]]:
    """(name, label map, picture) by name, of a folder or of CMP's archive. Raises SystemExit with a sentence."""
    if source.is_dir():
        files: dict[str, Callable[[], bytes]] = {str(path): path.read_bytes for path in source.rglob("cmp_*")}
    elif zipfile.is_zipfile(source):
        archive = zipfile.ZipFile(source)
        files = {name: lambda name=name: archive.read(name) for name in archive.namelist()}
    else:
        raise SystemExit(f"{source} is neither a folder nor a zip")
    labels = sorted((name for name in files if NAME.search(name)), key=lambda name: PurePosixPath(name).name)
    if not labels:
        raise SystemExit(f"{source} has no files cmp_b0001.png, ...: this is not the CMP Facade Database")
    for name in labels:
        picture = f"{name[:-4]}.jpg"
        if picture not in files:
            raise SystemExit(f"{source} has {name}, and no {picture}")
        yield PurePosixPath(name).stem, *(Image.open(io.BytesIO(files[one]())) for one in (name, picture))


def pack(source: Path, folder: Path, size: int = 64) -> tuple[Path, Path]:
    """Write the two datasets; returns their paths: to train on, held out. The same source gives the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = folder / "facades-train.zip", folder / "facades-held-out.zip"
    with zipfile.ZipFile(paths[0], "w") as train, zipfile.ZipFile(paths[1], "w") as held_out:
        for at, (name, label, picture) in enumerate(pairs(source)):
            into = held_out if at % HELD_OUT == HELD_OUT - 1 else train
            small = label.resize((size, size), Image.Resampling.NEAREST)
            small.putpalette([value for colour in PALETTE for value in colour])  # CMP's own, whatever the file had
            _add(into, f"input/{name}.png", small, "PNG")
            _add(into, f"target/{name}.jpg", picture.convert("RGB").resize((size, size)), "JPEG")
    return paths


def _add(archive: zipfile.ZipFile, name: str, image: Image.Image, format: str) -> None:
    into = io.BytesIO()
    image.save(into, format, quality=QUALITY)
    archive.writestr(zipfile.ZipInfo(name), into.getvalue())  # no time in it


def main() -> None:
    """The commands."""
    parser = argparse.ArgumentParser(description="Facades: label maps and pictures, as CMP has them.")
    commands = parser.add_subparsers(required=True, dest="command")
    drawing = commands.add_parser("draw", help="draw a set with CMP's layout")
    drawing.add_argument("folder", type=Path)
    drawing.add_argument("--count", type=int, default=192)
    drawing.add_argument("--seed", type=int, default=1)
    drawing.add_argument("--size", type=int, default=128)
    packing = commands.add_parser("pack", help="make the two datasets of such a folder, or of CMP's archive")
    packing.add_argument("source", type=Path)
    packing.add_argument("folder", type=Path)
    packing.add_argument("--size", type=int, default=64)
    given = parser.parse_args()
    if given.command == "draw":
        draw(given.folder, given.count, given.seed, given.size)
        print(f"{given.count} facades in {given.folder / 'base'}")
    else:
        print("wrote", *pack(given.source, given.folder, given.size))


if __name__ == "__main__":
    main()

"""Folders of images in a zip or tar: how many, of what size, in what classes or pairs, and figures of their channels."""

from __future__ import annotations

import io
import os
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from headrace.errors import BadInput
from headrace.inside.figures import Moments
from headrace.inside.media import is_image, members
from headrace.inside.work import reason
from headrace.settings import InspectionSettings

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
SMALL = 16
"""Pixels of a side of the mean image."""
PIECE = 2**20
"""Pixels turned into doubles at a time."""
NAMED = 10
"""Unreadable files that are named."""
CLASSES = 1000
_MODES = {"1": "L", "P": "RGB", "YCbCr": "RGB", "HSV": "RGB", "LAB": "RGB", "PA": "RGBA", "RGBX": "RGB", "RGBa": "RGBA"}
_KEPT = {"L": "L", "LA": "LA", "RGB": "RGB", "RGBA": "RGBA", "CMYK": "CMYK", "I": "I", "F": "F"}
_PAIRED = (
    ({"input", "inputs", "in", "x", "source"}, {"target", "targets", "out", "y", "output", "outputs"}),
    (
        {"image", "images", "img", "imgs", "photo", "photos"},
        {"mask", "masks", "label", "labels", "annotation", "annotations", "segmentation"},
    ),
    ({"a"}, {"b"}),
    ({"base", "before", "noisy", "low", "lr"}, {"target", "after", "clean", "high", "hr"}),
)
"""Names of two folders, in any case, whose images belong together: of the first and of the second."""
Pixels: TypeAlias = NDArray[Any]


class _Mode:
    """What is known of all images of one mode."""

    def __init__(self, mode: str) -> None:
        self.images, self.mode = 0, mode
        self.channels = len(mode)
        self.moments = Moments(self.channels)
        self.mean = np.zeros((SMALL, SMALL, self.channels))

    def add(self, pixels: Pixels, small: Pixels) -> None:
        """Pixels of shape (height * width, channels), small ones of (SMALL, SMALL, channels)."""
        self.images += 1
        for first in range(0, len(pixels), PIECE):
            self.moments.add(pixels[first : first + PIECE].astype(np.float64))
        self.mean += small

    def found(self) -> dict[str, Any]:
        """Of each channel, in the images' own units: 0 to 255 for most."""
        names = list(self.mode) if self.mode not in {"L", "I", "F"} else ["grey"]
        figures = [{"name": name, **self.moments.figures(at)} for at, name in enumerate(names)]
        return {"images": self.images, "channels": figures, "mean_image": (self.mean / self.images).round(2).tolist()}


class _Folder:
    """What is known of the archive."""

    def __init__(self) -> None:
        self.modes: dict[str, _Mode] = {}
        self.sizes: Counter[tuple[int, int, int]] = Counter()
        self.formats: Counter[str] = Counter()
        self.names: list[PurePosixPath] = []
        self.unreadable: list[dict[str, str]] = []
        self.refused = self.others = 0

    def refuse(self, name: str, why: str) -> None:
        """An image that is left out."""
        self.refused += 1
        if len(self.unreadable) < NAMED:
            self.unreadable.append({"name": name[:200], "reason": why})


def look(path: Path, limits: InspectionSettings) -> dict[str, Any]:
    """Samples are images, or pairs of them. Raises BadInput: no image can be read, or too many files."""
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None  # the bound is ours, and gives a reason
    folder = _Folder()
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for count, (name, size, file) in enumerate(members(path)):
            if count >= limits.members:
                raise BadInput(detail=f"it has more than {limits.members:,} files")
            _take(folder, name, size, file, limits)
    if not folder.names:
        why = f": {folder.unreadable[0]['name']}: {folder.unreadable[0]['reason']}" if folder.unreadable else ""
        raise BadInput(detail=f"none of its files is an image that can be read{why}")
    return _found(folder)


def _take(folder: _Folder, name: str, size: int, file: IO[bytes], limits: InspectionSettings) -> None:
    head = file.read(16)
    if not is_image(head):
        folder.others += 1
    elif size > limits.file_bytes:
        folder.refuse(name, f"{size:,} bytes; {limits.file_bytes:,} are the most")
    else:
        data = head + file.read(limits.file_bytes + 1)
        try:
            _decode(folder, name, data, limits)
        except BadInput as error:
            folder.refuse(name, str(error))
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder makes of a damaged image
            folder.refuse(name, reason(error))


def _decode(folder: _Folder, name: str, data: bytes, limits: InspectionSettings) -> None:
    from PIL import Image

    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        width, height = image.size
        if width * height > limits.pixels:
            raise BadInput(detail=f"{width:,} x {height:,} pixels; {limits.pixels:,} are the most")
        mode = "I" if image.mode.startswith("I") else _MODES.get(image.mode, _KEPT.get(image.mode, "RGB"))
        whole = image if mode in {image.mode, "I"} else image.convert(mode)
        pixels = np.asarray(whole)
        small = np.asarray(_reduced(whole, mode), np.float64).reshape(SMALL, SMALL, -1)
        channels = pixels.shape[2] if pixels.ndim == 3 else 1
        folder.modes.setdefault(mode, _Mode(mode)).add(pixels.reshape(-1, channels), small)
    folder.sizes[height, width, channels] += 1
    folder.formats[str(image.format)] += 1
    folder.names.append(PurePosixPath(name))


def _reduced(image: Any, mode: str) -> Any:
    from PIL import Image

    if mode == "I":  # 16 bits are resized as floats
        image = Image.fromarray(np.asarray(image).astype(np.float32))
    return image.resize((SMALL, SMALL), Image.Resampling.BOX)


def _found(folder: _Folder) -> dict[str, Any]:
    samples, grouping = _grouped(folder.names)
    sizes = [{"shape": list(shape), "images": count} for shape, count in _most(folder.sizes)]
    statistics: dict[str, Any] = {
        "images": len(folder.names),
        "formats": dict(_most(folder.formats)),
        "sizes": sizes,
        "modes": {mode: one.found() for mode, one in sorted(folder.modes.items())},
        **grouping,
    }
    if folder.refused:
        statistics |= {"unreadable": folder.refused, "unreadable_files": folder.unreadable}
    if folder.others:
        statistics["other_files"] = folder.others
    shape = sizes[0]["shape"] if len(folder.sizes) == 1 else None
    return {"samples": samples, "sample_shape": shape, "statistics": statistics}


def _most(counts: Counter[Any]) -> list[tuple[Any, int]]:
    return sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))[:NAMED]


def _grouped(names: Iterable[PurePosixPath]) -> tuple[int, dict[str, Any]]:
    """(samples, pairs or classes).

    Two top folders that hold the same names and are called like input and target are pairs (see `_PAIRED`). Whatever else
    is in folders is classes: each image is a sample, its class the folder it is in.
    """
    every = list(names)
    paired = _paired(every)
    if paired:
        return len(every) // 2, {"pairs": paired}
    folders = Counter(str(name.parent) for name in every)
    if len(folders) < 2:
        return len(every), {}
    classes = sorted((PurePosixPath(name).name[:200] or ".", many) for name, many in folders.items())
    totals: Counter[str] = Counter()
    for label, many in classes[:CLASSES]:
        totals[label] += many
    return len(every), {"classes": dict(totals)}


def _paired(names: list[PurePosixPath]) -> list[str]:
    """The two folders of the pairs, input first; empty if these are none."""
    start = len(PurePosixPath(os.path.commonpath([name.parent for name in names])).parts)
    tops: dict[str, list[PurePosixPath]] = {}
    for name in names:
        if len(name.parts) <= start + 1:
            return []  # an image beside the folders
        tops.setdefault(name.parts[start], []).append(PurePosixPath(*name.parts[start + 1 :]).with_suffix(""))
    for inputs, targets in _PAIRED:
        first = [top for top in tops if top.lower() in inputs]
        second = [top for top in tops if top.lower() in targets]
        if len(tops) == 2 and len(first) == len(second) == 1:
            one, other = sorted(tops[first[0]]), sorted(tops[second[0]])
            if one == other and len(set(one)) == len(one):
                return first + second
    return []

#!/usr/bin/env python3
"""Writes tests/data/arrays.json: what ChineseCLIPImageProcessor.preprocess makes of arrays and pictures with parameters of a call.

    python make_array_goldens.py [OUT]

Oracle: transformers 4.51.3 with Pillow 13.0.0 and numpy 2.4.6. A second run writes the same bytes.
Each case names its images (a kind of numbers, a shape and a seed for `noise`, which the test draws again; or a file of
tests/data/image) and the parameters. It has the shape and the CRC-32 of the f32 result and what was logged, or the message of the error.
"""
import json
import logging
import sys
import zlib
from pathlib import Path

import numpy as np
import PIL
import transformers
from noise import noise
from transformers import ChineseCLIPImageProcessor
from transformers.image_utils import load_image
from transformers.utils.logging import warning_once

HERE = Path(__file__).parent
PINS = {"transformers": (transformers.__version__, "4.51.3"), "Pillow": (PIL.__version__, "13.0.0"), "numpy": (np.__version__, "2.4.6")}

BASE = {"size": {"height": 12, "width": 9}, "do_center_crop": False}
RAW = {"do_resize": False, "do_center_crop": False}
BARE = RAW | {"do_rescale": False, "do_normalize": False}
PLAIN = {"image_mean": 0.25, "image_std": 0.5}
FIRST, LAST = "channels_first", "channels_last"
F32 = np.float32
KINDS = {
    "u8": lambda n: n,
    "levels": lambda n: n.astype(F32),
    "fractions": lambda n: n.astype(F32) / F32(255),
    "odd_fractions": lambda n: n.astype(F32) / F32(256) + F32(0.001),
    "bits": lambda n: (n % 2).astype(F32),
    "almost_levels": lambda n: np.minimum(n, 254).astype(F32) * F32(1.000001),
    "normalised": lambda n: (n.astype(F32) - F32(128)) / F32(64),
    "quarters": lambda n: n.astype(F32) / F32(4),
    "beyond": lambda n: n.astype(F32) * F32(2),
}


def images(case, load):
    """What a case names; `load` opens files."""
    for number, image in enumerate(case["images"]):
        if isinstance(image, str):
            yield load(HERE / "image" / image)
        else:
            kind, shape = image
            yield KINDS[kind](np.frombuffer(noise(int(np.prod(shape)), 7 + number), np.uint8)).reshape(shape)


def cases():
    one = lambda kind, shape, **options: {"images": [[kind, shape]], "options": options}
    for kind in KINDS:
        yield one(kind, [20, 17, 3], **BASE)
        yield one(kind, [3, 20, 17], **RAW)
        yield one(kind, [3, 20, 17], **BARE)
    for kind in ("u8", "fractions", "levels"):
        for resample in range(6):
            yield one(kind, [3, 31, 18], **BASE | {"resample": resample, "data_format": LAST})
        for crop in ((8, 8), (25, 25), (21, 8), (7, 26)):
            crop = {"do_center_crop": True, "crop_size": {"height": crop[0], "width": crop[1]}}
            yield one(kind, [20, 17, 3], **RAW | crop)
            yield one(kind, [3, 20, 17], **BASE | crop | {"data_format": LAST})
        yield one(kind, [20, 17, 3], **BASE, do_rescale=False)
        yield one(kind, [20, 17, 3], **BASE, do_normalize=False)
        yield one(kind, [20, 17, 3], **BASE, do_rescale=False, do_normalize=False, data_format=LAST)
        yield one(kind, [20, 17, 3], **BASE, rescale_factor=-1 / 127.5, image_mean=[0.1, 0.2, 0.3], image_std=[1.0, 0.5, 0.3])
        yield one(kind, [20, 17, 3], **BASE, **PLAIN)
        yield one(kind, [20, 17, 3], **BASE | {"size": {"height": 20, "width": 17}})
        for channels in (1, 2, 4):
            for resample in (0, 3):
                yield one(kind, [20, 17, channels], **BASE | {"resample": resample}, **PLAIN, input_data_format=LAST)
            yield one(kind, [20, 17, channels], **BASE | {"size": {"height": 20, "width": 17}}, **PLAIN, input_data_format=LAST)
            each = {"image_mean": [0.1] * channels, "image_std": [0.1 * (i + 1) for i in range(channels)]}
            yield one(kind, [channels, 20, 17], **BASE, **each, input_data_format=FIRST, data_format=LAST)
            yield one(kind, [channels, 20, 17], **BASE, input_data_format=FIRST)
        yield one(kind, [5, 20, 17], **RAW, **PLAIN, input_data_format=FIRST)
        yield one(kind, [5, 20, 17], **BASE, **PLAIN, input_data_format=FIRST)
    # Where the channels are.
    for shape in ([3, 8, 3], [1, 8, 3], [3, 8, 1], [1, 8, 1], [3, 3, 3], [8, 3, 8], [4, 8, 8], [8, 8, 4], [2, 8, 8]):
        yield one("u8", shape, **BASE, **PLAIN)
        for format in (FIRST, LAST):
            yield one("u8", shape, **RAW, **PLAIN, input_data_format=format, data_format=format)
    yield one("u8", [1, 8, 9], **BASE)
    # Several images: the first decides.
    crop = {"do_center_crop": True, "crop_size": {"height": 11, "width": 6}}
    yield {"images": [["u8", [3, 14, 9]], ["u8", [3, 9, 14]], ["fractions", [3, 20, 20]]], "options": BASE}
    yield {"images": [["fractions", [14, 9, 3]], ["u8", [9, 14, 3]]], "options": RAW | crop}
    yield {"images": [["u8", [9, 14, 3]], ["fractions", [14, 9, 3]]], "options": RAW | crop | {"data_format": LAST}}
    for size in ({"height": 32, "width": 20}, {"height": 9, "width": 40}):
        for format in (FIRST, LAST):
            options = {"size": size, "do_center_crop": False, "data_format": format}
            yield {"images": ["png_rgb8.png", "png_p8.png", "png_rgba8.png"], "options": options}
    yield {"images": ["png_l8.png"], "options": BASE | PLAIN | {"do_rescale": False}}
    yield {"images": ["png_rgb8.png", ["u8", [20, 17, 3]]], "options": BASE | {"data_format": LAST}}


class Log(logging.Handler):
    """What is logged, by its first words."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def emit(self, record):
        self.lines.append(" ".join(record.getMessage().split()[:5]))


def write(name, pins, cases, ask):
    """Writes what `ask` says of each case: pixel values and what else there is to keep."""
    for package, (found, wanted) in pins.items():
        assert found == wanted, f"{package} {wanted} is pinned, found {found}"
    rows = []
    for case in cases:
        try:
            pixels, more = ask(case)
            pixels = np.ascontiguousarray(np.stack([np.asarray(one) for one in pixels])).astype(F32)
            case |= {"shape": list(pixels.shape), "crc": zlib.crc32(pixels.tobytes())} | more
        except (ValueError, TypeError) as error:
            case["error"] = str(error).split(" got [")[0]
        rows.append(json.dumps(case))
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / name
    pins = json.dumps({package: wanted for package, (_, wanted) in pins.items()})
    out.write_text(f'{{"pins": {pins},\n"cases": [\n' + ",\n".join(rows) + "\n]}\n")
    print(len(rows), "cases,", sum("error" in json.loads(row) for row in rows), "of them errors")


def main():
    log = Log()
    logging.getLogger("transformers").addHandler(log)
    processor = ChineseCLIPImageProcessor()

    def ask(case):
        log.lines.clear()
        warning_once.cache_clear()
        pixels = processor.preprocess(list(images(case, lambda path: load_image(str(path)))), **case["options"])["pixel_values"]
        return pixels, {"log": list(log.lines)}

    write("arrays.json", PINS, cases(), ask)


if __name__ == "__main__":
    main()

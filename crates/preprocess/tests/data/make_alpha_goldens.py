#!/usr/bin/env python3
"""Writes tests/data/alpha.json: transparency as transformers 5 shows it, composited on white.

    python make_alpha_goldens.py [OUT]

Oracle: transformers 5.24.0 (ChineseCLIPImageProcessorPil) with Pillow 13.0.0 and numpy 2.4.6; `cargo xtask golden` finds it beside the
4.51.3 of the other scripts where $ORACLE_V5 names the folder it was installed into. A second run writes the same bytes.
The cases are as those of arrays.json, without what was logged. The files are all of tests/data/image that Pillow gives an alpha or a transparency.
"""
import os
import sys

if "ORACLE_V5" in os.environ:
    sys.path.insert(0, os.environ["ORACLE_V5"])

import numpy as np
import PIL
import transformers
from make_array_goldens import BARE, BASE, FIRST, HERE, PLAIN, images, write
from PIL import Image, ImageOps
from transformers import ChineseCLIPImageProcessorPil

PINS = {"transformers": (transformers.__version__, "5.24.0"), "Pillow": (PIL.__version__, "13.0.0"), "numpy": (np.__version__, "2.4.6")}


def files():
    for path in sorted((HERE / "image").iterdir()):
        # What is read otherwise is not about transparency: see OTHER_MODE and UNREADABLE of the suite.
        if path.suffix in (".rgb", ".json") or path.name in ("tiff_p.tif", "webp_lossy_alpha.webp"):
            continue
        with Image.open(path) as im:
            if "A" in im.getbands() or im.info.get("transparency") is not None:
                yield path.name


def cases():
    for name in [*files(), "png_rgb8.png", "png_l16.png"]:
        yield {"images": [name], "options": BARE}
        yield {"images": [name], "options": BASE}
    for kind in ("u8", "fractions", "levels"):
        for channels in (1, 3, 4):
            for options in (BARE, BASE, BASE | {"do_convert_rgb": False} | PLAIN):
                yield {"images": [[kind, [14, 11, channels]]], "options": options}
            yield {"images": [[kind, [channels, 14, 11]]], "options": BASE | {"input_data_format": FIRST}}
    for shape in ([4, 8, 4], [4, 8, 8], [8, 8, 4], [3, 8, 4], [1, 8, 4]):
        yield {"images": [["u8", shape]], "options": BASE}


def main():
    processor = ChineseCLIPImageProcessorPil()

    def ask(case):
        given = list(images(case, lambda path: ImageOps.exif_transpose(Image.open(path))))
        return processor.preprocess(given, **case["options"])["pixel_values"], {}

    write("alpha.json", PINS, cases(), ask)


if __name__ == "__main__":
    main()

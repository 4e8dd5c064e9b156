#!/usr/bin/env python3
"""What cn_clip says about pictures and texts: run by `cargo xtask parity`, which compares.

    python ask_cn_clip.py REQUEST.json OUT.safetensors

REQUEST holds {"version": of cn_clip, "checkpoint": file, "model": published name, "images": [path], "texts": [text]}, or in the
place of the last two {"inputs": file}, an earlier OUT whose ids and pixels are taken. Pictures are opened with `Image.open` (EXIF
not applied); features are computed one by one, and with {"halves": [dtype]} in those formats, too. The loader is cn_clip's own, `load_from_name`, but for `convert_weights`, which
rounds most weights to f16 even where they are f32 again afterwards: here all stay what the file says, and everything is f32 on the CPU.
"""
import json
import sys

import answer
import torch
from cn_clip.clip import utils
from PIL import Image
from safetensors.torch import load_file

PINNED = {"torch": "2.15.0", "torchvision": "0.29.2", "pillow": "13.0.0"}


def inputs(request, transform):
    if "inputs" in request:
        return load_file(request["inputs"])
    ids = utils.tokenize(request["texts"])
    pixels = torch.stack([transform(Image.open(path)) for path in request["images"]])
    return {"input_ids": ids, "attention_mask": ids.ne(0).long(), "pixel_values": pixels}


def features(model, given):
    image = [model.encode_image(one[None]) for one in given["pixel_values"]]
    text = [model.encode_text(one[None]) for one in given["input_ids"]]
    return torch.cat(image), torch.cat(text)


def main(request, out):
    request = json.load(open(request))
    answer.check({"cn-clip": request["version"], **PINNED})
    utils.convert_weights = lambda model: None
    info = utils._MODEL_INFO[request["model"]]
    vision, text = info["struct"].split("@")
    model, transform = utils.load_from_name(request["checkpoint"], "cpu", vision_model_name=vision, text_model_name=text,
                                            input_resolution=info["input_resolution"])
    model.eval()
    given = inputs(request, transform)
    answer.write(model, given, features, request.get("halves", []), out)


if __name__ == "__main__":
    main(*sys.argv[1:])

#!/usr/bin/env python3
"""What transformers says about pictures and texts: run by `cargo xtask parity`, which compares.

    python ask_transformers.py REQUEST.json OUT.safetensors

REQUEST holds {"version": of transformers, "checkpoint": directory, "images": [path], "texts": [text]}, or in the place of the last
two {"inputs": file}, an earlier OUT whose ids and pixels are taken. Pictures are opened with `load_image` (EXIF applied). Ids are
padded to the longest text; features are computed one by one, without padding. Everything is f32 on the CPU, and with {"halves": [dtype]} features are computed in those formats, too.
"""
import json
import sys

import answer
import torch
from safetensors.torch import load_file
from transformers import ChineseCLIPModel, ChineseCLIPProcessor
from transformers.image_utils import load_image

PINNED = {"4.51.3": {"torch": "2.15.0", "tokenizers": "0.21.4", "pillow": "13.0.0"},
          "5.24.0": {"torch": "2.15.0", "tokenizers": "0.23.3"}}


def inputs(request):
    if "inputs" in request:
        return load_file(request["inputs"])
    processor = ChineseCLIPProcessor.from_pretrained(request["checkpoint"])
    images = [load_image(path) for path in request["images"]]
    tokens = processor.tokenizer(request["texts"], return_tensors="pt", padding=True, truncation=True, max_length=512)
    pixels = processor.image_processor(images, return_tensors="pt").pixel_values
    return {"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask, "pixel_values": pixels}


def features(model, given):
    feature = lambda output: getattr(output, "pooler_output", output)  # an object since 5.0  # noqa: E731
    image = [feature(model.get_image_features(pixel_values=one[None].to(model.dtype))) for one in given["pixel_values"]]
    ids = [row[mask.bool()][None] for row, mask in zip(given["input_ids"], given["attention_mask"])]
    text = [feature(model.get_text_features(input_ids=one, attention_mask=torch.ones_like(one))) for one in ids]
    return torch.cat(image), torch.cat(text)


def main(request, out):
    request = json.load(open(request))
    answer.check({"transformers": request["version"], **PINNED[request["version"]]})
    model, info = ChineseCLIPModel.from_pretrained(request["checkpoint"], output_loading_info=True)
    for what in ("missing_keys", "mismatched_keys"):
        if info[what]:
            raise SystemExit(f"{request['checkpoint']}: {what} {info[what]}")
    model = model.float().eval()
    for parameter in model.parameters():
        parameter.data = parameter.data.clone()  # sums follow from where a file's weights begin in memory
    given = inputs(request)
    answer.write(model, given, features, request.get("halves", []), out)


if __name__ == "__main__":
    main(*sys.argv[1:])

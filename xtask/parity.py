#!/usr/bin/env python3
"""What transformers says about pictures and texts: run by `cargo xtask parity`, which compares.

    python parity.py REQUEST.json OUT.safetensors

REQUEST holds {"checkpoint": directory, "images": [path], "texts": [text]}. Pictures are opened with `load_image` (EXIF
applied). Ids are padded to the longest text; features are computed one by one, without padding. Everything is f32 on the CPU.
"""
import importlib.metadata
import json
import sys

import torch
from safetensors.torch import save_file
from transformers import ChineseCLIPModel, ChineseCLIPProcessor
from transformers.image_utils import load_image

PINNED = {"torch": "2.15.0", "transformers": "4.51.3", "tokenizers": "0.21.4", "pillow": "13.0.0"}


def main(request, out):
    for package, wanted in PINNED.items():
        found = importlib.metadata.version(package).split("+")[0]
        if found != wanted:
            raise SystemExit(f"{package} {found} is installed, parity is stated against {wanted}")
    request = json.load(open(request))
    processor = ChineseCLIPProcessor.from_pretrained(request["checkpoint"])
    model = ChineseCLIPModel.from_pretrained(request["checkpoint"], torch_dtype=torch.float32).eval()
    images = [load_image(path) for path in request["images"]]
    tokens = processor.tokenizer(request["texts"], return_tensors="pt", padding=True, truncation=True, max_length=512)
    pixels = processor.image_processor(images, return_tensors="pt").pixel_values
    with torch.no_grad():
        image = torch.cat([model.get_image_features(one[None]) for one in pixels])
        ids = [row[mask.bool()][None] for row, mask in zip(tokens.input_ids, tokens.attention_mask)]
        text = torch.cat([model.get_text_features(input_ids=one, attention_mask=torch.ones_like(one)) for one in ids])
        unit = lambda x: x / x.norm(dim=-1, keepdim=True)  # noqa: E731
        logits = model.logit_scale.exp() * unit(image) @ unit(text).T
    save_file({"input_ids": tokens.input_ids, "attention_mask": tokens.attention_mask, "pixel_values": pixels.contiguous(),
               "image_features": image, "text_features": text, "logits_per_image": logits, "probabilities": logits.softmax(-1)}, out)


if __name__ == "__main__":
    main(*sys.argv[1:])

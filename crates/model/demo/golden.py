#!/usr/bin/env python3
"""Write golden.json: what transformers 4.51.3 computes for the demonstration model, examples/*.png and some captions.

    python golden.py            write golden.json
    python golden.py --check    fail if it would change

The f16 weights are loaded as f32. Pictures are opened with Pillow and go through the slow ChineseCLIPImageProcessor; captions go through
BertTokenizerFast (vocab.txt of cn-clip 1.6.0) as one batch, padded to the longest, with its attention mask. A number is the shortest decimal
that gives the same f32. Features are not normalised; logits are exp(logit_scale) times the cosine.
"""
import hashlib
import json
import os
import platform
import sys
from importlib.metadata import version

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from PIL import Image

from train import HERE, load

PINNED = {"torch": "2.15.0", "transformers": "4.51.3", "tokenizers": "0.21.4", "pillow": "13.0.0", "numpy": "2.4.6"}
TEXTS = ["三个红色的圆形", "一个蓝色的正方形", "五颗黄色的星星", "海边的日落", "雪地里的雪人", "一个绿色的三角形", "红色的圆形", "两个红色的圆",
         "左边有一个蓝色的方块", "右边有一个蓝色的方块", "一张彩虹的图片", "下雨的城市", "一张夜空的照片", "5个黄色的五角星。"]
EXAMPLES = {  # the candidates that the README shows for each picture
    "red-circles.png": ["三个红色的圆形", "一个蓝色的正方形", "海边的日落"],
    "blue-square.png": ["左边有一个蓝色的正方形", "右边有一个蓝色的正方形", "左边有一个红色的正方形", "三个蓝色的正方形"],
    "yellow-stars.png": ["五颗黄色的星星", "三颗黄色的星星", "五颗红色的星星", "五个黄色的圆形"],
    "sunset.png": ["海边的日落", "夜空", "雪山", "彩虹"],
    "snowman.png": ["雪地里的雪人", "雪山", "一棵大树", "下雨的城市"],
}


def numbers(array):
    """Nested lists of the shortest decimals that give the same f32."""
    array = np.asarray(array, dtype=np.float32)
    return float(str(array)) if array.ndim == 0 else [numbers(a) for a in array]


@torch.no_grad()
def run(model, processor, tok, files, texts):
    images = [Image.open(HERE / "examples" / name) for name in files]
    rows = tok(texts, padding=True, return_tensors="pt")
    pixels = processor(images, return_tensors="pt")["pixel_values"]
    out = model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"], token_type_ids=rows["token_type_ids"], pixel_values=pixels)
    return rows, pixels, out


def main():
    for name, wanted in PINNED.items():
        if version(name) != wanted:
            sys.exit(f"{name} {version(name)} is installed, {wanted} is needed")
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    model, processor, tok = load(HERE)
    files = sorted(EXAMPLES)
    rows, pixels, out = run(model, processor, tok, files, TEXTS)
    with torch.no_grad():
        text = model.get_text_features(rows["input_ids"], rows["attention_mask"], rows["token_type_ids"])
        image = model.get_image_features(pixels)
    ids = [[i for i, keep in zip(row, mask) if keep] for row, mask in zip(rows["input_ids"].tolist(), rows["attention_mask"].tolist())]
    golden = {
        "about": "transformers on CPU in f32 with the f16 weights of model.safetensors; made by golden.py",
        "versions": {"python": platform.python_version(), **PINNED},
        "model_sha256": hashlib.sha256((HERE / "model.safetensors").read_bytes()).hexdigest(),
        "logit_scale": numbers(model.logit_scale.detach()),
        "texts": [{"text": t, "input_ids": i, "feature": f} for t, i, f in zip(TEXTS, ids, numbers(text))],
        "images": [{"file": name, "feature": f} for name, f in zip(files, numbers(image))],
        "logits_per_image": numbers(out.logits_per_image.detach()),
        "probabilities": numbers(out.logits_per_image.softmax(-1).detach()),
        "examples": [],
    }
    for name, texts in EXAMPLES.items():
        _, _, one = run(model, processor, tok, [name], texts)
        golden["examples"].append({"file": name, "texts": texts, "logits": numbers(one.logits_per_image[0].detach()),
                                   "probabilities": numbers(one.logits_per_image[0].softmax(-1).detach())})
    body = json.dumps(golden, ensure_ascii=False, separators=(",", ":")).replace('},{"', '},\n{"').replace('],"', '],\n"').replace('":[{', '":[\n{') + "\n"
    path = HERE / "golden.json"
    if "--check" in sys.argv:
        if path.read_text() != body:
            sys.exit("golden.json differs from what is computed now")
        print("golden.json is as computed")
    else:
        path.write_text(body)
    for one in golden["examples"]:
        print(one["file"], "  ".join(f"{t} {p:.4f}" for t, p in zip(one["texts"], one["probabilities"])))


if __name__ == "__main__":
    main()

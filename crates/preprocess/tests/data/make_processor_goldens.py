#!/usr/bin/env python3
"""Writes tests/data/processor: the processor of transformers' own ChineseCLIPProcessorTest as it saves itself, and what it answers.

    python make_processor_goldens.py [OUT]

Oracle: transformers 4.51.3 with tokenizers 0.21.4 and Pillow 13.0.0. A second run writes the same bytes. The picture of the calls is
`noise(3 * 30 * 400, 7)` of noise.py.
"""
import json
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import tokenizers
import transformers
from make_array_goldens import HERE, PINS
from noise import noise
from PIL import Image
from transformers import BertTokenizerFast, ChineseCLIPImageProcessor, ChineseCLIPProcessor

PINS = PINS | {"tokenizers": (tokenizers.__version__, "0.21.4")}
VOCABULARY = "[UNK] [CLS] [SEP] [PAD] [MASK] 的 价 格 是 15 便 alex ##andra ， 。 - t shirt".split()
TEXT = "Alexandra，T-shirt的价格是15便士。"
BATCH = ["lower newer ", "  upper older longer string"]
IDS = [[1, 4, 5, 8, 1, 0, 8], [3, 4, 3, 1, 1, 8, 9]]
FILES = ("preprocessor_config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json", "vocab.txt")


def main():
    for package, (found, wanted) in PINS.items():
        assert found == wanted, f"{package} {wanted} is pinned, found {found}"
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "processor"
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "vocab.txt").write_text("".join(token + "\n" for token in VOCABULARY), encoding="utf-8")
        tokenizer = BertTokenizerFast.from_pretrained(folder)
    image_processor = ChineseCLIPImageProcessor(size={"height": 224, "width": 224}, crop_size={"height": 18, "width": 18})
    processor = ChineseCLIPProcessor(tokenizer=tokenizer, image_processor=image_processor)
    processor.save_pretrained(out)
    assert sorted(path.name for path in out.iterdir() if path.name != "expected.json") == sorted(FILES)

    picture = Image.frombytes("RGB", (400, 30), noise(3 * 30 * 400, 7))

    def call(**kwargs):
        encoding = processor(**kwargs)
        row = {"keys": list(encoding.keys())}
        row |= {key: encoding[key] for key in row["keys"] if key != "pixel_values"}
        if "pixel_values" in row["keys"]:
            values = np.stack(encoding["pixel_values"])
            row |= {"shape": list(values.shape), "crc": zlib.crc32(np.ascontiguousarray(values).astype(np.float32).tobytes())}
        return row

    expected = {
        "text": call(text=[TEXT]),
        "image": call(images=picture, return_tensors="np"),  # without return_tensors 4.51.3 fails on images alone
        "both": call(text=[TEXT], images=picture),
        "longest": call(text=BATCH, padding="longest", max_length=76),
        "max_length": call(text=BATCH, padding="max_length", max_length=76),
        "truncated": call(text=[TEXT], max_length=5),
        "not_truncated": call(text=[TEXT], max_length=5, padding="longest"),
        "cut_and_padded": call(text=[TEXT, BATCH[0]], max_length=6, padding="max_length", truncation=True),
        "rescaled": call(text=[TEXT], images=picture, do_rescale=True, rescale_factor=-1),
        "decoded": processor.batch_decode(IDS),
        "decoded_without_special_tokens": processor.batch_decode(IDS, skip_special_tokens=True),
        "model_input_names": processor.model_input_names,
    }
    pins = {package: wanted for package, (_, wanted) in PINS.items()}
    rows = ",\n".join(f"{json.dumps(key)}: {json.dumps(row, ensure_ascii=False)}" for key, row in ({"pins": pins} | expected).items())
    (out / "expected.json").write_text(f"{{\n{rows}\n}}\n", encoding="utf-8")


if __name__ == "__main__":
    main()

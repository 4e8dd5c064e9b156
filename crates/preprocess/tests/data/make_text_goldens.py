#!/usr/bin/env python3
"""Writes the tokenizer goldens beside this file: what ChineseCLIPProcessor.tokenizer makes of texts and of every code point.

    pip install transformers==4.51.3 tokenizers==0.21.4 torch torchvision pillow
    python make_text_goldens.py            # a second run writes the same bytes

text_inputs.jsonl      input: one JSON string a line
text_goldens.jsonl     one line a text: all ids, the ids cut to each length of CUTS (only where that cuts), decoded with and
                       without special tokens
text_extras.json       padding of a small batch, decoding of id lists that no text makes, the tokenizer's own JSON without its
                       vocabulary, the versions
text_code_points.txt   for every Unicode scalar value c the class of the ids of "a" + c + "b", as runs "first last class":
                       deleted    as "ab"
                       space      as "a b"
                       split      "a", c itself (or [UNK] where the vocabulary lacks it), "b"
                       unknown    one [UNK] for all three
                       otherwise  the ids, without [CLS] and [SEP]
"""
import functools
import json
import os
import random
import shutil
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
import tokenizers  # noqa: E402
import transformers  # noqa: E402
from code_points import SCALARS, kind, runs  # noqa: E402

PINNED = {"transformers": "4.51.3", "tokenizers": "0.21.4"}
CUTS = [2, 3, 8, 52, 512]
HERE = Path(__file__).parent
VOCAB = HERE.parent.parent / "src" / "vocab" / "vocab.txt"


def load():
    with tempfile.TemporaryDirectory() as folder:
        shutil.copyfile(VOCAB, Path(folder, "vocab.txt"))
        Path(folder, "preprocessor_config.json").write_text('{"image_processor_type": "ChineseCLIPImageProcessor"}')
        Path(folder, "config.json").write_text('{"model_type": "chinese_clip"}')
        tokenizer = transformers.ChineseCLIPProcessor.from_pretrained(folder).tokenizer
    assert type(tokenizer).__name__ == "BertTokenizerFast", type(tokenizer)
    return tokenizer


def dump(value):
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))


def write(name, text):
    Path(HERE, name).write_text(text, encoding="ascii", newline="\n")
    print(f"{name}: {len(text)} bytes")


def texts(tokenizer, inputs):
    for text in inputs:
        ids = tokenizer(text).input_ids
        cuts = {n: tokenizer(text, truncation=True, max_length=n).input_ids for n in CUTS if n < len(ids)}
        yield {
            "ids": ids,
            "cuts": cuts,
            "decoded": tokenizer.decode(ids),
            "skipped": tokenizer.decode(ids, skip_special_tokens=True),
        }


def odd_ids(tokenizer):
    """Lists of ids that stress decoding: contractions, punctuation, pieces at the start, special tokens, unknown ids."""
    by_words = ["do not , i ' m ? it ' s n't ! 've 're . ' ' \" '", "##a ##b . ##c do not", ". , ' s 's 'm n't",
                "it ' ##s i ' ##m we ' ##ve you ' ##re do n ' ##t", "a . ' ' ##s , ##s ? ##n ! ' s", "a . b . c , d ! e ?"]
    lists = [[tokenizer.convert_tokens_to_ids(word) for word in words.split()] for words in by_words]
    lists += [[], [0], [101, 102], [102, 101, 0, 100, 103], [872, 21128, 1962], [30000, 4294967295], [1, 99, 103, 872, 103]]
    rng = random.Random(2)
    lists += [[rng.randrange(21128) for _ in range(rng.randrange(1, 40))] for _ in range(60)]
    # ASCII only: punctuation and short pieces meet more often.
    latin = sorted(i for t, i in tokenizer.vocab.items() if len(t) <= 4 and t.isascii())
    lists += [[rng.choice(latin) for _ in range(40)] for _ in range(60)]
    return lists


def kinds(tokenizer):
    plain, vocab = tokenizer.backend_tokenizer, tokenizer.vocab
    ids = functools.cache(lambda text: plain.encode(text, add_special_tokens=False).ids)
    for start in range(0, len(SCALARS), 1 << 16):
        block = SCALARS[start : start + (1 << 16)]
        for c, encoded in zip(block, plain.encode_batch([f"a{chr(c)}b" for c in block], add_special_tokens=False)):
            yield c, kind(c, encoded.ids, ids, vocab)


def main():
    found = {"transformers": transformers.__version__, "tokenizers": tokenizers.__version__}
    if found != PINNED:
        sys.exit(f"these goldens are those of {PINNED}, not of {found}")
    tokenizer = load()
    inputs = [json.loads(line) for line in Path(HERE, "text_inputs.jsonl").read_text(encoding="utf-8").splitlines()]
    write("text_goldens.jsonl", "".join(dump(row) + "\n" for row in texts(tokenizer, inputs)))

    batch = ["杰尼龟", "", "一只可爱的猫咪坐在窗台上", "hello world!", "皮卡丘"]
    pads = {"longest": tokenizer(batch, padding=True), "24": tokenizer(batch, padding="max_length", max_length=24),
            "4": tokenizer(batch, padding="max_length", truncation=True, max_length=4)}
    tokenizer.backend_tokenizer.no_padding()  # calls with padding and truncation leave them switched on
    tokenizer.backend_tokenizer.no_truncation()
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    vocabulary = backend["model"].pop("vocab")
    assert vocabulary == {t.rstrip("\n"): i for i, t in enumerate(open(VOCAB, encoding="utf-8"))}
    odd = odd_ids(tokenizer)
    write("text_extras.json", json.dumps({
        "versions": found,
        "batch": batch,
        "pads": {how: dict(arrays) for how, arrays in pads.items()},
        "decoded": [{"ids": ids, "decoded": tokenizer.decode(ids), "skipped": tokenizer.decode(ids, skip_special_tokens=True)}
                    for ids in odd],
        "tokenizer_json": backend,
    }, ensure_ascii=True, separators=(",", ":")) + "\n")
    write("text_code_points.txt", runs(kinds(tokenizer)))


main()

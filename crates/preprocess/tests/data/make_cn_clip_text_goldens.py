#!/usr/bin/env python3
"""Writes the goldens of cn_clip's tokenizer beside this file. Python 3.11, whose Unicode is 14.

    pip install cn_clip==1.6.0
    python make_cn_clip_text_goldens.py    # a second run writes the same bytes

text_inputs.jsonl          input: one JSON string a line
cn_clip_texts.jsonl        one line a text: all ids without [CLS] and [SEP]; after those of text_inputs.jsonl come 400 mixtures,
                           each with its text
cn_clip_code_points.txt    for every code point c that Unicode 14 has assigned the class of the ids of "a" + c + "b", as in
                           text_code_points.txt; what is not assigned is "unassigned"
"""
import functools
import json
import random
import sys
import unicodedata
from importlib.metadata import version
from pathlib import Path

from cn_clip.clip import _tokenizer, tokenize
from code_points import SCALARS, kind, runs

HERE = Path(__file__).parent
if (version("cn_clip"), unicodedata.unidata_version) != ("1.6.0", "14.0.0"):
    sys.exit("these goldens are those of cn_clip 1.6.0 on Unicode 14")


def ids(text):
    return _tokenizer.convert_tokens_to_ids(_tokenizer.tokenize(text))


def write(name, text):
    Path(HERE, name).write_text(text, encoding="ascii", newline="\n")
    print(f"{name}: {len(text)} bytes")


def kinds():
    cached = functools.cache(ids)
    for c in SCALARS:
        assigned = unicodedata.category(chr(c)) != "Cn"
        yield c, kind(c, ids(f"a{chr(c)}b"), cached, _tokenizer.vocab) if assigned else "unassigned"


def mixtures():
    rng = random.Random(4)
    parts = ["猫", "龟", "ΟΔΟΣ", "Σ", "İ", "é", "[SEP]", "[MASK]", " ", "\u3000", "\u2028", "“", "”", "a", "Hello", "##b", "12", "。", "\u0301",
             "\ue000", "\U0002b820", "👍🏽", "x" * 90, "y" * 201, "ﬁ", "Ⅷ", "ｶﾞ", "한국", "\u200d", "ß", "ǅ", "\u1734", "𝒳", "…", "ŉ"]
    return ["".join(rng.choice(parts) for _ in range(rng.randrange(1, 12))) for _ in range(400)]


inputs = [json.loads(line) for line in Path(HERE, "text_inputs.jsonl").read_text(encoding="utf-8").splitlines()]
for text in inputs + mixtures():  # `tokenize` is the ids cut to 50 between [CLS] and [SEP]
    assert tokenize(text)[0].tolist() == ([101] + ids(text)[:50] + [102] + [0] * 52)[:52]
rows = [{"ids": ids(text)} for text in inputs] + [{"text": text, "ids": ids(text)} for text in mixtures()]
write("cn_clip_texts.jsonl", "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows))
write("cn_clip_code_points.txt", runs(kinds()))

#!/usr/bin/env python3
"""Train, check and write the demonstration model.

    python train.py                     train, round to f16, write model.safetensors and the two json files, then evaluate them
    python train.py --evaluate          only evaluate the files that are there
    python train.py --examples          draw examples/*.png again

Versions: Python 3.11, torch 2.15.0, transformers 4.51.3, tokenizers 0.21.4, safetensors 0.8.0, numpy 2.4.6, pillow 13.0.0, and cn-clip 1.6.0
for its vocab.txt (Google's BERT-base-Chinese vocabulary, Apache-2.0). One thread, no GPU, no network. Pictures and captions are made while
it trains (pictures.py, captions.py); each step's random numbers come from the seed and the step alone.
"""
import argparse
import json
import math
import os
import time
import zlib
from importlib.util import find_spec
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import BertTokenizerFast, ChineseCLIPConfig, ChineseCLIPImageProcessor, ChineseCLIPModel

import captions
import pictures

HERE = Path(__file__).resolve().parent
SEED, BATCH, DECAY = 2024, 64, .05
STAGES = {  # `steps` of a schedule made for `planned`; the second stage starts from the first one's file, on larger shapes,
    # and dwells on shape and count
    1: {"steps": 1300, "planned": 2600, "peak": 2e-3, "warmup": 100, "captions": 3, "radii": "fine", "scenes": BATCH // 6, "shape": 1,
        "vary": ("colour", "shape", "count", "count", "position", "size", "none")},
    2: {"steps": 1200, "planned": 1200, "peak": 1.5e-3, "warmup": 50, "captions": 2, "radii": "coarse", "scenes": BATCH // 16, "shape": 2,
        "vary": ("colour", "shape", "shape", "shape", "shape", "count", "count", "count", "position", "size", "none")},
}
IMAGE, PATCH, VOCAB = 60, 10, 21128
WORDS = "text_model.embeddings.word_embeddings.weight"
MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
CONFIG = {  # as the published files: only what differs from the class defaults
    "architectures": ["ChineseCLIPModel"], "initializer_factor": 1.0, "logit_scale_init_value": 2.6592, "model_type": "chinese_clip",
    "projection_dim": 64,
    "text_config": {"hidden_size": 64, "intermediate_size": 256, "max_position_embeddings": 128, "model_type": "chinese_clip_text_model",
                    "num_attention_heads": 4, "num_hidden_layers": 2, "vocab_size": VOCAB},
    "torch_dtype": "float16",
    "vision_config": {"dropout": 0.0, "hidden_size": 96, "image_size": IMAGE, "intermediate_size": 384,
                      "model_type": "chinese_clip_vision_model", "num_attention_heads": 4, "num_hidden_layers": 4, "patch_size": PATCH},
}
PREPROCESSOR = {
    "do_center_crop": False, "do_convert_rgb": True, "do_normalize": True, "do_rescale": True, "do_resize": True,
    "feature_extractor_type": "ChineseCLIPFeatureExtractor", "image_mean": MEAN, "image_processor_type": "ChineseCLIPImageProcessor",
    "image_std": STD, "resample": 3, "rescale_factor": 0.00392156862745098, "size": {"height": IMAGE, "width": IMAGE},
}
DESCRIPTION = "Chinese-CLIP demonstration model, trained on generated pictures of shapes and scenes only; it knows nothing of photographs"


def tokenizer():
    """The published vocabulary, from the cn_clip wheel (found without importing the package)."""
    return BertTokenizerFast(str(Path(find_spec("cn_clip").origin).parent / "clip" / "vocab.txt"), do_lower_case=True)


# Which pictures are kept for the evaluation

def combination(what):
    return "/".join(str(what[k]) for k in ("colour", "shape", "count", "position"))


def held_out(what):
    """One in eight combinations of colour, shape, count and position never occurs in training."""
    return zlib.crc32(combination(what).encode()) % 8 == 0


def shapes(colour, shape, count, position, size=None):
    return {"scene": None, "colour": colour, "shape": shape, "count": count, "position": position if count == 1 else None,
            "size": size if count == 1 else None}


def scene(name):
    return {"scene": name, **{k: None for k in captions.FACTS[1:]}}


def any_shapes(rng, want_held_out):
    while True:
        what = shapes(captions.pick(rng, tuple(pictures.COLOURS)), captions.pick(rng, pictures.SHAPES), int(rng.choice(5, p=[.36, .16, .16, .16, .16])) + 1,
                      captions.pick(rng, pictures.POSITIONS), captions.pick(rng, (None, "small", "large")))
        if held_out(what) == want_held_out:
            return what


# Batches

def descriptions(rng, stage):
    """What the pictures of one batch show: scenes, and groups of shapes that differ in one thing, which their captions then name."""
    out = [(scene(captions.pick(rng, pictures.SCENES)), ()) for _ in range(stage["scenes"])]
    while len(out) < BATCH:
        base, vary = any_shapes(rng, False), captions.pick(rng, stage["vary"])
        group, seen = [], set()
        for _ in range(5):
            other = any_shapes(rng, False)
            if vary == "none":
                group.append((other, ()))
                continue
            what = {**base, vary: other[vary]}
            if vary in ("position", "size"):
                what |= {"count": 1, "position": what["position"] or other["position"], "size": what["size"]}
            if what["count"] == 1 and what["position"] is None:
                what["position"] = captions.pick(rng, pictures.POSITIONS)
            what = shapes(*(what[k] for k in ("colour", "shape", "count", "position", "size")))
            if not held_out(what) and what[vary] not in seen:
                seen.add(what[vary])
                group.append((what, (vary,)))
        out += group
    return out[:BATCH]


def batch(rng, stage):
    """Pixels [B, 3, S, S], texts [K * B] (k-major), whether each text is true of each picture [K * B, B], facts [B, 6], claims [K * B, 6]."""
    what = descriptions(rng, stage)
    images = [pictures.finish(rng, pictures.draw(rng, w, (2 if rng.random() < .7 else 3) * IMAGE, stage["radii"]), IMAGE) for w, _ in what]
    pixels = (np.stack(images).astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    made = [captions.caption(rng, w, must if k % 2 == 0 else ()) for k in range(stage["captions"]) for w, must in what]
    facts, claims = np.array([captions.codes(w) for w, _ in what]), np.array([captions.codes(None, claimed) for _, claimed in made])
    true = ((claims[:, None, :] == -2) | (claims[:, None, :] == facts[None])).all(2)
    return (torch.from_numpy(pixels.transpose(0, 3, 1, 2).copy()), [text for text, _ in made], torch.from_numpy(true),
            torch.from_numpy(facts), torch.from_numpy(claims))


def loss(text, image, scale, true):
    """Symmetric contrastive loss; a pair that is true by chance takes no part, except as its own positive."""
    n = image.shape[0]
    logits = F.normalize(text, dim=-1) @ F.normalize(image, dim=-1).T * scale.exp()  # [K * B, B]
    own = torch.arange(text.shape[0]) % n
    other = true.clone()
    other[torch.arange(len(own)), own] = False
    masked = logits.masked_fill(other, -1e4)
    per_text = F.cross_entropy(masked, own)
    positive = logits[torch.arange(len(own)), own]  # each picture against all false texts and one true one at a time
    false = torch.logsumexp(logits.masked_fill(true, -1e4), 0)[own]
    return (per_text + (torch.logaddexp(false, positive) - positive).mean()) / 2


def naming_loss(heads, feature, codes, shape):
    """Help for the start, thrown away afterwards: one linear layer per fact reads colour, shape, ... off either tower's feature."""
    feature, total = F.layer_norm(feature, feature.shape[-1:]), 0
    for name, head, answer in zip(captions.FACTS, heads, codes.T):
        known = answer >= 0
        if known.any():
            total = total + F.cross_entropy(head(feature[known]), answer[known]) * (shape if name == "shape" else 1)
    return total


# Training

def used_ids(tok):
    """Ids that captions can contain, found by making many of them. Only these rows of the embedding are trained."""
    rng, ids = np.random.default_rng([SEED, 1]), set(tok.all_special_ids)
    texts = [captions.caption(rng, any_shapes(rng, False) if i % 4 else scene(captions.pick(rng, pictures.SCENES)))[0] for i in range(40000)]
    for row in tok(texts)["input_ids"]:
        ids.update(row)
    return sorted(ids)


def schedule(step, warmup, planned):
    return min((step + 1) / warmup, .5 + .5 * math.cos(math.pi * max(0, step - warmup) / (planned - warmup)))


def train(number, steps, out, save_every):
    stage = STAGES[number]
    steps = min(steps or stage["steps"], stage["steps"])
    tok = tokenizer()
    ids = used_ids(tok)
    row_of = {token: row for row, token in enumerate(ids)}
    unknown = row_of[tok.unk_token_id]
    torch.manual_seed(SEED + number - 1)
    small = json.loads(json.dumps(CONFIG))
    small["text_config"] |= {"vocab_size": len(ids), "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    model = ChineseCLIPModel(ChineseCLIPConfig(**small)).train()
    with torch.no_grad():  # the class's own start keeps attention flat for long: stronger attention and positions
        for name, p in model.vision_model.named_parameters():
            if name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight")):
                p.mul_(3)
        for p in (model.vision_model.embeddings.position_embedding.weight, model.vision_model.embeddings.class_embedding):
            p.normal_(0, .3)
    if number > 1:
        state = {k: v.float() for k, v in load_file(out / "model.safetensors").items()}
        state[WORDS] = state[WORDS][ids]
        model.load_state_dict(state)
    heads = torch.nn.ModuleList([torch.nn.Linear(CONFIG["projection_dim"], len(captions.INDEX[name])) for name in captions.FACTS])
    print(f"{len(ids)} trained rows of {VOCAB}, {sum(p.numel() for p in model.parameters())} trained parameters", flush=True)
    everything = [*model.parameters(), *heads.parameters()]
    decayed, rest = [p for p in everything if p.ndim > 1], [p for p in everything if p.ndim <= 1]
    adam = torch.optim.AdamW([{"params": decayed, "weight_decay": DECAY}, {"params": rest, "weight_decay": 0.0}], lr=stage["peak"], betas=(.9, .98), eps=1e-6)
    start, mean, hits = time.time(), None, None
    for step in range(steps):
        rng = np.random.default_rng([SEED, 2, step] if number == 1 else [SEED, 2, step, number])
        pixels, texts, true, facts, claims = batch(rng, stage)
        rows = tok(texts)["input_ids"]
        for row in rows:  # now and then a word that it does not know
            if rng.random() < .05:
                row.insert(int(rng.integers(1, len(row))), tok.unk_token_id)
        width = max(map(len, rows))
        tokens = torch.tensor([[row_of.get(t, unknown) for t in row] + [row_of[0]] * (width - len(row)) for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        for group in adam.param_groups:
            group["lr"] = stage["peak"] * schedule(step, stage["warmup"], stage["planned"])
        text, image = model.get_text_features(tokens, mask), model.get_image_features(pixels)
        value = loss(text, image, model.logit_scale, true)
        help_now = .5 * max(0, 1 - step / (.7 * stage["planned"]))
        whole = value + help_now * (naming_loss(heads, image, facts, stage["shape"]) + naming_loss(heads, text, claims, 1)) if help_now else value
        adam.zero_grad(set_to_none=True)
        whole.backward()
        torch.nn.utils.clip_grad_norm_(everything, 1.0)
        adam.step()
        with torch.no_grad():
            model.logit_scale.clamp_(0, math.log(100))
        mean = value.item() if mean is None else .98 * mean + .02 * value.item()
        if (step + 1) % 50 == 0:
            print(f"stage {number} {step + 1}/{steps} loss {mean:.4f} scale {model.logit_scale.exp().item():.1f} {time.time() - start:.0f} s ({time.process_time():.0f} s of one core)", flush=True)
        if (step + 1) % save_every == 0 or step + 1 == steps:
            write(model, ids, out)


def settle(path):
    """safetensors writes its metadata in an order that changes from run to run: write the header again, sorted."""
    raw = path.read_bytes()
    end = 8 + int.from_bytes(raw[:8], "little")
    header = json.dumps(json.loads(raw[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + raw[end:])


def write(model, ids, out):
    """The full vocabulary, rounded to f16, under Hugging Face's names, beside its two configuration files."""
    out.mkdir(parents=True, exist_ok=True)
    state = {k: v.detach().half().contiguous() for k, v in model.state_dict().items() if "position_ids" not in k}
    words = torch.randn(VOCAB, state[WORDS].shape[1], generator=torch.Generator().manual_seed(SEED)).mul(.02).half()
    words[ids] = state[WORDS]
    words[0] = 0  # [PAD]
    state[WORDS] = words
    save_file(dict(sorted(state.items())), out / "model.safetensors.new", {"format": "pt", "description": DESCRIPTION})
    settle(out / "model.safetensors.new")
    (out / "model.safetensors.new").chmod(0o644)
    (out / "model.safetensors.new").rename(out / "model.safetensors")
    for file, value in (("config.json", CONFIG), ("preprocessor_config.json", PREPROCESSOR)):
        (out / file).write_text(json.dumps(value, indent=2) + "\n")


# Evaluation, of the files that ship, along the path that a user takes

def load(where):
    model = ChineseCLIPModel.from_pretrained(where, torch_dtype=torch.float32).eval()
    return model, ChineseCLIPImageProcessor.from_pretrained(where), tokenizer()


@torch.no_grad()
def embed_texts(model, tok, texts):
    rows = tok(texts, padding=True, return_tensors="pt")
    return F.normalize(model.get_text_features(**rows), dim=-1)


@torch.no_grad()
def embed_pictures(model, processor, what, seed):
    """Drawn 224 pixels wide, with new seeds, and put through the image processor."""
    out = []
    for at in range(0, len(what), 50):
        images = []
        for i, w in enumerate(what[at:at + 50]):
            rng = np.random.default_rng([SEED, 3, seed, at + i])
            images.append(Image.fromarray(pictures.finish(rng, pictures.draw(rng, w, 448), 224)))
        out.append(F.normalize(model.get_image_features(processor(images, return_tensors="pt")["pixel_values"]), dim=-1))
    return torch.cat(out)


def choices(kind, what):
    """Candidate labels for one picture, and the index of the right one."""
    noun = f"{captions.COLOUR[what['colour']]}色的{captions.SHAPE[what['shape']][0]}" if what["scene"] is None else ""
    if kind == "scene":
        return [captions.SCENE[s][0] for s in pictures.SCENES], pictures.SCENES.index(what["scene"])
    if kind == "scene phrase":
        return [captions.SCENE[s][1] for s in pictures.SCENES], pictures.SCENES.index(what["scene"])
    if kind == "colour":
        names = tuple(pictures.COLOURS)
        return [f"{captions.COLOUR[c]}色的{captions.SHAPE[what['shape']][0]}" for c in names], names.index(what["colour"])
    if kind == "colour alone":
        names = tuple(pictures.COLOURS)
        return [f"{captions.COLOUR[c]}色" for c in names], names.index(what["colour"])
    if kind == "shape":
        return [f"{captions.COLOUR[what['colour']]}色的{captions.SHAPE[s][0]}" for s in pictures.SHAPES], pictures.SHAPES.index(what["shape"])
    if kind == "shape alone":
        return [captions.SHAPE[s][0] for s in pictures.SHAPES], pictures.SHAPES.index(what["shape"])
    if kind == "colour and shape":
        names = [(c, s) for c in pictures.COLOURS for s in pictures.SHAPES]
        return [f"{captions.COLOUR[c]}色的{captions.SHAPE[s][0]}" for c, s in names], names.index((what["colour"], what["shape"]))
    if kind == "count":
        return [f"{captions.NUMBER[n][0]}个{noun}" for n in range(1, 6)], what["count"] - 1
    if kind == "position":
        return [f"{captions.POSITION[p][0]}有一个{noun}" for p in pictures.POSITIONS], pictures.POSITIONS.index(what["position"])
    if kind == "size":
        return [f"一个{noun_size}{noun}" for noun_size in ("很小的", "很大的")], ("small", "large").index(what["size"])
    raise ValueError(kind)


def evaluate(where, number=2000):
    """Zero-shot accuracy; prints one line per question."""
    model, processor, tok = load(where)
    rng = np.random.default_rng([SEED, 4])
    unseen = [any_shapes(rng, True) for _ in range(number)]
    places = [shapes(w["colour"], w["shape"], 1, w["position"], w["size"]) for w in unseen if w["count"] == 1]
    seen = [any_shapes(rng, False) for _ in range(number)]
    scenes = [scene(s) for s in pictures.SCENES for _ in range(number // 20)]
    cache = {}

    def text(texts):
        new = [t for t in dict.fromkeys(texts) if t not in cache]
        for at in range(0, len(new), 200):
            cache.update(zip(new[at:at + 200], embed_texts(model, tok, new[at:at + 200])))
        return torch.stack([cache[t] for t in texts])

    report = {}
    for title, what, kinds in (
            ("unseen combinations", unseen, ("colour", "colour alone", "shape", "shape alone", "colour and shape", "count")),
            ("unseen combinations, one shape", places, ("position", "size")),
            ("seen combinations, unseen pictures", seen, ("colour", "shape", "count")),
            ("scenes, unseen pictures", scenes, ("scene", "scene phrase"))):
        features = embed_pictures(model, processor, what, zlib.crc32(title.encode()))
        for kind in kinds:
            pairs = [(choices(kind, w), f) for w, f in zip(what, features) if kind != "size" or w["size"]]
            row = {}
            for name, templates in (("一张{}的图片", ["一张{}的图片"]), ("bare", ["{}"]), ("held-out templates", captions.HELD_OUT_TEMPLATES)):
                right = 0
                for i, ((labels, answer), feature) in enumerate(pairs):
                    template = templates[i % len(templates)]
                    right += int((text([template.format(t) for t in labels]) @ feature).argmax()) == answer
                row[name] = right / len(pairs)
            report[title, kind] = row
            print(f"{title:36s} {kind:18s} {len(pairs[0][0][0]):3d} labels {len(pairs):5d} pictures  "
                  + "  ".join(f"{k} {100 * v:5.1f} %" for k, v in row.items()), flush=True)
    return report


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--evaluate", action="store_true")
    parser.add_argument("--examples", action="store_true")
    parser.add_argument("--stage", type=int, choices=STAGES, help="this stage only")
    parser.add_argument("--steps", type=int, help="stop each stage early")
    parser.add_argument("--pictures", type=int, default=2000, help="how many the evaluation draws of each kind of shapes")
    parser.add_argument("--save-every", type=int, default=250)
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if args.examples:
        examples(args.out / "examples")
    elif not args.evaluate:
        for number in [args.stage] if args.stage else STAGES:
            train(number, args.steps, args.out, args.save_every)
    if not args.examples:
        evaluate(args.out, args.pictures)


EXAMPLES = {  # file: (seed, what)
    "red-circles.png": (1, shapes("red", "circle", 3, None)),
    "blue-square.png": (2, shapes("blue", "square", 1, "left")),
    "yellow-stars.png": (3, shapes("yellow", "star", 5, None)),
    "sunset.png": (4, scene("sunset")),
    "snowman.png": (5, scene("snowman")),
}


def examples(out):
    out.mkdir(parents=True, exist_ok=True)
    for name, (seed, what) in EXAMPLES.items():
        rng = np.random.default_rng([SEED, 5, seed])
        image = pictures.draw(rng, what, 960, plain=True).reduce(4)
        image.quantize(64, dither=Image.Dither.NONE).convert("RGB").save(out / name, optimize=True)


if __name__ == "__main__":
    main()

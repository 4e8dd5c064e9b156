#!/usr/bin/env python3
"""Writes the goldens of the towers: tiny random models, their inputs, and every intermediate of the reference.

    pip install torch==2.15.0 transformers==4.51.3 safetensors==0.8.0 numpy==2.4.6
    python make.py

Each model becomes a directory with a checkpoint in the hub's layout (config.json, model.safetensors) and a
golden.safetensors, whose names are those of the recorder (`text.layer.0.attention.output`). activations.safetensors holds
every function of ACT2FN on a grid. A second run writes the same bytes. cargo xtask golden runs this script and says so.
"""
import importlib.metadata
import json
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import ChineseCLIPConfig, ChineseCLIPModel
from transformers.activations import ACT2FN

HERE = Path(__file__).parent
PINNED = {"torch": "2.15.0", "transformers": "4.51.3", "safetensors": "0.8.0", "numpy": "2.4.6"}
MADE_BY = {"made_by": ", ".join(f"{package} {version}" for package, version in PINNED.items())}  # one key: the order of several varies
VOCABULARY = 40

# What each model is there for.
MODELS = {
    # The published shape in small: head width 12 and 16, patch 16, a fully masked text, padding.
    "small": dict(text=(48, 2, 4, 96, "gelu"), vision=(64, 2, 4, 96, "quick_gelu", 64, 16), projection=32),
    # Head widths of the real models, 64 and 80, patch 14, one layer of text.
    "heads": dict(text=(128, 1, 2, 64, "gelu"), vision=(160, 2, 2, 64, "quick_gelu", 42, 14), projection=24),
    # Odd numbers: head width 5, three and four layers, a patch that does not divide the image, other activations. Its
    # embeddings are so small that the epsilon of the first layer norm shows.
    "odd": dict(text=(15, 3, 3, 31, "gelu_new"), vision=(20, 4, 4, 33, "gelu", 75, 32), projection=7, embeddings=0.01),
    # One head, one layer, one patch.
    "one": dict(text=(8, 1, 1, 8, "relu"), vision=(8, 1, 1, 8, "silu", 16, 16), projection=4),
}


def check_versions():
    for package, wanted in PINNED.items():
        found = importlib.metadata.version(package).split("+")[0]
        if found != wanted:
            raise SystemExit(f"{package} {found} is installed, the goldens are made with {wanted}")


def draw(name, shape, std=1.0, mean=0.0):
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    return torch.from_numpy((mean + std * generator.standard_normal(shape)).astype(np.float32))


def weight(name, like, embeddings=1.0):
    """Scores have a spread of about 2, no bias is zero, no gain is one: a wrong transpose, epsilon or mask shows."""
    shape = tuple(like.shape)
    if name == "logit_scale":
        return torch.tensor(3.0)
    if "embeddings" in name and "LayerNorm" not in name:
        return draw(name, shape, embeddings * (0.5 if "patch" not in name else 1 / np.sqrt(np.prod(shape[1:]))))
    if len(shape) == 1 and name.endswith("weight"):
        return draw(name, shape, 0.15, 1.0)
    if len(shape) == 1:
        return draw(name, shape, 0.1)
    gain = 1.8 if any(part in name for part in ("query", "key", "q_proj", "k_proj")) else 1.0
    return draw(name, shape, gain / np.sqrt(np.prod(shape[1:])))


def config(text, vision, projection, **_):
    hidden, layers, heads, inner, act = text
    width, depth, vheads, vinner, vact, size, patch = vision
    return {
        "model_type": "chinese_clip",
        "projection_dim": projection,
        "text_config": dict(vocab_size=VOCABULARY, hidden_size=hidden, num_hidden_layers=layers, num_attention_heads=heads,
                            intermediate_size=inner, hidden_act=act, max_position_embeddings=24),
        "vision_config": dict(hidden_size=width, num_hidden_layers=depth, num_attention_heads=vheads,
                              intermediate_size=vinner, hidden_act=vact, image_size=size, patch_size=patch),
    }


def keep_output(module, name, kept):
    """A copy: what follows may compute in place."""
    module.register_forward_hook(lambda m, i, o: kept.__setitem__(name, (o[0] if isinstance(o, tuple) else o).detach().clone()))


def watch_text(text, projection, kept):
    """Hooks that keep what the recorder keeps of the text tower, under its names."""
    output = lambda module, name: keep_output(module, name, kept)  # noqa: E731
    output(text.embeddings, "text.embeddings")
    for n, layer in enumerate(text.encoder.layer):
        at = f"text.layer.{n}"
        layer.attention.self.register_forward_hook(
            lambda m, i, o, at=at: kept.update({f"{at}.attention.context": o[0].detach(), f"{at}.attention.probabilities": o[1].detach()}))
        output(layer.attention.output.dense, f"{at}.attention.output")
        output(layer.attention.output.LayerNorm, f"{at}.attention.norm")
        output(layer.intermediate.dense, f"{at}.mlp.fc1")
        output(layer.output.dense, f"{at}.mlp.fc2")
        output(layer, f"{at}.output")
    output(projection, "text.features")


def watch_vision(vision, projection, kept):
    """The same of the image tower."""
    output = lambda module, name: keep_output(module, name, kept)  # noqa: E731
    output(vision.embeddings, "vision.embeddings")
    output(vision.pre_layrnorm, "vision.pre_layernorm")
    for n, layer in enumerate(vision.encoder.layers):
        at = f"vision.layer.{n}"
        layer.self_attn.register_forward_hook(
            lambda m, i, o, at=at: kept.update({f"{at}.attention.output": o[0].detach(), f"{at}.attention.probabilities": o[1].detach()}))
        layer.self_attn.out_proj.register_forward_pre_hook(
            lambda m, i, at=at: kept.__setitem__(f"{at}.attention.context", i[0].detach()))
        layer.layer_norm2.register_forward_pre_hook(
            lambda m, i, at=at: kept.__setitem__(f"{at}.attention.residual", i[0].detach()))
        output(layer.mlp.fc1, f"{at}.mlp.fc1")
        output(layer.mlp.fc2, f"{at}.mlp.fc2")
        output(layer, f"{at}.output")
    output(vision.post_layernorm, "vision.pooled")
    output(projection, "vision.features")


def make(name, spec):
    folder = HERE / name
    folder.mkdir(exist_ok=True)
    written = config(**spec)
    (folder / "config.json").write_text(json.dumps(written, indent=2) + "\n")
    model = ChineseCLIPModel(ChineseCLIPConfig(**written, attn_implementation="eager")).eval()
    state = {key: weight(key, value, spec.get("embeddings", 1.0)) for key, value in model.state_dict().items() if not key.endswith("position_ids")}
    model.load_state_dict(state, strict=False)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})

    size = spec["vision"][5]
    images, texts, length = 3, 3, 9
    ids = torch.randint(1, VOCABULARY, (texts, length), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[1, 5:] = 0  # padding
    mask[2, :] = 0  # masked everywhere: uniform, not NaN
    ids[1, 5:] = 0
    types = (torch.arange(length) >= 4).long().expand(texts, -1).contiguous()
    pixels = draw(name + " pixels", (images, 3, size, size))
    kept = {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels}
    with torch.no_grad():
        segments = model.text_projection(model.text_model(input_ids=ids, token_type_ids=types)[0][:, 0])
        watch_text(model.text_model, model.text_projection, kept)
        watch_vision(model.vision_model, model.visual_projection, kept)
        out = model(input_ids=ids, attention_mask=mask, pixel_values=pixels, return_loss=True, output_attentions=True)
        kept |= {"logits_per_image": out.logits_per_image, "logits_per_text": out.logits_per_text, "loss": out.loss.reshape(1),
                 "text_embeds": out.text_embeds, "image_embeds": out.image_embeds}
    kept |= {"segments.token_type_ids": types, "segments.text.features": segments}
    save_file({key: value.contiguous() for key, value in kept.items()}, folder / "golden.safetensors", metadata=MADE_BY)


def activations():
    grid = torch.cat([torch.linspace(-12, 12, 481), torch.tensor([0.0, -0.0, 1e-6, -1e-6, 60.0, -60.0, 1e4, -1e4])])
    kept = {"x": grid}
    with torch.no_grad():
        kept |= {name: ACT2FN[name](grid.clone()) for name in ACT2FN if name != "prelu"}  # learned, and in no checkpoint
    save_file({key: value.contiguous() for key, value in kept.items()}, HERE / "activations.safetensors", metadata=MADE_BY)


if __name__ == "__main__":
    check_versions()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, spec in MODELS.items():
        make(name, spec)
    activations()
    print(f"wrote {', '.join(MODELS)} and the activations")

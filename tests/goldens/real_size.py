#!/usr/bin/env python3
"""Writes the golden of a model of real size: ViT-B/16 whose weights are drawn again wherever they are needed.

    pip install torch==2.15.0 transformers==4.51.3 safetensors==0.8.0 numpy==2.4.6
    python real_size.py

750 MB of weights are not committed. Instead `vit-b-16/recipe.json` has a line for each tensor, [name, shape, spread, mean],
and a number of a tensor is a function of the tensor's name and the number's place, exact in f32 in any language:

    bits  = the upper 24 of splitmix64(crc32(name) * 2**32 + place)
    value = (bits / 2**24 - 0.5) * spread + mean          in f32, rounded after the product and after the sum

The golden has features, logits and the class token's row of every layer. A second run writes the same bytes.
"""
import json
import sys
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from transformers import ChineseCLIPConfig, ChineseCLIPModel

sys.path.insert(0, str(Path(__file__).parent))
from make import HERE, MADE_BY, check_versions  # noqa: E402

FOLDER = HERE / "vit-b-16"
CONFIG = {
    "model_type": "chinese_clip",
    "projection_dim": 512,
    "text_config": dict(vocab_size=21128, hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
                        hidden_act="gelu", max_position_embeddings=512),
    "vision_config": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072,
                          hidden_act="quick_gelu", image_size=224, patch_size=16),
}
TEXTS, LENGTH, IMAGES = 3, 52, 2


def splitmix64(state):
    state = state + np.uint64(0x9E3779B97F4A7C15)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def draw(name, shape, spread, mean):
    first = np.uint64(zlib.crc32(name.encode()) << 32)
    bits = splitmix64(first + np.arange(np.prod(shape, dtype=np.int64), dtype=np.uint64)) >> np.uint64(40)
    values = (bits.astype(np.float32) * np.float32(2.0**-24) - np.float32(0.5)) * np.float32(spread) + np.float32(mean)
    return torch.from_numpy(values.reshape(shape))


def recipe(name, shape):
    """Scores have a spread of about 2, no bias is zero, no gain is one, as in make.py."""
    uniform = 12.0**0.5  # the spread of a uniform number whose deviation is 1
    if name == "logit_scale":
        return 0.0, 3.0
    if "embeddings" in name and "LayerNorm" not in name:
        return uniform * (0.5 if "patch" not in name else float(np.prod(shape[1:])) ** -0.5), 0.0
    if len(shape) == 1:
        return (uniform * 0.15, 1.0) if name.endswith("weight") else (uniform * 0.1, 0.0)
    gain = 1.8 if any(part in name for part in ("query", "key", "q_proj", "k_proj")) else 1.0
    return uniform * gain * float(np.prod(shape[1:])) ** -0.5, 0.0


def run(model, dtype, ids, mask, pixels):
    """Features, logits and class rows; the model is left in `dtype`."""
    model, kept = model.to(dtype), {}

    def watch(module, name):
        first = lambda out: out[0] if isinstance(out, tuple) else out  # noqa: E731
        return module.register_forward_hook(lambda m, i, o: kept.__setitem__(name, first(o)[:, 0].detach()))

    hooks = [watch(layer, f"text.layer.{n}.output") for n, layer in enumerate(model.text_model.encoder.layer)]
    hooks += [watch(layer, f"vision.layer.{n}.output") for n, layer in enumerate(model.vision_model.encoder.layers)]
    with torch.no_grad():
        kept["text.features"] = model.get_text_features(input_ids=ids, attention_mask=mask)
        kept["vision.features"] = model.get_image_features(pixel_values=pixels.to(dtype))
        kept["logits_per_image"] = model(input_ids=ids, attention_mask=mask, pixel_values=pixels.to(dtype)).logits_per_image
    for hook in hooks:
        hook.remove()
    return kept


def distance(found, expected):
    worst, cosines = 0.0, []
    for name in found:
        a, b = found[name].double(), expected[name].double()
        worst = max(worst, float((a - b).abs().max() / b.square().mean().sqrt()))
        cosines.append(float(torch.cosine_similarity(a, b, dim=-1).min()))
    return f"{worst:.1e} of a tensor's root mean square, least cosine {min(cosines):.6f}"


def main():
    check_versions()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    model = ChineseCLIPModel(ChineseCLIPConfig(**CONFIG, attn_implementation="eager")).eval()
    lines, state = [], {}
    for name, tensor in model.state_dict().items():
        if not name.endswith("position_ids"):
            shape = list(tensor.shape)
            lines.append([name, shape, *recipe(name, shape)])
            state[name] = draw(*lines[-1])
    model.load_state_dict(state, strict=False)
    inputs = ["pixels", [IMAGES, 3, 224, 224], 3.0, 0.0]
    pixels = draw(*inputs)
    recipes = ",\n".join("    " + json.dumps(line) for line in lines)
    (FOLDER / "recipe.json").write_text(f'{{\n  "pixels": {json.dumps(inputs)},\n  "tensors": [\n{recipes}\n  ]\n}}\n')

    lengths = torch.tensor([[LENGTH], [17], [3]])
    mask = (torch.arange(LENGTH) < lengths).long()
    ids = (670 + (torch.arange(TEXTS * LENGTH).reshape(TEXTS, LENGTH) * 37) % 6000) * mask
    kept = run(model, torch.float32, ids, mask, pixels)
    for narrow, wide in ((torch.float32, torch.float64), (torch.float16, torch.float32), (torch.bfloat16, torch.float32)):
        model.load_state_dict(state, strict=False)
        found = run(model, narrow, ids, mask, pixels)
        model.float().load_state_dict(state, strict=False)
        print(f"{narrow} from {wide}: {distance(found, run(model, wide, ids, mask, pixels))}")
    kept |= {"input_ids": ids, "attention_mask": mask}
    save_file({key: value.contiguous() for key, value in kept.items()}, FOLDER / "golden.safetensors", metadata=MADE_BY)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()

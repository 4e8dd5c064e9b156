#!/usr/bin/env python3
"""Writes how the references draw the weights of a new model: mean, standard deviation and largest magnitude of each parameter.

    pip install torch==2.15.0 transformers==4.51.3 cn-clip==1.6.0 safetensors==0.8.0 numpy==2.4.6
    python initial.py

initial/vit.json is of transformers' ChineseCLIPModel, with its whole config.json; so is initial/text.json, with a text tower that is
a decoder with cross-attention and relative positions; initial/resnet.json is of cn_clip's CLIP, under the names of a converted
checkpoint. The row of [PAD] is left out of the word embeddings, and kept as `padding`, its largest
magnitude. A second run writes the same bytes.
"""
import json

import torch
from transformers import ChineseCLIPConfig, ChineseCLIPModel

import resnet
from make import HERE, check_versions

WORDS = "text_model.embeddings.word_embeddings.weight"
# No number is a default or equal to another, so that each shows in what is drawn.
TEXT = dict(vocab_size=300, hidden_size=96, num_hidden_layers=2, num_attention_heads=4, intermediate_size=160, max_position_embeddings=64,
            initializer_range=0.05, initializer_factor=3.0, pad_token_id=7)
VISION = dict(hidden_size=128, num_hidden_layers=3, num_attention_heads=4, intermediate_size=320, image_size=64, patch_size=8,
              initializer_range=0.03, initializer_factor=2.0)


def described(name, tensor):
    if name == WORDS:
        tensor = torch.cat([tensor[:TEXT["pad_token_id"]], tensor[TEXT["pad_token_id"] + 1:]])
    values = tensor.double()
    rounded = lambda value: float(f"{value.item():.7g}")  # noqa: E731
    return {"shape": list(tensor.shape), "mean": rounded(values.mean()), "std": rounded(values.std(correction=0)), "largest": rounded(values.abs().max())}


def write(name, config, state, **more):
    (HERE / "initial").mkdir(exist_ok=True)
    parameters = {key: described(key, state[key]) for key in sorted(state)}
    lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(value)}" for key, value in parameters.items())
    head = "".join(f" {json.dumps(key)}: {json.dumps(value)},\n" for key, value in {"config": config, **more}.items())
    (HERE / "initial" / f"{name}.json").write_text(f'{{\n{head} "parameters": {{\n{lines}\n }}\n}}\n')


def write_transformers(name, text):
    config = ChineseCLIPConfig(text_config=text, vision_config=VISION, projection_dim=48)
    state = ChineseCLIPModel(config).state_dict()
    padding = state[WORDS][TEXT["pad_token_id"]].abs().max().item()
    write(name, json.loads(config.to_json_string(use_diff=False)), state, padding=padding)


def main():
    write_transformers("vit", TEXT)

    resnet.STEM, resnet.HEADS, resnet.PROJECTION = 16, 8, 48
    resnet.TEXT = {key: value for key, value in TEXT.items() if key in resnet.TEXT} | dict(hidden_act="gelu")
    config = resnet.CONFIG | {
        "projection_dim": resnet.PROJECTION,
        "text_config": resnet.TEXT | dict(pad_token_id=TEXT["pad_token_id"]),
        "vision_config": resnet.CONFIG["vision_config"] | dict(hidden_size=32 * resnet.STEM, num_attention_heads=resnet.HEADS),
    }
    state = {}
    for key, tensor in resnet.construct().state_dict().items():
        if not key.endswith("num_batches_tracked") and "pooler" not in key:
            state[resnet.names(key)] = tensor.T if key == "text_projection" else tensor
    write("resnet", config, state)
    write_transformers("text", TEXT | dict(is_decoder=True, add_cross_attention=True, position_embedding_type="relative_key"))


if __name__ == "__main__":
    check_versions()
    resnet.check_cn_clip()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    main()
    print("wrote initial")

#!/usr/bin/env python3
"""Writes the goldens of the image towers as backbones: pictures of any size, states of every layer, feature maps, masked patches.

    pip install torch==2.15.0 transformers==4.51.3 cn-clip==1.6.0 safetensors==0.8.0 numpy==2.4.6
    python vision.py

The models are those of make.py and resnet.py, which must have run. golden.safetensors in `vision` has, under the name of a model
and of a case, the outputs of `ChineseCLIPVisionModel` with `interpolate_pos_encoding`; those of cn_clip's `encode_image` with a
mask ratio, and which patches it kept; the feature maps of cn_clip's ResNet; and the weights of torch's bicubic interpolation.
Pixels are a formula that the tests have, too. A second run writes the same bytes.
"""
import importlib.metadata
import json

import cn_clip.clip.model as cn_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from transformers import ChineseCLIPVisionConfig, ChineseCLIPVisionModel

from make import HERE, MADE_BY, check_versions

CN_CLIP = "1.6.0"
FOLDER = HERE / "vision"

# Model, pictures, height, width. The grids of the models are 4 x 4 patches of 16, 2 x 2 of 32, 1 x 1 of 16. On each the reference in
# half formats lies from itself in f32 as near as the tolerances say.
CASES = [
    ("small", 2, 64, 64),  # the model's own size
    ("small", 1, 96, 48),  # not square
    ("small", 1, 103, 47),  # no multiples of the patch: the rest is dropped
    ("small", 1, 64, 79),  # as many patches as positions, and not square
    ("small", 1, 70, 70),  # as many, and square
    ("small", 2, 16, 16),  # one patch
    ("odd", 1, 131, 100),  # larger than a grid that drops a rest itself
    ("one", 2, 33, 50),  # out of one position
]
RESNET_CASES = [(1, 64, 64), (1, 75, 102), (2, 32, 33)]
MASKS = [(2, 0.5, 64, 64), (2, 0.75, 64, 64)]  # pictures, ratio, height, width
SIZES = [(1, 3), (2, 2), (2, 5), (4, 3), (4, 7), (7, 2), (7, 10), (14, 11), (16, 24)]


def pixels(count, height, width):
    """Numbers from -2 to 2 out of whole ones, exact in any language."""
    index = torch.arange(count * 3 * height * width, dtype=torch.int64)
    values = (index * index % 1009 * 7 + index * 31) % 1009
    return (values.double() / 252.25 - 2.0).float().reshape(count, 3, height, width)


def name_of(model, height, width):
    return f"{model}.{height}x{width}"


def tower(model):
    """The reference's tower with the weights of a golden model."""
    config = json.loads((HERE / model / "config.json").read_text())["vision_config"]
    tower = ChineseCLIPVisionModel(ChineseCLIPVisionConfig(**config, attn_implementation="eager")).eval()
    state = {key: value for key, value in load_file(HERE / model / "model.safetensors").items() if key.startswith("vision_model.")}
    tower.load_state_dict(state)
    return tower


def states(kept):
    for model, count, height, width in CASES:
        with torch.no_grad():
            out = tower(model)(pixel_values=pixels(count, height, width), output_hidden_states=True, output_attentions=True,
                               interpolate_pos_encoding=True)
        at = name_of(model, height, width)
        assert torch.equal(out.last_hidden_state, out.hidden_states[-1])
        kept[f"{at}.pooler_output"] = out.pooler_output
        kept |= {f"{at}.hidden_states.{i}": state for i, state in enumerate(out.hidden_states)}
        kept |= {f"{at}.attentions.{i}": attention for i, attention in enumerate(out.attentions)}


def cn_clip_tower(model):
    """cn_clip's tower with the same weights. Its MLP is four times as wide as a token; this one is as the model has it."""
    config = json.loads((HERE / model / "config.json").read_text())
    vision, state = config["vision_config"], load_file(HERE / model / "model.safetensors")
    width, inner = vision["hidden_size"], vision["intermediate_size"]
    tower = cn_clip.VisualTransformer(vision["image_size"], vision["patch_size"], width, vision["num_hidden_layers"],
                                      vision["num_attention_heads"], config["projection_dim"]).eval()
    take = lambda name: state[f"vision_model.{name}"]  # noqa: E731
    new = {"conv1.weight": take("embeddings.patch_embedding.weight"), "class_embedding": take("embeddings.class_embedding"),
           "positional_embedding": take("embeddings.position_embedding.weight"), "proj": state["visual_projection.weight"].T}
    for kind in ("weight", "bias"):
        new |= {f"ln_pre.{kind}": take(f"pre_layrnorm.{kind}"), f"ln_post.{kind}": take(f"post_layernorm.{kind}")}
        for n, block in enumerate(tower.transformer.resblocks):
            block.mlp.c_fc, block.mlp.c_proj = torch.nn.Linear(width, inner), torch.nn.Linear(inner, width)
            there, here = f"transformer.resblocks.{n}", f"encoder.layers.{n}"
            parts = [take(f"{here}.self_attn.{part}_proj.{kind}") for part in "qkv"]
            new |= {f"{there}.attn.in_proj_{kind}": torch.cat(parts),
                    f"{there}.attn.out_proj.{kind}": take(f"{here}.self_attn.out_proj.{kind}"),
                    f"{there}.ln_1.{kind}": take(f"{here}.layer_norm1.{kind}"), f"{there}.ln_2.{kind}": take(f"{here}.layer_norm2.{kind}"),
                    f"{there}.mlp.c_fc.{kind}": take(f"{here}.mlp.fc1.{kind}"), f"{there}.mlp.c_proj.{kind}": take(f"{here}.mlp.fc2.{kind}")}
    tower.load_state_dict(new)
    return tower


def masked(kept):
    """cn_clip draws with `torch.rand` and `torch.argsort`; what the latter gives is kept."""
    model, argsort, drawn = cn_clip_tower("small"), torch.argsort, []

    def watched(noise, **rest):
        drawn.append(argsort(noise, **rest))
        return drawn[-1]

    torch.argsort = watched
    for count, ratio, height, width in MASKS:
        torch.manual_seed(round(100 * ratio))
        with torch.no_grad():
            kept[f"masked.{ratio}.features"] = model(pixels(count, height, width), ratio)
        patches = drawn.pop()
        kept[f"masked.{ratio}.kept"] = patches[:, : int(patches.shape[1] * (1 - ratio))]
    torch.argsort = argsort
    assert not drawn


def feature_maps(kept):
    """The maps of cn_clip's ResNet. Its pooling has positions for one size: they are stretched as the ViT's are."""
    config = json.loads((HERE / "resnet" / "config.json").read_text())
    vision, state = config["vision_config"], load_file(HERE / "resnet" / "model.safetensors")
    model = cn_clip.ModifiedResNet(vision["resnet_layers"], config["projection_dim"], vision["num_attention_heads"],
                                   vision["image_size"], vision["hidden_size"] // 32).eval()
    state = {key.removeprefix("vision_model."): value for key, value in state.items() if key.startswith("vision_model.")}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") for key in missing), missing
    positions = state["attnpool.positional_embedding"]
    grid, maps = vision["image_size"] // 32, {}
    for n in (1, 2, 3, 4):
        getattr(model, f"layer{n}").register_forward_hook(lambda m, i, o, n=n: maps.__setitem__(n, o.detach().clone()))

    def stretch(module, inputs):
        rows, columns = inputs[0].shape[2:]
        patches = positions[1:].reshape(1, grid, grid, -1).permute(0, 3, 1, 2)
        patches = F.interpolate(patches, size=(rows, columns), mode="bicubic", align_corners=False)
        patches = patches.permute(0, 2, 3, 1).reshape(rows * columns, -1)
        module.positional_embedding = torch.nn.Parameter(torch.cat([positions[:1], patches]))

    model.attnpool.register_forward_pre_hook(stretch)
    for count, height, width in RESNET_CASES:
        at = name_of("resnet", height, width)
        with torch.no_grad():
            kept[f"{at}.features"] = model(pixels(count, height, width))
        kept |= {f"{at}.layer{n}": x for n, x in maps.items()}


def bicubic(kept):
    """Each row of ones and zeros stretched alone: the shares of the samples, as a tower's positions show them."""
    for old, new in SIZES:
        rows = torch.eye(old).T.reshape(1, old, old, 1).expand(1, old, old, old).contiguous()  # channel, row, column
        stretched = F.interpolate(rows, size=(new, old), mode="bicubic", align_corners=False)
        kept[f"bicubic.{old}.{new}"] = stretched[0, :, :, 0].T


if __name__ == "__main__":
    check_versions()
    found = importlib.metadata.version("cn-clip")
    if found != CN_CLIP:
        raise SystemExit(f"cn-clip {found} is installed, the goldens are made with {CN_CLIP}")
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    kept = {}
    states(kept)
    masked(kept)
    feature_maps(kept)
    bicubic(kept)
    made_by = {"made_by": f"{MADE_BY['made_by']}, cn-clip {CN_CLIP}"}
    save_file({key: value.contiguous() for key, value in kept.items()}, FOLDER / "golden.safetensors", metadata=made_by)
    print("wrote vision")

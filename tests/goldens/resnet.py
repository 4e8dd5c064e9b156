#!/usr/bin/env python3
"""Writes the golden of the ResNet tower: a tiny random model, its inputs, and every intermediate of cn_clip.

    pip install torch==2.15.0 transformers==4.51.3 cn-clip==1.6.0 safetensors==0.8.0 numpy==2.4.6
    python resnet.py

The layout is that of make.py, and of a converted checkpoint: cn_clip's names below `vision_model.`. The model is cn_clip's
class in f32; its loader, which rounds weights to f16, is not used. The intermediates of the text tower are those of
transformers with the same weights, which must give what cn_clip gives. A second run writes the same bytes.
"""
import importlib.metadata
import json

import cn_clip.clip.model as cn_clip
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import ChineseCLIPTextConfig, ChineseCLIPTextModel

from make import HERE, MADE_BY, VOCABULARY, check_versions, draw, keep_output, watch_text, weight

CN_CLIP = "1.6.0"
FOLDER = HERE / "resnet"
STEM, LAYERS, HEADS, IMAGE, PROJECTION = 4, [1, 2, 1, 1], 4, 64, 12
TEXT = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=48, hidden_act="gelu",
            max_position_embeddings=24)
CONFIG = {
    "model_type": "chinese_clip_resnet",
    "projection_dim": PROJECTION,
    "text_config": TEXT,
    "vision_config": dict(resnet_layers=LAYERS, hidden_size=32 * STEM, num_hidden_layers=sum(LAYERS), num_attention_heads=HEADS,
                          image_size=IMAGE, patch_size=32, hidden_act="relu"),
}


def value(name, like):
    """As make.py draws; the first variances are so small that the epsilon shows."""
    shape, small = tuple(like.shape), 1e-2
    if name.endswith("running_var"):
        return (small**2 if name == "vision_model.bn1.running_var" else 1.0) * draw(name, shape, 0.3).exp()
    if name.endswith("positional_embedding"):
        return draw(name, shape, 0.5)
    if name == "vision_model.conv1.weight":
        return small * weight(name, like)
    if len(shape) == 4:
        return 1.45 * weight(name, like)  # half of what a convolution gives ends in a ReLU
    return (0.6 if ".attnpool." in name and len(shape) == 2 else 1.0) * weight(name, like)  # no choice of a single cell


def names(key):
    if key == "text_projection":
        return "text_projection.weight"
    return key.replace("bert.", "text_model.").replace("visual.", "vision_model.")


def construct():
    """cn_clip's model as it is drawn."""
    text = {f"text_{key}": value for key, value in TEXT.items() if key != "vocab_size"}
    return cn_clip.CLIP(
        embed_dim=PROJECTION, image_resolution=IMAGE, vision_layers=LAYERS, vision_width=STEM, vision_patch_size=None,
        vision_head_width=32 * STEM // HEADS, vocab_size=TEXT["vocab_size"], text_attention_probs_dropout_prob=0.1,
        text_hidden_dropout_prob=0.1, text_initializer_range=0.02, text_type_vocab_size=2, **text).float().eval()


def build():
    """cn_clip's model, and its tensors as a converted checkpoint has them."""
    model = construct()
    state, converted = {}, {}
    for key, old in model.state_dict().items():
        if key.endswith("num_batches_tracked") or "pooler" in key:
            continue
        transposed = key == "text_projection"
        new = value(names(key), old.T if transposed else old)
        converted[names(key)] = new
        state[key] = new.T if transposed else new
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected and all(key.endswith("num_batches_tracked") or "pooler" in key for key in missing), missing
    return model, converted


def watch_vision(visual, kept):
    """Hooks that keep what the recorder keeps, under its names."""
    for n in (1, 2, 3):
        keep_output(getattr(visual, f"bn{n}"), f"vision.stem.norm{n}", kept)
    keep_output(visual.avgpool, "vision.stem.output", kept)
    for layer in (1, 2, 3, 4):
        for m, block in enumerate(getattr(visual, f"layer{layer}")):
            at = f"vision.layer.{layer}.{m}"
            for n in (1, 2, 3):
                keep_output(getattr(block, f"bn{n}"), f"{at}.norm{n}", kept)
            if block.downsample is not None:
                keep_output(block.downsample, f"{at}.downsample", kept)
            keep_output(block, f"{at}.output", kept)
    keep_output(visual, "vision.features", kept)

    attention = F.multi_head_attention_forward

    def watched(query, **rest):
        """The class calls a function: its arguments are kept, and its weights and context had by calling it again."""
        kept["vision.pool.tokens"] = query.transpose(0, 1)
        output, _ = attention(query=query, **rest)
        width = query.shape[-1]
        seen = rest | dict(need_weights=True, average_attn_weights=False, out_proj_weight=torch.eye(width, dtype=query.dtype),
                           out_proj_bias=torch.zeros(width, dtype=query.dtype))
        context, probabilities = attention(query=query, **seen)
        kept["vision.pool.attention.probabilities"] = probabilities
        kept["vision.pool.attention.context"] = context.transpose(0, 1)
        kept["vision.pool.attention.output"] = output.transpose(0, 1)
        return output, None

    F.multi_head_attention_forward = watched


def pictures():
    """Noise, nothing, and a single bright pixel far from the middle."""
    pixels = draw("resnet pixels", (3, 3, IMAGE, IMAGE))
    pixels[1] = 0
    pixels[2] = -1.8
    pixels[2, :, 3, IMAGE - 1] = 30
    return pixels


def main():
    model, converted = build()
    FOLDER.mkdir(exist_ok=True)
    (FOLDER / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    save_file({key: tensor.contiguous() for key, tensor in converted.items()}, FOLDER / "model.safetensors", metadata={"format": "pt"})

    texts, length = 3, 9
    ids = torch.randint(1, VOCABULARY, (texts, length), generator=torch.Generator().manual_seed(2))
    ids[1, 5:] = 0  # padding; cn_clip has no row that is masked everywhere
    mask = ids.ne(0).long()
    types = (torch.arange(length) >= 4).long().expand(texts, -1).contiguous()
    pixels = pictures()
    kept = {"input_ids": ids, "attention_mask": mask, "pixel_values": pixels, "segments.token_type_ids": types}

    text = ChineseCLIPTextModel(ChineseCLIPTextConfig(**TEXT, attn_implementation="eager"), add_pooling_layer=False).eval()
    text.load_state_dict({key.removeprefix("text_model."): value for key, value in converted.items() if key.startswith("text_model.")})
    projection = torch.nn.Linear(TEXT["hidden_size"], PROJECTION, bias=False)
    projection.load_state_dict({"weight": converted["text_projection.weight"]})
    with torch.no_grad():
        kept["segments.text.features"] = projection(text(input_ids=ids, token_type_ids=types)[0][:, 0])
        watch_text(text, projection, kept)
        projection(text(input_ids=ids, attention_mask=mask, output_attentions=True)[0][:, 0])
        watch_vision(model.visual, kept)
        logits_per_image, logits_per_text = model.get_similarity(pixels, ids)
        torch.testing.assert_close(model.encode_text(ids), kept["text.features"], rtol=1e-5, atol=1e-5)
        image, text_embeds, _ = model(pixels, ids)
        pairs = torch.arange(texts)
        loss = (F.cross_entropy(logits_per_image, pairs) + F.cross_entropy(logits_per_text, pairs)) / 2
    kept |= {"logits_per_image": logits_per_image, "logits_per_text": logits_per_text, "loss": loss.reshape(1),
             "text_embeds": text_embeds, "image_embeds": image}
    made_by = {"made_by": f"{MADE_BY['made_by']}, cn-clip {CN_CLIP}"}
    save_file({key: tensor.contiguous() for key, tensor in kept.items()}, FOLDER / "golden.safetensors", metadata=made_by)


def check_cn_clip():
    found = importlib.metadata.version("cn-clip")
    if found != CN_CLIP:
        raise SystemExit(f"cn-clip {found} is installed, the goldens are made with {CN_CLIP}")


if __name__ == "__main__":
    check_versions()
    check_cn_clip()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    main()
    print("wrote resnet")

#!/usr/bin/env python3
"""Makes the small checkpoints of this folder, as torch and safetensors themselves write them.

    python make_checkpoints.py [OUT]     (torch 2.15.0, transformers 4.51.3, cn_clip 1.6.0, safetensors; a second run gives the same
                                          bytes)

expected.json says what is in each readable file: {file: {tensor: [dtype, shape, values]}}, values as f32 in row-major order.
"""
import io
import json
import pickle
import shutil
import sys
import zipfile
from collections import OrderedDict
from pathlib import Path

import safetensors.torch
import torch
from cn_clip.clip.model import CLIP, convert_state_dict
from torch import nn
from transformers import ChineseCLIPConfig, ChineseCLIPModel

assert torch.__version__.startswith("2.15.0"), torch.__version__
OUT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
EXPECTED = {}


def values(seed, *shape):
    """Numbers that every float type holds exactly."""
    count = 1
    for n in shape:
        count *= n
    return torch.tensor([((i * 37 + seed * 11) % 256 - 128) / 32 for i in range(count)], dtype=torch.float32).reshape(shape)


def describe(name, tensors):
    EXPECTED[name] = {
        key: [str(t.dtype).removeprefix("torch."), list(t.shape), t.detach().to(torch.float32).reshape(-1).tolist()]
        for key, t in tensors.items()
    }


def save(name, obj, tensors=None, **kwargs):
    torch.save(obj, OUT / name, **kwargs)
    describe(name, obj if tensors is None else tensors)


def state_dict(dtype):
    return OrderedDict({
        "logit_scale": torch.tensor(2.625, dtype=dtype),
        "text_projection.weight": values(1, 4, 6).to(dtype),
        "visual_projection.weight": values(2, 4, 3).to(dtype),
        "text_model.embeddings.LayerNorm.weight": values(3, 6).to(dtype),
        "vision_model.embeddings.patch_embedding.weight": values(4, 3, 3, 2, 2).to(dtype),
    })


def rewrite(source, target, pickled):
    """A copy of a torch file with another pickle."""
    with zipfile.ZipFile(OUT / source) as old, zipfile.ZipFile(OUT / target, "w", zipfile.ZIP_STORED) as new:
        for info in old.infolist():
            data = pickled if info.filename.endswith("/data.pkl") else old.read(info.filename)
            new.writestr(zipfile.ZipInfo(info.filename, (1980, 1, 1, 0, 0, 0)), data)


class Attack:
    def __reduce__(self):
        import os
        return os.system, ("touch /tmp/chinese-clip-was-attacked",)


def to_hugging_face(sd):
    """cn_clip's names of a ViT to transformers'; main() checks that both models then compute the same."""
    out = {}
    for key, t in sd.items():
        key = key.replace("bert.", "text_model.")
        for old, new in (("visual.class_embedding", "visual.embeddings.class_embedding"), ("visual.conv1", "visual.embeddings.patch_embedding"),
                         ("visual.positional_embedding", "visual.embeddings.position_embedding.weight"), ("ln_pre", "pre_layrnorm"),
                         ("ln_post", "post_layernorm"), ("transformer.resblocks", "encoder.layers"), (".ln_", ".layer_norm"),
                         ("c_fc", "fc1"), ("c_proj", "fc2"), ("attn.out_proj", "self_attn.out_proj")):
            key = key.replace(old, new)
        if key in ("text_projection", "visual.proj"):
            out[{"text_projection": "text_projection.weight"}.get(key, "visual_projection.weight")] = t.T.contiguous()
        elif "attn.in_proj_" in key:
            for x, part in zip("qkv", t.chunk(3)):
                out[key.replace("visual", "vision_model").replace("attn.in_proj_", f"self_attn.{x}_proj.")] = part.clone()
        else:
            out[key.replace("visual", "vision_model")] = t
    return out


def cn_clip_files(optimizer):
    """The layouts of cn_clip: as published, as a training with FlashAttention holds it, and a ResNet. One head of 64 each."""
    text = {"vocab_size": 40, "text_attention_probs_dropout_prob": 0.0, "text_hidden_act": "gelu", "text_hidden_dropout_prob": 0.0,
            "text_hidden_size": 64, "text_initializer_range": 0.02, "text_intermediate_size": 16, "text_max_position_embeddings": 16,
            "text_num_attention_heads": 1, "text_num_hidden_layers": 1, "text_type_vocab_size": 2}

    def model(**vision):
        model = CLIP(embed_dim=6, **vision, **text).eval()
        with torch.no_grad():
            for i, t in enumerate(model.state_dict().values()):
                if t.is_floating_point():
                    t.copy_(values(i, *t.shape) / 16)
        return model

    def save_half(name, sd, **beside):
        half = OrderedDict((f"module.{k}", t.half() if t.is_floating_point() else t) for k, t in sd.items())
        torch.save({"epoch": 3, "step": 0, "name": "tiny", "state_dict": half, **beside}, OUT / name)

    vit = model(image_resolution=6, vision_layers=2, vision_width=64, vision_patch_size=2)
    sd = OrderedDict((k, t.clone()) for k, t in vit.state_dict().items())
    hf_sd = to_hugging_face(sd)
    hf = ChineseCLIPModel(ChineseCLIPConfig(
        text_config={"vocab_size": 40, "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16,
                     "max_position_embeddings": 16},
        vision_config={"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1, "intermediate_size": 256, "image_size": 6,
                       "patch_size": 2},
        projection_dim=6)).eval()
    hf.load_state_dict(hf_sd)
    ids, pixels = torch.arange(1, 17).reshape(2, 8), values(5, 2, 3, 6, 6)
    with torch.no_grad():
        torch.testing.assert_close(vit.encode_text(ids), hf.get_text_features(ids, attention_mask=ids.ne(0)))
        torch.testing.assert_close(vit.encode_image(pixels), hf.get_image_features(pixels))
    safetensors.torch.save_file({k: t.half() for k, t in hf_sd.items()}, OUT / "tiny_hf.safetensors", metadata={"format": "pt"})

    pooler = {"bert.pooler.dense.weight": values(1, 64, 64), "bert.pooler.dense.bias": values(2, 64)}
    save_half("clip_cn_tiny.pt", {**sd, **pooler})
    flash = convert_state_dict(OrderedDict(sd))
    assert "bert.encoder.layer.0.attention.self.Wqkv.weight" in flash and "visual.transformer.resblocks.1.attn.Wqkv.bias" in flash
    flash["logit_scale"] = flash["logit_scale"].reshape(1)
    save_half("clip_cn_flash.pt", flash, optimizer=optimizer)

    resnet = model(image_resolution=64, vision_layers=[1, 2, 1, 1], vision_width=2, vision_patch_size=None)
    save_half("clip_cn_resnet.pt", resnet.state_dict())


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    for short, dtype in (("f32", torch.float32), ("f16", torch.float16), ("bf16", torch.bfloat16), ("f64", torch.float64)):
        save(f"{short}.bin", state_dict(dtype))
        tensors = state_dict(dtype)
        safetensors.torch.save_file(tensors, OUT / f"{short}.safetensors", metadata={"format": "pt"})
        describe(f"{short}.safetensors", tensors)

    # One storage under several names, at offsets, transposed, with steps, and a dimension of one element with an odd stride.
    base = values(5, 6, 8)
    save("views.bin", {
        "whole": base, "alias": base, "rows": base[2:4], "transposed": base.T, "columns": base[:, 3], "steps": base[::2, 1::3],
        "permuted": base.reshape(2, 3, 8).permute(2, 0, 1), "one": base.as_strided((1, 3), (1000, 1), 5), "empty": base[:0],
    })
    save("parameters.bin", {"weight": nn.Parameter(values(6, 2, 3)), "frozen": nn.Parameter(values(7, 3), requires_grad=False)})
    save("module.bin", nn.LayerNorm(4).state_dict())  # has _metadata, set by BUILD
    save("integers.bin", {"counts": torch.arange(5), "mask": torch.tensor([True, False]), "bytes": torch.tensor([1, 255], dtype=torch.uint8)})

    # What a training script writes: other things around the weights, names with the prefix of DistributedDataParallel.
    wrapped = {f"module.{k}": v for k, v in state_dict(torch.float16).items()}
    model = nn.Linear(3, 2)
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(values(8, *p.shape))
            p.grad = torch.ones_like(p)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    optimizer.step()
    training = {"epoch": 3, "step": 70000, "name": "试验", "state_dict": wrapped, "optimizer": optimizer.state_dict()}
    save("training.bin", training, state_dict(torch.float16))
    for protocol in (3, 4, 5):
        save(f"protocol{protocol}.bin", training, state_dict(torch.float16), pickle_protocol=protocol)

    cn_clip_files(optimizer.state_dict())

    # Old files of transformers: buffers among the parameters, TensorFlow's spelling of layer norms.
    old = {
        "text_model.embeddings.position_ids": torch.arange(8).reshape(1, 8),
        "vision_model.embeddings.position_ids": torch.arange(5).reshape(1, 5),
        "text_model.embeddings.LayerNorm.gamma": values(9, 4), "text_model.embeddings.LayerNorm.beta": values(10, 4),
        "text_model.pooler.dense.weight": values(11, 4, 4), "text_model.pooler.dense.bias": values(12, 4),
        "logit_scale": torch.tensor(4.5),
    }
    save("old_names.bin", old)

    # Refused files.
    buffer = io.BytesIO()
    torch.save(state_dict(torch.float32), buffer, _use_new_zipfile_serialization=False)
    (OUT / "legacy.bin").write_bytes(buffer.getvalue()[:100])  # further on there are addresses of this run's memory
    buffer = io.BytesIO()
    pickle.Pickler(buffer, 2).dump({"logit_scale": Attack()})
    rewrite("f16.bin", "attack_reduce.bin", buffer.getvalue())
    rewrite("f16.bin", "attack_reduce_protocol4.bin", pickle.dumps({"logit_scale": Attack()}, 4))
    rewrite("f16.bin", "attack_inst.bin", b"(S'touch /tmp/chinese-clip-was-attacked'\nios\nsystem\n.")
    torch.save(nn.LayerNorm(4), OUT / "whole_module.bin")
    torch.save(torch.ones(3), OUT / "bare_tensor.bin")
    torch.save({"a": torch.eye(3).to_sparse()}, OUT / "sparse.bin")

    # A whole model, as save_pretrained shards it.
    torch.manual_seed(0)
    config = ChineseCLIPConfig(
        text_config={"vocab_size": 40, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12,
                     "max_position_embeddings": 16},
        vision_config={"hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12, "image_size": 6,
                       "patch_size": 2},
        projection_dim=6)
    model = ChineseCLIPModel(config).eval()
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(values(i, *p.shape))
    for name, safe in (("model_safetensors", True), ("model_bin", False)):
        shutil.rmtree(OUT / name, ignore_errors=True)
        model.save_pretrained(OUT / name, safe_serialization=safe, max_shard_size="6KB")
    describe("model", model.state_dict())

    (OUT / "expected.json").write_text(json.dumps(EXPECTED, ensure_ascii=False, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()

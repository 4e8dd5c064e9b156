#!/usr/bin/env python3
"""Makes the small checkpoints of this folder, as torch and safetensors themselves write them.

    python make_checkpoints.py [OUT]        (torch 2.15.0, transformers 4.51.3, safetensors; a second run gives the same bytes)

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

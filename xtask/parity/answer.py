"""What ask_cn_clip.py and ask_transformers.py share: versions are checked, features become an answer."""
import copy
import importlib.metadata

import torch
from safetensors.torch import save_file


def check(versions):
    for package, wanted in versions.items():
        found = importlib.metadata.version(package).split("+")[0]
        if found != wanted:
            raise SystemExit(f"{package} {found} is installed, parity is stated against {wanted}")


def write(model, given, features, halves, out):
    """`given`, features of both towers (those of `halves` as well), and probabilities; `features` computes the former."""
    with torch.no_grad():
        image, text = features(model, given)
        unit = lambda x: x / x.norm(dim=-1, keepdim=True)  # noqa: E731
        logits = model.logit_scale.exp() * unit(image) @ unit(text).T
        short = {}
        for dtype in halves:
            half = features(copy.deepcopy(model).to(getattr(torch, dtype)), given)
            short |= {f"{name}.{dtype}": one.float() for name, one in zip(("image_features", "text_features"), half)}
    save_file({**{name: given[name].contiguous() for name in ("input_ids", "attention_mask", "pixel_values")},
               "image_features": image, "text_features": text, "probabilities": logits.softmax(-1), **short}, out)

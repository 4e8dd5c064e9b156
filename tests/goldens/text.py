#!/usr/bin/env python3
"""Writes the goldens of the text tower's whole surface: relative positions, masks, decoder, cross-attention, cache, pruned heads.

    pip install torch==2.15.0 transformers==4.51.3 safetensors==0.8.0 numpy==2.4.6
    python text.py

`text` gets cases.json, which has the configuration of each case; model.safetensors, of whose weights each case takes those that it
has, under the names of `ChineseCLIPTextModel.save_pretrained`; and golden.safetensors with what goes in and comes out of
`ChineseCLIPTextModel`, under the name of the case and the reference's. A case with `past` goes on where that one ended. A second run
writes the same bytes.
"""
import json

import torch
from safetensors.torch import save_file
from transformers import ChineseCLIPTextConfig, ChineseCLIPTextModel

from make import HERE, MADE_BY, check_versions, draw, weight

FOLDER = HERE / "text"
BASE = dict(vocab_size=30, hidden_size=20, num_hidden_layers=2, num_attention_heads=4, intermediate_size=24, max_position_embeddings=11,
            type_vocab_size=3)
TEXTS, LENGTH, ENCODER_LENGTH = 2, 6, 4

ids = torch.randint(1, 30, (TEXTS, LENGTH + 3), generator=torch.Generator().manual_seed(2))
types = torch.randint(0, 3, (TEXTS, LENGTH), generator=torch.Generator().manual_seed(3))
positions = torch.randint(0, 11, (TEXTS, LENGTH), generator=torch.Generator().manual_seed(4))
pairs = torch.randint(0, 2, (TEXTS, LENGTH, LENGTH), generator=torch.Generator().manual_seed(5))
encoder_pairs = torch.randint(0, 2, (TEXTS, LENGTH, ENCODER_LENGTH), generator=torch.Generator().manual_seed(6))
states = draw("encoder", (TEXTS, ENCODER_LENGTH, 20))
other_states = draw("other encoder", (TEXTS, ENCODER_LENGTH, 20))  # not looked at: the cache has those of before
vectors = draw("vectors", (TEXTS, LENGTH, 20), 0.5)
padding = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1]])
masked = torch.tensor([[1, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 0]])  # everywhere: uniform, not NaN
longer = torch.tensor([[1, 1, 1, 1, 0, 0, 1, 1], [0, 1, 1, 1, 1, 1, 1, 0]])
encoder_padding = torch.tensor([[1, 1, 0, 1], [0, 0, 0, 0]])
heads = torch.tensor([1.0, 0.0, 0.5, 1.0])
heads_of_layers = torch.tensor([[0.0, 1.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]])

text = dict(input_ids=ids[:, :LENGTH])
one, two = dict(input_ids=ids[:, LENGTH:LENGTH + 1]), dict(input_ids=ids[:, LENGTH:LENGTH + 2])
decoder = dict(is_decoder=True)
seq2seq = dict(is_decoder=True, add_cross_attention=True)
key, key_query = dict(position_embedding_type="relative_key"), dict(position_embedding_type="relative_key_query")
encoder = dict(encoder_hidden_states=states)

# Name, configuration, inputs, the case whose cache is the past.
CASES = [
    ("absolute", {}, text | dict(attention_mask=masked, token_type_ids=types), None),
    ("relative_key", key, text | dict(attention_mask=masked), None),
    ("relative_key_query", key_query, text | dict(attention_mask=padding, token_type_ids=types), None),
    ("position_ids", {}, text | dict(position_ids=positions), None),
    ("position_ids.shared", {}, text | dict(position_ids=positions[:1]), None),
    ("inputs_embeds", {}, dict(inputs_embeds=vectors, attention_mask=padding), None),
    ("mask.pairs", key, text | dict(attention_mask=pairs), None),
    ("head_mask", key, text | dict(head_mask=heads), None),
    ("head_mask.layers", {}, text | dict(head_mask=heads_of_layers, attention_mask=padding), None),
    ("chunked", dict(chunk_size_feed_forward=2), text, None),
    ("pruned", key_query | dict(pruned_heads={"0": [1], "1": [0, 1, 3]}), text | dict(attention_mask=padding), None),
    ("decoder", decoder, text, None),
    ("decoder.padding", decoder | key, text | dict(attention_mask=masked), None),
    ("decoder.pairs", decoder, text | dict(attention_mask=pairs), None),
    ("decoder.one_more", decoder, one, "decoder"),
    ("decoder.two_more", decoder, two | dict(attention_mask=longer), "decoder"),
    ("decoder.elsewhere", decoder, two | dict(position_ids=positions[:, :2], token_type_ids=types[:, :2]), "decoder"),
    ("decoder.relative", decoder | key_query, text | dict(attention_mask=padding), None),
    ("decoder.relative.one_more", decoder | key_query, one, "decoder.relative"),
    ("decoder.relative.two_more", decoder | key_query, two, "decoder.relative"),
    ("cross", seq2seq, text | encoder, None),
    ("cross.padding", seq2seq, text | encoder | dict(encoder_attention_mask=encoder_padding, attention_mask=padding), None),
    ("cross.pairs", seq2seq | key, text | encoder | dict(encoder_attention_mask=encoder_pairs, head_mask=heads_of_layers), None),
    ("cross.two_more", seq2seq, two | dict(encoder_hidden_states=other_states, encoder_attention_mask=encoder_padding), "cross"),
    ("cross.without", seq2seq, text, None),
]


def config_of(changes):
    return ChineseCLIPTextConfig(**BASE, **{name: value for name, value in changes.items() if name != "pruned_heads"}, attn_implementation="eager")


def model_of(changes, weights):
    model = ChineseCLIPTextModel(config_of(changes)).eval()
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    if "pruned_heads" in changes:
        model.prune_heads({int(layer): heads for layer, heads in changes["pruned_heads"].items()})
    return model


def main():
    whole = ChineseCLIPTextModel(config_of(seq2seq | key_query))
    weights = {name: weight(name, value) for name, value in whole.state_dict().items()}
    save_file(weights, FOLDER / "model.safetensors", metadata=MADE_BY)
    kept, caches, rows = {}, {}, []
    for name, changes, inputs, past in CASES:
        with torch.no_grad():
            out = model_of(changes, weights)(**inputs, past_key_values=caches.get(past), output_hidden_states=True, output_attentions=True)
        assert torch.equal(out.last_hidden_state, out.hidden_states[-1])
        kept |= {f"{name}.{field}": value for field, value in inputs.items()}
        kept[f"{name}.pooler_output"] = out.pooler_output
        kept |= {f"{name}.hidden_states.{i}": state for i, state in enumerate(out.hidden_states)}
        kept |= {f"{name}.attentions.{i}": attention for i, attention in enumerate(out.attentions)}
        if "encoder_hidden_states" in inputs:
            kept |= {f"{name}.cross_attentions.{i}": attention for i, attention in enumerate(out.cross_attentions)}
        if out.past_key_values is not None:
            caches[name] = out.past_key_values
        if past is not None or name == "cross":
            tensors = [tensor for layer in out.past_key_values for tensor in layer]
            assert len(tensors) == (8 if "encoder_hidden_states" in inputs else 4)
            kept |= {f"{name}.past_key_values.{i}": tensor for i, tensor in enumerate(tensors)}
        rows.append(json.dumps({"name": name, "config": BASE | changes, "past": past}))
    (FOLDER / "cases.json").write_text("[\n" + ",\n".join(rows) + "\n]\n")
    save_file({name: value.contiguous().clone() for name, value in kept.items()}, FOLDER / "golden.safetensors", metadata=MADE_BY)


if __name__ == "__main__":
    check_versions()
    torch.set_num_threads(1)
    FOLDER.mkdir(exist_ok=True)
    main()
    print("wrote text")

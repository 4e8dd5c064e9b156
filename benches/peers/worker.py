#!/usr/bin/env python3
"""Chinese-CLIP in other frameworks on the CPU: workers of `cargo xtask bench --peers`.

    python worker.py PEER MODEL INPUTS THREADS

PEER: torch and torch-compile with fused attention, onnxruntime, openvino in f32, openvino-bf16, onnxruntime-int8 (dynamic
quantisation, weights by channel); `export` writes the ONNX graphs that the last four read, and ends. MODEL is a checkpoint in the hub's
layout; INPUTS has inputs.safetensors and photo.jpg. Each peer computes with all THREADS, gets the settings that make it fastest, and
decodes pictures in threads.

A worker says a line of JSON when the model is ready, then answers each line of JSON on standard input with one, as
`benches/src/bin/bench-worker.rs` does.
"""
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
AT_A_TIME = 32
GRAPHS = {"image": ["pixel_values"], "text": ["input_ids", "attention_mask"]}


def towers(model_folder):
    """The image tower and the text tower with fused attention, each from tensors to features."""
    import torch
    from transformers import ChineseCLIPModel

    model = ChineseCLIPModel.from_pretrained(model_folder, dtype=torch.float32, attn_implementation="sdpa").eval()

    class Image(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.projection = model.vision_model, model.visual_projection

        def forward(self, pixel_values):
            return self.projection(self.tower(pixel_values).pooler_output)

    class Text(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.tower, self.projection = model.text_model, model.text_projection

        def forward(self, input_ids, attention_mask):
            return self.projection(self.tower(input_ids, attention_mask=attention_mask).last_hidden_state[:, 0])

    return {"image": Image().eval(), "text": Text().eval()}


def export(model_folder, inputs):
    """Both towers as ONNX graphs of any batch size, in f32 and with weights of int8."""
    import torch
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from safetensors.torch import load_file

    arrays = load_file(inputs / "inputs.safetensors")
    for stage, module in towers(model_folder).items():
        names = GRAPHS[stage]
        lengths = {1: "length"} if stage == "text" else {}
        axes = {name: {0: "batch", **lengths} for name in names} | {"features": {0: "batch"}}
        torch.onnx.export(module, tuple(arrays[name][:2] for name in names), str(inputs / f"{stage}.onnx"), dynamo=False,
                          input_names=names, output_names=["features"], dynamic_axes=axes, opset_version=17)
        quantize_dynamic(inputs / f"{stage}.onnx", inputs / f"{stage}-int8.onnx", weight_type=QuantType.QInt8, per_channel=True,
                         op_types_to_quantize=["MatMul", "Gemm"])


def load_torch(peer, model_folder, _inputs, threads):
    import torch
    import transformers

    torch.set_num_threads(threads)
    modules = towers(model_folder)
    if peer == "torch-compile":
        torch._dynamo.config.recompile_limit = 64  # a graph for each shape
        modules = {stage: torch.compile(module, dynamic=False) for stage, module in modules.items()}

    def compute(stage, arrays):
        with torch.inference_mode():
            return modules[stage](*map(torch.from_numpy, arrays)).numpy()

    return f"torch {torch.__version__}, transformers {transformers.__version__}", compute


def load_onnxruntime(peer, _model_folder, inputs, threads):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    graph = "{}-int8.onnx" if peer.endswith("int8") else "{}.onnx"
    sessions = {stage: onnxruntime.InferenceSession(inputs / graph.format(stage), options, providers=["CPUExecutionProvider"])
                for stage in GRAPHS}

    def compute(stage, arrays):
        return sessions[stage].run(None, dict(zip(GRAPHS[stage], arrays)))[0]

    return f"onnxruntime {onnxruntime.__version__}", compute


def load_openvino(peer, _model_folder, inputs, threads):
    import openvino
    from safetensors.numpy import load_file

    core, requests = openvino.Core(), {}
    precision = "bf16" if peer.endswith("bf16") else "f32"
    hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}

    def request(stage, shape):
        """A graph of fixed shapes is the fastest; it is compiled when a batch of this shape comes first."""
        if (stage, shape) not in requests:
            model = core.read_model(inputs / f"{stage}.onnx")
            model.reshape({port.any_name: list(shape) for port in model.inputs})
            requests[stage, shape] = core.compile_model(model, "CPU", hints).create_infer_request()
        return requests[stage, shape]

    def compute(stage, arrays):
        return request(stage, arrays[0].shape).infer(list(arrays), share_inputs=True, share_outputs=True)[0]

    arrays = load_file(inputs / "inputs.safetensors")
    for stage, names in GRAPHS.items():
        request(stage, (1, *arrays[names[0]].shape[1:]))
    return f"openvino {openvino.__version__.split('-')[0]}", compute


LOADERS = {"torch": load_torch, "onnxruntime": load_onnxruntime, "openvino": load_openvino}


def load(peer, model_folder, inputs, threads):
    """The version of a peer's library, and what computes features of a stage from arrays."""
    return LOADERS[peer.split("-")[0]](peer, model_folder, inputs, threads)


def photo(file, size):
    """A file as the image tower sees it: the image processor of transformers in its fewest steps."""
    import numpy as np
    from PIL import Image

    levels = np.asarray(Image.open(file).convert("RGB").resize((size, size), Image.BICUBIC), np.float32)
    scale, shift = 1 / (255 * np.array(STD, np.float32)), np.array(MEAN, np.float32) / np.array(STD, np.float32)
    return (levels * scale - shift).transpose(2, 0, 1)


def peak_bytes():
    """The peak of the resident memory; None where the system does not say."""
    status = Path("/proc/self/status")
    if not status.exists():
        return None
    return next(1024 * int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmHWM:"))


def serve(peer, model_folder, inputs, threads, say):
    import numpy as np
    from safetensors.numpy import load_file

    library = peer.split("-")[0]
    # What a program imports once is not loading.
    __import__({"torch": "transformers.models.chinese_clip.modeling_chinese_clip"}.get(library, library))
    start = time.perf_counter()
    version, compute = load(peer, model_folder, inputs, threads)
    seconds, peak = time.perf_counter() - start, peak_bytes()

    arrays = load_file(inputs / "inputs.safetensors")
    size, pool = arrays["pixel_values"].shape[-1], ThreadPoolExecutor(threads)

    def short_texts(ids, mask):
        """Features of texts as they come, AT_A_TIME, padded to the longest of those."""
        parts = []
        for first in range(0, len(ids), AT_A_TIME):
            rows = slice(first, first + AT_A_TIME)
            longest = mask[rows].sum(1).max()
            parts.append(np.array(compute("text", [np.ascontiguousarray(array[rows, :longest]) for array in (ids, mask)])))
        return np.concatenate(parts)

    def call(stage, batch):
        if stage == "short-texts":
            return short_texts(arrays["short_input_ids"][:batch], arrays["short_attention_mask"][:batch])
        if stage != "end-to-end":
            return compute(stage, [arrays[name][:batch] for name in GRAPHS[stage]])
        photos = list(pool.map(lambda _: photo(inputs / "photo.jpg", size), range(batch)))
        return compute("image", [np.ascontiguousarray(np.stack(photos))])

    say({"version": version, "load_seconds": seconds, "peak_bytes": peak})
    for line in sys.stdin:
        request = json.loads(line)
        times = []
        for _ in range(request["calls"]):
            start = time.perf_counter()
            features = call(request["stage"], request["batch"])
            times.append(time.perf_counter() - start)
        wanted = [float(value) for value in features.ravel()] if request.get("features") else None
        say({"seconds": times, "features": wanted, "peak_bytes": peak_bytes()})


def main(peer, model_folder, inputs, threads):
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not come between the answers
    os.environ.update(OMP_NUM_THREADS=threads, TORCHINDUCTOR_FREEZING="1", HF_HUB_OFFLINE="1")
    if peer == "export":
        return export(model_folder, Path(inputs))

    def say(value):
        out.write(json.dumps(value) + "\n")
        out.flush()

    return serve(peer, model_folder, Path(inputs), int(threads), say)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except ImportError as error:
        raise SystemExit(f"{error}\nhint: install benches/peers/requirements.txt for the Python that --python names") from None

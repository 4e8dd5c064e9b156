#!/usr/bin/env python3
"""A folder of JPEGs to vectors: `chinese-clip embed` beside pipelines of other frameworks.

    python directory.py COMMAND MODEL INPUTS FOLDER PEERS ROUNDS

COMMAND is the release binary; MODEL a checkpoint in the hub's layout; INPUTS the folder that `bench-worker inputs` and
`worker.py export` filled; FOLDER holds the JPEGs. PEERS, with commas, are names of worker.py and, of ours, number formats. A peer decodes
in threads, two batches ahead of its model, in batches of 8. Ours is timed from the shell. Starts are left out: of a peer all that comes before
the first file, of ours the time for one file alone. A row says what ours takes with its start.
"""
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from worker import load, photo

BATCH = 8
AHEAD = 2
OURS = ("f32", "bf16", "int8")


def of_peer(peer, model, inputs, folder):
    import numpy as np
    from safetensors.numpy import load_file

    threads = os.cpu_count()
    _, compute = load(peer, model, inputs, threads)
    size = load_file(inputs / "inputs.safetensors")["pixel_values"].shape[-1]
    files = sorted(folder.iterdir())
    batches = [files[first:first + BATCH] for first in range(0, len(files), BATCH)]
    for count in {len(batch) for batch in batches}:
        compute("image", [np.zeros((count, 3, size, size), np.float32)])  # what is compiled at a first call is not timed
    pool = ThreadPoolExecutor(threads)
    start = time.perf_counter()
    decoding, vectors = [], []
    for number in range(len(batches) + AHEAD):
        if number < len(batches):
            decoding.append([pool.submit(photo, file, size) for file in batches[number]])
        if number >= AHEAD:
            pixels = np.ascontiguousarray(np.stack([future.result() for future in decoding.pop(0)]))
            vectors.append(np.array(compute("image", [pixels])))
    assert sum(map(len, vectors)) == len(files)
    return time.perf_counter() - start


def of_command(command, dtype, model, pictures):
    with tempfile.TemporaryDirectory() as out:
        start = time.perf_counter()
        subprocess.run([command, "embed", pictures, "--model", model, "--dtype", dtype, "-o", f"{out}/vectors.npy"],
                       check=True, capture_output=True)
        return time.perf_counter() - start


def main(command, model, inputs, folder, peers, rounds):
    if rounds == "0":  # a process of its own for each measurement
        return print(of_peer(peers, model, Path(inputs), Path(folder)))
    files = sorted(Path(folder).iterdir())
    times = {peer: [] for peer in peers.split(",")}
    with_start = {f"{peer} with its start": [] for peer in times if peer in OURS}
    for _ in range(int(rounds)):
        for peer, of_this in times.items():
            if peer in OURS:
                whole, one = (of_command(command, peer, model, pictures) for pictures in (folder, files[0]))
                of_this.append((whole - one) * len(files) / (len(files) - 1))
                with_start[f"{peer} with its start"].append(whole)
            else:
                again = [sys.executable, __file__, command, model, inputs, folder, peer, "0"]
                of_this.append(float(subprocess.run(again, check=True, capture_output=True, text=True).stdout.split()[-1]))
            print(peer, f"{of_this[-1]:.2f} s", file=sys.stderr, flush=True)
    first = statistics.median(next(iter(times.values())))
    for peer, of_this in (times | with_start).items():
        median = statistics.median(of_this)
        print(f"| {peer} | {median:.1f} ({min(of_this):.1f} to {max(of_this):.1f}), **{median / first:.2f}** |")


if __name__ == "__main__":
    main(*sys.argv[1:])

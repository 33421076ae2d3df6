"""Runs peers' own Python packages on a pair of checkpoint folders, for codec_bench.

    peers.py zipnn PARENT TARGET ROUNDS
    peers.py deltatensors PARENT TARGET ROUNDS OUT.wdelta OUT.safetensors

Prints `RESULT name value` lines; whatever else the packages print is not looked at.
Times are the best of ROUNDS, in seconds: CPU time for zipnn, which runs on one thread, wall
time for deltatensors, whose CPU time is given too, the mean of the rounds.
"""

import glob
import json
import os
import struct
import sys
import time

ZIPNN_DTYPES = {"BF16": "bfloat16", "F16": "float16", "F32": "float32"}


def result(name, value):
    print(f"RESULT {name} {value}", flush=True)


def read_tensors(folder):
    """Name -> (dtype, bytes) of all safetensors files of a folder."""
    tensors = {}
    for path in sorted(glob.glob(os.path.join(folder, "*.safetensors"))):
        with open(path, "rb") as file:
            content = file.read()
        (size,) = struct.unpack("<Q", content[:8])
        header = json.loads(content[8 : 8 + size])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            tensors[name] = (entry["dtype"], content[8 + size + begin : 8 + size + end])
    return tensors


def best_seconds(rounds, work, clock=time.perf_counter):
    """(best time, last value) of `rounds` calls."""
    best, value = float("inf"), None
    for _ in range(rounds):
        start = clock()
        value = work()
        best = min(best, clock() - start)
    return best, value


def run_zipnn(parent_folder, target_folder, rounds):
    from zipnn import ZipNN

    parents, targets = read_tensors(parent_folder), read_tensors(target_folder)
    (dtype,) = {dtype for dtype, _ in targets.values()}
    target = b"".join(targets[name][1] for name in sorted(targets))
    parent = b"".join(parents[name][1] for name in sorted(targets))
    coder = ZipNN(
        bytearray_dtype=ZIPNN_DTYPES[dtype], delta_compressed_type="byte", threads=1
    )
    # compress() overwrites what it is given. Copies are made outside of the clock.
    encode_seconds = float("inf")
    for _ in range(rounds):
        copies = bytearray(target), bytearray(parent)
        start = time.process_time()
        stored = coder.compress(copies[0], delta_second_data=copies[1])
        encode_seconds = min(encode_seconds, time.process_time() - start)
    decode_seconds, decoded = best_seconds(
        rounds,
        lambda: coder.decompress(stored, delta_second_data=parent),
        clock=time.process_time,
    )
    if bytes(decoded) != target:
        sys.exit("zipnn: decoded bytes differ from the target")
    result("stored_bytes", len(stored))
    result("encode_seconds", encode_seconds)
    result("decode_seconds", decode_seconds)


def run_deltatensors(parent_folder, target_folder, rounds, delta_path, tensors_path):
    import deltatensors
    import numpy
    from safetensors.numpy import save_file

    save_start = time.process_time()
    save_seconds, _ = best_seconds(
        rounds,
        lambda: deltatensors.save_delta_from_paths(
            delta_path, target_folder, parent_folder, strategy="int4"
        ),
    )
    load_start = time.process_time()
    load_seconds, tensors = best_seconds(
        rounds, lambda: deltatensors.load_delta_from_paths(delta_path, parent_folder)
    )
    load_end = time.process_time()
    save_file(
        {k: numpy.ascontiguousarray(v, numpy.float32) for k, v in tensors.items()}, tensors_path
    )
    result("stored_bytes", os.path.getsize(delta_path))
    result("save_seconds", save_seconds)
    result("load_seconds", load_seconds)
    result("save_cpu_seconds", (load_start - save_start) / rounds)
    result("load_cpu_seconds", (load_end - load_start) / rounds)


def main():
    peer, parent, target, rounds = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    if peer == "zipnn":
        run_zipnn(parent, target, rounds)
    else:
        run_deltatensors(parent, target, rounds, *sys.argv[5:7])


if __name__ == "__main__":
    main()

"""wdelta and the real deltatensors package, file by file and bit by bit.

    ./dev interop

installs the package below build/ and runs this with the release binaries. Each check is a
function `check_…`, run in a store of its own.
"""

import argparse
import contextlib
import functools
import json
import os
import sys
import tempfile

import deltatensors as dt
import numpy as np
import torch
from checkpoints import assert_same_bits, fine_tune, load_float32, make_base, save
from safetensors import safe_open
from safetensors.torch import load_file
from store import CommandFailed, Store

STRATEGIES = ("int4", "sparse", "quantized")
TINYLM = os.path.join(os.path.dirname(__file__), "..", "data", "tinylm-1m")


def values_in(store, name):
    folder = store.pull(name)
    assert os.listdir(folder) == ["model.safetensors"], os.listdir(folder)
    return load_float32(os.path.join(folder, "model.safetensors"))


def import_each_strategy(store, at, base_dir, tuned_dir, label):
    store.push(base_dir, f"base-{label}")
    for strategy in STRATEGIES:
        file = at(f"{label}-{strategy}.wdelta")
        dt.save_delta_from_paths(file, tuned_dir, base_dir, strategy=strategy)
        name = store.import_delta(file, f"{label}-{strategy}", f"base-{label}")
        assert_same_bits(values_in(store, name), dt.load_delta_from_paths(file, base_dir), name)


def check_import_of_small_tensors_of_many_dtypes(store, at):
    base = make_base(seed=11)
    import_each_strategy(store, at, save(at("base"), base), save(at("tuned"), fine_tune(base, 12)),
                         "small")


def check_import_of_a_real_fine_tune(store, at):
    import_each_strategy(store, at, f"{TINYLM}/base", f"{TINYLM}/ft-kjv", "tinylm")


def check_import_over_a_sharded_base(store, at):
    base = make_base(seed=21)
    import_each_strategy(store, at, save(at("base"), base, shards=2),
                         save(at("tuned"), fine_tune(base, 22), shards=2), "sharded")


def check_import_when_the_fine_tune_is_sharded_otherwise(store, at):
    """The package hashes in an order that its own loader does not: it must be told not to verify."""
    base = make_base(seed=31)
    base_dir = save(at("base"), base, shards=2)
    tuned_dir = save(at("tuned"), fine_tune(base, 32), shards=3)
    store.push(base_dir, "base")
    file = at("delta.wdelta")
    dt.save_delta_from_paths(file, tuned_dir, base_dir, strategy="int4")
    store.import_delta(file, "tuned", "base")
    assert_same_bits(values_in(store, "tuned"),
                     dt.load_delta_from_paths(file, base_dir, verify=False), "tuned")


def check_import_of_a_delta_between_widened_tensors(store, at):
    """BF16 cannot go through NumPy, so that users widen it; the hash is then over float32."""
    base = make_base(seed=41)
    store.push(save(at("base"), base, shards=2), "base")
    widened = {name: tensor.float() for name, tensor in base.items()}
    tuned = {name: tensor.float() for name, tensor in fine_tune(base, 42).items()}
    for strategy in STRATEGIES:
        file = at(f"{strategy}.wdelta")
        dt.save_delta(file, tuned, widened, strategy=strategy)
        store.import_delta(file, strategy, "base")
        assert_same_bits(values_in(store, strategy), dt.load_delta(file, widened), strategy)


def check_import_of_a_chain(store, at):
    base = make_base(seed=51)
    base_dir = save(at("base"), base)
    store.push(base_dir, "step0")
    files = []
    tuned = base
    for step, strategy in enumerate(("int4", "sparse", "quantized", "int4"), start=1):
        tuned = fine_tune(tuned, 51 + step)
        tuned_dir = save(at(f"step{step}"), tuned)
        file = at(f"step{step}.wdelta")
        if step == 1:
            dt.save_delta_from_paths(file, tuned_dir, base_dir, strategy=strategy)
        elif step == 2:
            dt.save_delta_chain_from_paths(file, tuned_dir, files[0], base_dir, strategy=strategy)
        else:
            # The package streams a chain of two; longer ones go through its memory.
            parent = dt.load_delta_chain(files, base_dir)
            dt.save_delta(file, {n: t.float() for n, t in tuned.items()}, parent,
                          strategy=strategy)
        files.append(file)
        store.import_delta(file, f"step{step}", f"step{step - 1}")
        assert_same_bits(values_in(store, f"step{step}"), dt.load_delta_chain(files, base_dir),
                         f"step {step}")


def check_a_wrong_parent_is_refused_with_both_hashes(store, at):
    base = make_base(seed=61)
    base_dir = save(at("base"), base)
    other = fine_tune(base, 62)
    other_dir = save(at("other"), other)
    file = at("delta.wdelta")
    expected = dt.save_delta_from_paths(file, other_dir, base_dir, strategy="int4")
    found = dt.save_delta_from_paths(at("unused.wdelta"), base_dir, other_dir, strategy="int4")
    store.push(other_dir, "other")
    try:
        store.import_delta(file, "child", "other")
    except CommandFailed as error:
        assert expected in str(error) and found in str(error), error
    else:
        raise AssertionError("a delta was imported over the wrong parent")


def export_each_strategy(store, at, base_dir, label):
    for strategy in STRATEGIES:
        file = at(f"{label}-{strategy}.wdelta")
        report = store.export_delta(f"tuned-{label}", file, strategy)
        assert report["lossy"] and report["strategy"] == strategy, report
        values = dt.load_delta_from_paths(file, base_dir)  # verifies the hash
        name = store.import_delta(file, f"again-{label}-{strategy}", f"base-{label}")
        assert_same_bits(values_in(store, name), values, name)
        yield strategy, values, report


def relative_error(values, base, tuned):
    error = sum(np.sum((values[n].astype(np.float64) - tuned[n].double().numpy()) ** 2)
                for n in tuned)
    norm = sum(np.sum((tuned[n].double().numpy() - base[n].double().numpy()) ** 2) for n in tuned)
    return float(np.sqrt(error / norm))


def check_export_loads_with_the_values_of_our_own_import(store, at):
    for label, shards in (("flat", 1), ("sharded", 2)):
        base = make_base(seed=71)
        tuned = fine_tune(base, 72)
        base_dir = save(at(f"base-{label}"), base, shards=shards)
        store.push(base_dir, f"base-{label}")
        store.push(save(at(f"tuned-{label}"), tuned), f"tuned-{label}", f"base-{label}")
        for _ in export_each_strategy(store, at, base_dir, label):
            pass


def check_export_of_a_real_fine_tune_is_as_good_as_the_package(store, at):
    base_dir, tuned_dir = f"{TINYLM}/base", f"{TINYLM}/ft-kjv"
    base = load_file(f"{base_dir}/model.safetensors")
    tuned = load_file(f"{tuned_dir}/model.safetensors")
    store.push(base_dir, "base-tinylm")
    store.push(tuned_dir, "tuned-tinylm", "base-tinylm")
    for strategy, values, report in export_each_strategy(store, at, base_dir, "tinylm"):
        ours = relative_error(values, base, tuned)
        file = at("theirs.wdelta")
        dt.save_delta_from_paths(file, tuned_dir, base_dir, strategy=strategy)
        theirs = relative_error(dt.load_delta_from_paths(file, base_dir), base, tuned)
        print(f"    {strategy}: relative error {ours:.5f}, deltatensors {theirs:.5f}; "
              f"{report['file_bytes']} bytes, deltatensors {os.path.getsize(file)}", file=sys.stderr)
        assert ours <= theirs * 1.001, f"{strategy}: {ours} > {theirs}"
        assert abs(report["relative_error"] - ours) < 1e-4, f"{report['relative_error']} != {ours}"


def check_exported_chain_loads(store, at):
    base = make_base(seed=81)
    tuned = fine_tune(base, 82)
    again = fine_tune(tuned, 83)
    base_dir = save(at("base"), base)
    again_dir = save(at("again"), again)
    store.push(base_dir, "base")
    store.push(save(at("tuned"), tuned), "tuned", "base")
    store.push(again_dir, "again", "tuned")
    first, second = at("first.wdelta"), at("second.wdelta")
    store.export_delta("tuned", first, "int4")
    store.import_delta(first, "tuned-v1", "base")
    store.export_delta("again", second, "sparse", "--parent", "tuned-v1", "--sparsity", "0.5")
    store.import_delta(second, "again-v1", "tuned-v1")
    assert_same_bits(values_in(store, "again-v1"), dt.load_delta_chain([first, second], base_dir),
                     "again-v1")
    # Ours is a parent that the package can chain on.
    third = at("third.wdelta")
    dt.save_delta_chain_from_paths(third, again_dir, first, base_dir, strategy="int4")
    store.import_delta(third, "third", "tuned-v1")
    assert_same_bits(values_in(store, "third"), dt.load_delta_chain([first, third], base_dir),
                     "third")


def check_inspect_agrees_with_the_package(store, at):
    base = make_base(seed=91)
    file = at("delta.wdelta")
    base_dir = save(at("base"), base)
    dt.save_delta_from_paths(file, save(at("tuned"), fine_tune(base, 92)), base_dir,
                             strategy="quantized")
    theirs = dt.inspect(file)
    ours = json.loads(store.run("inspect", file))
    assert ours["version"] == 1 and ours["lossy"] is True
    assert ours["parent_hash"] == theirs["parent_hash"]
    assert ours["strategy"] == theirs["strategy"]
    assert {t["name"]: t["shape"] for t in ours["tensors"]} == {
        name: tensor["shape"] for name, tensor in theirs["tensors"].items()}


def check_fetched_slices_equal_those_of_safetensors(store, at):
    store.push(f"{TINYLM}/base", "base")
    store.push(f"{TINYLM}/ft-kjv", "tuned", "base")
    file = at("slices.safetensors")
    with safe_open(f"{TINYLM}/ft-kjv/model.safetensors", framework="pt") as whole:
        for axis, start, stop in ((0, 0, 100), (0, 7, 128), (1, 0, 1), (1, 31, 97), (1, 64, 128)):
            store.run("fetch", "tuned", "--slice", f"{axis}={start}:{stop}", "--out", file)
            fetched = load_file(file)
            assert set(fetched) == set(whole.keys())
            for name, tensor in fetched.items():
                part = whole.get_slice(name)
                if len(part.get_shape()) <= axis:
                    expected = whole.get_tensor(name)
                else:
                    expected = part[start:stop] if axis == 0 else part[:, start:stop]
                assert tensor.shape == expected.shape and torch.equal(tensor, expected), name
        rank = [load_shard(store, at, i) for i in range(4)]
        for name in whole.keys():
            expected = whole.get_tensor(name)
            found = torch.cat([part[name] for part in rank], 1) if expected.dim() > 1 else rank[0][name]
            assert torch.equal(found, expected), name


def load_shard(store, at, index):
    file = at(f"rank{index}.safetensors")
    store.run("fetch", "tuned", "--shard", f"1={index}/4", "--out", file)
    return load_file(file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--wdeltad", required=True)
    parser.add_argument("--wdelta", required=True)
    arguments = parser.parse_args()
    checks = {name: check for name, check in globals().items() if name.startswith("check_")}
    for name, check in checks.items():
        print(f"{name[6:].replace('_', ' ')}", flush=True)
        with tempfile.TemporaryDirectory(prefix="wdelta-interop-") as folder:
            at = functools.partial(os.path.join, folder)
            with Store(arguments.wdeltad, arguments.wdelta, folder) as store:
                # The package tells of every step on stdout.
                with open(os.devnull, "w") as chatter, contextlib.redirect_stdout(chatter):
                    check(store, at)
    print(f"{len(checks)} checks passed")


if __name__ == "__main__":
    main()

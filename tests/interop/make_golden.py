"""Writes tests/golden/v1 with the real package: only ever for new files beside the old ones.

    build/interop/venv/bin/python tests/interop/make_golden.py FOLDER

For each delta NAME.wdelta the values that the package's own loader gives lie in
NAME.expected.safetensors.
"""

import functools
import os
import sys
import tempfile

import deltatensors as dt
from checkpoints import fine_tune, make_base, save
from safetensors.numpy import save_file as save_arrays


def main(folder):
    os.makedirs(folder, exist_ok=True)
    at = functools.partial(os.path.join, folder)
    with tempfile.TemporaryDirectory() as scratch:
        base = make_base(seed=1)
        tuned = fine_tune(base, seed=2)
        again = fine_tune(tuned, seed=3)
        base_dir = save(os.path.join(scratch, "base"), base)
        tuned_dir = save(os.path.join(scratch, "tuned"), tuned)
        again_dir = save(os.path.join(scratch, "again"), again)
        os.replace(os.path.join(base_dir, "model.safetensors"), at("base.safetensors"))
        base_dir = save(os.path.join(scratch, "base"), base)
        for strategy in ("int4", "sparse", "quantized"):
            dt.save_delta_from_paths(at(f"{strategy}.wdelta"), tuned_dir, base_dir,
                                     strategy=strategy)
            values = dt.load_delta_from_paths(at(f"{strategy}.wdelta"), base_dir)
            save_arrays(values, at(f"{strategy}.expected.safetensors"))
        # A chain: int4.wdelta, then this one.
        dt.save_delta_chain_from_paths(at("chained.wdelta"), again_dir, at("int4.wdelta"), base_dir,
                                       strategy="sparse", sparsity=0.5)
        values = dt.load_delta_chain([at("int4.wdelta"), at("chained.wdelta")], base_dir)
        save_arrays(values, at("chained.expected.safetensors"))


if __name__ == "__main__":
    main(sys.argv[1])

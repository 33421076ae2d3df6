"""Small checkpoint folders for the interop tests, and float32 values as bits."""

import os

import numpy as np
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file

SHAPES = {
    "embed.weight": (40, 9),
    "layers.0.weight": (24, 33),
    "layers.1.weight": (6, 5, 7),
    "norm.weight": (17,),
    "\u00e9.bias": (3,),
}


def make_base(seed):
    """Weights of several dtypes, with zeros of both signs and a subnormal number."""
    random = torch.Generator().manual_seed(seed)
    dtypes = [torch.float32, torch.bfloat16, torch.float16]
    tensors = {}
    for i, (name, shape) in enumerate(SHAPES.items()):
        values = 0.02 * torch.randn(shape, generator=random)
        values.view(-1)[0] = -0.0
        values.view(-1)[1] = 1e-7
        tensors[name] = values.to(dtypes[i % len(dtypes)])
    return tensors


def fine_tune(tensors, seed, scale=2e-3):
    """The same tensors moved a little; half of the weights stay as they are."""
    random = torch.Generator().manual_seed(seed)
    tuned = {}
    for name, tensor in tensors.items():
        step = scale * torch.randn(tensor.shape, generator=random)
        step = step * (torch.rand(tensor.shape, generator=random) < 0.5)
        tuned[name] = (tensor.float() + step).to(tensor.dtype)
    return tuned


def save(folder, tensors, shards=1):
    """Writes the tensors into that many files, dealt out in turn."""
    os.makedirs(folder, exist_ok=True)
    names = sorted(tensors)
    for shard in range(shards):
        name = "model.safetensors" if shards == 1 else f"model-{shard + 1:05}.safetensors"
        save_file({n: tensors[n] for n in names[shard::shards]}, os.path.join(folder, name),
                  metadata={"format": "pt"})
    return folder


def load_float32(path):
    """The tensors of a file, which must all be float32."""
    tensors = load_file(path)
    wrong = {n: t.dtype for n, t in tensors.items() if t.dtype != np.float32}
    assert not wrong, f"{path}: expected float32, found {wrong}"
    return tensors


def assert_same_bits(found, expected, what):
    assert sorted(found) == sorted(expected), f"{what}: {sorted(found)} != {sorted(expected)}"
    for name, values in expected.items():
        assert found[name].shape == values.shape, f"{what}: {name}: shape"
        differing = np.count_nonzero(found[name].view(np.uint32) != values.view(np.uint32))
        assert differing == 0, f"{what}: {name}: {differing} of {values.size} values differ"

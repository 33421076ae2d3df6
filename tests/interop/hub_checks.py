"""What clients of the Hugging Face Hub do, done against a wdeltad: `hub_test.py` runs this once
for every generation of huggingface_hub, in an environment of its own with HF_ENDPOINT set.

Every check is a function `check_…(world)`.
"""

import argparse
import filecmp
import inspect
import json
import os
import shutil
import struct
import sys
from urllib.parse import urlsplit

import huggingface_hub
from cutting_proxy import CuttingProxy
from huggingface_hub import (CommitOperationAdd, CommitOperationCopy, CommitOperationDelete,
                             HfApi, HfFileSystem, ModelHubMixin, hf_hub_download,
                             snapshot_download)
from huggingface_hub.utils import (EntryNotFoundError, HfHubHTTPError, RepositoryNotFoundError,
                                   RevisionNotFoundError)
from safetensors import safe_open

GENERATION = tuple(int(part) for part in huggingface_hub.__version__.split(".")[:2])
DOWNLOAD_CHUNK_BYTES = 10 * 1024 * 1024  # of the client: what it keeps of a cut download


class World:
    def __init__(self, arguments):
        self.endpoint = os.environ["HF_ENDPOINT"]
        self.api = HfApi()
        self.work = arguments.work
        self.user = os.path.basename(arguments.work)  # the namespace of what it uploads
        self.folders = dict(pair.split("=", 1) for pair in arguments.model)  # by repository

    def at(self, name):
        return os.path.join(self.work, name)


def files_of(folder):
    return sorted(os.path.relpath(os.path.join(base, name), folder)
                  for base, _, names in os.walk(folder) for name in names)


def assert_same_folder(found, expected):
    names = [name for name in files_of(found) if not name.startswith(".")]
    assert names == files_of(expected), f"{names} != {files_of(expected)}"
    for name in names:
        assert_same_file(os.path.join(found, name), os.path.join(expected, name))


def assert_same_file(found, expected):
    assert filecmp.cmp(found, expected, shallow=False), f"{found} differs from {expected}"


def assert_raises(kind, function, *arguments, **keywords):
    try:
        function(*arguments, **keywords)
    except kind:
        return
    raise AssertionError(f"expected {kind.__name__}")


def header_of(path):
    with open(path, "rb") as file:
        return json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))


def check_every_file_of_every_model(world):
    for repo, folder in world.folders.items():
        for name in files_of(folder):
            assert_same_file(hf_hub_download(repo, name), os.path.join(folder, name))


def check_snapshots(world):
    for repo, folder in world.folders.items():
        assert_same_folder(snapshot_download(repo, cache_dir=world.at("snapshots")), folder)


def check_snapshot_of_tag_and_commit(world):
    folder = world.folders["tiny/base"]
    assert_same_folder(snapshot_download("tiny/base", revision="first"), folder)
    commit = world.api.model_info("tiny/base").sha
    assert len(commit) == 40, commit
    found = snapshot_download("tiny/base", revision=commit, cache_dir=world.at("by-commit"))
    assert os.path.basename(found) == commit, found
    assert_same_folder(found, folder)


def check_download_into_a_folder(world):
    target = world.at("local")
    snapshot_download("tiny/base", local_dir=target, allow_patterns=["*.json"])
    assert_same_file(os.path.join(target, "config.json"),
                     os.path.join(world.folders["tiny/base"], "config.json"))
    assert not os.path.exists(os.path.join(target, "model.safetensors"))
    snapshot_download("tiny/base", local_dir=target)
    assert_same_folder(target, world.folders["tiny/base"])


def check_missing_things(_):
    assert_raises(RepositoryNotFoundError, hf_hub_download, "tiny/none", "config.json")
    assert_raises(RevisionNotFoundError, hf_hub_download, "tiny/base", "config.json",
                  revision="none")
    assert_raises(EntryNotFoundError, hf_hub_download, "tiny/base", "none.json")
    assert_raises(RepositoryNotFoundError, snapshot_download, "tiny/none")


def check_listings(world):
    for repo, folder in world.folders.items():
        names = files_of(folder)
        assert sorted(world.api.list_repo_files(repo)) == names
        info = world.api.model_info(repo, files_metadata=True)
        assert {s.rfilename: s.size for s in info.siblings} == {
            name: os.path.getsize(os.path.join(folder, name)) for name in names}
        tree = list(world.api.list_repo_tree(repo, recursive=True, expand=True))
        assert [entry.path for entry in tree] == names
        paths = world.api.get_paths_info(repo, ["config.json", "none"], expand=True)
        assert [entry.path for entry in paths] == ["config.json"]
    refs = world.api.list_repo_refs("tiny/base")
    assert [branch.name for branch in refs.branches] == ["main"]
    assert [tag.name for tag in refs.tags] == ["first"]
    assert world.api.file_exists("tiny/base", "config.json")
    assert not world.api.file_exists("tiny/base", "none")
    assert world.api.repo_exists("tiny/base") and not world.api.repo_exists("tiny/none")


def check_safetensors_metadata(world):
    for repo, folder in world.folders.items():
        metadata = world.api.get_safetensors_metadata(repo)
        shards = [name for name in files_of(folder) if name.endswith(".safetensors")]
        assert sorted(metadata.files_metadata) == shards
        for name in shards:
            header = header_of(os.path.join(folder, name))
            tensors = metadata.files_metadata[name].tensors
            assert sorted(tensors) == sorted(set(header) - {"__metadata__"})
            for tensor, described in tensors.items():
                assert list(described.shape) == header[tensor]["shape"]


def check_file_system(world):
    files = HfFileSystem(endpoint=world.endpoint)
    folder = world.folders["tiny/base"]
    assert sorted(files.ls("tiny/base", detail=False)) == [
        f"tiny/base/{name}" for name in files_of(folder)]
    assert files.glob("tiny/base/*.safetensors") == ["tiny/base/model.safetensors"]
    with open(os.path.join(folder, "model.safetensors"), "rb") as expected:
        expected = expected.read()
    assert files.info("tiny/base/model.safetensors")["size"] == len(expected)
    with files.open("tiny/base/model.safetensors", "rb", block_size=2**16) as found:
        found.seek(12345)
        assert found.read(1000) == expected[12345:13345]
        found.seek(-100, os.SEEK_END)
        assert found.read() == expected[-100:]
    assert files.cat_file("tiny/base/config.json") == open(f"{folder}/config.json", "rb").read()
    assert not files.exists("tiny/base/none")


def check_resume_after_a_cut(world):
    """The client goes on where the connection broke: by itself, or when it is called again."""
    upstream = urlsplit(world.endpoint)
    folder = world.folders["tiny/large"]
    keywords = {"cache_dir": world.at("cut")}
    if GENERATION < (0, 23):
        keywords["resume_download"] = True
    with CuttingProxy(upstream.hostname, upstream.port, DOWNLOAD_CHUNK_BYTES * 3 // 2) as proxy:
        for _ in range(2):
            try:
                found = hf_hub_download("tiny/large", "model.safetensors", endpoint=proxy.endpoint,
                                        **keywords)
                break
            except Exception as error:  # of the client's own HTTP library
                print(f"    cut: {type(error).__name__}")
        assert proxy.has_cut
        ranges = [line for head in proxy.heads for line in head.splitlines()
                  if line.lower().startswith("range:")]
        assert ranges and all(int(line.split("=")[1].split("-")[0]) > 0 for line in ranges), ranges
    assert_same_file(found, os.path.join(folder, "model.safetensors"))


def check_safetensors_loader(world):
    for repo, folder in world.folders.items():
        for name in files_of(folder):
            if name.endswith(".safetensors"):
                with safe_open(hf_hub_download(repo, name), framework="numpy") as tensors:
                    assert sorted(tensors.keys()) == sorted(
                        set(header_of(os.path.join(folder, name))) - {"__metadata__"})


def greedy(model, prompt, count):
    """The tokens that follow. `generate` imports a part of Debian's torch that its Python refuses."""
    tokens = prompt
    for _ in range(count):
        tokens = tokens.new_tensor([tokens[0].tolist() + [int(model(tokens).logits[0, -1].argmax())]])
    return tokens[0, prompt.shape[1]:].tolist()


def check_transformers(world):
    """Weights and greedy generation equal to those of the original folder."""
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError:
        print("    not here: torch or transformers")
        return
    prompt = torch.tensor([[256, 72, 101, 108, 108, 111, 32]])
    for repo, folder in world.folders.items():
        if repo == "tiny/large":
            continue
        models = [AutoModelForCausalLM.from_pretrained(source, torch_dtype=torch.float32)
                  for source in (repo, folder)]
        states = [model.state_dict() for model in models]
        assert states[0].keys() == states[1].keys()
        assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
        assert greedy(models[0], prompt, 24) == greedy(models[1], prompt, 24)


def uploaded(world, repo, revision=None):
    """The files of a repository, fetched anew."""
    return snapshot_download(repo, revision=revision,
                             cache_dir=world.at(f"uploaded-{len(os.listdir(world.work))}"))


def check_upload_of_folders(world):
    for number, source in enumerate(("tiny/ft-kjv", "tiny/ft-perl-sharded", "tiny/large")):
        repo = f"{world.user}/folder-{number}"
        world.api.create_repo(repo)
        world.api.upload_folder(repo_id=repo, folder_path=world.folders[source])
        world.api.create_repo(repo, exist_ok=True)
        assert_same_folder(uploaded(world, repo), world.folders[source])


def check_upload_of_files_to_a_repository(world):
    """What a commit does not touch stays; the card's base is the parent."""
    repo = f"{world.user}/files"
    weights = os.path.join(world.folders["tiny/ft-kjv"], "model.safetensors")
    world.api.create_repo(repo)
    world.api.upload_file(repo_id=repo, path_or_fileobj=weights, path_in_repo="model.safetensors")
    first = world.api.model_info(repo).sha
    card = b"---\nbase_model: tiny/base\n---\n# Card\n"
    commit = world.api.upload_file(repo_id=repo, path_or_fileobj=card, path_in_repo="README.md")
    world.api.upload_file(repo_id=repo, path_or_fileobj=b"", path_in_repo="sub/empty.txt")
    info = world.api.model_info(repo)
    assert [s.rfilename for s in info.siblings] == ["README.md", "model.safetensors",
                                                    "sub/empty.txt"]
    assert "base_model:tiny/base" in info.tags, info.tags
    assert str(getattr(commit, "oid", commit)) != first
    found = uploaded(world, repo)
    assert_same_file(os.path.join(found, "model.safetensors"), weights)
    with open(os.path.join(found, "README.md"), "rb") as file:
        assert file.read() == card
    world.api.delete_file(repo_id=repo, path_in_repo="README.md")
    world.api.delete_folder(repo_id=repo, path_in_repo="sub")
    assert world.api.list_repo_files(repo) == ["model.safetensors"]
    old = hf_hub_download(repo, "model.safetensors", revision=first, cache_dir=world.at("first"))
    assert_same_file(old, weights)


def check_upload_over_a_repository(world):
    """Only what differs is sent, and what is to be deleted goes."""
    repo = f"{world.user}/again"
    assert not world.api.repo_exists(repo)
    world.api.create_repo(repo)
    assert world.api.repo_exists(repo) and world.api.list_repo_files(repo) == []
    assert_raises(HfHubHTTPError, world.api.create_repo, repo)
    world.api.upload_folder(repo_id=repo, folder_path=world.folders["tiny/ft-perl-sharded"],
                            delete_patterns="*")
    first = world.api.model_info(repo).sha
    world.api.upload_folder(repo_id=repo, folder_path=world.folders["tiny/ft-perl-sharded"])
    assert world.api.model_info(repo).sha == first
    world.api.create_tag(repo, tag="v1")
    assert_raises(HfHubHTTPError, world.api.create_tag, repo, tag="v1")
    world.api.upload_folder(repo_id=repo, folder_path=world.folders["tiny/ft-kjv"],
                            delete_patterns="*.safetensors*", parent_commit=first)
    assert_raises(HfHubHTTPError, world.api.upload_file, repo_id=repo, path_or_fileobj=b"a",
                  path_in_repo="a", parent_commit=first)
    assert_same_folder(uploaded(world, repo), world.folders["tiny/ft-kjv"])
    assert_same_folder(uploaded(world, repo, "v1"), world.folders["tiny/ft-perl-sharded"])
    assert [tag.name for tag in world.api.list_repo_refs(repo).tags] == ["v1"]
    world.api.delete_tag(repo, tag="v1")
    assert world.api.list_repo_refs(repo).tags == []
    world.api.create_branch(repo, branch="main", exist_ok=True)
    assert_raises(HfHubHTTPError, world.api.create_branch, repo, branch="dev")


def check_copies_within_a_repository(world):
    repo = f"{world.user}/copies"
    weights = os.path.join(world.folders["tiny/ft-kjv"], "model.safetensors")
    world.api.create_repo(repo)
    world.api.create_commit(repo, commit_message="two", operations=[
        CommitOperationAdd("model.safetensors", weights), CommitOperationAdd("a.txt", b"a")])
    world.api.create_commit(repo, commit_message="copy", operations=[
        CommitOperationCopy("model.safetensors", "sub/copy.safetensors"),
        CommitOperationDelete("a.txt")])
    assert world.api.list_repo_files(repo) == ["model.safetensors", "sub/copy.safetensors"]
    assert_same_file(os.path.join(uploaded(world, repo), "sub", "copy.safetensors"), weights)


def check_refused_uploads(world):
    """The client shows what the server says."""
    repo = f"{world.user}/refused"
    world.api.create_repo(repo)
    try:
        world.api.upload_file(repo_id=repo, path_or_fileobj=b"\x00" * 100,
                              path_in_repo="model.safetensors")
        raise AssertionError("expected a refusal")
    except HfHubHTTPError as error:
        assert "model.safetensors" in str(error), error
    assert world.api.list_repo_files(repo) == []
    assert_raises(EntryNotFoundError, world.api.delete_file, "none.txt", repo_id=repo)


def check_push_to_hub(world):
    source = world.folders["tiny/ft-perl"]

    class Copied(ModelHubMixin):
        def _save_pretrained(self, save_directory):
            for name in files_of(source):
                shutil.copy(os.path.join(source, name), save_directory)

    repo = f"{world.user}/mixin"
    Copied().push_to_hub(repo)
    found = uploaded(world, repo)
    for name in files_of(source):
        assert_same_file(os.path.join(found, name), os.path.join(source, name))


def check_transformers_push_to_hub(world):
    try:
        import torch
        from transformers import AutoModelForCausalLM
    except ImportError:
        print("    not here: torch or transformers")
        return
    repo = f"{world.user}/transformers"
    model = AutoModelForCausalLM.from_pretrained("tiny/ft-kjv", torch_dtype=torch.bfloat16)
    model.push_to_hub(repo)
    again = AutoModelForCausalLM.from_pretrained(repo, torch_dtype=torch.bfloat16)
    expected, found = model.state_dict(), again.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[key], found[key]) for key in expected)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--work", required=True)
    parser.add_argument("--model", action="append", required=True, metavar="REPO=FOLDER")
    parser.add_argument("--only", default="")
    arguments = parser.parse_args()
    world = World(arguments)
    checks = [(name, function) for name, function in globals().items()
              if name.startswith("check_") and inspect.isfunction(function)
              and arguments.only in name]
    for name, function in checks:
        print(f"  {name[6:].replace('_', ' ')}", flush=True)
        function(world)
    assert checks, "no check"
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""One client's calls to a Hub over TLS: a large file and an upload, which goes to a signed link.

Run by hub_test.py in the environment of the client, with HF_ENDPOINT, HF_TOKEN and the
certificate that the client is to trust.
"""

import argparse
import hashlib
import os

from huggingface_hub import HfApi, hf_hub_download


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--repo", required=True)
    parser.add_argument("--expected", required=True, help="its model.safetensors")
    parser.add_argument("--work", required=True)
    arguments = parser.parse_args()
    with open(arguments.expected, "rb") as file:
        expected = file.read()

    assert os.environ["HF_ENDPOINT"].startswith("https://")
    path = hf_hub_download(arguments.repo, "model.safetensors", cache_dir=arguments.work)
    with open(path, "rb") as file:
        assert file.read() == expected
    api = HfApi()
    changed = os.urandom(3_000_000)  # too large to be sent in the commit
    api.upload_file(path_or_fileobj=changed, path_in_repo="extra.bin", repo_id=arguments.repo)
    api.upload_file(path_or_fileobj=b"# A card\n", path_in_repo="README.md",
                    repo_id=arguments.repo)
    for name, content in {"extra.bin": changed, "README.md": b"# A card\n",
                          "model.safetensors": expected}.items():
        path = hf_hub_download(arguments.repo, name, cache_dir=arguments.work)
        with open(path, "rb") as file:
            assert hashlib.sha256(file.read()).digest() == hashlib.sha256(content).digest(), name


if __name__ == "__main__":
    main()

"""wdeltad as a Hugging Face Hub that asks for tokens: real clients against a real daemon.

    ./dev interop

installs each generation of huggingface_hub into an environment of its own below build/ and runs
this with the release binaries.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

import numpy as np
from safetensors.numpy import save_file
from store import Store

HERE = os.path.dirname(os.path.abspath(__file__))
TINYLM = os.path.join(HERE, "..", "data", "tinylm-1m")
PARENTS = {"base": None, "ft-kjv": "base", "ft-kjv-2": "ft-kjv", "ft-perl": "base",
           "merge-kjv-perl": "ft-perl", "ft-perl-sharded": "base", "ft-grown-vocab": "ft-perl"}
UPLOADED = ("tiny/ft-kjv", "tiny/ft-perl-sharded", "tiny/large")  # as hub_checks.py does it
LARGE_BYTES = 24 * 1024 * 1024


def make_large(folder):
    """More than clients download in one chunk."""
    os.makedirs(folder)
    random = np.random.default_rng(1)
    tensor = random.standard_normal(LARGE_BYTES // 4, dtype=np.float32)
    save_file({"w": tensor.reshape(1024, -1)}, os.path.join(folder, "model.safetensors"))
    with open(os.path.join(folder, "config.json"), "w") as config:
        config.write("{}\n")
    return folder


def push_all(store, folder):
    """The folder of every model, by repository."""
    folders = {}
    for name, parent in PARENTS.items():
        folders[f"tiny/{name}"] = os.path.join(TINYLM, name)
        store.push(folders[f"tiny/{name}"], f"tiny/{name}", parent and f"tiny/{parent}")
    store.run("tag", "tiny/base@first", "tiny/base")
    folders["tiny/large"] = make_large(os.path.join(folder, "large"))
    store.push(folders["tiny/large"], "tiny/large")
    return folders


def make_token(wdelta, folder):
    """A token that all clients have, and the daemon's file that knows it."""
    made = subprocess.run([wdelta, "token", "interop", "--scope=read", "--scope=write",
                           "--output=json"], check=True, capture_output=True, text=True)
    token = json.loads(made.stdout)
    file = os.path.join(folder, "tokens.yaml")
    with open(file, "w") as tokens:
        tokens.write(token["entry"])
    os.environ["WDELTA_TOKEN"] = token["token"]
    return file


def authorization():
    return f"Authorization: Bearer {os.environ['WDELTA_TOKEN']}"


def run_checks(python, store, folders, folder):
    environment = {**os.environ, "HF_ENDPOINT": store.endpoint, "HF_HOME": f"{folder}/home",
                   "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1",
                   "HF_TOKEN": os.environ["WDELTA_TOKEN"], "PYTHONDONTWRITEBYTECODE": "1",
                   "no_proxy": "127.0.0.1,localhost"}
    models = [f"--model={repo}={path}" for repo, path in folders.items()]
    subprocess.run([python, os.path.join(HERE, "hub_checks.py"), f"--work={folder}", *models],
                   check=True, env=environment, stdin=subprocess.DEVNULL)


def sha256_of(path):
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()


def check_curl(store, folders, folder):
    url = f"{store.endpoint}/tiny/ft-kjv/resolve/main/model.safetensors"
    expected = os.path.join(folders["tiny/ft-kjv"], "model.safetensors")
    whole = os.path.join(folder, "curl")
    curl = ["curl", "-sS", "--fail", "-H", authorization()]
    assert subprocess.run(["curl", "-sS", "--fail", "-o", whole, url], stderr=subprocess.DEVNULL)\
        .returncode != 0, "a stranger was served"
    subprocess.run([*curl, "-o", whole, url], check=True)
    assert sha256_of(whole) == sha256_of(expected)
    part = os.path.join(folder, "curl-part")
    subprocess.run([*curl, "-r", "1000-1999", "-o", part, url], check=True)
    with open(part, "rb") as found, open(expected, "rb") as file:
        assert found.read() == file.read()[1000:2000]


def check_wget_continues(store, folders, folder):
    url = f"{store.endpoint}/tiny/ft-kjv/resolve/main/model.safetensors"
    expected = os.path.join(folders["tiny/ft-kjv"], "model.safetensors")
    target = os.path.join(folder, "wget")
    with open(target, "wb") as part, open(expected, "rb") as file:
        part.write(file.read(700_000))
    done = subprocess.run(["wget", "-c", "-nv", "--server-response", "--header", authorization(),
                           "-O", target, url], check=True, capture_output=True, text=True)
    assert "206 Partial Content" in done.stderr, done.stderr
    assert sha256_of(target) == sha256_of(expected)


def check_commits_are_kept(store, folders, folder, user):
    """What a client of the Hub was told is committed is there after the daemon was killed."""
    store.kill_and_restart()
    for number, source in enumerate(UPLOADED):
        repo = f"{user}/folder-{number}"
        pulled = os.path.join(folder, "pulled", repo)
        shutil.rmtree(pulled, ignore_errors=True)
        store.pull(repo)
        for name in os.listdir(folders[source]):
            assert sha256_of(os.path.join(pulled, name)) == sha256_of(
                os.path.join(folders[source], name)), f"{repo}/{name}"


def make_certificate(folder):
    """The files of a certificate for this machine, which is its own authority, and of its key."""
    certificate, key = os.path.join(folder, "server.pem"), os.path.join(folder, "server.key")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:P-256", "-noenc", "-days", "2", "-subj", "/CN=localhost",
                    "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
                    "-keyout", key, "-out", certificate], check=True, capture_output=True)
    return certificate, key


def check_tls(arguments, tokens, folder):
    certificate, key = make_certificate(folder)
    with Store(arguments.wdeltad, arguments.wdelta, folder, "--http_listen=127.0.0.1:0",
               f"--http_tls_certificate={certificate}", f"--http_tls_key={key}",
               f"--tokens_file={tokens}") as store:
        source = os.path.join(TINYLM, "ft-kjv")
        for number, python in enumerate(arguments.pythons):
            store.push(source, f"tls/m{number}")
            work = os.path.join(folder, f"tls-client-{number}")
            environment = {**os.environ, "HF_ENDPOINT": store.endpoint, "HF_HOME": f"{work}/home",
                           "HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_DISABLE_XET": "1",
                           "HF_TOKEN": os.environ["WDELTA_TOKEN"], "PYTHONDONTWRITEBYTECODE": "1",
                           "SSL_CERT_FILE": certificate, "REQUESTS_CA_BUNDLE": certificate,
                           "no_proxy": "127.0.0.1,localhost"}
            subprocess.run([python, os.path.join(HERE, "hub_tls_checks.py"),
                            f"--repo=tls/m{number}", f"--work={work}",
                            f"--expected={source}/model.safetensors"],
                           check=True, env=environment, stdin=subprocess.DEVNULL)
        url = f"{store.endpoint}/tls/m0/resolve/main/model.safetensors"
        whole = os.path.join(folder, "curl")
        subprocess.run(["curl", "-sS", "--fail", "--cacert", certificate, "-H", authorization(),
                        "-o", whole, url], check=True)
        assert sha256_of(whole) == sha256_of(os.path.join(source, "model.safetensors"))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--wdeltad", required=True)
    parser.add_argument("--wdelta", required=True)
    parser.add_argument("pythons", nargs="+", help="one of each environment")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wdelta-hub-") as folder:
        tokens = make_token(arguments.wdelta, folder)
        with Store(arguments.wdeltad, arguments.wdelta, folder, "--http_listen=127.0.0.1:0",
                   f"--tokens_file={tokens}") as store:
            folders = push_all(store, folder)
            for check in (check_curl, check_wget_continues):
                print(check.__name__, flush=True)
                check(store, folders, folder)
            for number, python in enumerate(arguments.pythons):
                print(python, flush=True)
                work = os.path.join(folder, f"client-{number}")
                os.makedirs(work)
                run_checks(python, store, folders, work)
                check_commits_are_kept(store, folders, folder, os.path.basename(work))
        print("check_tls", flush=True)
        with tempfile.TemporaryDirectory(prefix="wdelta-hub-tls-") as tls_folder:
            check_tls(arguments, tokens, tls_folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())

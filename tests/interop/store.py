"""A wdeltad in a temporary folder, and the wdelta command line over it."""

import json
import os
import socket
import subprocess
import time

START_SECONDS = 30


class CommandFailed(Exception):
    pass


class Store:
    """Use as a context manager; stops its daemon at the end."""

    def __init__(self, wdeltad, wdelta, folder, *flags):
        self._wdelta = wdelta
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("localhost", 0))
            self._server = f"localhost:{probe.getsockname()[1]}"
        self._log = open(os.path.join(folder, "wdeltad.log"), "w")
        self._command = [wdeltad, f"--data_dir={folder}/data", f"--listen={self._server}",
                         f"--address_file={folder}/addresses", *flags]
        self._start()

    def _start(self):
        self._daemon = subprocess.Popen(self._command, stdout=self._log, stderr=subprocess.STDOUT)

    def kill_and_restart(self):
        """As after a loss of power but for what the kernel holds."""
        self._daemon.kill()
        self._daemon.wait()
        self._start()
        self._await()

    def __enter__(self):
        self._await()
        return self

    def _await(self):
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                self.run("ls")
                return
            except CommandFailed:
                if time.monotonic() > deadline or self._daemon.poll() is not None:
                    self.__exit__()
                    raise
                time.sleep(0.1)

    @property
    def endpoint(self):
        """Where HTTP is served, when the flags ask for it."""
        with open(os.path.join(self._folder, "addresses")) as file:
            return file.read().split()[-1]

    def __exit__(self, *_):
        self._daemon.terminate()
        self._daemon.wait()
        self._log.close()

    def run(self, *arguments):
        done = subprocess.run([self._wdelta, f"--server={self._server}", "--output=json", *arguments],
                              capture_output=True, text=True)
        if done.returncode != 0:
            raise CommandFailed(done.stderr)
        return done.stdout

    def push(self, folder, name, parent=None):
        self.run("push", folder, "--name", name, *(["--parent", parent] if parent else []),
                 "--wait")
        return name

    def import_delta(self, file, name, parent):
        self.run("import", file, "--name", name, "--parent", parent, "--wait")
        return name

    def export_delta(self, model, file, strategy, *options):
        out = self.run("export", model, file, "--format", "v1", "--strategy", strategy, *options)
        return json.loads(out)

    def pull(self, name):
        """The folder with the model's files."""
        folder = os.path.join(self._folder, "pulled", name)
        self.run("pull", name, folder)
        return folder

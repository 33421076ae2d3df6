"""A proxy that cuts connections and remembers the heads of requests."""

import contextlib
import select
import socket
import threading


class CuttingProxy:
    """Passes HTTP through to `host:port`. The first answer longer than `cut_after` bytes is cut
    there, and none after it. Use as a context manager."""

    def __init__(self, host, port, cut_after):
        self._upstream = (host, port)
        self._cut_after = cut_after
        self._has_cut = False
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self.heads = []

    @property
    def has_cut(self):
        return self._has_cut

    def __enter__(self):
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._pass, args=(client,), daemon=True).start()

    def _pass(self, client):
        with client, socket.create_connection(self._upstream) as server:
            answered = 0
            while True:
                ready, _, _ = select.select([client, server], [], [])
                if client in ready:
                    data = client.recv(65536)
                    if not data:
                        return
                    if data.split(b" ")[0] in (b"GET", b"HEAD", b"POST"):
                        self.heads.append(data.split(b"\r\n\r\n")[0].decode())
                        answered = 0
                    server.sendall(data)
                if server in ready:
                    data = server.recv(65536)
                    if not data:
                        return
                    answered += len(data)
                    with self._lock:
                        if answered > self._cut_after and not self._has_cut:
                            self._has_cut = True
                            return
                    client.sendall(data)

"""A TCP proxy between one client and the broker, which loses the answers to chosen produce requests.

It puts its own address where the broker names its own, so that a client stays with it.
"""

import collections
import socket
import struct
import threading

PRODUCE = 0


def wire_address(bootstrap):
    """An address as Metadata and FindCoordinator carry it: the port right behind the host, in all versions."""
    host, port = bootstrap.split(":")
    return host.encode() + struct.pack(">i", int(port))


class Proxy:
    """Cuts the connection instead of passing the answer to the n-th produce request, for each n of `cut`.

    If n is even then the answer is there, so that the broker has appended the request and the client cannot know.
    If n is odd then it happens while the broker is at work on the request.
    """

    def __init__(self, bootstrap, cut):
        self.broker = bootstrap
        self.cut = set(cut)
        self.lost = 0
        self.produced = 0
        self.lock = threading.Lock()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.bootstrap = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            host, port = self.broker.split(":")
            _Connection(self, client, socket.create_connection((host, int(port))))

    def number_if_cut(self, request):
        """Counts a request; gives its number if its answer is to be lost, else None."""
        if struct.unpack_from(">h", request)[0] != PRODUCE:
            return None
        with self.lock:
            self.produced += 1
            if self.produced not in self.cut:
                return None
            self.lost += 1
            return self.produced

    def rewritten(self, answer):
        return answer.replace(wire_address(self.broker), wire_address(self.bootstrap))


class _Connection:
    def __init__(self, proxy, client, broker):
        self.proxy, self.client, self.broker = proxy, client, broker
        # The broker answers in order: whether to cut at the answer, for each request under way.
        self.cut = collections.deque()
        for loop in (self._requests, self._answers):
            threading.Thread(target=self._until_closed, args=(loop,), daemon=True).start()

    def _until_closed(self, loop):
        try:
            loop()
        except OSError:
            pass
        for end in (self.client, self.broker):
            try:
                # Wakes the other thread, which close() does not.
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            end.close()

    def _requests(self):
        while request := frame(self.client):
            number = self.proxy.number_if_cut(request)
            self.cut.append(number is not None)
            send(self.broker, request)
            if number is not None and number % 2 == 1:
                return

    def _answers(self):
        while answer := frame(self.broker):
            if self.cut.popleft():
                return
            send(self.client, self.proxy.rewritten(answer))


def frame(end):
    """The next frame without its length, or None at the end."""
    length = exactly(end, 4)
    return length and exactly(end, struct.unpack(">i", length)[0])


def exactly(end, count):
    taken = bytearray()
    while len(taken) < count:
        part = end.recv(count - len(taken))
        if not part:
            return None
        taken += part
    return bytes(taken)


def send(end, body):
    end.sendall(struct.pack(">i", len(body)) + body)

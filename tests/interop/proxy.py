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

    The broker has then appended that request, and the client cannot know.
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

    def answer_is_lost(self, request):
        """Counts a request, and tells whether its answer is to be lost."""
        if struct.unpack_from(">h", request)[0] != PRODUCE:
            return False
        with self.lock:
            self.produced += 1
            return self.produced in self.cut

    def rewritten(self, answer):
        return answer.replace(wire_address(self.broker), wire_address(self.bootstrap))


class _Connection:
    def __init__(self, proxy, client, broker):
        self.proxy, self.client, self.broker = proxy, client, broker
        # The broker answers in order: whether the answer is lost, for each request under way.
        self.lost = collections.deque()
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
            self.lost.append(self.proxy.answer_is_lost(request))
            send(self.broker, request)

    def _answers(self):
        while answer := frame(self.broker):
            if self.lost.popleft():
                with self.proxy.lock:
                    self.proxy.lost += 1
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

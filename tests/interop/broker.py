"""A broker of ours as a child process, for tests with clients that we did not write."""

import json
import os
import pathlib
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.request

# Below the range that the system takes client ports from: while the broker is down, a client that tries to
# connect to a port of that range may be given this very port as its own, and then talks to itself.
PORTS = range(20_000, 32_000)
PATIENCE_SECONDS = 60


def free_port():
    """A port on which nobody listens."""
    for port in random.SystemRandom().sample(PORTS, 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
                return port
            except OSError:
                continue
    raise RuntimeError("no free port among a hundred")


class Broker:
    """The same ports and directory at every start."""

    def __init__(self, binary, *options):
        self.binary = binary
        self.directory = tempfile.mkdtemp(prefix="tidemill-test-")
        self.bootstrap = f"127.0.0.1:{free_port()}"
        self.admin = f"http://127.0.0.1:{free_port()}"
        self.options = list(options)
        self.process = None

    @property
    def log_path(self):
        return os.path.join(self.directory, "broker.log")

    def log_tail(self, lines=20):
        return "\n".join(pathlib.Path(self.log_path).read_text().splitlines()[-lines:])

    def spawn(self):
        """Starts the process and does not wait for it."""
        # The command line's own variables are not the server's: it gets flags only.
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMILL_")}
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--data-dir", os.path.join(self.directory, "data"),
                 "--listen", self.bootstrap, "--admin-listen", self.admin.removeprefix("http://"),
                 *self.options],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def wait_ready(self):
        give_up = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self.get("/readyz", 5)
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError("the broker does not start:\n" + self.log_tail()) from None
                time.sleep(0.005)

    def start(self):
        """Starts the broker and waits until it is ready; gives the seconds that took."""
        started = time.monotonic()
        self.spawn()
        self.wait_ready()
        return time.monotonic() - started

    def get(self, path, seconds_max=30):
        """The admin API's answer."""
        with urllib.request.urlopen(f"{self.admin}{path}", timeout=seconds_max) as answer:
            return json.load(answer)

    def kill(self):
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """An orderly stop; the broker must end by itself with status 0."""
        self.process.terminate()
        status = self.process.wait(timeout=PATIENCE_SECONDS)
        if status != 0:
            raise RuntimeError(f"the broker ended with status {status}:\n" + self.log_tail())

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def environment(self):
        """What tells the binary's own verbs of this broker."""
        return dict(os.environ, TIDEMILL_BOOTSTRAP_SERVERS=self.bootstrap, TIDEMILL_ADMIN=self.admin)

    def command(self, *arguments, stdin=None):
        """Runs one of the binary's own verbs against the broker."""
        done = subprocess.run([self.binary, *arguments], env=self.environment(), input=stdin,
                              capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"tidemill {' '.join(arguments)}: status {done.returncode}\n{done.stderr}")
        return done.stdout

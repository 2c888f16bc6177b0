"""A broker of ours as a child process, for tests with clients that we did not write."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Broker:
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

    def start(self):
        """Starts the broker and waits until it is ready."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("TIDEMILL_")}
        with open(self.log_path, "a") as log:
            self.process = subprocess.Popen(
                [self.binary, "serve", "--data-dir", os.path.join(self.directory, "data"),
                 "--listen", self.bootstrap, "--admin-listen", self.admin.removeprefix("http://"),
                 *self.options],
                env=environment, stdout=log, stderr=log,
            )
        give_up = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"{self.admin}/readyz", timeout=5).close()
                return
            except (OSError, urllib.error.URLError):
                if self.process.poll() is not None or time.monotonic() > give_up:
                    raise RuntimeError("the broker does not start:\n" + self.log_tail()) from None
                time.sleep(0.005)

    def kill(self):
        """kill -9."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        """An orderly stop; the broker must end by itself with status 0."""
        self.process.terminate()
        status = self.process.wait(timeout=60)
        if status != 0:
            raise RuntimeError(f"the broker ended with status {status}:\n" + self.log_tail())

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def command(self, *arguments, stdin=None):
        """Runs one of the binary's own verbs against the broker."""
        environment = dict(os.environ, TIDEMILL_BOOTSTRAP_SERVERS=self.bootstrap, TIDEMILL_ADMIN=self.admin)
        done = subprocess.run([self.binary, *arguments], env=environment, input=stdin,
                              capture_output=True, text=True, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"tidemill {' '.join(arguments)}: status {done.returncode}\n{done.stderr}")
        return done.stdout

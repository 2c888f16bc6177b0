"""Apache Kafka itself as a child process: one node (KRaft, broker and controller in one) from the jars that its tools come with."""

import os
import pathlib
import shutil
import socket
import subprocess
import tempfile
import time

import jvm
from broker import free_port

PATIENCE_SECONDS = 120
# Small, and so that nothing has to be waited for: not for members, the cleaner, or what is written down now and then.
SETTINGS = {
    "process.roles": "broker,controller",
    "node.id": 1,
    "controller.listener.names": "CONTROLLER",
    "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
    "num.network.threads": 1,
    "num.io.threads": 2,
    "background.threads": 2,
    "num.partitions": 1,
    "offsets.topic.replication.factor": 1,
    # Not Kafka's default, which a broker of ours would have by itself.
    "offsets.topic.num.partitions": 3,
    "transaction.state.log.replication.factor": 1,
    "transaction.state.log.min.isr": 1,
    "transaction.state.log.num.partitions": 2,
    "share.coordinator.state.topic.replication.factor": 1,
    "share.coordinator.state.topic.min.isr": 1,
    "group.initial.rebalance.delay.ms": 0,
    "log.cleaner.backoff.ms": 200,
    "log.cleaner.dedupe.buffer.size": 2 << 20,
    "log.flush.start.offset.checkpoint.interval.ms": 200,
    "log.initial.task.delay.ms": 200,
    "auto.create.topics.enable": "false",
}


class KafkaServer:
    """Its log directory is `logs`, whatever becomes of the process."""

    def __init__(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="kafka-test-"))
        self.logs = self.directory / "logs"
        self.port = free_port()
        self.bootstrap, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{free_port()}"
        settings = SETTINGS | {
            "log.dirs": self.logs,
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "controller.quorum.voters": f"1@{controller}",
        }
        self.properties = self.directory / "server.properties"
        self.properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        self.process = None

    @property
    def said(self):
        return self.directory / "kafka.log"

    def _command(self, main, *arguments):
        return jvm.java("tools", main, *arguments, heap_mb=320, log_level="info")

    def start(self):
        if not self.logs.exists():
            with open(self.said, "a") as said:
                subprocess.run(self._command("kafka.tools.StorageTool", "format", "--config", self.properties, "--cluster-id", "AAAAAAAAQACAAAAAAAAAAQ"),
                               stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=True, timeout=PATIENCE_SECONDS)
        with open(self.said, "a") as said:
            self.process = subprocess.Popen(self._command("kafka.Kafka", self.properties), cwd=self.directory, env=dict(os.environ),
                                            stdin=subprocess.DEVNULL, stdout=said, stderr=said)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._is_listening():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("Kafka does not start:\n" + self.tail())
            time.sleep(0.05)

    def _is_listening(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def tail(self, lines=40):
        return "\n".join(self.said.read_text(errors="replace").splitlines()[-lines:])

    def stop(self):
        """An orderly stop, after which the logs are marked as closed."""
        self.process.terminate()
        self.process.wait(timeout=PATIENCE_SECONDS)

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

    def remove(self):
        if self.process is not None and self.process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)

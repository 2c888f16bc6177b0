"""The clients of the compatibility suite as child processes that speak the language of python/language.py."""

import json
import pathlib
import queue
import subprocess
import sys
import tempfile
import threading

import jvm
from jvm import INTEROP, TARGET

HERE = pathlib.Path(__file__).resolve().parent
# A program ends by itself after this; an answer must come much earlier.
LIFE_SECONDS, ANSWER_SECONDS = 240, 60


def java(directory):
    return jvm.java(directory, "tidemill.interop.Client", "--mode", "commands")


def python(program):
    return [sys.executable, str(HERE / "python" / program)]


# In the order of the page's columns.
CLIENTS = {
    "Java 4": java("java"),
    "Java 3.9": java("java-3.9"),
    "librdkafka": python("with_librdkafka.py"),
    "rdkafka": [str(TARGET / "debug" / "examples" / "interop-client")],
    "franz-go": [str(INTEROP / "go" / "client"), "--mode", "commands"],
    "aiokafka": python("with_aiokafka.py"),
    "kafka-python": python("with_kafka_python.py"),
    "kafkajs": ["node", str(INTEROP / "node" / "client.js")],
    "kcat": python("with_kcat.py"),
}


class Refused(Exception):
    """What a client answers instead of doing it; `code` is Kafka's, or negative if the client itself refused."""

    def __init__(self, what, answer):
        super().__init__(f"{what}: {answer['error']} (code {answer['code']})")
        self.code = answer["code"]


class Broken(Exception):
    """The program has ended or does not answer."""


class Program:
    """One client at work. Commands may come from several threads; each waits for its own answer."""

    def __init__(self, client, bootstrap):
        self.client = client
        self.errors = tempfile.TemporaryFile("w+", errors="replace")
        self.process = subprocess.Popen(CLIENTS[client], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)
        self.answers = queue.Queue()
        self.lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()
        self.identity = self.do("hello", bootstrap=bootstrap, seconds=LIFE_SECONDS)

    def _listen(self):
        for line in self.process.stdout:
            self.answers.put(line)
        self.answers.put(None)

    def do(self, command, **fields):
        """The answer's fields."""
        with self.lock:
            try:
                self.process.stdin.write(json.dumps({"do": command, **fields}) + "\n")
                self.process.stdin.flush()
                line = self.answers.get(timeout=ANSWER_SECONDS)
            except (OSError, queue.Empty):
                line = None
            if line is None:
                self.kill()
                raise Broken(f"{self.client} did not answer {command}: {self.complaints()}")
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(f"{self.client}, {command}", answer)
        return answer

    def complaints(self):
        self.errors.seek(0)
        return self.errors.read()[-3000:]

    def is_alive(self):
        return self.process.poll() is None

    def kill(self):
        """kill -9."""
        self.process.kill()
        self.process.wait()

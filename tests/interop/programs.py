"""The foreign clients (python/, java/, go/) as child processes. python/client.py says what they take and print."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile

TARGET = pathlib.Path(os.environ["TARGET"])
JAVA = TARGET / "interop" / "java"
# A short life: no time for the optimising compiler.
JVM = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx128m", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]

PROGRAMS = {
    "java": ["java", *JVM, "-cp", f"{JAVA}/classes:{JAVA}/lib/*", "tidemill.interop.Client"],
    "franz-go": [str(TARGET / "interop" / "go" / "client")],
    "librdkafka": [sys.executable, str(pathlib.Path(__file__).resolve().parent / "python" / "client.py")],
}


class Program:
    """One of the clients at work; `options` with underscores for dashes."""

    def __init__(self, client, **options):
        self.what = f"{client} {options}"
        self.errors = tempfile.TemporaryFile("w+")
        flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", str(value))]
        self.process = subprocess.Popen(PROGRAMS[client] + flags, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.errors, text=True)

    def next_line(self):
        """The next line that it prints, or None if there is none. It ends by itself: it has a time limit."""
        line = self.process.stdout.readline()
        return json.loads(line) if line else None

    def lines(self):
        """All lines to its end, which must be a good one."""
        found = list(iter(self.next_line, None))
        if self.process.wait() != 0:
            self.errors.seek(0)
            raise RuntimeError(f"{self.what} ended with status {self.process.returncode}\n"
                               f"{found[-5:]}\n{self.errors.read()[-5000:]}")
        return found


def produce(client, steps, **options):
    """Runs steps, each (what follows, values), through a client; gives its lines."""
    with tempfile.NamedTemporaryFile("w", suffix=".steps") as file:
        file.writelines("\t".join([then, *values]) + "\n" for then, values in steps)
        file.flush()
        return Program(client, batches=file.name, **options).lines()


def consume(client, **options):
    """The records that a client reads, as (offset, value, headers), and its line about the end."""
    *records, end = Program(client, mode="consume", **options).lines()
    return [(line["offset"], line["value"], line["headers"]) for line in records], end

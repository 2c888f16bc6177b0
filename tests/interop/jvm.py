"""Programs of Apache Kafka from their jars: one in a virtual machine of its own, or many tools one after the other in one."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

TARGET = pathlib.Path(os.environ.get("TARGET", pathlib.Path(__file__).resolve().parents[2] / "target"))
INTEROP = TARGET / "interop"
TOOLS = INTEROP / "tools"
# A short life: no time for the optimising compiler.
SHORT_LIVED = ["java", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]


def java(directory, main, *arguments, heap_mb=192, log_level="off", temporary=tempfile.gettempdir()):
    """The command line of a class of what Maven has put into this directory, with all of its jars."""
    return [*SHORT_LIVED, f"-Xmx{heap_mb}m", f"-Djava.io.tmpdir={temporary}", f"-Dorg.slf4j.simpleLogger.defaultLogLevel={log_level}",
            "-cp", f"{INTEROP / directory}/classes:{INTEROP / directory}/lib/*", main, *map(str, arguments)]


def tools_are_there():
    return (TOOLS / "classes" / "tidemill" / "tools" / "Runner.class").exists() and any((TOOLS / "lib").glob("kafka-tools-*.jar"))


def wrong(text):
    print(f"WRONG: {text}", flush=True)
    sys.exit(1)


class Runner:
    """The tools in one virtual machine (tools/…/Runner.java)."""

    def __init__(self, seconds_max=60, heap_mb=192):
        command = java("tools", "tidemill.tools.Runner", heap_mb=heap_mb, log_level="error")
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds_max = seconds_max
        self.version, self.error = None, ""

    def __call__(self, name, *arguments, stdin="", status=0):
        """What a tool prints; it must end with this status."""
        answer = self.answer(name, *arguments, stdin=stdin)
        if answer["status"] != status:
            wrong(f"{name} {' '.join(map(str, arguments))}: status {answer['status']}\n{answer['out']}\n{answer['error']}")
        self.error = answer["error"]
        return answer["out"]

    def answer(self, name, *arguments, stdin=""):
        """What a tool prints to `out` and `error`, and its `status`, whatever they are."""
        asked = {"class": name, "arguments": [str(argument) for argument in arguments], "stdin": stdin}
        clock = threading.Timer(self.seconds_max, self.process.kill)
        clock.start()
        self.process.stdin.write(json.dumps(asked) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        clock.cancel()
        if not line:
            wrong(f"{name} {' '.join(asked['arguments'])[:500]}: no answer within {self.seconds_max} s")
        answer = json.loads(line)
        self.version = answer["version"]
        return answer

    def end(self):
        self.process.kill()
        self.process.wait()

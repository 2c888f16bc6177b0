"""Every producer and consumer of docs/clients.md, run as it stands there: each consumer must print what every producer sent."""

import concurrent.futures
import os
import pathlib
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
TARGET = pathlib.Path(os.environ.get("TARGET", HERE.parents[1] / "target"))
INTEROP = TARGET / "interop"
SECONDS_MAX = 60
JAVA = ["java", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-cp", f"{INTEROP}/java/lib/*"]


def python(name):
    return {"files": (f"snippets/{name}/produce.py", f"snippets/{name}/consume.py"), "language": "python",
            "run": [[sys.executable, str(HERE / "snippets" / name / end)] for end in ("produce.py", "consume.py")]}


# In the order of the page: how to install, what is shown, and how the suite runs it.
SNIPPETS = {
    "Java": {
        "greeting": "hello from Java",
        "install": "`org.apache.kafka:kafka-clients:{kafka-clients}`, from Maven Central. A file is run by `java -cp 'lib/*' Produce.java`.",
        "files": ("snippets/java/Produce.java", "snippets/java/Consume.java"), "language": "java",
        "run": [[*JAVA, str(HERE / "snippets" / "java" / end)] for end in ("Produce.java", "Consume.java")],
    },
    "Python, confluent-kafka": {
        "greeting": "hello from confluent-kafka", "install": "`pip install confluent-kafka=={confluent-kafka}`", **python("librdkafka"),
    },
    "Python, aiokafka": {
        "greeting": "hello from aiokafka", "install": "`pip install aiokafka=={aiokafka}`", **python("aiokafka"),
    },
    "Python, kafka-python": {
        "greeting": "hello from kafka-python", "install": "`pip install kafka-python=={kafka-python}`", **python("kafka-python"),
    },
    "Rust": {
        "greeting": "hello from rdkafka",
        "install": "`cargo add rdkafka@{rdkafka}` and `cargo add tokio --features macros,rt-multi-thread`",
        "files": ("snippets/rdkafka/produce.rs", "snippets/rdkafka/consume.rs"), "language": "rust",
        "run": [[str(TARGET / "debug" / "examples" / f"interop-{end}")] for end in ("produce", "consume")],
    },
    "Go": {
        "greeting": "hello from franz-go", "install": "`go get github.com/twmb/franz-go@{franz-go}`",
        "files": ("go/snippets/produce/main.go", "go/snippets/consume/main.go"), "language": "go",
        "run": [[str(INTEROP / "go" / end)] for end in ("produce", "consume")],
    },
    "JavaScript": {
        "greeting": "hello from kafkajs", "install": "`npm install kafkajs@{kafkajs}`",
        "files": ("snippets/kafkajs/produce.js", "snippets/kafkajs/consume.js"), "language": "javascript",
        "run": [["node", str(HERE / "snippets" / "kafkajs" / end)] for end in ("produce.js", "consume.js")],
    },
    "Shell, kcat": {
        "greeting": "hello from kcat", "install": "`apt-get install kcat`",
        "files": ("snippets/kcat/produce.sh", "snippets/kcat/consume.sh"), "language": "sh",
        "run": [["bash", str(HERE / "snippets" / "kcat" / end)] for end in ("produce.sh", "consume.sh")],
    },
}


def environment():
    return dict(os.environ, NODE_PATH=str(INTEROP / "node" / "node_modules"))


def wrong(text):
    print(f"WRONG: {text}", flush=True)
    os._exit(1)


def produce(name):
    done = subprocess.run(SNIPPETS[name]["run"][0], env=environment(), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=SECONDS_MAX)
    if done.returncode != 0:
        wrong(f"{name} produces: status {done.returncode}\n{done.stdout}\n{done.stderr}")
    print(f"ok: {name} produces", flush=True)


def consume(name):
    """Until every greeting has been printed."""
    wanted = {snippet["greeting"] for snippet in SNIPPETS.values()}
    errors = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(SNIPPETS[name]["run"][1], env=environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                               stderr=errors, text=True, start_new_session=True)
    clock = threading.Timer(SECONDS_MAX, process.kill)
    clock.start()
    said = []
    for line in process.stdout:
        said.append(line)
        wanted = {greeting for greeting in wanted if greeting not in line}
        if not wanted:
            break
    clock.cancel()
    # A shell's child too.
    try:
        os.killpg(process.pid, 9)
    except ProcessLookupError:
        pass
    process.wait()
    if wanted:
        errors.seek(0)
        wrong(f"{name} did not print {sorted(wanted)}, but\n{''.join(said)}\n{errors.read()[-3000:]}")
    print(f"ok: {name} consumes what all have produced", flush=True)


def main():
    from common import ADMIN, SECONDS_MAX as ADMIN_SECONDS
    from confluent_kafka.admin import NewTopic
    ADMIN.create_topics([NewTopic("greetings", 3, 1)])["greetings"].result(ADMIN_SECONDS)
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(produce, SNIPPETS))
        list(pool.map(consume, SNIPPETS))


if __name__ == "__main__":
    main()

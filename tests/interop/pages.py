"""docs/compatibility.md from what the suite has seen, and docs/clients.md from the files that it has run.

usage: pages.py check|write      (after `make interop`, which checks; `make compatibility` writes)
"""

import json
import pathlib
import re
import sys

import snippets

HERE = pathlib.Path(__file__).resolve().parent
DOCS = HERE.parents[1] / "docs"
INTEROP = snippets.INTEROP

COMPATIBILITY = """# Compatibility

What clients that we did not write do with the broker: `make interop` runs every scenario with every client against the real
broker and fails if this page says something else. Versions are pinned in `tests/interop`. {passed} cells pass. "–": the client cannot, and "no": the
broker does not, for the reason of that number. `make compatibility` writes the page anew.

## Clients

{clients}

{tables}

## Reasons

{reasons}

## Apache Kafka's own tools

Version {tools_version}, run from their jars against the broker, and `kafka-dump-log` against its files, also after a `kill -9` and a restart.

{tools}

What is left out of the protocol, and why, stands in [NON_FEATURES.md](../NON_FEATURES.md). A producer and a consumer for each
language: [clients.md](clients.md).
"""

CLIENTS = """# Clients

A producer and a consumer for each language, to copy. `make interop` runs exactly these files, and each consumer reads what all of the
producers have sent. What each client can do beyond that: [compatibility.md](compatibility.md).

Start the broker (`tidemill serve`), and make the topic, or let the first record make it with `num.partitions` partitions:

```sh
tidemill topic create greetings --partitions 3
```

The broker is looked for at `localhost:9092`, or where the environment variable `BOOTSTRAP` says. All producers wait until a record is on
stable storage (`acks=all`, the default or what idempotence implies); all consumers commit what they have handled, so that a record may come again after
a crash, but none is lost, and read only what is committed of transactions (`read_committed`, which is the default of librdkafka and kafkajs).

{sections}
"""


def table(rows):
    head, *rest = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([head, "|" + " --- |" * len(rows[0]), *rest])


def compatibility(seen, tools, streams):
    clients, numbers, passed = list(seen["clients"]), {}, 0
    sections = {}
    for scenario in seen["scenarios"]:
        cells = []
        for client in clients:
            cell = scenario["cells"][client]
            passed += cell["outcome"] == "pass"
            mark = {"pass": "yes", "cannot": "–", "fails": "**no**"}[cell["outcome"]]
            if reason := cell.get("reason"):
                mark += f" [{numbers.setdefault(reason, len(numbers) + 1)}](#reasons)"
            cells.append(mark)
        sections.setdefault(scenario["section"], []).append([scenario["title"], *cells])
    tables = "\n\n".join(f"## {section}\n\n" + table([["", *clients], *rows]) for section, rows in sections.items())
    return COMPATIBILITY.format(
        passed=passed, tables=tables, tools_version=tools["version"],
        clients=table([["client", "version"], *([client, version] for client, version in seen["clients"].items())]),
        reasons="\n".join(f"{number}. {reason}." for reason, number in numbers.items()),
        tools=table([["tool", "what it does here"], *([one["tool"], one["job"]] for one in tools["tools"] + streams["tools"])]),
    )


def pinned():
    """The versions of the clients, from where they are pinned."""
    found = dict(line.split("==") for line in (HERE / "python" / "requirements.txt").read_text().splitlines() if "==" in line)
    for name, file, pattern in (
        ("kafka-clients", "java/pom.xml", r"<kafka.version>(.*)</kafka.version>"),
        ("franz-go", "go/go.mod", r"twmb/franz-go (\S+)"),
        ("kafkajs", "node/package.json", r'"kafkajs": "(.*)"'),
        ("rdkafka", "../../Cargo.lock", r'name = "rdkafka"\nversion = "(.*)"'),
    ):
        found[name] = re.search(pattern, (HERE / file).read_text())[1]
    return found


def clients():
    sections = []
    for name, snippet in snippets.SNIPPETS.items():
        install = snippet["install"]
        for package, version in pinned().items():
            install = install.replace("{" + package + "}", version)
        code = [f"```{snippet['language']}\n{(HERE / file).read_text().strip()}\n```" for file in snippet["files"]]
        sections.append(f"## {name}\n\n{install}\n\nA producer:\n\n{code[0]}\n\nA consumer:\n\n{code[1]}")
    return CLIENTS.format(sections="\n\n".join(sections))


def pages():
    seen, tools, streams = (json.loads((INTEROP / f"{name}.json").read_text()) for name in ("compatibility", "tools", "streams"))
    return {"compatibility.md": compatibility(seen, tools, streams), "clients.md": clients()}


def check():
    """What differs from the committed pages, as text."""
    wrong = []
    for name, wanted in pages().items():
        got = (DOCS / name).read_text().splitlines() if (DOCS / name).exists() else []
        lines = [line for line in wanted.splitlines() if line not in got] + [line for line in got if line not in wanted.splitlines()]
        if got != wanted.splitlines():
            wrong.append(f"docs/{name} is out of date (make compatibility writes it); it differs in\n" + "\n".join(lines[:20]))
    return "\n".join(wrong)


def write():
    for name, text in pages().items():
        (DOCS / name).write_text(text)


if __name__ == "__main__":
    if sys.argv[1:] == ["write"]:
        write()
    elif wrong := check():
        sys.exit(wrong)

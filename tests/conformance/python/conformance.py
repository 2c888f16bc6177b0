"""What both kinds of conformance guest share: how they are told what to do, and how they start."""

from typing import NoReturn

from componentize_py_types import Err
from wit_world.imports import config, log
from wit_world.imports.types import Header


def command(headers: list[Header]) -> list[str]:
    """The words of the header `do`; `copy` without one."""
    for header in headers:
        if header.key == "do":
            return (header.value or b"").decode().split(" ")
    return ["copy"]


def start(whoami: str) -> None:
    """Does what the config key `init` says, and says who the instance is."""
    match (config.get("init") or "").split(" "):
        case ["refuse", *words]:
            raise Err(" ".join(words))
        case ["trap", *words]:
            raise RuntimeError(" ".join(words))
        case ["loop"]:
            spin()
    log.write(log.Level.INFO, f"started {whoami}")


def spin() -> NoReturn:
    while True:
        pass

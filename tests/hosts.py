"""Two hosts on this machine: network namespaces joined by a cable, where the system allows it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """A network namespace with an address that the other host reaches."""

    name: str
    address: str

    def command(self, *words: str) -> list[str]:
        """Give the command that runs another on this host."""
        return ["ip", "netns", "exec", self.name, *words]


def can_have_hosts() -> bool:
    """Tell whether this user may make network namespaces here."""
    if os.geteuid() or shutil.which("ip") is None:
        return False
    name = f"try{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True)
    if made.returncode == 0:
        subprocess.run(["ip", "netns", "del", name], check=True)
    return made.returncode == 0


@contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Make two hosts, and remove them."""
    number = os.getpid()
    hosts = Host(f"a{number}", "10.77.0.1"), Host(f"b{number}", "10.77.0.2")
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
        ends = [f"v{host.name}" for host in hosts]
        _ip("link", "add", ends[0], "type", "veth", "peer", "name", ends[1])
        for host, end in zip(hosts, ends, strict=True):
            _ip("link", "set", end, "netns", host.name)
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", end)
            _ip("-n", host.name, "link", "set", end, "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)

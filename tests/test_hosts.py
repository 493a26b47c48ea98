"""Cells are classified by two hosts with addresses of their own, joined into a Ray cluster."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from conftest import SAMPLES
from hosts import Host, can_have_hosts, two_hosts

from marrowscope.inference.classify import classify
from marrowscope.inference.options import InferenceOptions
from marrowscope.io.discovery import find_files
from marrowscope.model.bundle import Bundle

PORT = 26379
CELLS = SAMPLES / "cells" / "pbc"
READY = "Ray runtime started"
ALIKE = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": "0123456789abcdef" * 4,
    "PYTHONUNBUFFERED": "1",
}
"""What all processes of the cluster are started with."""


@contextmanager
def node(host: Host, *words: str) -> Iterator[None]:
    """Run a Ray node with one processor on a host."""
    ray = str(Path(sys.executable).with_name("ray"))
    command = [ray, "start", "--block", "--num-cpus=1", "--object-store-memory=100000000"]
    command += [f"--node-ip-address={host.address}", *words]
    process = subprocess.Popen(
        host.command(*command),
        env=os.environ | ALIKE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        assert any(READY in line for line in process.stdout)
        yield
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.communicate()


@pytest.mark.skipif(not can_have_hosts(), reason="left out: hosts need root and `ip netns`")
def test_two_hosts_read_as_one_does(toy_bundle: Bundle, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "marrowscope", "classify", str(CELLS), "--um-per-px", "0.1"]
    command += ["--bundle", str(toy_bundle.folder), "--output", str(tmp_path / "there")]
    classify(
        find_files([str(CELLS)], 0.1),
        toy_bundle,
        tmp_path / "here",
        inference=InferenceOptions(um_per_px=0.1),
    )
    with (
        two_hosts() as (head, other),
        node(head, "--head", f"--port={PORT}", "--include-dashboard=false"),
        node(other, f"--address={head.address}:{PORT}"),
    ):
        command += ["--ray", f"{head.address}:{PORT}", "--engine", "onnxruntime"]
        done = subprocess.run(
            head.command(*command),
            env=os.environ | ALIKE,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    same = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("here", "there")]
    assert same[0] == same[1]

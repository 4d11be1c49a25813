"""Any kernel with any userland: all pairs of the catalogue reach SSH."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from conftest import Lab

KERNELS = ("5.10", "6.1", "6.12", "7.x")
USERLANDS = {"bullseye": "2.31", "bookworm": "2.36", "trixie": "2.41", "testing": "2."}


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_with_every_userland(lab: Lab, kernel: str) -> None:
    def boots(userland: str) -> str:
        command = "uname -r; /lib/x86_64-linux-gnu/libc.so.6 | head -n 1"
        done = lab("exec", "-k", kernel, "-u", userland, "--", "sh", "-c", command)
        assert done.returncode == 0, done.stderr
        return done.stdout

    with ThreadPoolExecutor(2) as pool:
        for (userland, glibc), said in zip(USERLANDS.items(), pool.map(boots, USERLANDS), strict=True):
            release, banner = said.splitlines()
            assert release.startswith(kernel.rstrip("x")), userland
            assert f"version {glibc}" in banner, userland

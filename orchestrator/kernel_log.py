"""Lines of the kernel's log as text: without printk's stamp, and without what is of one run only. Pure."""

from __future__ import annotations

import re

_PRINTK = re.compile(r"(?:<\d+>)?\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? ?")
_CODE = re.compile(r"^Code: .*")
# addresses, sizes and counts alike: an address may by chance have no letter in it
_NUMBER = re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8,16}\b|(?<=[\[,+])[0-9a-f]+(?=[],+])|(?<![\w.])\d+(?![\w.])")
_OTHERS = re.compile(r"IPv6: ADDRCONF|callbacks suppressed|link becomes ready|random: crng|clocksource|virtio_net"
                     r"|hrtimer: interrupt took")  # fmt: skip


def stamped(line: str) -> bool:
    """Whether the line has printk's time stamp."""
    return _PRINTK.search(line) is not None


def text_of(line: str) -> str:
    """What the kernel said, without its time stamp; also behind what somebody left on the line before it."""
    return _PRINTK.split(line)[-1].rstrip()


def comparable(line: str) -> str:
    """A form of a kernel line that is the same whether it came over the console or from /dev/kmsg."""
    return "".join(filter(str.isprintable, text_of(line.split("\n")[0])))[:300].rstrip()


def log_shape(line: str) -> str:
    """A line of the kernel log without what is of one run only: time, ids, addresses, numbers. "" for what the program
    has no part in: the guest's own devices, and how much printk left out."""
    text = comparable(line.partition(";")[2] or line)
    if not text or _OTHERS.search(text):
        return ""
    return _NUMBER.sub("N", _CODE.sub("Code: …", text))


def log_kind(line: str) -> str:
    """What a line of the kernel log is one of: its first two words, without numbers."""
    return kind_of(log_shape(line))


def kind_of(shape: str) -> str:
    """The same of its shape."""
    return " ".join(shape.split()[:2])

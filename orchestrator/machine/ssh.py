"""SSH into the guest: the run's own key, the host key pinned, one connection for everything (paramiko)."""

from __future__ import annotations

import base64
import io
import logging
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from orchestrator.errors import GuestError, LimitError

if TYPE_CHECKING:
    import paramiko


@dataclass(frozen=True)
class Identity:
    """The keys of one run. ``host_key`` is in dropbear's own file format, ``authorized`` a line of
    authorized_keys, ``private`` OpenSSH's PEM; ``host_public`` the wire form that the guest must show."""

    private: bytes
    authorized: bytes
    host_key: bytes
    host_public: bytes


def new_identity() -> Identity:
    """Fresh ed25519 keys for the user and for the guest."""
    user, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    public = _wire(_raw_public(host))
    seed = host.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
    # dropbear's ed25519.c, buf_put_ed25519_priv_key(): name, then seed and public key in one string
    host_key = _string(b"ssh-ed25519") + _string(seed + _raw_public(host))
    return Identity(
        private=user.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
        authorized=b"ssh-ed25519 " + base64.b64encode(_wire(_raw_public(user))) + b" lab\n",
        host_key=host_key,
        host_public=public,
    )


def _raw_public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def _string(value: bytes) -> bytes:
    return struct.pack(">I", len(value)) + value


def _wire(public: bytes) -> bytes:
    return _string(b"ssh-ed25519") + _string(public)


@dataclass(frozen=True)
class Completed:
    """A command that ended. ``code`` is None if a signal ended it (SSH tells no number)."""

    code: int | None
    output: bytes
    errors: bytes


class Ssh:
    """One authenticated connection. Raises GuestError when the guest is lost."""

    def __init__(self, port: int, identity: Identity, patience: float) -> None:
        import paramiko  # 0.2 s: only where a guest is really there

        logging.getLogger("paramiko").addHandler(logging.NullHandler())  # what goes wrong is said once, by us
        self._paramiko = paramiko
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=patience)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._transport = paramiko.Transport(self._socket)
        self._transport.banner_timeout = self._transport.auth_timeout = patience
        self._transport.handshake_timeout = patience
        try:
            self._open(identity, patience)
        except BaseException:
            self.close()
            raise

    def _open(self, identity: Identity, patience: float) -> None:
        try:
            self._transport.start_client(timeout=patience)
            shown = self._transport.get_remote_server_key().asbytes()
            if shown != identity.host_public:
                raise GuestError("whoever answers on the guest's SSH port is not our guest: its host key differs")
            key = self._paramiko.Ed25519Key.from_private_key(io.StringIO(identity.private.decode()))
            self._transport.auth_publickey("root", key)
        except (self._paramiko.SSHException, EOFError, OSError) as error:
            raise GuestError(f"SSH to the guest failed: {error or type(error).__name__}") from None

    @property
    def alive(self) -> bool:
        """Whether the connection still stands."""
        return self._transport.is_active()

    def open(self, command: str, *, terminal: tuple[str, int, int] | None = None,
             patience: float = 30.0) -> paramiko.Channel:
        """Starts ``command`` in the guest's shell and returns its channel (stdin, stdout, stderr, status).
        ``terminal`` is (TERM, columns, rows) for a pseudo-terminal; an empty command is a login shell."""
        try:
            channel = self._transport.open_session(timeout=patience)
            channel.settimeout(patience)
            if terminal:
                channel.get_pty(*terminal)
            if command:
                channel.exec_command(command)
            else:
                channel.invoke_shell()
        except (self._paramiko.SSHException, EOFError, OSError) as error:
            raise GuestError(f"the guest does not start a command: {error or type(error).__name__}") from None
        return channel

    def run(self, command: str, *, stdin: bytes = b"", patience: float = 30.0, limit: int = 16 << 20) -> Completed:
        """Runs a command to its end; output and errors up to ``limit`` bytes each.

        Raises LimitError after ``patience`` seconds, GuestError if the guest is lost.
        """
        channel = self.open(command, patience=patience)
        try:
            if stdin:
                channel.sendall(stdin)
            channel.shutdown_write()
            return self._collect(channel, command, time.monotonic() + patience, limit)
        except TimeoutError:
            raise LimitError(f"`{command}` did not end within {patience:.0f} s") from None
        except (self._paramiko.SSHException, EOFError, OSError) as error:
            raise GuestError(f"the guest was lost during `{command}`: {error}") from None
        finally:
            channel.close()

    def _collect(self, channel: paramiko.Channel, command: str, deadline: float, limit: int) -> Completed:
        output, errors = bytearray(), bytearray()

        def drain(receive: Callable[[int], bytes], kept: bytearray) -> None:
            while chunk := receive(1 << 16):
                kept += chunk[: max(0, limit - len(kept))]

        channel.settimeout(max(0.01, deadline - time.monotonic()))
        # both at once: a full window of the one would hold up the other
        other = threading.Thread(target=drain, args=(channel.recv_stderr, errors), daemon=True)
        other.start()
        drain(channel.recv, output)
        other.join(max(0.01, deadline - time.monotonic()))
        if not channel.status_event.wait(max(0.01, deadline - time.monotonic())):
            raise TimeoutError
        code = channel.recv_exit_status()
        if code == -1 and not self.alive:
            raise GuestError(f"the guest was lost during `{command}`")
        return Completed(code if code >= 0 else None, bytes(output), bytes(errors))

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()
        self._socket.close()

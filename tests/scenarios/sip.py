"""SIP messages over a stream: TCP, TLS, WebSocket (RFC 7118), with or without TLS."""

import base64
import hashlib
import os
import socket
import ssl
import struct

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Refused(Exception):
    """The far side answered something else than expected."""


class Stream:
    """SIP messages over TCP or TLS."""

    def __init__(self, plain):
        self.socket = plain
        self.received = b""

    def send(self, lines, body=""):
        self.socket.sendall(written(lines, body))

    def read(self):
        """One whole message: its start line, and its headers as (name, value) pairs."""
        while b"\r\n\r\n" not in self.received:
            self.more()
        start, headers, rest = parsed(self.received)
        length = int(values(headers, "Content-Length", "l")[0])
        while len(rest) < length:
            self.more()
            rest = self.received.partition(b"\r\n\r\n")[2]
        self.received = rest[length:]
        return start, headers

    def close(self):
        self.socket.close()

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Refused("connection closed by the far side")
        self.received += data


class WebSocket(Stream):
    """SIP messages as WebSocket frames, RFC 6455, from the client's side."""

    def __init__(self, plain, host):
        super().__init__(plain)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = [
            "GET / HTTP/1.1",
            f"Host: {host}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Protocol: sip",
            "Origin: http://siplens.test",
        ]
        self.socket.sendall("\r\n".join(lines + ["", ""]).encode())
        while b"\r\n\r\n" not in self.received:
            self.more()
        start, headers, self.received = parsed(self.received)
        accepted = base64.b64encode(hashlib.sha1((key + GUID).encode()).digest()).decode()
        if " 101 " not in start or values(headers, "Sec-WebSocket-Accept") != [accepted]:
            raise Refused(f"the handshake was answered with {start}")

    def send(self, lines, body=""):
        self.frame(0x1, written(lines, body))

    def frame(self, opcode, payload):
        """One final frame, masked as those of clients must be."""
        mask = os.urandom(4)
        length = len(payload)
        size = bytes([0x80 | length]) if length < 126 else b"\xfe" + struct.pack("!H", length)
        masked = bytes(octet ^ mask[place % 4] for place, octet in enumerate(payload))
        self.socket.sendall(bytes([0x80 | opcode]) + size + mask + masked)

    def read(self):
        while True:
            opcode, payload = self.next_frame()
            if opcode == 0x9:
                self.frame(0xA, payload)
            elif opcode == 0x8:
                raise Refused("WebSocket closed by the far side")
            elif payload.strip():
                start, headers, _ = parsed(payload)
                return start, headers

    def close(self):
        """Only once the server has closed, too: then it has taken all that was sent before."""
        self.frame(0x8, struct.pack("!H", 1000))
        while self.next_frame()[0] != 0x8:
            pass
        super().close()

    def next_frame(self):
        """One unmasked frame, whole, as servers send it; Kamailio does not fragment."""
        head = self.octets(2)
        length = head[1] & 0x7F
        if length == 126:
            length = struct.unpack("!H", self.octets(2))[0]
        elif length == 127:
            length = struct.unpack("!Q", self.octets(8))[0]
        return head[0] & 0x0F, self.octets(length)

    def octets(self, count):
        while len(self.received) < count:
            self.more()
        found, self.received = self.received[:count], self.received[count:]
        return found


def connect(transport, host, port, cert, timeout, preface=b""):
    """A connection for one of tcp, tls, ws and wss. The proxy's certificate is self-signed, so it is compared with `cert`
    instead of with an authority. `preface` is sent first, in clear."""
    plain = socket.create_connection((host, port), timeout=timeout)
    plain.sendall(preface)
    if transport in ("tls", "wss"):
        context = ssl.create_default_context(cafile=cert)
        context.check_hostname = False
        plain = context.wrap_socket(plain)
    return WebSocket(plain, host) if transport in ("ws", "wss") else Stream(plain)


def written(lines, body):
    return "\r\n".join(lines + [f"Content-Length: {len(body)}", "", body]).encode()


def parsed(octets):
    """Start line, headers as (name, value) pairs, and what follows them."""
    head, _, rest = octets.partition(b"\r\n\r\n")
    start, *lines = head.decode().split("\r\n")
    return start, [tuple(part.strip() for part in line.split(":", 1)) for line in lines], rest


def values(headers, *names):
    wanted = [name.lower() for name in names]
    return [value for name, value in headers if name.lower() in wanted]


def reply(status, headers, more=()):
    """The lines of a reply to a request with these headers."""
    copied = ("via", "v", "record-route", "from", "f", "to", "t", "call-id", "i", "cseq")
    return [f"SIP/2.0 {status}"] + [f"{name}: {value}" for name, value in headers if name.lower() in copied] + list(more)

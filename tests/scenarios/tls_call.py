#!/usr/bin/env python3
"""Places one SIP call over TLS through a proxy: INVITE, ACK, a pause, BYE.

Debian's sipp has no TLS. Prints the Call-ID; exits with 0 if the call ended as expected.
The proxy's certificate is self-signed, so it is compared with --cert instead of with an authority.
"""

import argparse
import os
import re
import socket
import ssl
import sys
import time


class Refused(Exception):
    """The proxy or the far side answered something else than expected."""


class Connection:
    """SIP messages over one TLS connection."""

    def __init__(self, host, port, cert, timeout):
        context = ssl.create_default_context(cafile=cert)
        context.check_hostname = False
        plain = socket.create_connection((host, port), timeout=timeout)
        self.socket = context.wrap_socket(plain)
        self.received = b""

    def send(self, lines, body=""):
        lines = lines + [f"Content-Length: {len(body)}", "", body]
        self.socket.sendall("\r\n".join(lines).encode())

    def read(self):
        """One whole message: its start line, and its headers as (name, value) pairs."""
        while b"\r\n\r\n" not in self.received:
            self.more()
        head, _, rest = self.received.partition(b"\r\n\r\n")
        start, *lines = head.decode().split("\r\n")
        headers = [tuple(part.strip() for part in line.split(":", 1)) for line in lines]
        length = int(values(headers, "Content-Length", "l")[0])
        while len(rest) < length:
            self.more()
            rest = self.received.partition(b"\r\n\r\n")[2]
        self.received = rest[length:]
        return start, headers

    def more(self):
        data = self.socket.recv(65536)
        if not data:
            raise Refused("connection closed by the proxy")
        self.received += data

    def final_reply(self, method):
        """The final reply to our request, provisional ones skipped."""
        while True:
            start, headers = self.read()
            if not start.startswith("SIP/2.0 "):
                continue
            status = int(start.split(" ", 2)[1])
            if status >= 200 and values(headers, "CSeq")[0].endswith(method):
                return status, headers


def values(headers, *names):
    wanted = [name.lower() for name in names]
    return [value for name, value in headers if name.lower() in wanted]


def call(options):
    connection = Connection(options.host, options.port, options.cert, options.timeout)
    ip, port = connection.socket.getsockname()[:2]
    here = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    there = f"[{options.host}]" if ":" in options.host else options.host
    target = f"sip:{options.user}@{there}:{options.port};transport=tls"
    tag = os.urandom(6).hex()

    def request(method, cseq, uri, to, routes=()):
        return [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/TLS {here};branch=z9hG4bK{os.urandom(8).hex()}",
            *[f"Route: {route}" for route in routes],
            f'From: "Alice" <sip:alice@{here}>;tag={tag}',
            f"To: {to}",
            f"Call-ID: {options.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:alice@{here};transport=tls>",
            "Max-Forwards: 70",
            "User-Agent: siplens-test/1",
            options.tag,
        ]

    offer = f"v=0\r\no=alice 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40002 RTP/AVP 8\r\n"
    invite = request("INVITE", 1, target, f"<sip:{options.user}@{there}>")
    connection.send(invite + ["Content-Type: application/sdp"], offer)
    status, headers = connection.final_reply("INVITE")
    to = values(headers, "To", "t")[0]
    if status >= 300:
        ack = request("ACK", 1, target, to)
        ack[1] = invite[1]
        connection.send(ack)
        return status

    routes = [route for line in values(headers, "Record-Route") for route in line.split(",")][::-1]
    contact = re.search(r"<([^>]+)>", values(headers, "Contact", "m")[0]).group(1)
    connection.send(request("ACK", 1, contact, to, routes))
    time.sleep(options.talk)
    connection.send(request("BYE", 2, contact, to, routes))
    bye_status, _ = connection.final_reply("BYE")
    if bye_status != 200:
        raise Refused(f"BYE was answered with {bye_status}")
    return status


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5061)
    parser.add_argument("--cert", required=True, help="the proxy's certificate (PEM)")
    parser.add_argument("--user", default="bob", help="who is called")
    parser.add_argument("--call-id", default=f"tls-{os.urandom(6).hex()}@siplens.test")
    parser.add_argument("--tag", default="X-Test: siplens", help="one more header line, such as X-Session-Id: …")
    parser.add_argument("--talk", type=float, default=0.1, help="seconds between ACK and BYE")
    parser.add_argument("--expect", type=int, default=200, help="final status of the INVITE")
    parser.add_argument("--timeout", type=float, default=20, help="seconds to wait for anything")
    options = parser.parse_args()
    try:
        status = call(options)
    except (OSError, Refused) as error:
        sys.exit(f"tls call failed: {error}")
    if status != options.expect:
        sys.exit(f"tls call: expected {options.expect}, found {status}")
    print(options.call_id)


if __name__ == "__main__":
    main()

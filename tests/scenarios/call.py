#!/usr/bin/env python3
"""Places one SIP call through a proxy: INVITE, ACK, a pause, BYE; over what Debian's sipp cannot: TLS, WebSocket.

Prints the Call-ID and the address that the call came from; exits with 0 if it ended as expected.
"""

import argparse
import os
import re
import sys
import time

from sip import Refused, connect, reply, values


def final_reply(connection, method):
    """The final reply to our request, provisional ones skipped."""
    while True:
        start, headers = connection.read()
        if not start.startswith("SIP/2.0 "):
            continue
        status = int(start.split(" ", 2)[1])
        if status >= 200 and values(headers, "CSeq")[0].endswith(method):
            return status, headers


def call(connection, options):
    ip, port = connection.socket.getsockname()[:2]
    here = f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"
    there = f"[{options.host}]" if ":" in options.host else options.host
    target = f"sip:{options.user}@{there}:{options.port};transport={options.transport}"
    tag = os.urandom(6).hex()
    # A browser does not know its address: RFC 7118 §5.
    sent_by = f"{os.urandom(6).hex()}.invalid" if options.transport in ("ws", "wss") else here
    # A SIP URI's transport over WebSocket is ws, also over TLS: RFC 7118 §5.2.4.
    contact_transport = options.transport.replace("wss", "ws")

    def request(method, cseq, uri, to, routes=()):
        return [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/{options.transport.upper()} {sent_by};branch=z9hG4bK{os.urandom(8).hex()}",
            *[f"Route: {route}" for route in routes],
            f'From: "Alice" <sip:alice@{sent_by}>;tag={tag}',
            f"To: {to}",
            f"Call-ID: {options.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:alice@{sent_by};transport={contact_transport}>",
            "Max-Forwards: 70",
            "User-Agent: siplens-test/1",
            options.tag,
        ]

    if options.probe:
        connection.send(request("OPTIONS", 1, target, f"<sip:{there}>"))
        return final_reply(connection, "OPTIONS")[0], here

    offer = f"v=0\r\no=alice 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40002 RTP/AVP 8\r\n"
    invite = request("INVITE", 1, target, f"<sip:{options.user}@{there}>")
    connection.send(invite + ["Content-Type: application/sdp"], offer)
    status, headers = final_reply(connection, "INVITE")
    to = values(headers, "To", "t")[0]
    if status >= 300:
        ack = request("ACK", 1, target, to)
        ack[1] = invite[1]
        connection.send(ack)
        return status, here

    routes = [route for line in values(headers, "Record-Route") for route in line.split(",")][::-1]
    contact = re.search(r"<([^>]+)>", values(headers, "Contact", "m")[0]).group(1)
    connection.send(request("ACK", 1, contact, to, routes))
    if options.far_end_ends:
        start, headers = connection.read()
        if not start.startswith("BYE "):
            raise Refused(f"expected the far end's BYE, found {start}")
        connection.send(reply("200 OK", headers))
        connection.close()
        return status, here
    time.sleep(options.talk)
    connection.send(request("BYE", 2, contact, to, routes))
    bye_status, _ = final_reply(connection, "BYE")
    if bye_status != 200:
        raise Refused(f"BYE was answered with {bye_status}")
    return status, here


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--transport", default="tls", choices=["tcp", "tls", "ws", "wss"])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=5061)
    parser.add_argument("--cert", help="the proxy's certificate (PEM), for tls and wss")
    parser.add_argument("--preface", default="", help="a line sent before anything else, such as one of the PROXY protocol")
    parser.add_argument("--user", default="bob", help="who is called")
    parser.add_argument("--call-id", default=f"call-{os.urandom(6).hex()}@siplens.test")
    parser.add_argument("--tag", default="X-Test: siplens", help="one more header line, such as X-Session-Id: …")
    parser.add_argument("--talk", type=float, default=0.1, help="seconds between ACK and BYE")
    parser.add_argument("--probe", action="store_true", help="an OPTIONS in place of the call")
    parser.add_argument("--far-end-ends", action="store_true", help="the BYE comes from the called side")
    parser.add_argument("--expect", type=int, default=200, help="final status")
    parser.add_argument("--timeout", type=float, default=20, help="seconds to wait for anything")
    options = parser.parse_args()
    preface = f"{options.preface}\r\n".encode() if options.preface else b""
    try:
        connection = connect(options.transport, options.host, options.port, options.cert, options.timeout, preface)
        status, here = call(connection, options)
    except (OSError, Refused) as error:
        sys.exit(f"call over {options.transport} failed: {error}")
    if status != options.expect:
        sys.exit(f"call over {options.transport}: expected {options.expect}, found {status}")
    print(options.call_id)
    print(here)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Answers SIP calls over TLS, which Debian's sipp cannot: 180, 200, and 200 to the BYE.

Prints the ports of those who connect, a line each.
"""

import argparse
import os
import socket
import ssl
import threading

from sip import Refused, Stream, reply


def serve(connection, here):
    tag = f";tag={os.urandom(6).hex()}"
    contact = f"Contact: <sip:callee@{here};transport=tls>"

    def tagged(headers):
        return [(name, value if name.lower() not in ("to", "t") or "tag=" in value else value + tag) for name, value in headers]

    while True:
        start, headers = connection.read()
        if start.startswith("INVITE "):
            connection.send(reply("180 Ringing", tagged(headers), [contact]))
            connection.send(reply("200 OK", tagged(headers), [contact]))
        elif not start.startswith(("ACK ", "SIP/2.0 ")):
            connection.send(reply("200 OK", tagged(headers)))


def attend(plain, context, here):
    try:
        serve(Stream(context.wrap_socket(plain, server_side=True)), here)
    except (OSError, Refused):
        pass


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--cert", required=True, help="certificate (PEM)")
    parser.add_argument("--key", required=True, help="its key (PEM)")
    options = parser.parse_args()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(options.cert, options.key)
    with socket.create_server((options.host, options.port)) as listener:
        while True:
            plain, peer = listener.accept()
            print(peer[1], flush=True)
            here = f"{options.host}:{options.port}"
            threading.Thread(target=attend, args=(plain, context, here), daemon=True).start()


if __name__ == "__main__":
    main()

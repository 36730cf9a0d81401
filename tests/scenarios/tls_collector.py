#!/usr/bin/env python3
"""A TLS server that wants a certificate of its clients: what they send goes to standard output, decrypted.

tls_collector.py HOST PORT CERT KEY CA
"""

import socket
import ssl
import sys
import threading

host, port, cert, key, authority = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(cert, key)
context.load_verify_locations(authority)
context.verify_mode = ssl.CERT_REQUIRED


def serve(connection):
    try:
        with context.wrap_socket(connection, server_side=True) as stream:
            while octets := stream.recv(65536):
                sys.stdout.buffer.write(octets)
                sys.stdout.buffer.flush()
    except (ssl.SSLError, OSError) as error:
        print(error, file=sys.stderr)


listener = socket.create_server((host, int(port)))
while True:
    accepted, _ = listener.accept()
    threading.Thread(target=serve, args=(accepted,), daemon=True).start()

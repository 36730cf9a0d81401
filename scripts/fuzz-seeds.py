"""Makes files to begin fuzzing with: fuzz-seeds.py VECTORS FOLDER writes, out of the packets of all VECTORS/*.hexl,

- FOLDER/hep: the packets
- FOLDER/sip: the messages in them
- FOLDER/cutter, call, ingest: some at a time, one after the other, behind what these targets of the backend read first"""

import pathlib
import sys


def payload(packet):
    """The message in a HEP3 packet (chunk 0x000f); of HEP1 and HEP2, what follows their fixed header."""
    if packet[:4] != b"HEP3":
        return packet[28 if packet[0] == 2 else 16 :]
    at = 6
    while at + 6 <= len(packet):
        vendor, kind, length = (int.from_bytes(packet[at + n : at + n + 2], "big") for n in (0, 2, 4))
        if (vendor, kind) == (0, 15):
            return packet[at + 6 : at + length]
        at += max(length, 6)
    return b""


def with_chunk(packet, vendor, kind, body):
    """A HEP3 packet with one chunk more."""
    chunk = b"".join(n.to_bytes(2, "big") for n in (vendor, kind, 6 + len(body))) + body
    return packet[:4] + (len(packet) + len(chunk)).to_bytes(2, "big") + packet[6:] + chunk


def numbered(packet, number):
    """With Siplens' chunk 0x0101: stream, number, and the first number."""
    return with_chunk(packet, 0x534C, 0x0101, b"".join(n.to_bytes(8, "big") for n in (7, number, 1)))


def event(packet):
    """As a log line that names its call in JSON: of two chunks of a kind the last one counts."""
    as_log = with_chunk(packet, 0, 11, b"\x64")
    return with_chunk(as_log, 0, 15, b'{"call_id":"a@192.0.2.1","ssrc":1,"a":[{"b":true}]}')


def main(vectors, folder):
    seeds = {kind: set() for kind in ("hep", "sip", "cutter", "call", "ingest")}
    for path in sorted(pathlib.Path(vectors).glob("*.hexl")):
        packets = [bytes.fromhex(line) for line in path.read_text().split()]
        seeds["hep"].update(packets)
        seeds["sip"].update(payload(packet) for packet in packets)
        framed = [packet for packet in packets if packet[:4] == b"HEP3"]
        for at in range(0, len(framed), 7):
            some = framed[at : at + 7]
            with_events = b"".join(some + [event(some[0])])
            seeds["cutter"].add(with_events)
            seeds["call"].add(bytes(8) + with_events)
            seeds["ingest"].add(b"\x05" + b"".join(some))
            seeds["ingest"].add(b"\x10" + b"".join(numbered(packet, n) for n, packet in enumerate(some, 1)))
    for kind, contents in seeds.items():
        target = pathlib.Path(folder) / kind
        target.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(sorted(contents)):
            (target / f"{number:04}").write_bytes(content)


main(*sys.argv[1:])

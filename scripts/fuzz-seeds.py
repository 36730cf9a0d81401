"""Makes files to begin fuzzing with: fuzz-seeds.py VECTORS FOLDER writes FOLDER/hep, the packets of all VECTORS/*.hexl, and
FOLDER/sip, the messages in them."""

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


def main(vectors, folder):
    seeds = {"hep": set(), "sip": set()}
    for path in sorted(pathlib.Path(vectors).glob("*.hexl")):
        for line in path.read_text().split():
            packet = bytes.fromhex(line)
            seeds["hep"].add(packet)
            seeds["sip"].add(payload(packet))
    for kind, contents in seeds.items():
        target = pathlib.Path(folder) / kind
        target.mkdir(parents=True, exist_ok=True)
        for number, content in enumerate(sorted(contents)):
            (target / f"{number:04}").write_bytes(content)


main(*sys.argv[1:])

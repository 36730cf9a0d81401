#!/usr/bin/env python3
"""Sums up the logs of ./test: how many tests passed, failed and were skipped, which and why.

LOGS/steps has a line per step: name, exit status, seconds; LOGS/<name>.log is its output. What ran tests is seen by
the lines cargo, vitest and node write; any other step counts as one test.
"""

import pathlib
import re
import sys

CARGO = re.compile(r"^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;", re.M)
CARGO_FAILED = re.compile(r"^test (.+?)(?: - should panic)? \.\.\. FAILED", re.M)
CARGO_IGNORED = re.compile(r"^test (.+?) \.\.\. ignored(?:, (.*))?$", re.M)
VITEST = re.compile(r"^\s*Tests\s+(.*)\(\d+\)", re.M)
VITEST_FAILED = re.compile(r"^\s*FAIL\s+(.*)$", re.M)
NODE = re.compile(r"^(?:#|ℹ) (pass|fail|skipped|todo|cancelled) (\d+)$", re.M)
NODE_FAILED = re.compile(r"^\s*(?:not ok \d+ - |✖ )(.*?)(?: \([\d.]+ms\))?$", re.M)
NODE_SKIPPED = re.compile(r"^\s*(?:ok \d+ - (.*) # SKIP ?(.*)|﹣ (.*?) (?:\([\d.]+ms\) )?# ?(.*))$", re.M)
# A test that finds out only while it runs that it cannot say anything prints this line.
SAID = re.compile(r"^SKIPPED: (.*)$", re.M)


def cargo(text):
    sums = [tuple(map(int, found)) for found in CARGO.findall(text)]
    passed, failed, skipped = (sum(column) for column in zip(*sums))
    why = [f"{name}: {reason or 'no reason given'}" for name, reason in CARGO_IGNORED.findall(text)]
    return passed, failed, skipped, CARGO_FAILED.findall(text), why


def vitest(text):
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", VITEST.findall(text)[-1])}
    skipped = counts.get("skipped", 0) + counts.get("todo", 0)
    return counts.get("passed", 0), counts.get("failed", 0), skipped, sorted(set(VITEST_FAILED.findall(text))), []


def node(text):
    counts = {}
    for word, number in NODE.findall(text):
        counts[word] = counts.get(word, 0) + int(number)
    failed = counts.get("fail", 0) + counts.get("cancelled", 0)
    names = sorted({name for name in NODE_FAILED.findall(text) if name != "failing tests:"})
    why = [f"{a or c}: {b or d or 'no reason given'}" for a, b, c, d in NODE_SKIPPED.findall(text)]
    return counts.get("pass", 0), failed, counts.get("skipped", 0) + counts.get("todo", 0), names if failed else [], why


def read(name, status, text):
    """(passed, failed, skipped, names of the failed, reasons of the skipped) of one step."""
    for pattern, reader in ((CARGO, cargo), (VITEST, vitest), (NODE, node)):
        if pattern.search(text):
            passed, failed, skipped, names, why = reader(text)
            if status and not failed:
                failed, names = 1, [f"the step ended with status {status}"]
            break
    else:
        passed, failed, skipped, names, why = int(not status), int(bool(status)), 0, [], []
        if status:
            names = [f"ended with status {status}"]
    said = SAID.findall(text)
    return passed - len(said), failed, skipped + len(said), [f"{name}: {one}" for one in names], [f"{name}: {one}" for one in why + said]


def main():
    logs = pathlib.Path(sys.argv[1])
    totals, failures, reasons, seconds = [0, 0, 0], [], [], 0
    print()
    for line in (logs / "steps").read_text().splitlines():
        name, status, spent = line.split("\t")
        text = (logs / f"{name}.log").read_text(errors="replace")
        *counts, names, why = read(name, int(status), text)
        totals = [total + count for total, count in zip(totals, counts)]
        failures += names
        reasons += why
        seconds += int(spent)
        print(f"{name:<16} {counts[0]:>5} passed {counts[1]:>4} failed {counts[2]:>4} skipped {spent:>6} s")
    for title, names in (("failed:", failures), ("skipped:", reasons)):
        if names:
            print(title, *names, sep="\n  ")
    print(f"{totals[0]} passed, {totals[1]} failed, {totals[2]} skipped in {seconds // 60} min {seconds % 60} s")
    sys.exit(1 if totals[1] else 0)


if __name__ == "__main__":
    main()

# The steps of ./test and ./run by name, for those who have just (`just --list`). No script needs it.

set shell := ["bash", "-euo", "pipefail", "-c"]

packages := "--workspace --exclude siplens-kamailio-sys --exclude siplens-kamailio-mod --exclude siplens-opensips-sys --exclude siplens-opensips-mod"
targets := "--lib --bins --tests --test cases"

# What ./test runs.
default: test

# Installs what is missing on Debian.
setup:
    scripts/setup test

# Everything that is looked at without running it.
static: fmt clippy docs

fmt:
    cargo fmt --all --check

clippy:
    cargo clippy {{ packages }} {{ targets }} -- -D warnings

docs:
    RUSTDOCFLAGS='-D warnings -A rustdoc::private-intra-doc-links' cargo doc {{ packages }} --no-deps

# Licences, sources, advisories, dependency arrows.
deny:
    scripts/test-full deny

# Both web bundles, their types and their unit tests.
web:
    scripts/build-web
    npm --prefix backend/web run typecheck
    npm --prefix backend/web test

# siplens.so for the installed Kamailio.
module:
    scripts/build-module

# siplens.so for the OpenSIPS that OPENSIPS_BIN names; `just opensips --all` for every known version.
opensips *arguments:
    scripts/build-opensips-module {{ arguments }}

# The backend's release binary, pages included.
build:
    scripts/build-web
    cargo build --release -p siplens

# Unit, property and contract tests, those on PostgreSQL too.
unit:
    ./test unit

# Real Kamailio, sipp and backend; `just e2e customer_link` runs some cases only.
e2e case="":
    cargo build {{ packages }} {{ targets }}
    scripts/build-module --dev
    RUST_TEST_THREADS=2 cargo test {{ packages }} --test cases -- {{ case }}

# UI journeys in Chromium.
browser:
    ./test browser

fuzz:
    scripts/fuzz

test *arguments:
    ./test {{ arguments }}

run *arguments:
    ./run {{ arguments }}

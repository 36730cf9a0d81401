"""ClickHouse's current engine behind as much of its HTTP interface as the backend uses: clickhouse-current.py DIR

POST / with the question in the body, or with it in `query` and rows in the body; `database` and settings in the query.
"""

import http.server
import os
import sys
import tempfile
import threading
import urllib.parse

from chdb import session

folder = sys.argv[1]
engine = session.Session(os.path.join(folder, "data"))
one_at_a_time = threading.Lock()
# What a server takes besides settings.
PARAMETERS = {"query", "database", "wait_end_of_query"}


def run(parameters, body):
    settings = {name: value for name, value in parameters.items() if name not in PARAMETERS}
    clause = ", ".join(f"{name} = '{value}'" for name, value in settings.items())
    with one_at_a_time:
        engine.query(f"use {parameters.get('database', 'default')}")
        if "query" not in parameters:
            # Settings have no place after every kind of statement, and only bound a question's time.
            statement = body.decode()
            form = "RowBinary" if statement.rstrip().endswith("format RowBinary") else "TSV"
            return engine.query(statement, form).bytes()
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".rows") as rows:
            rows.write(body)
            rows.flush()
            into, form = parameters["query"].rsplit(" format ", 1)
            clause = f" settings {clause}" if clause else ""
            engine.query(f"{into} from infile '{rows.name}'{clause} format {form}")
            return b""


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # An answer in one piece: in two, the second would wait for the first to be acknowledged.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self):
        parameters = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(self.path).query))
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            status, answer = 200, run(parameters, body)
        except Exception as error:
            status, answer = 500, str(error).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
server.daemon_threads = True
print(f"http://127.0.0.1:{server.server_port}/default", flush=True)
server.serve_forever()

"""An HTTP service behind a guard: who may read and write notes is Sigil's to say, asked before any handler runs.

service.py SERVER KEYFILE PORT: of the development deployment that `npm start` serves.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any
from wsgiref.simple_server import make_server

from flask import Flask, request
from sigil_client import Sigil, WsgiGuard, target_of

ACTIONS = {"GET": "read", "PUT": "write", "DELETE": "delete"}

app = Flask("notes")
notes: dict[str, str] = {}


@app.get("/notes/<name>")
def read(name: str) -> str:
    return notes.get(name, "nothing yet") + "\n"


@app.put("/notes/<name>")
def write(name: str) -> str:
    notes[name] = request.get_data(as_text=True)
    return f"written, by decision {request.environ['sigil.decision'].audit_id}\n"


@app.delete("/notes/<name>")
def delete(name: str) -> str:
    notes.clear()
    return "everything is gone\n"


def action(environ: dict[str, Any]) -> str:
    # A method without an action is nobody's to use: what raises denies.
    return ACTIONS[environ["REQUEST_METHOD"]]


def target(environ: dict[str, Any]) -> str:
    return target_of("user", *environ["PATH_INFO"].strip("/").split("/"))


def main() -> None:
    server, key_file, port = sys.argv[1:]
    key = Path(key_file).read_bytes()
    caller = {"principal": "operator", "origin": "sigil.dev", "private_key": key}
    with Sigil(server, tls="insecure", **caller) as sigil:
        guarded = WsgiGuard(app, sigil, action=action, target=target)
        with make_server("127.0.0.1", int(port), guarded) as service:
            print(f"serving on http://127.0.0.1:{service.server_port}", flush=True)
            service.serve_forever()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: Apache-2.0 OR MIT
"""Makes the recordings: real servers and clients on loopback, watched by `onlooker record`.

In: the folder of the recordings, Onlooker's binary, the folder of what was built for this (`hyper-server`, `server-go`,
a Python environment `venv` with uvicorn and requests), and the names of scenarios where not all are wanted.
Out: NAME.recording of each, a line on what the client saw, and a line with a reason for each that was left out.
Started by `cargo xtask record-corpus`.
"""

import pathlib
import shutil
import socket
import sys
import tempfile

from recorder import PATIENCE, Scene, talk

HERE = pathlib.Path(__file__).parent
RECORDINGS, ONLOOKER, BUILT = (pathlib.Path(argument).resolve() for argument in sys.argv[1:4])
PYTHON = "/usr/bin/python3"
PORT, UPSTREAM = 18080, 18081
URL = f"http://127.0.0.1:{PORT}"
CURL = ("curl", "-sS", "-w", "%{http_code} %{size_download}\n", "-o", "/dev/null")
TRACEPARENT = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
SCENARIOS = {}


def scenario(run):
    SCENARIOS[run.__name__] = run
    return run


# The servers.


def nginx(scene):
    text = (HERE / "nginx.conf").read_text()
    for name, value in (("FOLDER", scene.folder), ("PORT", PORT), ("UPSTREAM", UPSTREAM)):
        text = text.replace(name, str(value))
    folder = pathlib.Path(scene.folder)
    folder.chmod(0o755)
    (folder / "nginx.conf").write_text(text)
    (folder / "short").write_text("hello")
    (folder / "text").write_text("All work and no play makes a dull text. " * 50)
    (folder / "large").write_bytes(b"x" * 300_000)
    return scene.serve("nginx", "-c", f"{scene.folder}/nginx.conf", at=PORT)


def python(scene, version="HTTP/1.1", port=PORT):
    return scene.serve(PYTHON, local(scene, "server.py"), port, version, at=port)


def uvicorn(scene):
    local(scene, "asgi.py")
    return scene.serve(BUILT / "venv/bin/uvicorn", "--port", PORT, "--log-level", "critical", "asgi:app", at=PORT)


def node(scene, at=PORT):
    return scene.serve("node", local(scene, "server.js"), at, UPSTREAM, at=at)


def go(scene):
    return scene.serve(BUILT / "server-go", PORT, UPSTREAM, at=PORT)


def java(scene):
    options = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xmx64m")
    return scene.serve("java", *options, local(scene, "Server.java"), PORT, at=PORT)


def hyper(scene):
    return scene.serve(BUILT / "hyper-server", PORT, at=PORT)


def local(scene, name):
    """Programs run from the scene's folder: their path is part of the facts."""
    return shutil.copy(HERE / name, scene.folder)


def requests(scene, *pairs):
    return scene.client(BUILT / "venv/bin/python", local(scene, "client.py"), *pairs)


def curl(scene, *arguments):
    """The server is recorded alone: curl is not watched."""
    return scene.finish(scene.client(*CURL, *arguments))


def get(path, *fields):
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: shop", *fields, "", ""]).encode()


# The scenarios, by server.


@scenario
def nginx_keep_alive(scene):
    scene.record(nginx(scene))
    return curl(scene, f"{URL}/hello?token=secret", "-o", "/dev/null", f"{URL}/missing", "-o", "/dev/null", f"{URL}/hello")


@scenario
def nginx_gzip(scene):
    scene.record(nginx(scene))
    return curl(scene, "--compressed", f"{URL}/gzip")


@scenario
def nginx_sendfile(scene):
    scene.record(nginx(scene))
    return curl(scene, f"{URL}/large", "-o", "/dev/null", f"{URL}/hello")


@scenario
def nginx_ipv6(scene):
    scene.record(nginx(scene))
    return curl(scene, f"http://[::1]:{PORT}/hello")


@scenario
def nginx_pipelined(scene):
    scene.record(nginx(scene))
    requests = b"".join(get(f"/hello?{number}") for number in range(7)) + get("/hello?7", "Connection: close")
    talk(PORT, (requests, None))
    return "8 requests in one write"


@scenario
def nginx_bad_request(scene):
    scene.record(nginx(scene))
    talk(PORT, (b"GET / HTTP/1.1\r\n\r\n", None))
    talk(PORT, (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", None))
    return "one request without Host, one TLS hello: both answered 400"


@scenario
def nginx_proxy_chain(scene):
    """curl, nginx, Python: four spans of one trace."""
    upstream = python(scene, port=UPSTREAM)
    client = scene.client(*CURL, f"{URL}/api/orders", "-o", "/dev/null", f"{URL}/api/boom")
    scene.record(nginx(scene), upstream, client)
    return scene.finish(client)


@scenario
def nginx_wrk(scene):
    client = scene.client("wrk", "-t", 1, "-c", 4, "-d", "1s", f"{URL}/few")
    scene.record(nginx(scene), client)
    return " ".join(scene.finish(client).split())


@scenario
def python_until_close(scene):
    scene.record(python(scene, "HTTP/1.0"))
    return curl(scene, "--http1.0", f"{URL}/until-close", "-o", "/dev/null", f"{URL}/until-close?2")


@scenario
def python_bodiless(scene):
    """HEAD, 204 and 304 on one connection, each followed by another request."""
    client = requests(scene, *(word for pair in (
        ("HEAD", f"{URL}/x"), ("GET", f"{URL}/none"), ("GET", f"{URL}/same"), ("GET", f"{URL}/last")
    ) for word in pair))
    scene.record(python(scene), client)
    return scene.finish(client)


@scenario
def python_errors(scene):
    client = scene.client(*CURL, f"{URL}/missing", "-o", "/dev/null", f"{URL}/boom", "--next", *CURL[1:], "-X", "BREW", URL)
    scene.record(python(scene), client)
    return scene.finish(client)


@scenario
def python_requests_session(scene):
    client = requests(scene, "GET", f"{URL}/a?password=secret", "POST", f"{URL}/form", "GET", f"{URL}/b")
    scene.record(python(scene), client)
    return scene.finish(client)


@scenario
def python_byte_by_byte(scene):
    scene.record(python(scene))
    talk(PORT, *((bytes([byte]), None) for byte in get("/slow", "Connection: close")))
    return "one request, a byte a write"


@scenario
def uvicorn_chunked(scene):
    client = requests(scene, "GET", f"{URL}/stream", "GET", f"{URL}/stream?2")
    scene.record(uvicorn(scene), client)
    return scene.finish(client)


@scenario
def uvicorn_form(scene):
    scene.record(uvicorn(scene))
    return curl(scene, "-d", "name=value&other=thing", f"{URL}/form", "-o", "/dev/null", f"{URL}/boom")


@scenario
def node_chunked(scene):
    scene.record(node(scene))
    return curl(scene, f"{URL}/chunked", "-o", "/dev/null", f"{URL}/hello")


@scenario
def node_fetch(scene):
    client = scene.client("node", local(scene, "fetch.js"), f"{URL}/hello", f"{URL}/chunked", f"{URL}/hello?3")
    scene.record(node(scene), client)
    return scene.finish(client)


@scenario
def node_calls(scene):
    """A request that makes node fetch from another service: its parent is the only request that is open."""
    upstream = python(scene, port=UPSTREAM)
    scene.record(node(scene), upstream)
    return curl(scene, "-H", TRACEPARENT, f"{URL}/calls")


@scenario
def node_websocket(scene):
    scene.record(node(scene))
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    upgrade = get("/socket", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", key)
    talk(PORT, (upgrade, b"\x81\x10GET / HTTP/1.1\r\n"), (b"\x88\x80\0\0\0\0", None))
    return "one 101, then frames that look like a request"


@scenario
def node_events(scene):
    scene.record(node(scene))
    return curl(scene, f"{URL}/events")


@scenario
def node_large(scene):
    """A body past the budget of a turn: the rest comes as a gap, and the next exchange is whole."""
    scene.record(node(scene))
    return curl(scene, f"{URL}/large", "-o", "/dev/null", f"{URL}/hello")


@scenario
def node_early_response(scene):
    scene.record(node(scene))
    head = b"POST /early HTTP/1.1\r\nHost: shop\r\nContent-Length: 20\r\n\r\n0123456789"
    talk(PORT, (head, b"too large"), (b"0123456789" + get("/hello", "Connection: close"), None))
    return "a 413 before the request's end, then a 200"


@scenario
def node_unix_socket(scene):
    path = f"{scene.folder}/node.sock"
    client = scene.client(*CURL, "--unix-socket", path, "http://localhost/hello")
    scene.record(node(scene, at=path), client)
    return scene.finish(client)


@scenario
def go_expect_continue(scene):
    body = pathlib.Path(scene.folder, "body")
    body.write_bytes(b"x" * 2048)
    client = scene.client(*CURL, "-H", "Expect: 100-continue", "--data-binary", f"@{body}", f"{URL}/upload")
    scene.record(go(scene), client)
    return scene.finish(client)


@scenario
def go_carried_context(scene):
    scene.record(go(scene))
    b3 = "b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1"
    invalid = "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01"
    out = curl(scene, "-H", TRACEPARENT, f"{URL}/hello?w3c", "--next", *CURL[1:], "-H", b3, f"{URL}/hello?b3")
    return out + "\n" + curl(scene, "-H", invalid, f"{URL}/hello?invalid")


@scenario
def go_large_head(scene):
    """20 KB of header, with the context behind it."""
    scene.record(go(scene))
    return curl(scene, "-H", "X-Large: " + "x" * 20_000, "-H", TRACEPARENT, f"{URL}/hello")


@scenario
def go_calls(scene):
    """Two goroutines of one process between a request and a call, over a pooled connection the second time."""
    upstream = python(scene, port=UPSTREAM)
    client = scene.client(*CURL, f"{URL}/calls", "-o", "/dev/null", f"{URL}/calls?2")
    scene.record(go(scene), upstream, client)
    return scene.finish(client)


@scenario
def go_client_aborts(scene):
    client = scene.client(*CURL, "--max-time", "0.3", f"{URL}/slow")
    scene.record(go(scene), client)
    return scene.finish(client)


@scenario
def go_server_aborts(scene):
    client = scene.client(*CURL, f"{URL}/half")
    scene.record(go(scene), client)
    return scene.finish(client)


@scenario
def go_late_join(scene):
    """Recorded from the middle of a connection on: one exchange before, the second half of one, two whole ones."""
    server = go(scene)
    with socket.create_connection(("127.0.0.1", PORT), PATIENCE) as stream:
        exchange(stream, get("/hello?before"))
        stream.sendall(b"POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: 20\r\n\r\n0123456789")
        scene.record(server)
        exchange(stream, b"0123456789")
        exchange(stream, get("/hello?after"))
        exchange(stream, get("/hello?last"))
    return "joined in the middle of a POST; then two GETs"


def exchange(stream, request):
    stream.sendall(request)
    answer = b""
    while b"\r\n\r\n" not in answer or answer.endswith(b"\r\n\r\n"):
        answer += stream.recv(65536)


@scenario
def java_keep_alive(scene):
    client = scene.client(*CURL, f"{URL}/a", "-o", "/dev/null", f"{URL}/chunked", "-o", "/dev/null", f"{URL}/b")
    scene.record(java(scene), client)
    return scene.finish(client)


@scenario
def java_chunked_upload(scene):
    body = pathlib.Path(scene.folder, "body")
    body.write_bytes(b"x" * 3000)
    scene.record(java(scene))
    return curl(scene, "-H", "Transfer-Encoding: chunked", "-H", "Expect:", "--data-binary", f"@{body}", f"{URL}/upload")


@scenario
def hyper_echo(scene):
    client = requests(scene, "GET", f"{URL}/a", "POST", f"{URL}/echo", "GET", f"{URL}/b")
    scene.record(hyper(scene), client)
    return scene.finish(client)


@scenario
def hyper_odd_targets(scene):
    """An absolute target, credentials in it, a method in lower case, and a trailer behind the chunks."""
    scene.record(hyper(scene))
    absolute = b"GET http://user:secret@shop/absolute?sig=secret HTTP/1.1\r\nHost: shop\r\n\r\n"
    lower = b"get /lower HTTP/1.1\r\nHost: shop\r\n\r\n"
    chunks = b"POST /trailer HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    trailer = b"5;x=y\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n"
    talk(PORT, (absolute, b"hello"), (lower, b"hello"), (chunks + trailer, b"hello"))
    return "three requests"


def obstacle(name):
    """What this machine lacks for a scenario."""
    needed = {"nginx": "nginx", "node": "node", "java": "java", "go": BUILT / "server-go", "hyper": BUILT / "hyper-server"}
    programs = [needed.get(name.split("_")[0], PYTHON), "curl", BUILT / "venv/bin/uvicorn"]
    programs += ["wrk"] if "wrk" in name else []
    return next((f"{program} is not there" for program in programs if not shutil.which(program)), None)


def main():
    failed = []
    for name in sys.argv[4:] or SCENARIOS:
        if reason := obstacle(name):
            print(f"skipped: {name}: {reason}")
            continue
        with tempfile.TemporaryDirectory(prefix="corpus-") as folder, Scene(ONLOOKER, folder) as scene:
            try:
                said = SCENARIOS[name](scene)
                scene.stop(RECORDINGS / f"{name}.recording")
            except Exception as error:  # One scenario that fails does not take the others with it.
                failed.append(name)
                said = f"FAILED: {error!r}"
        print(f"{name}: {said}", flush=True)
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)


main()

# SPDX-License-Identifier: Apache-2.0 OR MIT
"""A shop's front that has the SDK of OpenTelemetry in it: each request and each call is a span of its own making.

Arguments: the store's address, and the collector's for OTLP over HTTP. Prints its port. A request is answered with what the
store says to the same path. For each line that it gets, it sends the spans that it has and says `done`.
"""

import sys
import threading
import urllib.request
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.urllib import URLLibInstrumentor
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

store, collector = sys.argv[1:]
provider = TracerProvider()
provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"http://{collector}/v1/traces")))
trace.set_tracer_provider(provider)
URLLibInstrumentor().instrument()


def answer(environ, start_response):
    with urllib.request.urlopen(f"http://{store}{environ['PATH_INFO']}") as response:
        body = response.read()
    start_response("200 OK", [("Content-Length", str(len(body)))])
    return [body]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Handler(WSGIRequestHandler):
    def log_message(self, *_):
        pass


server = make_server("127.0.0.1", 0, OpenTelemetryMiddleware(answer), Server, Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
print(server.server_port, flush=True)
for _ in sys.stdin:
    provider.force_flush()
    print("done", flush=True)

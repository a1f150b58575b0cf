# SPDX-License-Identifier: Apache-2.0 OR MIT
"""The shop of the gRPC tests, with grpcio: `serve`, or `call PORT`. What each method does is told in ../README.md."""

import sys
import threading
from concurrent import futures

import grpc

SERVICE = "shop.v1.Shop"


def over(context):
    """An event that is set when the call is."""
    event = threading.Event()
    if not context.add_callback(event.set):
        event.set()
    return event


def unary(request, context):
    return b"reply"


def collect(requests, context):
    for _ in requests:
        pass
    return b"reply"


def offer(request, context):
    for _ in range(4):
        yield b"reply"


def talk(requests, context):
    for _ in requests:
        yield b"reply"


def fail(request, context):
    context.abort(grpc.StatusCode.NOT_FOUND, "no such order")


def break_(request, context):
    yield b"reply"
    yield b"reply"
    context.abort(grpc.StatusCode.INTERNAL, "out of stock")


def wait(request, context):
    over(context).wait()
    return b"reply"


def watch(request, context):
    event = over(context)
    yield b"reply"
    event.wait()


def serve():
    handlers = {
        "Unary": grpc.unary_unary_rpc_method_handler(unary),
        "Collect": grpc.stream_unary_rpc_method_handler(collect),
        "Offer": grpc.unary_stream_rpc_method_handler(offer),
        "Talk": grpc.stream_stream_rpc_method_handler(talk),
        "Fail": grpc.unary_unary_rpc_method_handler(fail),
        "Break": grpc.unary_stream_rpc_method_handler(break_),
        "Wait": grpc.unary_unary_rpc_method_handler(wait),
        "Watch": grpc.unary_stream_rpc_method_handler(watch),
    }
    server = grpc.server(futures.ThreadPoolExecutor(8))
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(SERVICE, handlers)])
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    sys.stdin.read()
    server.stop(None)


def expect(code, call):
    try:
        call()
    except grpc.RpcError as error:
        assert error.code() == code, error
    else:
        raise AssertionError(f"no {code}")


def call_all(channel):
    path = lambda name: f"/{SERVICE}/{name}"
    unary = channel.unary_unary(path("Unary"))
    unary(b"ask")
    unary(b"ask")
    for pending in [unary.future(b"ask") for _ in range(20)]:
        pending.result()
    channel.stream_unary(path("Collect"))(iter([b"ask"] * 3))
    assert len(list(channel.unary_stream(path("Offer"))(b"ask"))) == 4
    assert len(list(channel.stream_stream(path("Talk"))(iter([b"ask"] * 3)))) == 3
    expect(grpc.StatusCode.NOT_FOUND, lambda: channel.unary_unary(path("Fail"))(b"ask"))
    expect(grpc.StatusCode.INTERNAL, lambda: list(channel.unary_stream(path("Break"))(b"ask")))
    expect(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: channel.unary_unary(path("Wait"))(b"ask", timeout=0.2))
    watched = channel.unary_stream(path("Watch"))(b"ask")
    next(watched)
    watched.cancel()


def main():
    if sys.argv[1] == "serve":
        return serve()
    with grpc.insecure_channel(f"127.0.0.1:{sys.argv[2]}") as channel:
        for _ in sys.stdin:
            call_all(channel)
            print("done", flush=True)


main()

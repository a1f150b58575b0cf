// SPDX-License-Identifier: Apache-2.0 OR MIT

import io.grpc.CallOptions;
import io.grpc.ManagedChannel;
import io.grpc.Metadata;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.Server;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import io.grpc.netty.NettyServerBuilder;
import io.grpc.ClientCall;
import io.grpc.stub.ClientCalls;
import io.grpc.stub.ServerCalls;
import io.grpc.stub.StreamObserver;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.BiConsumer;

/** The shop of the gRPC tests, with grpc-java on Netty: `serve`, or `call PORT`. See ../README.md for its methods. */
public final class Shop {
    private static final String SERVICE = "shop.v1.Shop";
    private static final byte[] ASK = "ask".getBytes();
    private static final byte[] REPLY = "reply".getBytes();

    /** Messages are bytes, so that nothing has to be generated. */
    private static final MethodDescriptor.Marshaller<byte[]> PLAIN =
            new MethodDescriptor.Marshaller<>() {
                @Override
                public InputStream stream(byte[] value) {
                    return new ByteArrayInputStream(value);
                }

                @Override
                public byte[] parse(InputStream stream) {
                    try {
                        return stream.readAllBytes();
                    } catch (IOException error) {
                        throw new UncheckedIOException(error);
                    }
                }
            };

    private static final MethodDescriptor<byte[], byte[]> UNARY = method("Unary", MethodType.UNARY);
    private static final MethodDescriptor<byte[], byte[]> COLLECT = method("Collect", MethodType.CLIENT_STREAMING);
    private static final MethodDescriptor<byte[], byte[]> OFFER = method("Offer", MethodType.SERVER_STREAMING);
    private static final MethodDescriptor<byte[], byte[]> TALK = method("Talk", MethodType.BIDI_STREAMING);
    private static final MethodDescriptor<byte[], byte[]> FAIL = method("Fail", MethodType.UNARY);
    private static final MethodDescriptor<byte[], byte[]> BREAK = method("Break", MethodType.SERVER_STREAMING);
    private static final MethodDescriptor<byte[], byte[]> WAIT = method("Wait", MethodType.UNARY);
    private static final MethodDescriptor<byte[], byte[]> WATCH = method("Watch", MethodType.SERVER_STREAMING);

    private static MethodDescriptor<byte[], byte[]> method(String name, MethodType type) {
        String full = MethodDescriptor.generateFullMethodName(SERVICE, name);
        return MethodDescriptor.newBuilder(PLAIN, PLAIN).setType(type).setFullMethodName(full).build();
    }

    private static void reply(StreamObserver<byte[]> answers, int times) {
        for (int i = 0; i < times; i++) {
            answers.onNext(REPLY);
        }
    }

    /** What the client sends is told to {@code each}; at its end {@code end} answers. */
    private static StreamObserver<byte[]> requests(
            StreamObserver<byte[]> answers, BiConsumer<StreamObserver<byte[]>, byte[]> each, int atEnd) {
        return new StreamObserver<>() {
            @Override
            public void onNext(byte[] request) {
                each.accept(answers, request);
            }

            @Override
            public void onError(Throwable error) {}

            @Override
            public void onCompleted() {
                reply(answers, atEnd);
                answers.onCompleted();
            }
        };
    }

    private static void serve() throws IOException {
        ServerServiceDefinition shop =
                ServerServiceDefinition.builder(SERVICE)
                        .addMethod(UNARY, ServerCalls.asyncUnaryCall((request, answers) -> {
                            reply(answers, 1);
                            answers.onCompleted();
                        }))
                        .addMethod(COLLECT, ServerCalls.asyncClientStreamingCall(
                                answers -> requests(answers, (to, request) -> {}, 1)))
                        .addMethod(OFFER, ServerCalls.asyncServerStreamingCall((request, answers) -> {
                            reply(answers, 4);
                            answers.onCompleted();
                        }))
                        .addMethod(TALK, ServerCalls.asyncBidiStreamingCall(
                                answers -> requests(answers, (to, request) -> reply(to, 1), 0)))
                        .addMethod(FAIL, ServerCalls.asyncUnaryCall((request, answers) ->
                                answers.onError(Status.NOT_FOUND.withDescription("no such order").asException())))
                        .addMethod(BREAK, ServerCalls.asyncServerStreamingCall((request, answers) -> {
                            reply(answers, 2);
                            answers.onError(Status.INTERNAL.withDescription("out of stock").asException());
                        }))
                        .addMethod(WAIT, ServerCalls.asyncUnaryCall((request, answers) -> {}))
                        .addMethod(WATCH, ServerCalls.asyncServerStreamingCall((request, answers) -> reply(answers, 1)))
                        .build();
        Server server =
                NettyServerBuilder.forAddress(new InetSocketAddress("127.0.0.1", 0)).addService(shop).build().start();
        System.out.println(server.getPort());
        while (System.in.read() >= 0) {}
        server.shutdownNow();
    }

    private static void check(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    private static void expect(Status.Code code, Runnable call) {
        try {
            call.run();
        } catch (StatusRuntimeException error) {
            check(error.getStatus().getCode() == code, error.toString());
            return;
        }
        throw new AssertionError("no " + code);
    }

    private static int count(Iterator<byte[]> answers) {
        int count = 0;
        for (; answers.hasNext(); answers.next()) {
            count++;
        }
        return count;
    }

    /** Three requests; gives how many answers came. */
    private static int three(
            BiConsumer<StreamObserver<byte[]>, List<StreamObserver<byte[]>>> begin) throws InterruptedException {
        CountDownLatch over = new CountDownLatch(1);
        int[] count = new int[1];
        List<StreamObserver<byte[]>> requests = new ArrayList<>();
        begin.accept(
                new StreamObserver<>() {
                    @Override
                    public void onNext(byte[] answer) {
                        count[0]++;
                    }

                    @Override
                    public void onError(Throwable error) {
                        count[0] = -1;
                        over.countDown();
                    }

                    @Override
                    public void onCompleted() {
                        over.countDown();
                    }
                },
                requests);
        for (int i = 0; i < 3; i++) {
            requests.get(0).onNext(ASK);
        }
        requests.get(0).onCompleted();
        over.await();
        return count[0];
    }

    private static void callAll(ManagedChannel channel) throws Exception {
        CallOptions options = CallOptions.DEFAULT;
        ClientCalls.blockingUnaryCall(channel, UNARY, options, ASK);
        ClientCalls.blockingUnaryCall(channel, UNARY, options, ASK);
        List<Future<byte[]>> pending = new ArrayList<>();
        for (int i = 0; i < 20; i++) {
            pending.add(ClientCalls.futureUnaryCall(channel.newCall(UNARY, options), ASK));
        }
        for (Future<byte[]> answer : pending) {
            answer.get();
        }
        check(three((answers, to) ->
                to.add(ClientCalls.asyncClientStreamingCall(channel.newCall(COLLECT, options), answers))) == 1, "Collect");
        check(count(ClientCalls.blockingServerStreamingCall(channel, OFFER, options, ASK)) == 4, "Offer");
        check(three((answers, to) ->
                to.add(ClientCalls.asyncBidiStreamingCall(channel.newCall(TALK, options), answers))) == 3, "Talk");
        expect(Status.Code.NOT_FOUND, () -> ClientCalls.blockingUnaryCall(channel, FAIL, options, ASK));
        expect(Status.Code.INTERNAL, () -> count(ClientCalls.blockingServerStreamingCall(channel, BREAK, options, ASK)));
        CallOptions limited = options.withDeadlineAfter(200, TimeUnit.MILLISECONDS);
        expect(Status.Code.DEADLINE_EXCEEDED, () -> ClientCalls.blockingUnaryCall(channel, WAIT, limited, ASK));
        watch(channel.newCall(WATCH, options));
    }

    /** Cancels when the first answer is there. */
    private static void watch(ClientCall<byte[], byte[]> call) throws InterruptedException {
        CountDownLatch answered = new CountDownLatch(1);
        CountDownLatch over = new CountDownLatch(1);
        call.start(
                new ClientCall.Listener<>() {
                    @Override
                    public void onMessage(byte[] answer) {
                        answered.countDown();
                    }

                    @Override
                    public void onClose(Status status, Metadata trailers) {
                        over.countDown();
                    }
                },
                new Metadata());
        call.request(1);
        call.sendMessage(ASK);
        call.halfClose();
        answered.await();
        call.cancel("seen enough", null);
        over.await();
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments[0].equals("serve")) {
            serve();
            return;
        }
        ManagedChannel channel =
                NettyChannelBuilder.forAddress("127.0.0.1", Integer.parseInt(arguments[1])).usePlaintext().build();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in));
        while (lines.readLine() != null) {
            callAll(channel);
            System.out.println("done");
        }
        channel.shutdownNow().awaitTermination(10, TimeUnit.SECONDS);
        System.exit(0);
    }
}

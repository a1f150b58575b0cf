// SPDX-License-Identifier: Apache-2.0 OR MIT
// The shop's `payments` service, in Java: every fourth charge is refused, every sixth is slow; ends with its standard
// input.

import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;

class Payments {
    private static final AtomicInteger charges = new AtomicInteger();

    public static void main(String[] arguments) throws IOException {
        var address = new InetSocketAddress("127.0.0.1", Integer.parseInt(System.getenv("PORT")));
        var server = HttpServer.create(address, 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/charge", exchange -> {
            int charge = charges.incrementAndGet();
            work(charge % 6 == 0 ? 250 : 25);
            boolean refused = charge % 4 == 0;
            byte[] body = (refused ? "try again" : "paid").getBytes(StandardCharsets.UTF_8);
            exchange.sendResponseHeaders(refused ? 503 : 200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
        while (System.in.read() >= 0) {
            // What it reads does not matter; that it ends does.
        }
        System.exit(0);
    }

    /** Stands for what a real service does in this time. */
    private static void work(int milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}

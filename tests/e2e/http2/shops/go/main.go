// SPDX-License-Identifier: Apache-2.0 OR MIT

// The shop of the gRPC tests, with grpc-go: `serve`, or `call PORT`. What each method does is told in ../README.md.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
)

const service = "shop.v1.Shop"

// Messages are bytes, so that nothing has to be generated.
type plain struct{}

func (plain) Marshal(value any) ([]byte, error) { return *value.(*[]byte), nil }
func (plain) Unmarshal(data []byte, value any) error {
	*value.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (plain) Name() string { return "plain" }

var (
	ask   = []byte("ask")
	reply = []byte("reply")
)

func send(stream grpc.Stream, message []byte, times int) error {
	for range times {
		if err := stream.SendMsg(&message); err != nil {
			return err
		}
	}
	return nil
}

// receive reads to the end, and gives how many messages there were.
func receive(stream grpc.Stream) (int, error) {
	for count := 0; ; count++ {
		var message []byte
		if err := stream.RecvMsg(&message); err == io.EOF {
			return count, nil
		} else if err != nil {
			return count, err
		}
	}
}

func handler(serve func(grpc.ServerStream) error) grpc.StreamHandler {
	return func(_ any, stream grpc.ServerStream) error { return serve(stream) }
}

// first reads the one request of a call, then serves.
func first(serve func(grpc.ServerStream) error) grpc.StreamHandler {
	return handler(func(stream grpc.ServerStream) error {
		if _, err := receive(stream); err != nil {
			return err
		}
		return serve(stream)
	})
}

func offer(times int, end error) grpc.StreamHandler {
	return first(func(stream grpc.ServerStream) error {
		if err := send(stream, reply, times); err != nil {
			return err
		}
		return end
	})
}

func hold(times int) grpc.StreamHandler {
	return first(func(stream grpc.ServerStream) error {
		if err := send(stream, reply, times); err != nil {
			return err
		}
		<-stream.Context().Done()
		return stream.Context().Err()
	})
}

func talk(stream grpc.ServerStream) error {
	for {
		var message []byte
		if err := stream.RecvMsg(&message); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		if err := send(stream, reply, 1); err != nil {
			return err
		}
	}
}

func method(name string, serve grpc.StreamHandler) grpc.StreamDesc {
	return grpc.StreamDesc{StreamName: name, Handler: serve, ServerStreams: true, ClientStreams: true}
}

func serve() error {
	server := grpc.NewServer(grpc.ForceServerCodec(plain{}))
	server.RegisterService(&grpc.ServiceDesc{
		ServiceName: service,
		HandlerType: (*any)(nil),
		Streams: []grpc.StreamDesc{
			method("Unary", offer(1, nil)),
			method("Collect", offer(1, nil)),
			method("Offer", offer(4, nil)),
			method("Talk", handler(talk)),
			method("Fail", offer(0, status.Error(codes.NotFound, "no such order"))),
			method("Break", offer(2, status.Error(codes.Internal, "out of stock"))),
			method("Wait", hold(0)),
			method("Watch", hold(1)),
		},
	}, nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}()
	return server.Serve(listener)
}

func unary(ctx context.Context, client *grpc.ClientConn, name string) error {
	var answer []byte
	return client.Invoke(ctx, "/"+service+"/"+name, &ask, &answer)
}

// stream sends some requests, reads to the end, and fails unless it gets so many answers and this code.
func stream(client *grpc.ClientConn, name string, requests, answers int, code codes.Code) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	call, err := client.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}, "/"+service+"/"+name)
	check(err)
	check(send(call, ask, requests))
	check(call.CloseSend())
	count, err := receive(call)
	if count != answers || status.Code(err) != code {
		log.Fatal(name, count, err)
	}
}

func callAll(client *grpc.ClientConn) {
	background := context.Background()
	check(unary(background, client, "Unary"))
	check(unary(background, client, "Unary"))
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() { check(unary(background, client, "Unary")) })
	}
	group.Wait()
	stream(client, "Collect", 3, 1, codes.OK)
	stream(client, "Offer", 1, 4, codes.OK)
	stream(client, "Talk", 3, 3, codes.OK)
	if err := unary(background, client, "Fail"); status.Code(err) != codes.NotFound {
		log.Fatal(err)
	}
	stream(client, "Break", 1, 2, codes.Internal)
	limited, cancel := context.WithTimeout(background, 200*time.Millisecond)
	defer cancel()
	if err := unary(limited, client, "Wait"); status.Code(err) != codes.DeadlineExceeded {
		log.Fatal(err)
	}
	watching, stop := context.WithCancel(background)
	watch, err := client.NewStream(watching, &grpc.StreamDesc{ServerStreams: true}, "/"+service+"/Watch")
	check(err)
	check(send(watch, ask, 1))
	check(watch.CloseSend())
	var answer []byte
	check(watch.RecvMsg(&answer))
	stop()
	if _, err := receive(watch); status.Code(err) != codes.Canceled {
		log.Fatal(err)
	}
}

func call(port string) {
	client, err := grpc.NewClient("passthrough:///127.0.0.1:"+port,
		grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.ForceCodec(plain{})))
	check(err)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		callAll(client)
		fmt.Println("done")
	}
	check(client.Close())
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	if os.Args[1] == "serve" {
		check(serve())
		return
	}
	call(os.Args[2])
}

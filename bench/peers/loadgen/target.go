package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"
)

const (
	callTimeout   = 30 * time.Second
	shownBytesMax = 400
)

// target is a server with the question that it is asked.
type target struct {
	// call asks once, over the connection of that number, and checks the answer.
	call  func(ctx context.Context, connection int) ([]byte, error)
	show  func(reply []byte) string
	close func()
}

func dial(ctx context.Context, p *plan) (*target, error) {
	if p.Kind == "http" {
		return dialHTTP(p), nil
	}
	return dialGRPC(ctx, p)
}

// bytesCodec hands bytes through: the question is encoded once, the answer's checker reads the wire format.
type bytesCodec struct{}

func (bytesCodec) Name() string { return "proto" }

func (bytesCodec) Marshal(value any) (mem.BufferSlice, error) {
	bytes, ok := value.([]byte)
	if !ok {
		return nil, fmt.Errorf("a %T is not encoded yet", value)
	}
	return mem.BufferSlice{mem.SliceBuffer(bytes)}, nil
}

func (bytesCodec) Unmarshal(data mem.BufferSlice, value any) error {
	into, ok := value.(*[]byte)
	if !ok {
		return fmt.Errorf("a %T takes no bytes", value)
	}
	*into = data.Materialize()
	return nil
}

func dialGRPC(ctx context.Context, p *plan) (*target, error) {
	connections := make([]*grpc.ClientConn, p.Connections)
	end := func() {
		for _, one := range connections {
			if one != nil {
				one.Close()
			}
		}
	}
	for at := range connections {
		// passthrough: an address is dialled as it is, whatever proxy or resolver the environment has.
		one, err := grpc.NewClient("passthrough:///"+p.Address,
			grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithNoProxy())
		if err != nil {
			end()
			return nil, err
		}
		connections[at] = one
	}
	made, err := grpcTarget(ctx, p, connections)
	if err != nil {
		end()
		return nil, err
	}
	made.close = end
	return made, nil
}

func grpcTarget(ctx context.Context, p *plan, connections []*grpc.ClientConn) (*target, error) {
	sent := metadata.New(p.Metadata)
	asking, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, sent), callTimeout)
	defer cancel()
	method, err := findMethod(asking, connections[0], p.Descriptors, p.Method)
	if err != nil {
		return nil, err
	}
	question := dynamicpb.NewMessage(method.Input())
	if err := protojson.Unmarshal(p.Request, question); err != nil {
		return nil, fmt.Errorf("the request: %w", err)
	}
	encoded, err := proto.Marshal(question)
	if err != nil {
		return nil, err
	}
	check, err := messageChecker(method.Output(), p.Expect, p.Decisions)
	if err != nil {
		return nil, err
	}
	show := func(reply []byte) string { return showMessage(method.Output(), reply) }
	fullMethod := "/" + p.Method
	call := func(ctx context.Context, connection int) ([]byte, error) {
		ctx, cancel := context.WithTimeout(metadata.NewOutgoingContext(ctx, sent), callTimeout)
		defer cancel()
		var reply []byte
		err := connections[connection%len(connections)].Invoke(ctx, fullMethod, encoded, &reply,
			grpc.ForceCodecV2(bytesCodec{}), grpc.WaitForReady(true))
		if err != nil {
			return nil, err
		}
		if err := check(reply); err != nil {
			return nil, fmt.Errorf("%w: %.*s", err, shownBytesMax, show(reply))
		}
		return reply, nil
	}
	return &target{call: call, show: show}, nil
}

func showMessage(kind protoreflect.MessageDescriptor, reply []byte) string {
	message := dynamicpb.NewMessage(kind)
	if err := proto.Unmarshal(reply, message); err != nil {
		return err.Error()
	}
	return protojson.MarshalOptions{Resolver: nil}.Format(message)
}

// dialHTTP posts by HTTP/1.1, which has one call at a time on a connection: as many connections as calls in flight.
func dialHTTP(p *plan) *target {
	transport := &http.Transport{MaxIdleConns: inFlightMax, MaxIdleConnsPerHost: inFlightMax, DisableCompression: true}
	client := &http.Client{Transport: transport, Timeout: callTimeout}
	check := jsonChecker(p.Expect, p.Decisions)
	call := func(ctx context.Context, _ int) ([]byte, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Address, bytes.NewReader(p.Request))
		if err != nil {
			return nil, err
		}
		request.Header.Set("Content-Type", "application/json")
		for name, value := range p.Metadata {
			request.Header.Set(name, value)
		}
		response, err := client.Do(request)
		if err != nil {
			return nil, err
		}
		defer response.Body.Close()
		reply, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, err
		}
		if response.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("status %d: %.*s", response.StatusCode, shownBytesMax, reply)
		}
		if err := check(reply); err != nil {
			return nil, fmt.Errorf("%w: %.*s", err, shownBytesMax, reply)
		}
		return reply, nil
	}
	show := func(reply []byte) string { return string(reply) }
	return &target{call: call, show: show, close: transport.CloseIdleConnections}
}

package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"google.golang.org/grpc"
	reflectionpb "google.golang.org/grpc/reflection/grpc_reflection_v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// findMethod finds package.Service/Method in the file, or asks the server where no file is given.
func findMethod(ctx context.Context, conn *grpc.ClientConn, path, name string) (protoreflect.MethodDescriptor, error) {
	service, method, _ := strings.Cut(name, "/")
	var set *descriptorpb.FileDescriptorSet
	var err error
	if path == "" {
		set, err = reflected(ctx, conn, service)
	} else {
		set, err = readSet(path)
	}
	if err != nil {
		return nil, err
	}
	files, err := protodesc.FileOptions{AllowUnresolvable: true}.NewFiles(set)
	if err != nil {
		return nil, fmt.Errorf("descriptors of %s: %w", service, err)
	}
	found, err := files.FindDescriptorByName(protoreflect.FullName(service))
	if err != nil {
		return nil, fmt.Errorf("there is no service %s: %w", service, err)
	}
	described, ok := found.(protoreflect.ServiceDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no service", service)
	}
	if one := described.Methods().ByName(protoreflect.Name(method)); one != nil {
		return one, nil
	}
	return nil, fmt.Errorf("%s has no method %q", service, method)
}

func readSet(path string) (*descriptorpb.FileDescriptorSet, error) {
	bytes, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(bytes, set); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return set, nil
}

// reflected asks for the file of a service, and for each import that did not come along.
// Source: grpc.reflection.v1.
func reflected(ctx context.Context, conn *grpc.ClientConn, service string) (*descriptorpb.FileDescriptorSet, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stream, err := reflectionpb.NewServerReflectionClient(conn).ServerReflectionInfo(ctx, grpc.WaitForReady(true))
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	known := map[string]bool{}
	var wanted []string
	ask := func(request *reflectionpb.ServerReflectionRequest) error {
		if err := stream.Send(request); err != nil {
			return err
		}
		answer, err := stream.Recv()
		if err != nil {
			return err
		}
		if failed := answer.GetErrorResponse(); failed != nil {
			return fmt.Errorf("reflection: %s", failed.GetErrorMessage())
		}
		for _, bytes := range answer.GetFileDescriptorResponse().GetFileDescriptorProto() {
			file := &descriptorpb.FileDescriptorProto{}
			if err := proto.Unmarshal(bytes, file); err != nil {
				return err
			}
			if known[file.GetName()] {
				continue
			}
			known[file.GetName()] = true
			set.File = append(set.File, file)
			wanted = append(wanted, file.GetDependency()...)
		}
		return nil
	}
	symbol := &reflectionpb.ServerReflectionRequest_FileContainingSymbol{FileContainingSymbol: service}
	if err := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: symbol}); err != nil {
		return nil, err
	}
	for len(wanted) > 0 {
		name := wanted[0]
		wanted = wanted[1:]
		if known[name] {
			continue
		}
		byName := &reflectionpb.ServerReflectionRequest_FileByFilename{FileByFilename: name}
		if err := ask(&reflectionpb.ServerReflectionRequest{MessageRequest: byName}); err != nil {
			return nil, err
		}
	}
	return set, nil
}

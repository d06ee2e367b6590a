package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

const (
	connectionsMax = 64
	inFlightMax    = 4096
	secondsMax     = 600
)

// plan says what is asked, how an honest answer looks, and how much is asked.
type plan struct {
	// Kind is grpc or http.
	Kind string `json:"kind"`
	// Address is host:port for gRPC, a URL for HTTP.
	Address string `json:"address"`
	// Method is package.Service/Method. For gRPC alone.
	Method   string            `json:"method"`
	Metadata map[string]string `json:"metadata"`
	// Descriptors is a file with a FileDescriptorSet; without it the server is asked by gRPC reflection.
	Descriptors string          `json:"descriptors"`
	Request     json.RawMessage `json:"request"`
	// Expect is what every answer says, of each of its decisions.
	Expect []expected `json:"expect"`
	// Decisions is how many decisions an answer has.
	Decisions int `json:"decisions"`

	Connections int `json:"connections"`
	// InFlight is the number of calls at a time of a closed loop: each answer makes room for the next call.
	InFlight int `json:"inFlight"`
	// PerSecond makes it an open loop: calls are due at this rate, whatever becomes of those before.
	PerSecond     float64 `json:"perSecond"`
	WarmUpSeconds float64 `json:"warmUpSeconds"`
	Seconds       float64 `json:"seconds"`
	// Pid is the server's process, whose processor time, memory and writes are measured.
	Pid int `json:"pid"`
}

// expected is a field by its path of names, through every element of a list or map, and its value as text: the name of
// an enum's value, true or false, a number, or a string.
type expected struct {
	Path  string `json:"path"`
	Value string `json:"value"`
}

func readPlan(in io.Reader) (*plan, error) {
	decoder := json.NewDecoder(in)
	decoder.DisallowUnknownFields()
	made := &plan{Decisions: 1, Connections: 1, InFlight: 1}
	if err := decoder.Decode(made); err != nil {
		return nil, fmt.Errorf("the plan: %w", err)
	}
	return made, made.check()
}

func (p *plan) check() error {
	switch {
	case p.Kind != "grpc" && p.Kind != "http":
		return errors.New("kind is grpc or http")
	case p.Address == "":
		return errors.New("address is missing")
	case p.Kind == "grpc" && p.Method == "":
		return errors.New("method is missing")
	case len(p.Request) == 0:
		return errors.New("request is missing")
	case p.Decisions < 1:
		return errors.New("decisions is at least 1")
	case p.Connections < 1 || p.Connections > connectionsMax:
		return fmt.Errorf("connections is 1 to %d", connectionsMax)
	case p.InFlight < 1 || p.InFlight > inFlightMax:
		return fmt.Errorf("inFlight is 1 to %d", inFlightMax)
	case p.PerSecond < 0:
		return errors.New("perSecond is at least 0")
	case p.Seconds < 0 || p.Seconds > secondsMax || p.WarmUpSeconds < 0 || p.WarmUpSeconds > secondsMax:
		return fmt.Errorf("seconds and warmUpSeconds are 0 to %d", secondsMax)
	}
	return nil
}

package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/reflection"
)

// A server with reflection whose answer to the nth call is a function.
type answering struct {
	healthpb.UnimplementedHealthServer
	calls  atomic.Int64
	answer func(call int64) healthpb.HealthCheckResponse_ServingStatus
}

func (a *answering) Check(context.Context, *healthpb.HealthCheckRequest) (*healthpb.HealthCheckResponse, error) {
	return &healthpb.HealthCheckResponse{Status: a.answer(a.calls.Add(1))}, nil
}

func serve(t *testing.T, answer func(call int64) healthpb.HealthCheckResponse_ServingStatus) (*answering, *plan) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	own := &answering{answer: answer}
	server := grpc.NewServer()
	healthpb.RegisterHealthServer(server, own)
	reflection.Register(server)
	go server.Serve(listener)
	t.Cleanup(server.Stop)
	return own, &plan{
		Kind: "grpc", Address: listener.Addr().String(), Method: "grpc.health.v1.Health/Check",
		Request: []byte(`{"service":"any"}`), Expect: []expected{{"status", "SERVING"}}, Decisions: 1,
		Connections: 4, InFlight: 8, WarmUpSeconds: 0.05, Seconds: 0.2, Pid: os.Getpid(),
	}
}

func always(int64) healthpb.HealthCheckResponse_ServingStatus {
	return healthpb.HealthCheckResponse_SERVING
}

func driven(t *testing.T, p *plan) (*measured, error) {
	t.Helper()
	if err := p.check(); err != nil {
		t.Fatal(err)
	}
	target, err := dial(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer target.close()
	return drive(t.Context(), p, target)
}

func TestCountsEveryCall(t *testing.T) {
	own, p := serve(t, always)
	for _, perSecond := range []float64{0, 200} {
		own.calls.Store(0)
		p.PerSecond = perSecond
		got, err := driven(t, p)
		if err != nil {
			t.Fatal(err)
		}
		if int64(got.AllCalls) != own.calls.Load() || got.Calls < 1 || got.Calls >= got.AllCalls {
			t.Errorf("%+v of %d calls", got, own.calls.Load())
		}
		if got.P50Ms > got.P99Ms || got.P99Ms > got.MaxMs || got.RSSPeakBytes == 0 {
			t.Errorf("%+v", got)
		}
	}
}

func TestOneWrongAnswerFailsTheRun(t *testing.T) {
	for _, perSecond := range []float64{0, 500} {
		_, p := serve(t, func(call int64) healthpb.HealthCheckResponse_ServingStatus {
			if call == 20 {
				return healthpb.HealthCheckResponse_NOT_SERVING
			}
			return healthpb.HealthCheckResponse_SERVING
		})
		p.PerSecond, p.WarmUpSeconds, p.Seconds = perSecond, 0, 2
		_, err := driven(t, p)
		expectError(t, err, "status has another value")
	}
}

func TestAnAnswerLeftOutIsNoAllow(t *testing.T) {
	_, p := serve(t, func(int64) healthpb.HealthCheckResponse_ServingStatus { return healthpb.HealthCheckResponse_UNKNOWN })
	_, err := driven(t, p)
	expectError(t, err, "status is not there")
}

func TestAServerThatIsGoneFailsTheRun(t *testing.T) {
	_, p := serve(t, always)
	p.Address, p.Kind = "http://"+p.Address+"/nothing", "http"
	_, err := driven(t, p)
	if err == nil {
		t.Error("nothing answers, and the run has a result")
	}
}

// One call at a time, 20 ms each, due every 10 ms: the last of 20 is due after 190 ms and ends after 400 ms or more.
func TestOpenLoopCountsTheWaitFromWhenACallWasDue(t *testing.T) {
	var one sync.Mutex
	_, p := serve(t, func(int64) healthpb.HealthCheckResponse_ServingStatus {
		one.Lock()
		defer one.Unlock()
		time.Sleep(20 * time.Millisecond)
		return healthpb.HealthCheckResponse_SERVING
	})
	p.PerSecond, p.WarmUpSeconds, p.Seconds = 100, 0, 0.2
	got, err := driven(t, p)
	if err != nil {
		t.Fatal(err)
	}
	if got.Calls != 20 || got.MaxMs < 200 || got.P50Ms < 100 {
		t.Errorf("%+v", got)
	}
}

func TestHTTP(t *testing.T) {
	for _, row := range []struct {
		name   string
		status int
		body   string
		fails  string
	}{
		{"as expected", 200, `{"result":true}`, ""},
		{"another value", 200, `{"result":false}`, "another value"},
		{"an error", 500, `{"result":true}`, "status 500"},
	} {
		t.Run(row.name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(row.status)
				w.Write([]byte(row.body))
			}))
			defer server.Close()
			_, err := driven(t, &plan{
				Kind: "http", Address: server.URL, Request: []byte(`{}`), Expect: []expected{{"result", "true"}},
				Decisions: 1, Connections: 1, InFlight: 2, Seconds: 0.05,
			})
			expectError(t, err, row.fails)
		})
	}
}

func TestPlansThatAreRefused(t *testing.T) {
	for part, text := range map[string]string{
		"kind":        `{"kind":"tcp","address":"a","request":{}}`,
		"address":     `{"kind":"http","request":{}}`,
		"method":      `{"kind":"grpc","address":"a","request":{}}`,
		"request":     `{"kind":"http","address":"a"}`,
		"decisions":   `{"kind":"http","address":"a","request":{},"decisions":0}`,
		"connections": `{"kind":"http","address":"a","request":{},"connections":65}`,
		"inFlight":    `{"kind":"http","address":"a","request":{},"inFlight":0}`,
		"seconds":     `{"kind":"http","address":"a","request":{},"seconds":601}`,
		"unknown":     `{"kind":"http","address":"a","request":{},"flight":1}`,
	} {
		_, err := readPlan(strings.NewReader(text))
		expectError(t, err, part)
	}
}

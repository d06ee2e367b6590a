// With a proxy in the environment, nothing goes there that is not encrypted or not meant for another machine. Go
// reads the environment once a process, so each case has its own.
package sigil_test

import (
	"bufio"
	"context"
	"net"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sigil "sigil.example/go"
)

// proxy writes down what it is asked for and refuses it.
type proxy struct {
	url string

	mu    sync.Mutex
	asked []string
}

func startProxy(t *testing.T) *proxy {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	started := &proxy{url: "http://" + listener.Addr().String()}
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			line, _ := bufio.NewReader(connection).ReadString('\n')
			started.mu.Lock()
			started.asked = append(started.asked, strings.TrimSpace(line))
			started.mu.Unlock()
			_, _ = connection.Write([]byte("HTTP/1.1 403 Forbidden\r\n\r\n"))
			_ = connection.Close()
		}
	}()
	return started
}

func (p *proxy) lines() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// TestProxyChild is the process that asks; it does nothing by itself.
func TestProxyChild(t *testing.T) {
	target, mode := os.Getenv("SIGIL_TEST_TARGET"), os.Getenv("SIGIL_TEST_MODE")
	if target == "" {
		t.Skip("skipped: the parent starts it")
	}
	options := []sigil.Option{sigil.WithTokenSource(staticToken("secret-token")), sigil.WithTokensInTheClear(), sigil.WithoutRetries()}
	switch mode {
	case "plain":
		options = append(options, sigil.WithoutTLS())
	case "tls":
		options = append(options, sigil.WithCA([]byte(os.Getenv("SIGIL_TEST_CA"))))
	}
	client := connectTo(t, target, options...)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := client.Require(ctx, question); err != nil && os.Getenv("SIGIL_TEST_ALLOWED") != "" {
		t.Fatal(err)
	}
}

func askInChild(t *testing.T, environment ...string) {
	t.Helper()
	child := exec.Command(os.Args[0], "-test.run=^TestProxyChild$", "-test.count=1")
	for _, each := range os.Environ() {
		if name, _, _ := strings.Cut(each, "="); !strings.HasSuffix(strings.ToLower(name), "_proxy") {
			child.Env = append(child.Env, each)
		}
	}
	child.Env = append(child.Env, environment...)
	if output, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

func TestAProxyGetsNothingThatStaysOnThisMachine(t *testing.T) {
	certificate := certificateFor(t, "localhost", "127.0.0.1")
	plain := serve(t, &fake{}, "tcp")
	protected := serve(t, &fake{}, "tcp", serverTLS(t, certificate))
	proxy := startProxy(t)
	named := []string{}
	for _, name := range []string{"https_proxy", "HTTPS_PROXY", "http_proxy", "grpc_proxy", "all_proxy"} {
		named = append(named, name+"="+proxy.url)
	}
	_, port, _ := net.SplitHostPort(plain)
	for _, target := range []string{plain, "localhost:" + port} {
		askInChild(t, append(named, "SIGIL_TEST_TARGET="+target, "SIGIL_TEST_MODE=plain", "SIGIL_TEST_ALLOWED=1")...)
	}
	askInChild(t, append(named, "SIGIL_TEST_TARGET="+protected, "SIGIL_TEST_MODE=tls", "SIGIL_TEST_ALLOWED=1",
		"SIGIL_TEST_CA="+string(certificate.certificate))...)
	if asked := proxy.lines(); len(asked) != 0 {
		t.Errorf("%q", asked)
	}
}

func TestAProxyGetsNothingInTheClearAndTLSToAnotherMachine(t *testing.T) {
	certificate := certificateFor(t, "a")
	proxy := startProxy(t)
	askInChild(t, "https_proxy="+proxy.url, "SIGIL_TEST_TARGET=sigil.invalid:50051", "SIGIL_TEST_MODE=plain")
	if asked := proxy.lines(); len(asked) != 0 {
		t.Errorf("%q", asked)
	}
	askInChild(t, "https_proxy="+proxy.url, "SIGIL_TEST_TARGET=sigil.invalid:50051", "SIGIL_TEST_MODE=tls", "SIGIL_TEST_CA="+string(certificate.certificate))
	if asked := proxy.lines(); len(asked) == 0 || asked[0] != "CONNECT sigil.invalid:50051 HTTP/1.1" {
		t.Errorf("%q", asked)
	}
}

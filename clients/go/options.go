// What a connection may be told.

package sigil

import (
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"time"

	"sigil.example/go/verify"

	"google.golang.org/grpc"
)

const (
	defaultDeadline = 10 * time.Second
	// replyBytesMaxDefault is gRPC's own.
	replyBytesMaxDefault = 4 << 20
	// resumeLimitDefault is how long a stream that broke off is tried again without any progress.
	resumeLimitDefault = 5 * time.Minute
)

// Option changes how Connect connects.
type Option func(*settings) error

type settings struct {
	tls            *tls.Config
	hasTLS         bool
	plain          bool
	tokensAnywhere bool
	source         TokenSource
	origin         string
	deadline       time.Duration
	retries        bool
	replyBytesMax  int
	resumeLimit    time.Duration
	waitForServer  bool
	dial           []grpc.DialOption
	// Of the genesis record; nil unless decisions are verified.
	genesis *verify.Hash
	// Nil remembers no numbers.
	remember *remembering
	// Of streams that should not be silent: how long one may be, for the seconds between its heartbeats.
	silence func(heartbeatSeconds uint32) time.Duration
}

func newSettings(options []Option) (*settings, error) {
	given := &settings{
		tls:           &tls.Config{},
		deadline:      defaultDeadline,
		retries:       true,
		replyBytesMax: replyBytesMaxDefault,
		resumeLimit:   resumeLimitDefault,
		silence:       silenceMax,
	}
	for _, option := range options {
		if option == nil {
			continue
		}
		if err := option(given); err != nil {
			return nil, err
		}
	}
	if given.plain && given.hasTLS {
		return nil, errors.New("sigil: WithoutTLS goes with no other option about TLS")
	}
	if given.tls.MinVersion == 0 {
		given.tls.MinVersion = tls.VersionTLS12
	}
	return given, nil
}

func (s *settings) setSource(source TokenSource, origin string) error {
	if source == nil {
		return errors.New("sigil: the token source is nil")
	}
	if s.source != nil {
		return errors.New("sigil: a connection has one key or one token source")
	}
	s.source, s.origin = source, origin
	return nil
}

// WithKey signs the caller's tokens with its own Ed25519 key, which never leaves the process. Without a key, a token
// source and a client certificate the caller is an anonymous Guest.
// origin is the deployment's, as set by `sigil init --origin`.
func WithKey(principal, origin string, key ed25519.PrivateKey) Option {
	return func(s *settings) error {
		signer, err := NewKeySigner(principal, origin, key)
		if err != nil {
			return err
		}
		return s.setSource(signer, origin)
	}
}

// WithKeyPEM is WithKey with a key in PKCS #8 PEM.
func WithKeyPEM(principal, origin string, text []byte) Option {
	return func(s *settings) error {
		key, err := ParsePrivateKey(text)
		if err != nil {
			return err
		}
		return WithKey(principal, origin, key)(s)
	}
}

// WithKeyFile is WithKeyPEM with a key in a file, which is read once.
func WithKeyFile(principal, origin, path string) Option {
	return func(s *settings) error {
		text, err := os.ReadFile(path)
		if err != nil {
			return fmt.Errorf("sigil: the private key cannot be read: %w", err)
		}
		return WithKeyPEM(principal, origin, text)(s)
	}
}

// WithTokenSource takes tokens from anywhere else.
func WithTokenSource(source TokenSource) Option {
	return func(s *settings) error { return s.setSource(source, "") }
}

// WithOrigin says which deployment this is, where no key does: Attest signs for no other.
func WithOrigin(origin string) Option {
	return func(s *settings) error {
		s.origin = origin
		return nil
	}
}

// WithTLS sets TLS as a whole, in place of the system's authorities and no client certificate. A configuration that
// skips the verification of the server and puts nothing in its place is refused.
func WithTLS(config *tls.Config) Option {
	return func(s *settings) error {
		if config == nil {
			return errors.New("sigil: the TLS configuration is nil")
		}
		if config.InsecureSkipVerify && config.VerifyConnection == nil && config.VerifyPeerCertificate == nil {
			return errors.New("sigil: TLS that does not verify the server protects nothing: trust its authority by WithCA")
		}
		s.tls, s.hasTLS = config.Clone(), true
		return nil
	}
}

// WithCA trusts these certificate authorities, in PEM, instead of the system's.
func WithCA(authorities []byte) Option {
	return func(s *settings) error {
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(authorities) {
			return errors.New("sigil: the authorities hold no certificate in PEM")
		}
		s.tls.RootCAs, s.hasTLS = pool, true
		return nil
	}
}

// WithClientCertificate presents a certificate chain, with its private key, both in PEM.
func WithClientCertificate(chain, key []byte) Option {
	return func(s *settings) error {
		pair, err := tls.X509KeyPair(chain, key)
		if err != nil {
			return errors.New("sigil: the client certificate and its key are not a pair in PEM")
		}
		s.tls.Certificates, s.hasTLS = []tls.Certificate{pair}, true
		return nil
	}
}

// WithServerName expects this name in the server's certificate, if not the target's.
func WithServerName(name string) Option {
	return func(s *settings) error {
		s.tls.ServerName, s.hasTLS = name, true
		return nil
	}
}

// WithoutTLS sends everything in the clear. Tokens are then sent to this machine only, Unix sockets among it.
func WithoutTLS() Option {
	return func(s *settings) error {
		s.plain = true
		return nil
	}
}

// WithTokensInTheClear sends tokens without TLS to any machine. Whoever reads one is the caller for ten minutes.
func WithTokensInTheClear() Option {
	return func(s *settings) error {
		s.tokensAnywhere = true
		return nil
	}
}

// WithDeadline sets how long a unary call may take, with its repeats, if its context has no deadline; the default is
// 10 s.
func WithDeadline(deadline time.Duration) Option {
	return func(s *settings) error {
		if deadline <= 0 {
			return errors.New("sigil: the deadline must be above 0")
		}
		s.deadline = deadline
		return nil
	}
}

// WithoutRetries makes each call once.
func WithoutRetries() Option {
	return func(s *settings) error {
		s.retries = false
		return nil
	}
}

// WithReplyBytesMax sets the largest reply that is taken, in bytes; the default is 4 MiB. The server is told: pages end
// before it, and a batch whose replies would pass it is refused before it is decided.
func WithReplyBytesMax(bytes int) Option {
	return func(s *settings) error {
		if bytes <= 0 {
			return errors.New("sigil: the largest reply must be above 0 bytes")
		}
		s.replyBytesMax = bytes
		return nil
	}
}

// WithResumeLimit sets how long a watch, an export or a listing that is followed is tried again without any progress,
// before it ends with the error; the default is 5 minutes.
func WithResumeLimit(limit time.Duration) Option {
	return func(s *settings) error {
		s.resumeLimit = limit
		return nil
	}
}

// WithServerReady makes Connect wait until the server is reached, at most as long as its context lasts. Otherwise the
// first call connects.
func WithServerReady() Option {
	return func(s *settings) error {
		s.waitForServer = true
		return nil
	}
}

// WithDialOptions hands further options to gRPC, for example the stats handler of OpenTelemetry:
//
//	sigil.WithDialOptions(grpc.WithStatsHandler(otelgrpc.NewClientHandler()))
//
// Credentials, proxies and retries stay as the other options say.
func WithDialOptions(options ...grpc.DialOption) Option {
	return func(s *settings) error {
		s.dial = append(s.dial, options...)
		return nil
	}
}

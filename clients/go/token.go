// Tokens signed with a principal's own Ed25519 key: an EdDSA JWT valid for at most ten minutes, renewed shortly
// before it expires. Source: docs/spec/tokens.md. The key never leaves this process.

package sigil

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"sigil.example/go/verify/cose"
)

// TokenSource gives the token of a call. It is asked before every call, so it should cache, and it may be asked
// concurrently. A call whose token cannot be had is not made.
type TokenSource interface {
	Token(ctx context.Context) (string, error)
}

// TokenSourceFunc is a function as a TokenSource.
type TokenSourceFunc func(ctx context.Context) (string, error)

// Token calls the function.
func (f TokenSourceFunc) Token(ctx context.Context) (string, error) { return f(ctx) }

const (
	tokenLifetimeMax = 600 * time.Second
	// tokenBytesMax is what a server accepts.
	tokenBytesMax = 4096
)

// ParsePrivateKey reads an Ed25519 private key from PKCS #8 PEM. Errors never quote the text.
func ParsePrivateKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, errors.New("sigil: the private key must be PKCS #8 in PEM")
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("sigil: the private key is not valid PKCS #8")
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, errors.New("sigil: the private key must be an Ed25519 key")
	}
	return key, nil
}

// KeySigner makes and renews the tokens of a principal. It is a TokenSource.
type KeySigner struct {
	principal, origin, header string
	key                       ed25519.PrivateKey
	lifetime, renewBefore     time.Duration
	now                       func() time.Time

	mu     sync.Mutex
	held   string
	madeAt time.Time
}

// KeySignerOption changes how a KeySigner makes tokens.
type KeySignerOption func(*KeySigner)

// TokenLifetime sets how long a token is valid, in whole seconds from 1 to 600; the default is 600. It is renewed a
// fifth of that before it expires.
func TokenLifetime(lifetime time.Duration) KeySignerOption {
	return func(s *KeySigner) { s.lifetime = lifetime }
}

// TokenClock sets the clock; the default is time.Now.
func TokenClock(now func() time.Time) KeySignerOption {
	return func(s *KeySigner) { s.now = now }
}

// NewKeySigner makes the tokens of a principal.
// origin is the deployment's, as set by `sigil init --origin`.
func NewKeySigner(principal, origin string, key ed25519.PrivateKey, options ...KeySignerOption) (*KeySigner, error) {
	if principal == "" || origin == "" {
		return nil, errors.New("sigil: a token needs the principal's id and the deployment's origin")
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, errors.New("sigil: the private key must be an Ed25519 key")
	}
	public, ok := key.Public().(ed25519.PublicKey)
	if !ok {
		return nil, errors.New("sigil: the private key must be an Ed25519 key")
	}
	signer := &KeySigner{
		principal: principal,
		origin:    origin,
		key:       append(ed25519.PrivateKey{}, key...),
		lifetime:  tokenLifetimeMax,
		now:       time.Now,
	}
	for _, option := range options {
		option(signer)
	}
	if signer.lifetime < time.Second || signer.lifetime > tokenLifetimeMax || signer.lifetime%time.Second != 0 {
		return nil, errors.New("sigil: a token's lifetime must be whole seconds from 1 to 600")
	}
	signer.renewBefore = signer.lifetime / 5
	kid := cose.Thumbprint(public)
	header, err := encodeJSON(struct {
		Alg string `json:"alg"`
		Typ string `json:"typ"`
		Kid string `json:"kid"`
	}{"EdDSA", "JWT", base64.RawURLEncoding.EncodeToString(kid[:])})
	if err != nil {
		return nil, err
	}
	signer.header = header
	return signer, nil
}

// String names the principal and nothing of the key.
func (s *KeySigner) String() string { return fmt.Sprintf("sigil.KeySigner(%q)", s.principal) }

// GoString is String: %#v must not print the key.
func (s *KeySigner) GoString() string { return s.String() }

// Token gives the token that is held, or a new one.
func (s *KeySigner) Token(context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	// Round(0) strips the monotonic clock: the server compares the wall clock, which may step.
	age := now.Round(0).Sub(s.madeAt.Round(0))
	// Also renew if the clock was set back, which dates the held token in the future.
	if s.held == "" || age < 0 || age >= s.lifetime-s.renewBefore {
		token, err := s.mint(now)
		if err != nil {
			return "", err
		}
		s.held, s.madeAt = token, now
	}
	return s.held, nil
}

func (s *KeySigner) mint(now time.Time) (string, error) {
	issued := now.Unix()
	claims, err := encodeJSON(struct {
		Iss string `json:"iss"`
		Sub string `json:"sub"`
		Aud string `json:"aud"`
		Iat int64  `json:"iat"`
		Exp int64  `json:"exp"`
		Jti string `json:"jti"`
	}{s.principal, s.principal, s.origin, issued, issued + int64(s.lifetime/time.Second), rand.Text()})
	if err != nil {
		return "", err
	}
	toSign := s.header + "." + claims
	signature := ed25519.Sign(s.key, []byte(toSign))
	return toSign + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

func encodeJSON(value any) (string, error) {
	text, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(text), nil
}

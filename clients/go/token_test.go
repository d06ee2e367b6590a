// Tokens, held against docs/spec/tokens.md.
package sigil_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	sigil "sigil.example/go"
)

func newKey(t testing.TB) ed25519.PrivateKey {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func tokenOf(t *testing.T, source sigil.TokenSource) string {
	t.Helper()
	token, err := source.Token(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func partOf(t *testing.T, token string, at int) map[string]any {
	t.Helper()
	text, err := base64.RawURLEncoding.Strict().DecodeString(strings.Split(token, ".")[at])
	if err != nil {
		t.Fatal(err)
	}
	var value map[string]any
	if err := json.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func TestATokenIsWhatTheSpecificationSays(t *testing.T) {
	key := newKey(t)
	now := time.Unix(1_700_000_000, 900_000_000)
	signer, err := sigil.NewKeySigner(`billing <a&b> "é"`, "sigil.test", key, sigil.TokenClock(func() time.Time { return now }))
	if err != nil {
		t.Fatal(err)
	}
	token := tokenOf(t, signer)
	if len(token) > 4096 {
		t.Error(len(token))
	}
	header, claims := partOf(t, token, 0), partOf(t, token, 1)
	if header["alg"] != "EdDSA" || header["typ"] != "JWT" || len(header) != 3 || len(header["kid"].(string)) != 43 {
		t.Error(header)
	}
	jti, _ := claims["jti"].(string)
	if claims["sub"] != `billing <a&b> "é"` || claims["iss"] != claims["sub"] || claims["aud"] != "sigil.test" || len(claims) != 6 ||
		claims["iat"] != 1_700_000_000.0 || claims["exp"] != 1_700_000_600.0 || jti == "" || len(jti) > 128 {
		t.Error(claims)
	}
	signed, signature, _ := cutLast(token)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(signature)
	if err != nil || !ed25519.Verify(key.Public().(ed25519.PublicKey), []byte(signed), raw) {
		t.Error("the signature does not verify", err)
	}
}

func cutLast(token string) (before, after string, found bool) {
	at := strings.LastIndex(token, ".")
	return token[:at], token[at+1:], at >= 0
}

// The thumbprint of docs/spec/record.md §8.
func TestTheKeyIsNamedByItsThumbprint(t *testing.T) {
	seed, err := hex.DecodeString("1b4f0e9851971998e732078544c96b36c3d01cedf7caa332359d6f1d83567014")
	if err != nil {
		t.Fatal(err)
	}
	key := ed25519.NewKeyFromSeed(seed)
	signer, err := sigil.NewKeySigner("a", "o", key)
	if err != nil {
		t.Fatal(err)
	}
	kid, _ := partOf(t, tokenOf(t, signer), 0)["kid"].(string)
	raw, err := base64.RawURLEncoding.Strict().DecodeString(kid)
	if err != nil || len(raw) != 32 {
		t.Errorf("%q: %v", kid, err)
	}
}

func TestATokenIsRenewedBeforeItExpires(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	signer, err := sigil.NewKeySigner("a", "o", newKey(t), sigil.TokenLifetime(100*time.Second), sigil.TokenClock(func() time.Time { return now }))
	if err != nil {
		t.Fatal(err)
	}
	first := tokenOf(t, signer)
	now = now.Add(79 * time.Second)
	if tokenOf(t, signer) != first {
		t.Error("it is renewed too early")
	}
	now = now.Add(2 * time.Second)
	second := tokenOf(t, signer)
	if second == first {
		t.Error("it is not renewed a fifth of its life before it expires")
	}
	now = now.Add(-time.Hour)
	third := tokenOf(t, signer)
	if third == second {
		t.Error("it is not renewed though the clock was set back")
	}
	if partOf(t, first, 1)["jti"] == partOf(t, second, 1)["jti"] {
		t.Error("two tokens have one jti")
	}
}

func TestALifetimeIsWholeSecondsUpTo600(t *testing.T) {
	for _, lifetime := range []time.Duration{0, -time.Second, 601 * time.Second, 1500 * time.Millisecond, time.Millisecond} {
		if _, err := sigil.NewKeySigner("a", "o", newKey(t), sigil.TokenLifetime(lifetime)); err == nil {
			t.Errorf("%v is taken", lifetime)
		}
	}
}

func TestAKeyIsNeverPrinted(t *testing.T) {
	key := newKey(t)
	signer, err := sigil.NewKeySigner("billing", "o", key)
	if err != nil {
		t.Fatal(err)
	}
	decimal := strings.Trim(fmt.Sprint([]byte(key.Seed()[:4])), "[]")
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		text := fmt.Sprintf(verb, signer)
		if strings.Contains(text, decimal) || strings.Contains(text, hex.EncodeToString(key[:4])) || !strings.Contains(text, "billing") {
			t.Errorf("%s prints %s", verb, text)
		}
	}
}

func TestAPrivateKeyIsReadFromPEM(t *testing.T) {
	key := newKey(t)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	read, err := sigil.ParsePrivateKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
	if err != nil || !read.Equal(key) {
		t.Error(err)
	}
	for what, text := range map[string][]byte{
		"nothing":            nil,
		"another block":      pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}),
		"bytes that are cut": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der[:20]}),
		"another algorithm":  certificateFor(t, "a").key,
	} {
		if _, err := sigil.ParsePrivateKey(text); err == nil {
			t.Errorf("%s is a key", what)
		}
	}
}

func TestATokenIsMadeOnceForConcurrentCalls(t *testing.T) {
	signer, err := sigil.NewKeySigner("a", "o", newKey(t))
	if err != nil {
		t.Fatal(err)
	}
	var group sync.WaitGroup
	tokens := make([]string, 20)
	for at := range tokens {
		group.Go(func() { tokens[at], _ = signer.Token(context.Background()) })
	}
	group.Wait()
	for _, token := range tokens {
		if token != tokens[0] {
			t.Error("tokens differ")
		}
	}
}

// Connecting, and what a connection offers.

package sigil

import (
	"context"
	"errors"
	"fmt"

	auditv1 "sigil.example/go/sigil/audit/v1"
	backupv1 "sigil.example/go/sigil/backup/v1"
	canonv1 "sigil.example/go/sigil/canon/v1"
	identityv1 "sigil.example/go/sigil/identity/v1"
	keyv1 "sigil.example/go/sigil/key/v1"
	modulev1 "sigil.example/go/sigil/module/v1"
	trustv1 "sigil.example/go/sigil/trust/v1"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
)

// Client is one connection to a Sigil server, shared by all its calls. Safe for concurrent use.
type Client struct {
	channel *channel
	target  string
	proofs  *proofs
}

// Connect makes a client of the server at a target: host:port, unix:/path, or any other name of gRPC. The first call
// connects, unless WithServerReady is given. Close it after use.
func Connect(ctx context.Context, target string, options ...Option) (*Client, error) {
	if ctx.Err() != nil {
		return nil, endedBefore(ctx)
	}
	if target == "" {
		return nil, errors.New("sigil: the target is empty")
	}
	given, err := newSettings(options)
	if err != nil {
		return nil, err
	}
	mayAuthorize := !given.plain || given.tokensAnywhere || isLocal(target)
	if given.source != nil && !mayAuthorize {
		return nil, errors.New("sigil: " + tokenRefusal)
	}
	security := insecure.NewCredentials()
	if !given.plain {
		security = credentials.NewTLS(given.tls)
	}
	dial := append([]grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		Backoff:           backoff.Config{BaseDelay: backoffFirst, Multiplier: 1.6, Jitter: 0.2, MaxDelay: backoffLongest},
		MinConnectTimeout: defaultDeadline,
	})}, given.dial...)
	dial = append(dial, dialOptions(target, given.plain, given.tokensAnywhere)...)
	dial = append(dial,
		grpc.WithTransportCredentials(security),
		// Nobody else says what is repeated, neither a service config in DNS nor one of a resolver.
		grpc.WithDisableServiceConfig(),
		grpc.WithDisableRetry(),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(given.replyBytesMax)),
	)
	conn, err := grpc.NewClient(target, dial...)
	if err != nil {
		return nil, fmt.Errorf("sigil: the target cannot be used: %w", err)
	}
	client := &Client{channel: newChannel(conn, given, mayAuthorize), target: target}
	client.proofs = newProofs(client, given.genesis)
	if given.waitForServer {
		if err := waitForServer(ctx, conn); err != nil {
			_ = client.Close()
			return nil, err
		}
	}
	return client, nil
}

func waitForServer(ctx context.Context, conn *grpc.ClientConn) error {
	for {
		conn.Connect()
		state := conn.GetState()
		if state == connectivity.Ready {
			return nil
		}
		if !conn.WaitForStateChange(ctx, state) {
			return endedBefore(ctx)
		}
	}
}

// Close ends streams, lets unary calls under way finish, each of which has a deadline, and closes the connection. Calls
// that begin later fail.
func (c *Client) Close() error { return c.channel.Close() }

// String names the target, and nothing of the caller.
func (c *Client) String() string { return fmt.Sprintf("sigil.Client(%q)", c.target) }

// GoString is String: %#v must not print a key.
func (c *Client) GoString() string { return c.String() }

// Conn is the connection for stubs that are generated elsewhere. It does what every call of a client does: token,
// default deadline, repeats where they are safe, errors of type *Error, and the judgement of replies.
func (c *Client) Conn() grpc.ClientConnInterface { return c.channel }

// Trust has every call of the decision service; Check and Require are what most callers need.
func (c *Client) Trust() trustv1.TrustServiceClient { return trustv1.NewTrustServiceClient(c.channel) }

// Audit has every call of the evidence service.
func (c *Client) Audit() auditv1.AuditServiceClient { return auditv1.NewAuditServiceClient(c.channel) }

// Canon has every call about records and proposals.
func (c *Client) Canon() canonv1.CanonServiceClient { return canonv1.NewCanonServiceClient(c.channel) }

// Witness has every call about witnesses and their quorum.
func (c *Client) Witness() canonv1.WitnessServiceClient {
	return canonv1.NewWitnessServiceClient(c.channel)
}

// Principals has every call about principals.
func (c *Client) Principals() identityv1.PrincipalServiceClient {
	return identityv1.NewPrincipalServiceClient(c.channel)
}

// Keys has every call about the server's keys.
func (c *Client) Keys() keyv1.KeyServiceClient { return keyv1.NewKeyServiceClient(c.channel) }

// Modules has every call about modules.
func (c *Client) Modules() modulev1.ModuleServiceClient {
	return modulev1.NewModuleServiceClient(c.channel)
}

// Backup has every call about backups.
func (c *Client) Backup() backupv1.BackupServiceClient {
	return backupv1.NewBackupServiceClient(c.channel)
}

// Health is that of a service, "" for the server as a whole. Sends no token.
func (c *Client) Health(ctx context.Context, service string) (healthv1.HealthCheckResponse_ServingStatus, error) {
	reply, err := healthv1.NewHealthClient(c.channel).Check(ctx, &healthv1.HealthCheckRequest{Service: service})
	if err != nil {
		return healthv1.HealthCheckResponse_UNKNOWN, err
	}
	return reply.GetStatus(), nil
}

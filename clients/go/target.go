// A server's target and how it is reached: what stays on this machine, and what may go by a proxy. Source: gRPC name
// resolution, "Name Syntax".

package sigil

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strings"

	"google.golang.org/grpc"
)

var (
	unixTarget = regexp.MustCompile(`^unix(?:-abstract)?:`)
	// A name server of somebody's own (dns://server/name) decides where "localhost" is: it is not stripped.
	targetScheme = regexp.MustCompile(`^(?:dns|passthrough):(?:///)?`)
)

// isLocal tells whether the target is on this machine. False if uncertain.
func isLocal(target string) bool {
	if unixTarget.MatchString(target) {
		return true
	}
	return isLocalHost(hostOf(targetScheme.ReplaceAllString(target, "")))
}

func hostOf(address string) string {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return strings.TrimSuffix(strings.TrimPrefix(address, "["), "]")
	}
	return host
}

func isLocalHost(host string) bool {
	if strings.EqualFold(host, "localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && address.Zone() == "" && address.Unmap().IsLoopback()
}

// dialOptions keep plain text and local calls from proxies: a proxy could read tokens, and local traffic would leave
// this machine. TLS to another machine may use the proxy of HTTPS_PROXY and NO_PROXY, as every Go program.
func dialOptions(target string, plain, tokensAnywhere bool) []grpc.DialOption {
	local := isLocal(target)
	if !plain && !local {
		return nil
	}
	options := []grpc.DialOption{grpc.WithNoProxy()}
	if plain && local && !tokensAnywhere && !unixTarget.MatchString(target) {
		options = append(options, grpc.WithContextDialer(dialLocal))
	}
	return options
}

// dialLocal refuses an address that is not this machine's: a name may resolve to anything, and tokens go in the clear.
func dialLocal(ctx context.Context, address string) (net.Conn, error) {
	connection, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	if remote, ok := connection.RemoteAddr().(*net.TCPAddr); !ok || !remote.IP.IsLoopback() {
		_ = connection.Close()
		return nil, fmt.Errorf("%s is not on this machine", address)
	}
	return connection, nil
}

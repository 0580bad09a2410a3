package send

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// ErrForbidden says that an address is none that may be sent to.
var ErrForbidden = errors.New("nothing is sent to this address")

// guard decides which addresses may be connected to: those of the public Internet, at
// ports of the web or at ones that need no privilege, and those of allowed networks.
// The special ranges are private and loopback networks, link-local addresses with the
// clouds' metadata on them, translated addresses, and whatever else is in the registries
// of IANA.
type guard struct {
	allow  []netip.Prefix
	public *ssrf.Guardian
}

// Ports below this are for system services, many of which take a line of HTTP for one
// of theirs.
const firstFreePort = 1024

func newGuard(allow []netip.Prefix) *guard {
	g := &guard{public: ssrf.New(ssrf.WithAnyPort())}
	for _, p := range allow {
		if p.Addr().Is4In6() && p.Bits() >= 96 { // as addresses are compared
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		g.allow = append(g.allow, p)
	}
	return g
}

// check is for net.Dialer.Control: it is called with each address that is about to be
// connected to. It fails with ErrForbidden.
func (g *guard) check(network, address string, conn syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	ip := to.Addr().Unmap().WithZone("")
	for _, p := range g.allow {
		if p.Contains(ip) {
			return nil
		}
	}
	if port := to.Port(); port != 80 && port != 443 && port < firstFreePort {
		return fmt.Errorf("%w: port %d is not 80, 443 or at least %d", ErrForbidden, port, firstFreePort)
	}
	if err := g.public.Safe(network, address, conn); err != nil {
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	return nil
}

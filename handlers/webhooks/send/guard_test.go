package send

import (
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// special are addresses of all kinds that nothing may be sent to.
var special = []string{
	"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.1.2.3", "169.254.169.254", "172.16.0.1", "172.31.255.255",
	"192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.19.255.255", "198.51.100.1",
	"203.0.113.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
	"::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1",
	"2001::1", "2001:2::1", "2001:10::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00:ec2::254",
	"fe80::1", "fe80::a9fe:a9fe", "fec0::1", "ff02::1",
}

func TestSpecialAddressesAreRefused(t *testing.T) {
	var resolved atomic.Pointer[netip.Addr]
	s := newSender(t, func(c *Config) {
		c.Allow, c.Timeout = nil, 5*time.Second
		c.Resolver = names(t, func(string) []netip.Addr { return []netip.Addr{*resolved.Load()} })
	})
	for _, text := range special {
		ip := netip.MustParseAddr(text)
		resolved.Store(&ip)
		literal := text
		if ip.Is6() {
			literal = "[" + text + "]"
		}
		for _, url := range []string{"https://" + literal, "https://" + literal + ":8443/x", "http://" + literal, "https://hooks.example.com/x"} {
			if ip.Is4In6() && strings.Contains(url, "example") {
				continue // no answer of a name server has these
			}
			if got := s.Send(t.Context(), requestTo(url)); got.Class != "forbidden" || got.Ours || got.Status != 0 || len(got.Body) > 0 {
				t.Errorf("%s (%s) is %+v", url, text, got)
			}
		}
	}
}

func TestOtherSpellingsOfLoopbackReachNothing(t *testing.T) {
	address, accepted := bare(t, "127.0.0.1:0", func(*net.TCPConn) {})
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	s := newSender(t, func(c *Config) { c.Allow = nil })
	for _, host := range []string{"localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:7f00:1]", "127.0.0.1.", "0"} {
		if got := s.Send(t.Context(), requestTo("http://"+host+":"+port)); got.Status != 0 || got.Class != "forbidden" && got.Class != "dns" {
			t.Errorf("%s is %+v", host, got)
		}
	}
	if n := accepted(); n > 0 {
		t.Errorf("%d connections were made", n)
	}
}

// TestPublicAddressesPass looks at the guard alone: nothing is sent there.
func TestPublicAddressesPass(t *testing.T) {
	g := newGuard([]netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00::/16"), netip.MustParsePrefix("::ffff:192.168.1.0/120")})
	for address, want := range map[string]bool{
		"8.8.8.8:443": true, "8.8.8.8:80": true, "8.8.8.8:8443": true, "8.8.8.8:1024": true, "8.8.8.8:25": false, "8.8.8.8:1023": false,
		"[2606:4700::1111]:443": true, "[2606:4700::1111]:22": false,
		"10.1.255.255:443": true, "10.1.0.1:25": true, "10.2.0.1:443": false, "[::ffff:10.1.0.1]:443": true,
		"[fd00::1]:9": true, "[fd01::1]:443": false, "192.168.1.7:443": true, "192.168.2.7:443": false, "nonsense": false, "8.8.8.8": false,
	} {
		network := "tcp4"
		if strings.HasPrefix(address, "[") {
			network = "tcp6"
		}
		if err := g.check(network, address, nil); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
	if g.check("udp4", "8.8.8.8:443", nil) == nil {
		t.Error("UDP passes")
	}
}

// TestANameThatChangesReachesNothingForbidden is DNS rebinding: the first look-up gives
// an address that is allowed, all others one that isn't.
func TestANameThatChangesReachesNothingForbidden(t *testing.T) {
	good := newReceiver(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") }, nil)
	port := netip.MustParseAddrPort(good.Listener.Addr().String()).Port()
	_, accepted := bare(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port).String(), func(*net.TCPConn) {})
	var lookUps atomic.Int32
	s := newSender(t, func(c *Config) {
		c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		c.Resolver = names(t, func(string) []netip.Addr {
			if lookUps.Add(1) <= 2 { // A and AAAA
				return []netip.Addr{netip.MustParseAddr("127.0.0.1")}
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.2")}
		})
	})
	url := "http://hooks.example.com" + good.URL[strings.LastIndex(good.URL, ":"):]
	for i, want := range []string{"ok", "forbidden", "forbidden"} {
		if got := s.Send(t.Context(), requestTo(url)); got.Class != want {
			t.Errorf("attempt %d is %+v, want %s", i+1, got, want)
		}
	}
	if requests, _ := good.all(); len(requests) != 1 || accepted() != 0 {
		t.Errorf("%d came to where they may, and %d to where they may not", len(requests), accepted())
	}
}

func TestOfSeveralAddressesTheForbiddenOneIsLeftOut(t *testing.T) {
	good := newReceiver(t, nil, nil)
	port := netip.MustParseAddrPort(good.Listener.Addr().String()).Port()
	_, accepted := bare(t, netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), port).String(), func(*net.TCPConn) {})
	s := newSender(t, func(c *Config) {
		c.Allow = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
		c.Resolver = names(t, func(string) []netip.Addr {
			return []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.1")}
		})
	})
	got := s.Send(t.Context(), requestTo("http://hooks.example.com"+good.URL[strings.LastIndex(good.URL, ":"):]))
	if got.Class != "ok" || accepted() != 0 {
		t.Errorf("it is %+v, and %d went where they may not", got, accepted())
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	elsewhere := newReceiver(t, nil, nil)
	for _, location := range []string{"http://169.254.169.254/latest/meta-data/", elsewhere.URL, "/again"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			from := newReceiver(t, func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, location, status) }, nil)
			got := newSender(t, nil).Send(t.Context(), requestTo(from.URL))
			if requests, _ := from.all(); got.Class != "redirect" || got.Status != status || got.Ours || len(requests) != 1 {
				t.Errorf("%d to %s is %+v after %d requests", status, location, got, len(requests))
			}
		}
	}
	if requests, _ := elsewhere.all(); len(requests) > 0 {
		t.Error("a redirect was followed")
	}
}

// TestTheProxyOfTheEnvironmentIsNotUsed runs itself with such an environment, which
// net/http reads once in a process.
func TestTheProxyOfTheEnvironmentIsNotUsed(t *testing.T) {
	if os.Getenv("HTTP_PROXY") == "" {
		proxy, asked := bare(t, "127.0.0.1:0", func(*net.TCPConn) {})
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
		cmd.Env = append(os.Environ(), "HTTP_PROXY=http://"+proxy, "HTTPS_PROXY=http://"+proxy, "NO_PROXY=")
		if out, err := cmd.CombinedOutput(); err != nil || asked() > 0 {
			t.Errorf("the proxy was asked %d times: %v: %s", asked(), err, out)
		}
		return
	}
	to := newReceiver(t, nil, nil)
	s := newSender(t, func(c *Config) {
		c.Resolver = names(t, func(string) []netip.Addr { return []netip.Addr{netip.MustParseAddr("127.0.0.1")} })
	})
	got := s.Send(t.Context(), requestTo("http://hooks.example.com"+to.URL[strings.LastIndex(to.URL, ":"):]))
	if got.Class != "ok" {
		t.Errorf("it is %+v", got)
	}
}

func TestURLsWithoutTLSAreSentToOnlyIfAllowed(t *testing.T) {
	to := newReceiver(t, nil, nil)
	s := newSender(t, func(c *Config) { c.AllowHTTP = false })
	if got := s.Send(t.Context(), requestTo(to.URL)); got.Class != "forbidden" || got.Ours {
		t.Errorf("it is %+v", got)
	}
	for _, url := range []string{"ftp://hooks.example.com", "file:///etc/passwd", "//hooks.example.com", ""} {
		if got := newSender(t, nil).Send(t.Context(), requestTo(url)); got.Class != "forbidden" {
			t.Errorf("%q is %+v", url, got)
		}
	}
	if requests, _ := to.all(); len(requests) > 0 {
		t.Error("it was sent")
	}
}

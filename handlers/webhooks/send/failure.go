package send

import (
	"context"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/modelog/modelog/handlers/webhooks"
	"github.com/modelog/modelog/handlers/webhooks/attempts"
)

// maxDetail bounds what is told of a failure without an answer, in bytes.
const maxDetail = 500

func ours() webhooks.Result { return webhooks.Result{Class: attempts.ClassOurs, Ours: true} }

// failed tells what became of a request that has no answer. began says whether one had
// begun to come.
func (s *Sender) failed(ctx context.Context, err error, began bool) webhooks.Result {
	if errors.Is(context.Cause(ctx), errStopping) || s.ctx.Err() != nil {
		return ours()
	}
	class := s.classify(ctx, err, began)
	r := webhooks.Result{Class: class, Ours: class == attempts.ClassOurs}
	if class == attempts.ClassTLS || class == attempts.ClassProtocol { // of which there are many kinds, and no URL in their texts
		text := err.Error()
		r.Body = []byte(text[:min(len(text), maxDetail)])
	}
	return r
}

func (s *Sender) classify(ctx context.Context, err error, began bool) string {
	failure, name := net.Error(nil), (*net.DNSError)(nil)
	resolving := errors.As(err, &name)
	switch {
	case errors.Is(err, ErrForbidden):
		return attempts.ClassForbidden
	case errors.Is(err, errURL), errors.Is(err, errKey), exhausted(err):
		return attempts.ClassOurs
	case resolving && name.IsNotFound:
		return attempts.ClassDNS
	case (resolving || isAny(err, syscall.ENETUNREACH, syscall.ENETDOWN)) && !s.routed():
		return attempts.ClassOurs
	case ctx.Err() != nil:
		return attempts.ClassTimeout
	case resolving:
		return attempts.ClassDNS
	case errors.As(err, &failure) && failure.Timeout():
		return attempts.ClassTimeout
	case isAny(err, syscall.ECONNREFUSED):
		return attempts.ClassRefused
	case isAny(err, syscall.ENETUNREACH, syscall.EHOSTUNREACH, syscall.ENETDOWN, syscall.EHOSTDOWN):
		return attempts.ClassNoRoute
	case isTLS(err):
		return attempts.ClassTLS
	case !began || isAny(err, syscall.ECONNRESET, syscall.EPIPE, syscall.ECONNABORTED), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return attempts.ClassReset
	default:
		return attempts.ClassProtocol
	}
}

func isAny(err error, of ...syscall.Errno) bool {
	number, ok := errors.AsType[syscall.Errno](err)
	for _, other := range of {
		if ok && number == other {
			return true
		}
	}
	return false
}

// exhausted says whether this machine has run out of what a connection takes.
func exhausted(err error) bool {
	return isAny(err, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EADDRNOTAVAIL, syscall.EACCES, syscall.EPERM)
}

// isTLS says whether a connection failed for its TLS. The other end may say so only
// after it seemed to be made.
func isTLS(err error) bool {
	handshake, op := (*tlsError)(nil), (*net.OpError)(nil)
	return errors.As(err, &handshake) || errors.As(err, &op) && (op.Op == "remote error" || op.Op == "local error")
}

// routed says whether this machine has any way to the Internet. It sends nothing: to
// connect a socket of UDP is to look a route up.
func (s *Sender) routed() bool {
	for _, anywhere := range []string{"203.0.113.1:9", "[2001:db8::1]:9"} { // of documents
		conn, err := (&net.Dialer{}).DialContext(s.ctx, "udp", anywhere)
		if err == nil {
			_ = conn.Close() // nothing was written
			return true
		}
	}
	return false
}

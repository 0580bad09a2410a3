package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/modelog/modelog/handlers/webhooks/send"
	"github.com/spf13/cobra"
)

// maxListened is how large a delivery may be that is listened to, in bytes.
const maxListened = 4 << 20

// maxHeard is how many ids are known again.
const maxHeard = 100_000

// Heard is a delivery that came in.
type Heard struct {
	ID       string `json:"webhook_id"`
	Type     string `json:"type,omitempty"` // of the event, if it is a CloudEvent
	Subject  string `json:"subject,omitempty"`
	Sequence string `json:"sequence,omitempty"`
	Verified bool   `json:"verified"`
	Why      string `json:"why,omitempty"`  // it isn't
	Again    bool   `json:"again,omitzero"` // the same id has come before
	Replay   string `json:"replay,omitempty"`
	Body     string `json:"body"`
}

func (a *app) webhookListenCommand() *cobra.Command {
	var listen, secret string
	cmd := &cobra.Command{
		Use: "listen", Short: "Receive deliveries here, verify and print them", Args: cobra.NoArgs,
		Long: `Receive deliveries here, verify and print them, until an interrupt: for those who develop a
receiver. It answers 204 to what is signed with the secret, and 401 to all else. The
registry must be allowed to deliver here:

  modelog serve --webhook-allow-http --webhook-allow-cidr 127.0.0.1/32`,
		Example: `  modelog webhook listen --secret whsec_pXDaPIMf/MZKL86Lvg7lajbCOM/oashtQqU9CrsosQU=
  modelog webhook listen --listen 127.0.0.1:9000 --secret whpk_... --json`,
	}
	c := a.newClient(cmd.Flags())
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:9000", "address to listen on")
	cmd.Flags().StringVar(&secret, "secret", "", "secret that the subscription was made with: whsec_... or whpk_...")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if errors.Is(send.Verify(secret, http.Header{"Webhook-Id": {"x"}, "Webhook-Timestamp": {"0"}, "Webhook-Signature": {"x"}}, nil, time.Now()), send.ErrSecret) {
			return usage("--secret: %v", send.ErrSecret)
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		return (&ear{client: c, secret: secret, heard: map[string]bool{}}).listen(ctx, listen)
	}
	return cmd
}

// ear receives deliveries.
type ear struct {
	client *client
	secret string

	lock  sync.Mutex
	heard map[string]bool // ids; guarded by lock
}

func (e *ear) listen(ctx context.Context, address string) error {
	listener, err := openListener(ctx, "--listen", address)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(e.client.app.stderr, "listening at http://%s\n", listener.Addr()); err != nil {
		return err
	}
	server := &http.Server{Handler: e, ReadHeaderTimeout: requestTimeout, ReadTimeout: requestTimeout, WriteTimeout: requestTimeout}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// ServeHTTP answers a delivery.
func (e *ear) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.Header().Set("WebHook-Allowed-Origin", "*")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxListened))
	if err != nil {
		return // there is nobody to be told
	}
	h := Heard{ID: r.Header.Get("webhook-id"), Replay: r.Header.Get("webhook-replay"), Body: string(body)}
	_ = json.Unmarshal(body, &struct { // what isn't a CloudEvent has none of it
		Type     *string `json:"type"`
		Subject  *string `json:"subject"`
		Sequence *string `json:"sequence"`
	}{&h.Type, &h.Subject, &h.Sequence})
	status := http.StatusNoContent
	if err := send.Verify(e.secret, r.Header, body, time.Now()); err != nil {
		status, h.Why = http.StatusUnauthorized, err.Error()
	}
	h.Verified = h.Why == ""
	e.lock.Lock()
	defer e.lock.Unlock()
	if len(e.heard) >= maxHeard {
		clear(e.heard)
	}
	h.Again, e.heard[h.ID] = e.heard[h.ID], true
	_ = e.client.print(h, func(w io.Writer) error { return showHeard(w, h) }) // whoever looked has gone
	w.WriteHeader(status)
}

func showHeard(w io.Writer, h Heard) error {
	what := "verified"
	if !h.Verified {
		what = "refused: " + h.Why
	}
	if h.Again {
		what += ", again"
	}
	if h.Replay != "" {
		what += ", replay " + shown(h.Replay)
	}
	_, err := fmt.Fprintf(w, "%s  %s  %s  %s\n", shown(h.ID), shown(h.Type), shown(h.Subject), what)
	return err
}

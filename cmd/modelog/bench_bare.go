package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/modelog/modelog/events"
	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/spf13/cobra"
)

// benchBareCommand is the bare server's process.
func (a *app) benchBareCommand() *cobra.Command {
	var data, prepared string
	cmd := &cobra.Command{
		Use: "serve-bare", Short: "Run the bare server of bench", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serveBare(cmd.Context(), data, prepared) },
	}
	cmd.Flags().StringVar(&data, "data", "", "data directory")
	cmd.Flags().StringVar(&prepared, "prepared", "", "file of what to store and answer")
	return cmd
}

// serveBare serves until the context ends. POST reads the body, appends the
// prepared event and answers when it is durable; GET answers.
func (a *app) serveBare(ctx context.Context, data, preparedFile string) error {
	prepared, err := readBenchPrepared(preparedFile)
	if err != nil {
		return err
	}
	raw, err := openRawLog(ctx, data, prepared.Event)
	if err != nil {
		return fmt.Errorf("open the raw log: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	go raw.loop()
	logger, err := newLogger(a.stderr, false, "info")
	if err != nil {
		return err
	}
	logger.LogAttrs(ctx, slog.LevelInfo, "listening", slog.String("url", "http://"+listener.Addr().String()))
	srv := &http.Server{Handler: bareHandler(raw, prepared)}
	context.AfterFunc(ctx, func() { _ = srv.Close() })
	return srv.Serve(listener)
}

func bareHandler(raw *rawLog, prepared benchPrepared) http.Handler {
	answer := func(w http.ResponseWriter, status int, data []byte) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
		w.WriteHeader(status)
		_, _ = w.Write(data) // a client that has gone away can't be told so
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			answer(w, http.StatusOK, prepared.Got)
			return
		}
		if _, err := io.ReadAll(r.Body); err != nil {
			answer(w, http.StatusBadRequest, []byte(err.Error()))
			return
		}
		if err := raw.append(); err != nil {
			answer(w, http.StatusInternalServerError, []byte(err.Error()))
			return
		}
		answer(w, http.StatusCreated, prepared.Registered)
	})
}

// rawLog is group commit with nothing around it, and shares no code with
// natslog: the best that is known to be had from an embedded JetStream. Events
// are published one after another without waiting, each expecting the sequence
// before it, with one inbox for all answers; one sync then makes the group
// durable. While a group is on its way the next one gathers; there is no timer.
type rawLog struct {
	nc    *nats.Conn
	inbox string
	acks  chan *nats.Msg
	sync  func() error
	event *nats.Msg

	queue chan chan<- error // of those who wait, each taking one answer without waiting

	// What follows belongs to loop.
	last     uint64 // sequence of the newest event
	expected []string
	waiting  []chan<- error
}

// maxRawGroup is as many events as can wait at once in a sensible bench.
const maxRawGroup = maxBenchConnections

func openRawLog(ctx context.Context, dir string, event events.Encoded) (*rawLog, error) {
	ns, err := startRawServer(dir)
	if err != nil {
		return nil, err
	}
	r := &rawLog{acks: make(chan *nats.Msg, maxRawGroup), queue: make(chan chan<- error, maxRawGroup), expected: []string{""}}
	if r.nc, err = nats.Connect("", nats.InProcessServer(ns), nats.NoReconnect(), nats.SkipSubjectValidation()); err != nil {
		return nil, err
	}
	js, err := jetstream.New(r.nc)
	if err != nil {
		return nil, err
	}
	if _, err := js.CreateStream(ctx, rawStream()); err != nil {
		return nil, err
	}
	r.inbox = r.nc.NewInbox()
	if _, err := r.nc.ChanSubscribe(r.inbox, r.acks); err != nil {
		return nil, err
	}
	header := nats.Header{}
	for _, f := range event.Header {
		header[f.Name] = []string{f.Value}
	}
	header[jetstream.ExpectedStreamHeader] = []string{rawStreamName}
	header[jetstream.ExpectedLastSeqHeader] = r.expected
	r.event = &nats.Msg{Subject: event.Subject, Reply: r.inbox, Header: header, Data: event.Data}
	r.sync, err = openSync(dir)
	return r, err
}

func startRawServer(dir string) (*natsserver.Server, error) {
	ns, err := natsserver.NewServer(&natsserver.Options{
		ServerName: "bare", DontListen: true, NoSigs: true, NoLog: true, JetStream: true, StoreDir: dir, SyncAlways: rawServerSyncs,
		MaxPayload: 1 << 20, JetStreamMaxStore: 1 << 62, JetStreamMaxMemory: 256 << 20,
	})
	if err != nil {
		return nil, err
	}
	ns.Start()
	if !ns.ReadyForConnections(benchStartTimeout) {
		return nil, fmt.Errorf("the server isn't ready after %v", benchStartTimeout)
	}
	return ns, nil
}

const rawStreamName = "MODELOG_EVENTS"

// rawStream is the configuration that modelog's own stream has.
func rawStream() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: rawStreamName, Subjects: []string{"modelog.events.>"}, Retention: jetstream.LimitsPolicy, Storage: jetstream.FileStorage,
		MaxMsgs: -1, MaxBytes: -1, MaxMsgsPerSubject: -1, MaxMsgSize: -1, Discard: jetstream.DiscardNew, Replicas: 1,
		Compression: jetstream.S2Compression, Duplicates: 100 * time.Millisecond, DenyDelete: true, DenyPurge: true, AllowDirect: true,
	}
}

// append returns when one more event is durable.
func (r *rawLog) append() error {
	done := make(chan error, 1)
	r.queue <- done
	return <-done
}

func (r *rawLog) loop() {
	for first := range r.queue {
		r.waiting = append(r.waiting[:0], first)
		r.gather()
		err := r.commit()
		for _, done := range r.waiting {
			done <- err
		}
	}
}

// gather takes all that wait already.
func (r *rawLog) gather() {
	for len(r.waiting) < maxRawGroup {
		select {
		case done := <-r.queue:
			r.waiting = append(r.waiting, done)
		default:
			return
		}
	}
}

// commit makes an event durable for each that waits.
func (r *rawLog) commit() error {
	for i := range r.waiting {
		r.expected[0] = strconv.FormatUint(r.last+uint64(i), 10)
		if err := r.nc.PublishMsg(r.event); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	}
	for range r.waiting {
		ack := <-r.acks
		r.last++
		if !isRawAck(ack.Data, r.last) {
			return fmt.Errorf("event %d: the server answered %q", r.last, ack.Data)
		}
	}
	return r.sync()
}

// isRawAck says whether an answer confirms that an event has a sequence.
func isRawAck(data []byte, sequence uint64) bool {
	digits, ok := bytes.CutPrefix(data, []byte(`{"stream":"`+rawStreamName+`","seq":`))
	digits, closed := bytes.CutSuffix(digits, []byte("}"))
	n, err := strconv.ParseUint(string(bytes.TrimSpace(digits)), 10, 64)
	return ok && closed && err == nil && n == sequence
}

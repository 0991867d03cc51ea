package flow

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
)

// newLogger returns a logger that writes to the journal and to next. next may be nil.
func newLogger(j *journal, id ID, next *slog.Logger) *slog.Logger {
	h := &logHandler{journal: j, id: id}
	if next != nil {
		h.next = next.Handler()
	}
	return slog.New(h)
}

// A logHandler turns log records into journal entries. It formats attributes like slog's text
// handler.
type logHandler struct {
	journal *journal
	id      ID
	next    slog.Handler
	with    []func(slog.Handler) slog.Handler // the calls of WithAttrs and WithGroup, in order
}

func (h *logHandler) Enabled(context.Context, slog.Level) bool { return true }

func (h *logHandler) Handle(ctx context.Context, r slog.Record) error {
	h.journal.append(Entry{Event: Log, ID: h.id, Level: r.Level.String(), Message: h.message(ctx, r)})
	if h.next != nil && h.next.Enabled(ctx, r.Level) {
		return h.next.Handle(ctx, r)
	}
	return nil
}

func (h *logHandler) message(ctx context.Context, r slog.Record) string {
	var attrs bytes.Buffer
	drop := func(groups []string, a slog.Attr) slog.Attr {
		if len(groups) == 0 && slices.Contains([]string{slog.TimeKey, slog.LevelKey, slog.MessageKey}, a.Key) {
			return slog.Attr{}
		}
		return a
	}
	var text slog.Handler = slog.NewTextHandler(&attrs, &slog.HandlerOptions{Level: r.Level, ReplaceAttr: drop})
	for _, w := range h.with {
		text = w(text)
	}
	if err := text.Handle(ctx, r); err != nil {
		return r.Message
	}
	return strings.TrimSpace(r.Message + " " + attrs.String())
}

func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return h.derive(func(to slog.Handler) slog.Handler { return to.WithAttrs(attrs) })
}

func (h *logHandler) WithGroup(name string) slog.Handler {
	return h.derive(func(to slog.Handler) slog.Handler { return to.WithGroup(name) })
}

func (h *logHandler) derive(f func(slog.Handler) slog.Handler) slog.Handler {
	c := *h
	c.with = append(slices.Clip(h.with), f)
	if h.next != nil {
		c.next = f(h.next)
	}
	return &c
}

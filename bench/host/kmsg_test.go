package host

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseKernelMessage(t *testing.T) {
	for _, c := range []struct {
		record string
		want   KernelMessage
		show   string
	}{
		{"6,339,5140900,-;NET: Registered protocol family 10\n", KernelMessage{
			Level: 6, Seq: 339, Time: 5140900 * time.Microsecond, Text: "NET: Registered protocol family 10",
		}, "<6>[    5.140900] NET: Registered protocol family 10"},
		{"4,7,1,-,caller=T1,new;xe 0000:03:00.0: [drm] odd\n SUBSYSTEM=pci\n DEVICE=+pci:0000:03:00.0\n", KernelMessage{
			Level: 4, Seq: 7, Time: time.Microsecond, Text: "xe 0000:03:00.0: [drm] odd",
			Dict: []string{"SUBSYSTEM=pci", "DEVICE=+pci:0000:03:00.0"},
		}, "<4>[    0.000001] xe 0000:03:00.0: [drm] odd"},
		{"12,8,2,+;more;of\\x0ait \\x5c \\xzz\\x1", KernelMessage{
			Level: 4, Facility: 1, Seq: 8, Time: 2 * time.Microsecond, Continue: true, Text: "more;of\nit \\ \\xzz\\x1",
		}, "<4>[    0.000002] more;of\nit \\ \\xzz\\x1"},
		{"6,1,2,c;", KernelMessage{Level: 6, Seq: 1, Time: 2 * time.Microsecond, Continue: true}, "<6>[    0.000002] "},
	} {
		got, err := ParseKernelMessage([]byte(c.record))
		if diff := cmp.Diff(c.want, got); diff != "" || err != nil || got.String() != c.show {
			t.Errorf("%q: %v %s\n%s", c.record, err, diff, got)
		}
	}
	for _, bad := range []string{
		"", "text\n", "6,1,2;x", "x,1,2,-;x", "6,-1,2,-;x", "6,1,-2,-;x", "6,1,9223372036854775807,-;x", "6,1,2,-",
	} {
		if m, err := ParseKernelMessage([]byte(bad)); err == nil {
			t.Errorf("%q: %+v", bad, m)
		}
	}
}

func FuzzParseKernelMessage(f *testing.F) {
	f.Add([]byte("4,7,1,-,caller=T1;xe: odd\\x0a\n SUBSYSTEM=pci\n DEVICE=+pci:0000:03:00.0\n"))
	f.Add([]byte("12,8,2,+;more"))
	f.Fuzz(func(t *testing.T, record []byte) {
		m, err := ParseKernelMessage(record)
		if err == nil && (m.Level < 0 || m.Level > 7 || m.Time < 0 || m.Facility < 0 || len(m.Text) > len(record)) {
			t.Errorf("%+v", m)
		}
	})
}

// A records reads like /dev/kmsg: each Read returns one record or error. After the last one, Read
// blocks until Close.
type records struct {
	list   []any
	closed chan struct{}
}

func (r *records) Read(p []byte) (int, error) {
	if len(r.list) == 0 {
		<-r.closed
		return 0, os.ErrClosed
	}
	next := r.list[0]
	r.list = r.list[1:]
	if err, ok := next.(error); ok {
		return 0, err
	}
	return copy(p, next.(string)), nil
}

func (r *records) Close() error {
	select {
	case <-r.closed:
	default:
		close(r.closed)
	}
	return nil
}

func record(seq int) string { return fmt.Sprintf("6,%d,%d,-;message %d\n", seq, seq, seq) }

func TestFollow(t *testing.T) {
	epipe := &os.PathError{Op: "read", Path: "/dev/kmsg", Err: syscall.EPIPE}
	for _, c := range []struct {
		name string
		list []any
		lost []uint64 // numbers of lost messages, by message
		err  string
	}{
		{"in order", []any{record(4), record(5)}, []uint64{0, 0}, ""},
		{
			"overwritten",
			[]any{record(4), epipe, record(9), epipe, epipe, record(10), record(12)},
			[]uint64{0, 4, 0, 1},
			"",
		},
		{"overwritten first", []any{epipe, record(7)}, []uint64{0}, ""},
		{"broken", []any{record(1), io.ErrUnexpectedEOF}, []uint64{0}, "unexpected EOF"},
		{"garbage", []any{record(1), "no record"}, []uint64{0}, "is not a record"},
		{"end", []any{record(1), io.EOF}, []uint64{0}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r := &records{list: c.list, closed: make(chan struct{})}
			var lost []uint64
			l := follow(ctx, r, func(m KernelMessage) {
				lost = append(lost, m.Lost)
				if len(lost) == len(c.lost) && c.err == "" {
					cancel()
				}
			})
			err := l.Wait()
			if diff := cmp.Diff(c.lost, lost); diff != "" {
				t.Errorf("lost: %s", diff)
			}
			if (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v", err)
			}
			<-r.closed
		})
	}
}

// TestFollowKernelLog reads the real kernel log. It needs the right to read and write the log.
func TestFollowKernelLog(t *testing.T) {
	kmsg, err := os.OpenFile("/dev/kmsg", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("NOT TESTED with the kernel's own log: %v", err)
	}
	defer kmsg.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	mark := fmt.Sprintf("vmtb test %d", os.Getpid())
	var got []string
	seen := make(chan struct{}, 8)
	l, err := New(OS{}).FollowKernelLog(ctx, func(m KernelMessage) {
		if strings.HasPrefix(m.Text, mark) {
			got = append(got, fmt.Sprint(m.Level, m.Facility, strings.TrimPrefix(m.Text, mark)))
			seen <- struct{}{}
		}
	})
	if err != nil {
		t.Skipf("NOT TESTED with the kernel's own log: %v", err)
	}
	for i := range 3 {
		if _, err := fmt.Fprintf(kmsg, "<%d>%s tab\t%d\n", 8+5+i%2, mark, i); err != nil {
			t.Fatal(err)
		}
		switch i {
		case 0:
			<-seen
		case 1: // needs no wait
			if err := l.Sync(); err != nil || len(seen) != 1 {
				t.Errorf("after Sync: %d messages, %v", len(seen), err)
			}
		}
	}
	cancel() // the last one may still be unread
	if err := l.Wait(); err != nil {
		t.Error(err)
	}
	if want := []string{"5 1 tab\t0", "6 1 tab\t1", "5 1 tab\t2"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

func TestFollowEndsByItself(t *testing.T) {
	ctx, cancel := context.WithTimeoutCause(t.Context(), 20*time.Millisecond, errors.New("enough"))
	defer cancel()
	r := &records{closed: make(chan struct{})}
	if err := follow(ctx, r, func(KernelMessage) {}).Wait(); err != nil {
		t.Error(err)
	}
}

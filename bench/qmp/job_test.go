package qmp_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench/qmp"
	"vmtb/internal/fake/fakeqmp"
)

// A jobServer is a QEMU with one job. The job ends with the given error when the test says so.
type jobServer struct {
	peer     *fakeqmp.Peer
	fails    string // the job's error
	gone     bool   // the job dismisses itself
	unending bool   // the job concludes only when cancelled
	id       string
	ended    bool
	log      []string
}

func (s *jobServer) status(id, status string) {
	_ = s.peer.Event("JOB_STATUS_CHANGE", map[string]string{"id": id, "status": status})
}

func (s *jobServer) conclude() {
	s.ended = true
	s.status("another", "concluded")
	_ = s.peer.Event("STOP", nil)
	s.status(s.id, "concluded")
	if s.gone {
		s.status(s.id, "null")
	}
}

func (s *jobServer) handle(r fakeqmp.Request) (any, error) {
	s.log = append(s.log, r.Cmd)
	var args struct {
		JobID string `json:"job-id"`
		ID    string
		Tag   string
	}
	_ = json.Unmarshal(r.Args, &args)
	switch r.Cmd {
	case "snapshot-save":
		if args.Tag == "" {
			return nil, fakeqmp.Failure{Class: "GenericError", Desc: "Parameter 'tag' is missing"}
		}
		s.id = args.JobID
		s.status(s.id, "created")
		s.status(s.id, "running")
		if !s.unending {
			s.conclude() // like a fast job: before the reply
		}
	case "query-jobs":
		jobs := []map[string]string{{"id": "another", "error": "not mine", "status": "concluded"}}
		if !s.gone {
			jobs = append(jobs, map[string]string{"id": s.id, "error": s.fails, "status": "concluded"})
		}
		return jobs, nil
	case "job-cancel":
		s.conclude()
	case "job-dismiss":
		if args.ID != s.id || !s.ended {
			return nil, fakeqmp.Failure{
				Class: "GenericError",
				Desc:  "Job '" + args.ID + "' in state 'running' cannot accept command verb 'dismiss'",
			}
		}
	}
	return nil, nil
}

func TestRunJob(t *testing.T) {
	args := map[string]any{"tag": "t1"}
	for name, test := range map[string]struct {
		server jobServer
		args   map[string]any
		want   string // the error
		log    []string
	}{
		"good": {jobServer{}, args, "", []string{"snapshot-save", "query-jobs", "job-dismiss"}},
		"fails": {
			jobServer{fails: "State blocked"},
			args, "snapshot-save: State blocked",
			[]string{"snapshot-save", "query-jobs", "job-dismiss"},
		},
		"refused": {jobServer{}, nil, "snapshot-save: Parameter 'tag' is missing", []string{"snapshot-save"}},
		"gone":    {jobServer{gone: true}, args, "disappeared", []string{"snapshot-save", "query-jobs"}},
	} {
		t.Run(name, func(t *testing.T) {
			c, peer := connect(t, qmp.Options{})
			s := &test.server
			s.peer = peer
			go peer.Serve(s.handle)
			err := c.RunJob(t.Context(), "snapshot-save", test.args)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want %q", err, test.want)
			}
			if failed := new(qmp.JobError); errors.As(err, &failed) != (name == "fails") ||
				name == "fails" && failed.Job != s.id {
				t.Errorf("got %#v", err)
			}
			_ = c.Close()
			if !cmp.Equal(s.log, test.log) {
				t.Errorf("sent %q, want %q", s.log, test.log)
			}
		})
	}
	if len(args) != 1 {
		t.Error("the caller's arguments were changed")
	}
}

func TestRunJobCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connect(t, qmp.Options{})
		s := &jobServer{peer: peer, unending: true}
		go peer.Serve(s.handle)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		began := time.Now()
		err := c.RunJob(ctx, "snapshot-save", map[string]any{"tag": "t"})
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Minute {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		if last := s.log[len(s.log)-1]; !slices.Contains(s.log, "job-cancel") || last != "job-dismiss" || !s.ended {
			t.Errorf("sent %q", s.log)
		}
	})
}

// RunJob gives up on a job that cannot be cancelled, and on a silent QEMU.
func TestRunJobSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, peer := connect(t, qmp.Options{})
		go peer.Serve(func(r fakeqmp.Request) (any, error) {
			if r.Cmd == "snapshot-save" {
				return nil, nil
			}
			return nil, fakeqmp.ErrSilence
		})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		began := time.Now()
		err := c.RunJob(ctx, "snapshot-save", nil)
		if !errors.Is(err, context.Canceled) || time.Since(began) != 11*time.Second {
			t.Errorf("got %v after %v", err, time.Since(began))
		}
		time.AfterFunc(time.Second, func() { _ = peer.Conn.Close() })
		if err := c.RunJob(t.Context(), "snapshot-save", nil); !errors.Is(err, qmp.ErrClosed) {
			t.Errorf("connection lost: %v", err)
		}
	})
}

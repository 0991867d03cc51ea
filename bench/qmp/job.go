package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// RunJob runs a command that starts a background job (snapshot-save, ...) and follows the job to
// its end. It adds the argument job-id, and takes the job off QEMU's list in the end, which QEMU
// itself never does. A job that failed is a [*JobError].
//
// When ctx ends the job is cancelled, which not every kind of job obeys, and its end is waited for
// a little while.
func (c *Client) RunJob(ctx context.Context, cmd string, args map[string]any) error {
	id := "vmtb-" + c.lines.newID()
	all := map[string]any{}
	maps.Copy(all, args)
	all["job-id"] = id
	sub := c.Subscribe(jobEvents(id))
	defer sub.Close()

	err := c.Execute(ctx, cmd, all, nil)
	if refused := new(Error); errors.As(err, &refused) {
		return err // there is no job
	}
	if err == nil {
		err = c.followJob(ctx, sub, id, cmd)
	}
	if ctx.Err() != nil || errors.As(err, new(*TimeoutError)) {
		c.cancelJob(context.WithoutCancel(ctx), sub, id)
	}
	return err
}

func jobEvents(id string) func(Event) bool {
	return func(e Event) bool { return e.Name == "JOB_STATUS_CHANGE" && jobOf(e).ID == id }
}

type job struct{ ID, Status, Error string }

func jobOf(e Event) (j job) {
	_ = json.Unmarshal(e.Data, &j) // an event that is no such object is about no job
	return j
}

// followJob waits for the job's end, asks how it ended, and dismisses it.
func (c *Client) followJob(ctx context.Context, sub *Subscription, id, cmd string) error {
	if err := awaitEnd(ctx, sub); err != nil {
		return fmt.Errorf("%s: job %s: %w", cmd, id, err)
	}
	var jobs []job
	if err := c.Execute(ctx, "query-jobs", nil, &jobs); err != nil {
		return fmt.Errorf("%s: job %s: %w", cmd, id, err)
	}
	for _, j := range jobs {
		if j.ID != id {
			continue
		}
		err := c.Execute(ctx, "job-dismiss", map[string]any{"id": id}, nil)
		if j.Error != "" {
			return &JobError{Job: id, Cmd: cmd, Desc: j.Error}
		}
		return err
	}
	return fmt.Errorf("%s: job %s vanished before its result could be read (was it given auto-dismiss?)", cmd, id)
}

func awaitEnd(ctx context.Context, sub *Subscription) error {
	for {
		e, err := sub.Next(ctx)
		if err != nil {
			return err
		}
		if s := jobOf(e).Status; s == "concluded" || s == "null" {
			return nil
		}
	}
}

// cancelJob leaves no trace of a job, as well as that can be done in a little time.
func (c *Client) cancelJob(ctx context.Context, sub *Subscription, id string) {
	ctx, cancel := context.WithTimeout(ctx, scale(queryTime, c.opts.Scale))
	defer cancel()
	name := map[string]any{"id": id}
	_ = c.Execute(ctx, "job-cancel", name, nil) // it may have concluded
	if c.Execute(ctx, "job-dismiss", name, nil) == nil {
		return
	}
	if awaitEnd(ctx, sub) == nil {
		_ = c.Execute(ctx, "job-dismiss", name, nil)
	}
}

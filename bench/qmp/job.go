package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
)

// RunJob runs a command that starts a background job (snapshot-save, ...) and follows the job to
// its end. It adds the argument job-id. At the end it removes the job from QEMU's list, because
// QEMU never does. If the job failed, the error is a [*JobError].
//
// When ctx ends, RunJob cancels the job and waits a short time for its end. Not every kind of job
// can be cancelled.
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
	_ = json.Unmarshal(e.Data, &j) // an event without such an object is not about a job
	return j
}

// followJob waits until the job ends, asks for its result, and dismisses it.
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
	return fmt.Errorf("%s: job %s disappeared before its result could be read (was it given auto-dismiss?)", cmd, id)
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

// cancelJob cancels and dismisses a job within a short time, if possible.
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

package keep

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"vmtb/bench"
)

// shell runs a shell in the guest, with the client's input. A command in the guest needs all its
// input when it starts. So the shell reads a FIFO, and other commands write the input into it.
func (k *keeper) shell(ctx context.Context, c *call, prompt bool) (any, error) {
	m := k.get()
	dir, err := makeInput(ctx, m)
	if err != nil {
		return nil, err
	}
	defer removeInput(ctx, m, dir)
	cmd := bench.Shell(shellLine(dir, prompt))
	cmd.Env = []string{fmt.Sprintf("PS1=%s# ", m)}
	cmd.Stdout, cmd.Stderr = c.stdout(), c.stderr()
	p, err := m.Start(ctx, cmd)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		if err := feed(ctx, m, c.in, dir); err != nil {
			cancel(err)
		}
	}()
	return bench.Finish(ctx, p)
}

// makeInputs makes a directory with two FIFOs: "in" is the shell's input, and a line in "end" ends
// the input.
const makeInputs = `d=$(mktemp -d) && mkfifo -m 600 "$d/in" "$d/end" && echo "$d"`

// shellLine returns the command line of a shell that reads the FIFO in dir. A second process holds
// the FIFO open for writing until the input ends. So the shell and its commands do not see an end
// of file between two pieces.
func shellLine(dir string, prompt bool) string {
	sh := "sh"
	if prompt {
		sh = "sh -i +m" // no job control, which needs a terminal: dash and busybox would warn
	}
	return fmt.Sprintf(
		"(exec 8<>%[1]s/end 9>%[1]s/in; read -r _ <&8) </dev/null >/dev/null 2>&1 & exec %[2]s <%[1]s/in", dir, sh,
	)
}

// endLine returns the command line that ends the input. It waits for the process that holds the
// FIFO open.
func endLine(dir string) string { return fmt.Sprintf("echo >%s/end", dir) }

// removeLine returns the command line that removes the directory of a shell that has ended. It also
// ends the process that holds the FIFO open, if it still runs: opening a FIFO in both directions
// does not block.
func removeLine(dir string) string { return fmt.Sprintf("echo 1<>%[1]s/end; rm -r %[1]s", dir) }

func makeInput(ctx context.Context, m bench.Machine) (dir string, err error) {
	r, err := give(ctx, m, makeInputs, nil)
	return strings.TrimSpace(string(r.Stdout)), err
}

func removeInput(ctx context.Context, m bench.Machine, dir string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, _ = give(ctx, m, removeLine(dir), nil) // the directory stays if the guest does not answer
}

// feed copies in to the guest's shell.
func feed(ctx context.Context, m bench.Machine, in io.Reader, dir string) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if _, err := give(ctx, m, "cat >"+path.Join(dir, "in"), buf[:n]); err != nil {
				return err
			}
		}
		if err != nil { // the end of in, or a client that disconnected: the call's context tells
			_, err := give(ctx, m, endLine(dir), nil)
			return err
		}
	}
}

// give runs a shell command line in the guest with input.
func give(ctx context.Context, m bench.Machine, line string, input []byte) (bench.Result, error) {
	cmd := bench.Shell(line)
	cmd.Stdin = input
	r, err := m.Exec(ctx, cmd)
	if err == nil {
		err = r.Err(cmd)
	}
	return r, err
}

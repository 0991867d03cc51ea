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

// shell runs a shell in the guest, and gives it what the client writes. A guest's command has its
// whole input when it starts, so this one reads a FIFO, which other commands fill.
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

// makeInputs makes a directory with two FIFOs: "in" is the shell's input, and a line in "end" is
// the end of that.
const makeInputs = `d=$(mktemp -d) && mkfifo -m 600 "$d/in" "$d/end" && echo "$d"`

// shellLine is the command line of a shell whose input is in a directory. A second process holds
// the input open for writing until its end: the shell, and what it runs, see no end between two
// pieces, and see the one that comes.
func shellLine(dir string, prompt bool) string {
	sh := "sh"
	if prompt {
		sh = "sh -i +m" // without job control, which needs a terminal: dash and busybox would say so
	}
	return fmt.Sprintf(
		"(exec 8<>%[1]s/end 9>%[1]s/in; read -r _ <&8) </dev/null >/dev/null 2>&1 & exec %[2]s <%[1]s/in", dir, sh,
	)
}

// endLine is the command line that ends the input. It waits for the process that holds the input
// open.
func endLine(dir string) string { return fmt.Sprintf("echo >%s/end", dir) }

// removeLine is the command line that removes the directory of a shell that has ended. It ends the
// process that holds the input open, if that is still there: a FIFO opened for both directions
// waits for nobody.
func removeLine(dir string) string { return fmt.Sprintf("echo 1<>%[1]s/end; rm -r %[1]s", dir) }

func makeInput(ctx context.Context, m bench.Machine) (dir string, err error) {
	r, err := give(ctx, m, makeInputs, nil)
	return strings.TrimSpace(string(r.Stdout)), err
}

func removeInput(ctx context.Context, m bench.Machine, dir string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_, _ = give(ctx, m, removeLine(dir), nil) // a guest that does not answer keeps it
}

// feed gives the guest's shell what comes from in.
func feed(ctx context.Context, m bench.Machine, in io.Reader, dir string) error {
	buf := make([]byte, 32<<10)
	for {
		n, err := in.Read(buf)
		if n > 0 {
			if _, err := give(ctx, m, "cat >"+path.Join(dir, "in"), buf[:n]); err != nil {
				return err
			}
		}
		if err != nil { // the end, or a client that has gone: the call's context tells
			_, err := give(ctx, m, endLine(dir), nil)
			return err
		}
	}
}

// give runs a line of shell in the guest with input.
func give(ctx context.Context, m bench.Machine, line string, input []byte) (bench.Result, error) {
	cmd := bench.Shell(line)
	cmd.Stdin = input
	r, err := m.Exec(ctx, cmd)
	if err == nil {
		err = r.Err(cmd)
	}
	return r, err
}

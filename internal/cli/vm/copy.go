package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"vmtb/bench"
	"vmtb/bench/keep"
	"vmtb/internal/ansi"
	"vmtb/internal/atomicfile"
	"vmtb/internal/cli/env"
)

// copyOptions are the flags of "vmtb vm cp".
type copyOptions struct {
	recursive bool
}

func copyCommand(e *env.Env) *cobra.Command {
	var o copyOptions
	cmd := &cobra.Command{
		Use:   "cp [-r] source destination",
		Short: "Copy files from, to or between guests: a path in a guest is MACHINE:PATH",
		Long: `Copies a file, or with -r a directory, between this machine and a guest or between two guests,
through the guests' agents. A path in a guest is MACHINE:PATH; a file here may be "-" for standard input or output. If
the destination is a directory, the copy goes into it and keeps the source's name. While a guest boots, cp waits for
its agent, and prints a message.

An executable file stays executable. With -r permission bits are kept (not set-user-ID, set-group-ID, sticky), symbolic
links are copied as links, and devices, FIFOs and sockets are left out: cp names them at the end, with exit code 2. The
files belong to root in a guest, and here to the user who runs cp. -r needs sh and tar in the guest (busybox has them),
and in a guest that gets a directory mktemp and free space for it twice.`,
		Example: `  vmtb vm cp ./xe.ko vm0:/root/
  vmtb vm cp vm0:/var/log/syslog guest.log
  vmtb vm cp -r ./tests vm0:/root
  vmtb vm cp -r vm0:/root/results vm1:/root`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, stop := env.CancelOnInterrupt(cmd.Context())
			defer stop()
			return o.run(ctx, e, args[0], args[1])
		},
	}
	cmd.Flags().BoolVarP(&o.recursive, "recursive", "r", false, "copy directories with their contents")
	return cmd
}

// An endpoint is a source or a destination of "vm cp".
type endpoint struct {
	guest *keep.Client // nil for this machine
	path  string
	kind  kind
}

// A kind is the kind of file at an endpoint.
type kind string

const (
	kindNone       kind = "none" // no file, or the guest has no shell to check
	kindFile       kind = "file"
	kindExecutable kind = "executable"
	kindDirectory  kind = "directory"
	kindSpecial    kind = "special"
)

func (p endpoint) String() string {
	if p.guest == nil {
		return p.path
	}
	return p.guest.Name() + ":" + p.path
}

// stdio reports whether p is our standard input or output.
func (p endpoint) stdio() bool { return p.guest == nil && p.path == "-" }

// base returns the name of the copy of p in a directory.
func (p endpoint) base() string {
	// The base of "." would be ".".
	if abs, err := filepath.Abs(p.path); err == nil && p.guest == nil {
		return filepath.Base(abs)
	}
	return path.Base(p.path)
}

// in returns the endpoint with that name in the directory p.
func (p endpoint) in(name string) endpoint {
	p.path, p.kind = path.Join(p.path, name), kindNone
	return p
}

func (o *copyOptions) run(ctx context.Context, e *env.Env, source, destination string) error {
	from, err := parseEndpoint(e, source)
	if err != nil {
		return err
	}
	to, err := parseEndpoint(e, destination)
	if err != nil {
		return err
	}
	if from.guest == nil && to.guest == nil {
		return &bench.UsageError{
			Err:    errors.New("at least one path must be in a guest (vm0:/root/file)"),
			Advice: "write ./ before a local path that has a colon",
		}
	}
	for _, p := range []*endpoint{&from, &to} {
		if err := findKind(ctx, e, p); err != nil {
			return err
		}
	}
	if to.kind == kindDirectory && !from.stdio() {
		if to = to.in(from.base()); from.kind == kindDirectory {
			if err := findKind(ctx, e, &to); err != nil {
				return err
			}
		}
	}
	if err := from.checkCopy(to, o.recursive); err != nil {
		return err
	}
	if from.kind == kindDirectory {
		return copyTree(ctx, from, to)
	}
	return pipe(
		func(w io.Writer) error { return from.read(ctx, e.In, w) },
		func(r io.Reader) error { return to.write(ctx, e.Out, r, from.kind == kindExecutable) },
	)
}

// parseEndpoint parses MACHINE:PATH, or a path on this machine.
func parseEndpoint(e *env.Env, s string) (endpoint, error) {
	machine, file, ok := strings.Cut(s, ":")
	if !ok || strings.Contains(machine, "/") {
		return endpoint{path: s}, nil
	}
	c, err := e.State.Machines.Open(machine)
	return endpoint{guest: c, path: file}, err
}

// kindScript is a shell script that prints the kind of the file $1.
const kindScript = `if [ -d "$1" ]; then echo directory
elif [ -f "$1" ]; then [ -x "$1" ] && echo executable || echo file
elif [ -e "$1" ]; then echo special; else echo none; fi`

// findKind sets the kind of p. It waits for a guest that is booting.
func findKind(ctx context.Context, e *env.Env, p *endpoint) error {
	p.kind = kindNone
	if p.guest == nil {
		if info, err := os.Stat(p.path); err == nil && !p.stdio() {
			p.kind = kindOf(info.Mode())
		}
		return nil
	}
	if err := reachGuest(ctx, e, p.guest); err != nil {
		return err
	}
	var printed head
	err := guestRun(ctx, p.guest, "look at "+p.path, &printed, "sh", "-c", kindScript, "sh", p.path)
	if errors.As(err, new(*bench.StartError)) {
		return nil // without a shell, files can still be copied
	}
	p.kind = kind(strings.TrimSpace(printed.String()))
	return err
}

func kindOf(mode fs.FileMode) kind {
	switch {
	case mode.IsDir():
		return kindDirectory
	case !mode.IsRegular():
		return kindSpecial
	case mode.Perm()&0o111 != 0:
		return kindExecutable
	}
	return kindFile
}

// checkCopy returns an error if p cannot be copied to to.
func (p endpoint) checkCopy(to endpoint, recursive bool) error {
	switch {
	case p.kind == kindDirectory && !recursive:
		return &bench.UsageError{Err: fmt.Errorf("%s is a directory", p), Advice: "vmtb vm cp -r copies it"}
	case p.kind == kindDirectory && to.stdio():
		const advice = "vmtb vm exec MACHINE tar c DIRECTORY writes an archive"
		err := fmt.Errorf("%s is a directory, and cannot be written to standard output", p)
		return &bench.UsageError{Err: err, Advice: advice}
	case p.kind == kindDirectory && to.kind != kindDirectory && to.kind != kindNone:
		return &bench.UsageError{Err: fmt.Errorf("%s is a directory, and %s is not", p, to)}
	case p.stdio() && to.kind == kindDirectory:
		return &bench.UsageError{Err: fmt.Errorf("%s is a directory: give the name of a file for standard input", to)}
	case p.kind == kindSpecial && p.guest != nil:
		const format = "%s is a device, a FIFO or a socket: the guest's agent would wait for its end, and do nothing " +
			"else"
		return &bench.UsageError{Err: fmt.Errorf(format, p)}
	}
	return p.checkApart(to)
}

// checkApart returns an error if a file in a guest is copied onto itself, or a directory into
// itself.
func (p endpoint) checkApart(to endpoint) error {
	if p.guest == nil || to.guest == nil || p.guest.Name() != to.guest.Name() {
		return nil
	}
	from, into := path.Clean(p.path), path.Clean(to.path)
	if from == into {
		return &bench.UsageError{Err: fmt.Errorf("%s and %s are the same file", p, to)}
	}
	if strings.HasPrefix(into, strings.TrimSuffix(from, "/")+"/") {
		return &bench.UsageError{Err: fmt.Errorf("%s is inside %s", to, p)}
	}
	return nil
}

// read writes the content of p to w. stdin is our standard input.
func (p endpoint) read(ctx context.Context, stdin io.Reader, w io.Writer) error {
	if p.guest != nil {
		return p.guest.ReadFile(ctx, p.path, w)
	}
	in := stdin
	if !p.stdio() {
		f, err := os.Open(p.path)
		if err != nil {
			return &bench.UsageError{Err: err}
		}
		defer f.Close()
		in = f
	}
	if _, err := io.Copy(w, in); err != nil {
		return &bench.InfraError{Op: "copy " + p.path, Err: err}
	}
	return nil
}

// write writes the content of r to the file p. out is our standard output.
func (p endpoint) write(ctx context.Context, out io.Writer, r io.Reader, executable bool) error {
	if p.guest != nil {
		begun := bufio.NewReader(r)
		if _, err := begun.Peek(1); err != nil && !errors.Is(err, io.EOF) {
			return err // the source cannot be read: do not change the guest's file
		}
		if err := p.guest.WriteFile(ctx, p.path, begun); err != nil || !executable {
			return err
		}
		return guestRun(ctx, p.guest, "make "+p.path+" executable", nil, "chmod", "+x", p.path)
	}
	if p.stdio() {
		_, err := io.Copy(out, r)
		return err
	}
	perm := fs.FileMode(0o644)
	if executable {
		perm = 0o755
	}
	return writeMode(p.path, perm, func(w io.Writer) error {
		_, err := io.Copy(w, r)
		return err
	})
}

// writeWhole replaces the content of a file with the data that write writes. After an error the
// file is unchanged.
func writeWhole(file string, write func(io.Writer) error) error { return writeMode(file, 0o644, write) }

// writeMode is writeWhole with a mode: perm is the mode of a new file.
func writeMode(file string, perm fs.FileMode, write func(io.Writer) error) error {
	f, err := atomicfile.Create(file, perm)
	if err != nil {
		return &bench.UsageError{Err: err}
	}
	if err := write(f); err != nil {
		return errors.Join(err, f.Discard())
	}
	if err := f.Commit(); err != nil {
		return &bench.InfraError{Op: "write " + file, Err: err}
	}
	return nil
}

// pipe runs source and sink together: sink reads what source writes. If both fail, it returns the
// error of the one that failed first.
func pipe(source func(io.Writer) error, sink func(io.Reader) error) error {
	r, w := io.Pipe()
	sourceEnd := make(chan error, 1)
	go func() {
		err := source(w)
		w.CloseWithError(err) // with nil the sink reads io.EOF
		sourceEnd <- err
	}()
	sinkErr := sink(r)
	r.CloseWithError(sinkErr)
	sourceErr := <-sourceEnd
	if sinkErr == nil || sourceErr != nil && errors.Is(sinkErr, sourceErr) {
		return sourceErr
	}
	return sinkErr
}

// guestRun runs a program in a guest. what describes the program's purpose, for the error.
func guestRun(ctx context.Context, c *keep.Client, what string, stdout io.Writer, argv ...string) error {
	var printed head
	r, err := c.Exec(ctx, bench.Command{Argv: argv, Stdout: stdout, Stderr: &printed}, nil)
	switch {
	case err != nil:
		return err
	case r.OK():
		return nil
	}
	why := bench.Tail([]byte(printed.String()), 5)
	if why == "" {
		why = fmt.Sprintf("%s ended with exit code %d", argv[0], r.ExitCode)
	}
	return &bench.GuestError{Err: fmt.Errorf("%s: %s: %s", c.Name(), ansi.Printable(what), ansi.Printable(why))}
}

// A head keeps the beginning of the data written to it. A guest may write without end.
type head struct{ data bytes.Buffer }

func (h *head) Write(b []byte) (int, error) {
	const most = 16 << 10
	h.data.Write(b[:min(len(b), most-h.data.Len())])
	return len(b), nil
}

func (h *head) String() string { return h.data.String() }

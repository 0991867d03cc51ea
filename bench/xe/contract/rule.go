package contract

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A Section is a part of the contract: a class of the flow xe_contract.
type Section struct {
	Name  string // of the class: "TestQuotas"
	Title string
	Rules []Rule
}

// Sections returns the whole contract.
func Sections() []Section {
	return []Section{
		{"TestPci", "SR-IOV in the PCI core", pciRules},
		{"TestBinding", "Drivers of VFs", bindingRules},
		{"TestTree", "Nodes and files", treeRules},
		{"TestModes", "Modes and operations of the PF", operationRules},
		{"TestNumbers", "Numeric attributes", numberRules()},
		{"TestQuotas", "Quotas and spares", quotaRules},
		{"TestTables", "Printed tables", tableRules},
		{"TestControl", "Control of VFs", controlRules},
		{"TestAdmin", "sysfs sriov_admin", adminRules()},
		{"TestProvisioning", "Provisioning", provisioningRules()},
		{"TestMigration", "Saving and restoring VFs", migrationRules},
		{"TestVF", "VFs with their driver", vfRules},
		{"TestVFIO", "VFs given to user space", vfioRules},
	}
}

// A Rule is one promise. Run carries out Steps first, then Check.
type Rule struct {
	ID    string // of the case, without "test_": "numvfs_range"
	Doc   string
	Needs []Need
	// Destructive says what the rule does to a machine in use; "" means no harm.
	Destructive string
	// Crashes says what the rule does to the kernel of released drivers, and in which function; ""
	// means no harm. Such a rule is checked only if it is selected by name, with --destructive.
	Crashes string
	// Logs are regular expressions of kernel messages that this rule is expected to cause.
	Logs []string
	// Unverified says which part of the rule was never confirmed in the driver's source.
	Unverified string
	Steps      []Step
	Check      func(ctx context.Context, p *Probe) error
}

// Run checks the rule. The error says which files and values differ, and how. A [MissingError] says
// that the rule does not apply to this kernel.
func (r Rule) Run(ctx context.Context, p *Probe) error {
	if err := p.all(ctx, r.Steps...); err != nil || r.Check == nil {
		return err
	}
	return r.Check(ctx, p)
}

type verb int

const (
	doWrite   verb = iota // write each value; errno is the result
	doBecome              // write each value, then read want
	doRead                // read want, or errno
	doMode                // the file has this mode
	doLink                // the file is a link with this text
	doPresent             // the file exists
	doAbsent              // the file does not exist
)

// A Step is one operation on files, with its expected result.
type Step struct {
	verb   verb
	files  []string
	values []string
	want   string // text without the final newline
	mode   fs.FileMode
	errno  syscall.Errno // 0 is success
}

// write writes values, one after the other. The kernel accepts all of them.
func write(file string, values ...string) Step { return Step{files: []string{file}, values: values} }

// refuse writes values that the kernel refuses with errno.
func refuse(errno syscall.Errno, file string, values ...string) Step {
	return Step{files: []string{file}, values: values, errno: errno}
}

// become writes each of the values. After each write the file reads want.
func become(file, want string, values ...string) Step {
	return Step{verb: doBecome, files: []string{file}, values: values, want: want}
}

// read reads want from each of the files.
func read(want string, files ...string) Step { return Step{verb: doRead, files: files, want: want} }

// unreadable expects errno when it reads the files.
func unreadable(errno syscall.Errno, files ...string) Step {
	return Step{verb: doRead, files: files, errno: errno}
}

func mode(m fs.FileMode, files ...string) Step { return Step{verb: doMode, files: files, mode: m} }
func link(target, file string) Step {
	return Step{verb: doLink, files: []string{file}, want: target}
}
func present(files ...string) Step { return Step{verb: doPresent, files: files} }
func absent(files ...string) Step  { return Step{verb: doAbsent, files: files} }

// under prepends a directory to names.
func under(dir string, names ...string) []string {
	files := make([]string, len(names))
	for i, n := range names {
		files[i] = dir + n
	}
	return files
}

func (s Step) run(ctx context.Context, p *Probe) error {
	for _, f := range s.files {
		for _, file := range p.each(f) {
			if err := s.on(ctx, p, file); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s Step) on(ctx context.Context, p *Probe, file string) error {
	want := p.expand(s.want)
	switch s.verb {
	case doWrite:
		for _, v := range s.values {
			if err := p.Refuses(ctx, s.errno, file, v); err != nil {
				return err
			}
		}
		return nil
	case doBecome:
		for _, v := range s.values {
			if err := p.Refuses(ctx, 0, file, v); err != nil {
				return err
			}
			if err := p.Reads(file, line(want)); err != nil {
				return fmt.Errorf("after %q was written: %w", v, err)
			}
		}
		return nil
	case doRead:
		if s.errno != 0 {
			return p.Unreadable(s.errno, file)
		}
		return p.Reads(file, line(want))
	}
	return s.stat(p, file, want)
}

// line returns the text of a file with the content want. An empty file has no line.
func line(want string) string {
	if want == "" {
		return ""
	}
	return want + "\n"
}

func (s Step) stat(p *Probe, file, want string) error {
	at, err := p.Path(file)
	if err != nil {
		return err
	}
	info, err := p.sys.Stat(at)
	switch {
	case s.verb == doAbsent && errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("%s: %w", file, err)
	case s.verb == doAbsent:
		return fmt.Errorf("%s (%s) exists", file, at)
	case s.verb == doMode && info.Mode() != s.mode:
		return fmt.Errorf("%s (%s): mode %v, want %v", file, at, info.Mode(), s.mode)
	case s.verb != doLink:
		return nil
	}
	if target, err := p.sys.Readlink(at); err != nil || target != want {
		return differs(err, "%s (%s) links to %q, want %q", file, at, target, want)
	}
	return nil
}

// String returns the step in the words of the documentation.
func (s Step) String() string {
	files := "`" + strings.Join(s.files, "`, `") + "`"
	switch s.verb {
	case doWrite, doBecome:
		text := fmt.Sprintf("%s ← %s", files, quoted(s.values))
		if s.errno != 0 {
			return text + ": " + unix.ErrnoName(s.errno)
		}
		if s.verb == doBecome {
			return text + ": reads " + quoted([]string{s.want})
		}
		return text
	case doRead:
		if s.errno != 0 {
			return "reading " + files + ": " + unix.ErrnoName(s.errno)
		}
		return files + " reads " + quoted([]string{s.want})
	case doMode:
		return fmt.Sprintf("%s: mode %04o", files, s.mode)
	case doLink:
		return fmt.Sprintf("%s → `%s`", files, s.want)
	case doPresent:
		return files + " exists"
	}
	return "no " + files
}

// quoted quotes values so that white space is visible, and shortens long ones.
func quoted(values []string) string {
	list := make([]string, len(values))
	for i, v := range values {
		q := fmt.Sprintf("%q", v)
		q = q[1 : len(q)-1]
		if len(q) > 120 {
			q = fmt.Sprintf("%s… (%d bytes)", q[:8], len(v))
		}
		list[i] = "`" + q + "`"
		if v == "" {
			list[i] = "nothing"
		}
	}
	return strings.Join(list, ", ")
}

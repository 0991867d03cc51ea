package main

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestBook runs the book's six commands for newcomers. They start two agents and make an HTML
// report. Only the directory of the state differs from the book (check 22). TestBook also checks
// that this program accepts every other command line of the chapter.
func TestBook(t *testing.T) {
	text, err := os.ReadFile("../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	_, first, _ := strings.Cut(string(text), "## Six commands\n")
	first, _, _ = strings.Cut(first, "\n## ")
	lines := commandLines(first)
	if len(lines) != 6 {
		t.Fatalf("%d commands: %q", len(lines), lines)
	}
	l := newLab(t, long)
	l.kill("server") // the book's commands start a server
	if err := os.RemoveAll(filepath.Join(l.dir, "state")); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	port := l.address()
	fleet := "#!/bin/sh\ncase $1 in\n" +
		"serve) shift; exec " + l.self + " as-fleet serve --dir=" + dir + "/state --listen=" + port + " --url=tls://" +
		port + " \"$@\" ;;\n" +
		"agent) name=${2#--key=}; name=${name%.key}; mkdir -p $name; echo '{\"gpu\":\"bmg\",\"vfs\":\"24\"}' " +
		">$name/labels.json\n" +
		"  export TOY_DIR=$PWD/$name VMTB_STATE_DIR=$PWD/$name/state; exec " + l.self +
		" as-fleet \"$@\" --spool=$name/spool --vmtb='" + l.vmtb() + "' ;;\n" +
		"fetch) exec " + l.self + " as-fleet \"$@\" --vmtb='" + l.vmtb() + "' ;;\n" +
		"submit) cmd=$1; shift; exec " + l.self + " as-fleet $cmd --vmtb='" + l.vmtb() + "' test_toy::TestWeak ;;\n" +
		"esac\nexec " + l.self + " as-fleet \"$@\"\n"
	if err := os.WriteFile(filepath.Join(bin, "vmtb-fleet"), []byte(fleet), 0o755); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	env := append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "VMTB_FLEET_KEY="+dir+"/state/admin.key")
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := exec.CommandContext(ctx, "sh", "-ec", strings.Join(lines, "\n"))
	// The output is a file, not a pipe: programs in the background keep it open.
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = cmd.Run()
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
	out, _ := os.ReadFile(log.Name())
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"6 passed", "first start: the key of the administrator"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is not said:\n%s", want, out)
		}
	}
	if pages, _ := filepath.Glob(filepath.Join(dir, "*/html/index.html")); len(pages) != 1 {
		t.Errorf("pages: %v\n%s", pages, out)
	}
	for _, line := range commandLines(string(text)) {
		for part := range strings.SplitSeq(line, "; ") {
			checkCommand(t, strings.TrimSuffix(strings.TrimSpace(part), " &"))
		}
	}
}

// commandLines returns the lines that run vmtb-fleet in a chapter's code blocks, without comments.
func commandLines(text string) (lines []string) {
	for line := range strings.Lines(text) {
		line, indented := strings.CutPrefix(strings.TrimRight(line, "\n"), "    ")
		line, _, _ = strings.Cut(line, "  #")
		if indented && strings.Contains(line, "vmtb-fleet ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	return lines
}

func checkCommand(t *testing.T, line string) {
	t.Helper()
	_, line, ok := strings.Cut(line, "vmtb-fleet ")
	if !ok {
		return
	}
	words := strings.Fields(strings.ReplaceAll(strings.TrimSuffix(line, ")"), "'", ""))
	var out bytes.Buffer
	if code := run(t.Context(), append(words, "--help"), &out, &out); code != 0 ||
		!strings.Contains(out.String(), "vmtb-fleet "+words[0]) {
		t.Errorf("vmtb-fleet %s: %d %s", line, code, out.String())
	}
}

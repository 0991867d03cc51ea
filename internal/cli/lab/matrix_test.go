package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/internal/cli/flows"
	"vmtb/internal/cli/output"
)

const passedLog = `<6>[    5.159727] xe 0000:01:00.0: vgaarb: deactivate vga console
<6>[    5.166541] xe 0000:01:00.0: [drm] Running in SR-IOV VF mode
<6>[    5.223980] [drm] Initialized xe 1.1.0 for 0000:01:00.0 on minor 0
`

const failedLog = `[    0.000000] Linux version 6.18
[    6.1] xe 0000:01:00.0: vgaarb: deactivate vga console
[    6.200001] [   T12] xe 0000:02:00.0: [drm] Running in SR-IOV VF mode
[    6.3] xe 0000:01:00.0: [drm] *ERROR* Tile0: GT0: Failed to negotiate 1.31 (-EPROTO)
[    6.4] input: something
`

// Times, addresses and numbers do not count, and messages of other drivers neither.
func TestFirstDifference(t *testing.T) {
	for _, c := range []struct{ passed, failed, only, instead string }{
		{
			passedLog, failedLog, "xe 0000:01:00.0: [drm] *ERROR* Tile0: GT0: Failed to negotiate 1.31 (-EPROTO)",
			"[drm] Initialized xe 1.1.0 for 0000:01:00.0 on minor 0",
		},
		{passedLog, passedLog, "", ""},
		{passedLog, strings.ReplaceAll(passedLog, "5.", "77."), "", ""},
		{"", failedLog, "xe 0000:01:00.0: vgaarb: deactivate vga console", ""},
	} {
		only, instead := firstDifference(c.passed, c.failed)
		if only != c.only || instead != c.instead {
			t.Errorf("%q, %q; want %q, %q", only, instead, c.only, c.instead)
		}
	}
}

func FuzzFirstDifference(f *testing.F) {
	f.Add(passedLog, failedLog)
	f.Fuzz(func(t *testing.T, passed, failed string) {
		if only, instead := firstDifference(passed, passed); only != "" || instead != "" {
			t.Errorf("a log differs from itself: %q, %q", only, instead)
		}
		firstDifference(passed, failed)
	})
}

// sampleMatrix returns a matrix in a new directory: one flow failed in one of four cells, and one
// cell has no results.
func sampleMatrix(t *testing.T) *output.Matrix {
	t.Helper()
	code := func(n int) *int { return &n }
	cell := func(kernel, guest string, result flow.Result, code *int) output.MatrixCell {
		c := output.MatrixCell{Kernel: kernel, Guest: guest, ExitCode: code}
		if result != "" {
			c.Results = []output.MatrixFlow{{ID: "f::C::t[1]", Result: result}}
		}
		return c
	}
	m := &output.Matrix{
		Dir: t.TempDir(), Kernels: []string{"6.18", "own"}, Guests: []string{"7.2", "own"}, Selection: []string{"f"},
		Cells: []output.MatrixCell{
			cell("6.18", "7.2", flow.Pass, code(0)), cell("6.18", "own", flow.Fail, code(1)),
			cell("own", "7.2", "", code(3)), cell("own", "own", "", nil),
		},
	}
	m.Cells[0].Dir = "/where/it/was"
	m.Cells[1].Results[0].Reason = "the VF has <no> driver"
	m.Cells[2].Error = "lab: boot the DUT: no agent"
	return m
}

func TestMatrixOutput(t *testing.T) {
	m := sampleMatrix(t)
	if err := writeMatrix(m); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := printMatrix(&out, m); err != nil {
		t.Fatal(err)
	}
	const want = `f::C::t[1]
  DUT   guest 7.2   guest own 
  6.18  pass        fail      
  own   no result   not run   
DUT own, guest 7.2: lab: boot the DUT: no agent
f::C::t[1]: fail with DUT 6.18, guest own; passed with DUT 6.18, guest 7.2
  no kernel message differs; reason: the VF has <no> driver

`
	if out.String() != want {
		t.Errorf("%s\nwant\n%s", out.String(), want)
	}
	page, err := os.ReadFile(filepath.Join(m.Dir, matrixPage))
	if err != nil || !strings.Contains(string(page), "has &lt;no&gt; driver") ||
		!strings.Contains(string(page), "no agent") {
		t.Errorf("the page lacks a reason: %v\n%s", err, page)
	}
	again, err := readMatrix(m.Dir)
	if err != nil || len(again.Cells) != 4 || *again.Cells[1].ExitCode != 1 || again.Cells[3].ExitCode != nil {
		t.Errorf("%+v, %v", again, err)
	}
}

// A matrix continues in its directory, which may have been moved, with the same flags or without any.
// Other flags are refused.
func TestMatrixOpen(t *testing.T) {
	m := sampleMatrix(t)
	interrupted := flow.ExitInterrupted
	m.Cells[2].ExitCode = &interrupted
	if err := writeMatrix(m); err != nil {
		t.Fatal(err)
	}
	open := func(kernel, guest, dir string, selection ...string) (*output.Matrix, error) {
		o := matrixOptions{runOptions: runOptions{dut: &dutFlags{}}}
		o.dut.kernel, o.dut.guestKernel, o.Dir = kernel, guest, dir
		return o.open(selection)
	}
	for _, kernels := range [][2]string{{"", ""}, {"6.18,own", "7.2,own"}} {
		got, err := open(kernels[0], kernels[1], m.Dir)
		if err != nil {
			t.Fatal(err)
		}
		left := 0
		for _, c := range got.Cells {
			if c.ExitCode == nil {
				left++
			}
		}
		if left != 2 || got.Dir != m.Dir || !slices.Equal(got.Selection, m.Selection) {
			t.Errorf("%q: %d cells are left of %+v, want 2", kernels, left, got)
		}
	}
	moved := m.Dir + "-moved"
	if err := os.Rename(m.Dir, moved); err != nil {
		t.Fatal(err)
	}
	got, err := open("", "", moved)
	if want := filepath.Join(moved, "01-6.18-7.2", flows.LabRunName); err != nil || got.Cells[0].Dir != want {
		t.Fatalf("moved: %+v, %v, want the run directory %s", got, err, want)
	}
	m.Dir = moved
	if _, err := open("7.2", "", m.Dir); !errors.As(err, new(*bench.UsageError)) {
		t.Errorf("other kernels: %v, want a UsageError", err)
	}
	if _, err := open("", "", m.Dir, "another"); !errors.As(err, new(*bench.UsageError)) {
		t.Errorf("another selection: %v, want a UsageError", err)
	}
	got, err = open("6.18,7.2,6.18", "", "", "f")
	if err != nil || len(got.Cells) != 2 || got.Cells[1].Kernel != "7.2" || got.Cells[1].Guest != ownName {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzParseMatrix(f *testing.F) {
	f.Add([]byte(`{"kernels": ["own"], "guest_kernels": ["7.2"], "cells": [{"exit_code": 3}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := parseMatrix(data)
		if err != nil {
			return
		}
		if err := printMatrix(&bytes.Buffer{}, m); err != nil {
			t.Error(err)
		}
		if _, err := json.Marshal(m); err != nil {
			t.Error(err)
		}
	})
}

// The exit code of a matrix is the one that counts most of its cells.
func TestWorse(t *testing.T) {
	for _, c := range []struct{ a, b, want int }{
		{0, 3, 3}, {1, 3, 1}, {3, 1, 1}, {1, 130, 130}, {6, 130, 6}, {0, 0, 0},
	} {
		if got := worse(c.a, c.b); got != c.want {
			t.Errorf("%d and %d: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

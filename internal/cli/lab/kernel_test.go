package lab

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"vmtb/bench"
)

func TestKernelFlags(t *testing.T) {
	k := kernelFlags{
		kernel: "7.2", guestKernel: "6.18.15", cmdline: "a=1  b", params: []string{"xe.x=2"}, guestCmdline: " quiet ",
	}
	if err := k.check(); err != nil {
		t.Fatal(err)
	}
	if got := k.parameters(); !slices.Equal(got, []string{"a=1", "b", "xe.x=2"}) {
		t.Errorf("parameters %q", got)
	}
	if k.dutSide.Kernel.String() != "7.2" || k.guestSide.Kernel.String() != "6.18.15" ||
		k.guestSide.Cmdline != "quiet" || !k.given() || k.ownKernel() {
		t.Errorf("%+v", k)
	}
	for _, c := range []struct {
		flags kernelFlags
		want  string
	}{
		{kernelFlags{params: []string{"vram_bar_size=1"}}, "want MODULE.PARAM=VALUE"},
		{kernelFlags{params: []string{"xe.a=1 b"}}, "want MODULE.PARAM=VALUE"},
		{kernelFlags{guestCmdline: "a\nb"}, "want one line"},
		{kernelFlags{guestKernel: "nowhere"}, "--guest-kernel=nowhere"},
		{kernelFlags{guestModules: []string{"nowhere.ko"}}, "--guest-module"},
	} {
		err := c.flags.check()
		if !errors.As(err, new(*bench.UsageError)) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v, want a UsageError with %q", c.flags, err, c.want)
		}
	}
}

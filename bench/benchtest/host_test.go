package benchtest_test

import (
	"testing"

	"vmtb/bench/benchtest"
	"vmtb/bench/host"
)

func TestHost(t *testing.T) { benchtest.Machine(t, host.New(host.OS{})) }

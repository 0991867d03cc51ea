package doctor

import (
	"context"
	"strconv"
	"strings"

	"vmtb/bench"
)

// These are the remedies for a console that does not show all messages of the guest's kernel.
const (
	remedySerial = "boot its kernel with console=ttyS0"
	remedyLevel  = "boot its kernel with loglevel=7 and without quiet, and let no sysctl lower kernel.printk"
	remedyTime   = "boot its kernel with printk.time=1"
)

// checkGuestConsole checks that all messages of a guest's kernel reach the serial console. Flows
// look there for warnings and for resets of the GPU.
func checkGuestConsole(ctx context.Context, m bench.Machine) Result {
	files := []string{
		"/proc/consoles", "/proc/sys/kernel/printk", "/sys/module/printk/parameters/time", "/proc/cmdline",
	}
	var texts [4]string
	for i, file := range files {
		data, err := m.ReadFile(ctx, file)
		if err != nil {
			return fromError(err)
		}
		texts[i] = strings.TrimSpace(string(data))
	}
	consoles, printk, times, cmdline := texts[0], texts[1], texts[2], texts[3]
	first, _, _ := strings.Cut(printk, "\t")
	level, err := strconv.Atoi(first)
	switch {
	case !strings.Contains("\n"+consoles, "\nttyS0 "):
		return warn(remedySerial, "the guest's kernel does not write to the serial console: flows miss its messages")
	case err != nil:
		return skip("/proc/sys/kernel/printk is %q", printk)
	case level < 7: // the console gets the messages below console_loglevel
		return warn(
			remedyLevel, "the guest's kernel writes only levels below %d to the console: flows do not see %s", level,
			unseen(level),
		)
	case times == "N":
		return warn(remedyTime, "the guest's kernel writes no times: flows cannot recognise kernel messages")
	case !strings.Contains(cmdline, "console_msg_format=syslog"):
		return good("the guest's kernel writes to it, without levels (console_msg_format=syslog adds them)")
	}
	return good("the guest's kernel writes to it, with levels")
}

// unseen returns which messages are missing on a console that gets only messages below a level.
func unseen(level int) string {
	switch {
	case level <= 3:
		return "its errors and warnings"
	case level == 4:
		return "its warnings"
	}
	return "its notices, for example about a reset of the GPU"
}

package lab

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"vmtb/bench"
	"vmtb/bench/vm"
	"vmtb/internal/filecopy"
)

// This file is for a DUT that outlives the command that starts it. Package keep starts it from its
// [Options.Spec], and [SetUp] prepares it for users.

// Give copies this program, vmtb, into share, where [SetUp] finds it.
func Give(share string) error {
	if err := filecopy.Copy(filepath.Join(share, givenProgram), "/proc/self/exe", 0o755); err != nil {
		return infra("give vmtb to the DUT", err)
	}
	return nil
}

const givenProgram = "vmtb"

// SetUp returns the command that prepares a booted DUT for users. It mounts the share at its path
// on this machine. It puts vmtb into PATH, with a configuration for the lab beside it. It puts the
// guest image of the docs' commands into /root. Shells on the second serial port become bash, if
// the DUT has it, with vmtb's completion. The command does this once in a boot. scale multiplies
// the deadlines in the configuration.
func SetUp(s vm.Spec, scale float64) bench.Command {
	share := ""
	if len(s.Shares) > 0 {
		share = s.Shares[0].Path
	}
	args := []string{share, GuestImage, config(scale), bashrc, strconv.FormatInt(time.Now().Unix(), 10)}
	return bench.Command{Argv: append([]string{"/bin/sh", "-ec", setUpScript, "sh"}, args...)}
}

// GPUOf returns the GPU of the DUT with the hardware s, or "" if it has none of the lab's GPUs.
func GPUOf(s vm.Spec) GPU {
	for _, d := range s.Devices {
		for property := range strings.SplitSeq(d, ",") {
			if platform, ok := strings.CutPrefix(property, platformProperty); ok && strings.HasPrefix(d, "vmtb-gpu,") {
				return GPU(platform)
			}
		}
	}
	return ""
}

// config returns the lab's differences from vmtb's default configuration.
func config(scale float64) string {
	const format = `{"guest": {"os_image": %q}, "vm": {"memory_mib": %d}, "timeout_scale": %g}`
	return fmt.Sprintf(format, GuestImage, GuestMiB, scale)
}

// setUpScript takes the share $1, the guest image $2, the configuration $3, the start-up file of
// shells $4 and the time $5. The first shell on the second serial port has started already. The
// script ends it, and init starts the next one.
const setUpScript = wakeScript + `
date -s "@$5" >/dev/null
[ ! -e /run/vmtb-lab ] || exit 0
cp "$1/vmtb" /usr/bin/vmtb.new
chmod 755 /usr/bin/vmtb.new
mv /usr/bin/vmtb.new /usr/bin/vmtb
printf '%s\n' "$3" >/usr/bin/vmtb_config.json
ln -sf "$2" /root/guest_os.img
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd # bash's completion reads /dev/fd/N
if [ -x /usr/bin/bash ] && [ ! -e /etc/vmtb.bashrc ]; then
	printf '%s' "$4" >/etc/vmtb.bashrc
	vmtb completion bash >>/etc/vmtb.bashrc
	echo 'case $- in *i*) [ -n "$BASH_VERSION" ] || { cd /root; exec bash --rcfile /etc/vmtb.bashrc; } ;; esac' \
		>>/etc/profile
	pkill -t ttyS1 || true
fi
touch /run/vmtb-lab`

// bashrc comes before vmtb's completion, which calls three functions of bash-completion. The DUT
// does not have them. Where "=" and ":" do not end words, this is all that they do. _filedir offers
// files with any extension.
const bashrc = `PS1='lab# '
COMP_WORDBREAKS=${COMP_WORDBREAKS//[=:]/}
_get_comp_words_by_ref() {
	words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
}
__ltrim_colon_completions() { :; }
_filedir() {
	compopt -o filenames
	[[ $1 == -d ]] && set -- -d || set -- -f
	mapfile -t COMPREPLY < <(compgen "$1" -- "${cur#[\'\"]}")
}
`

// Attach connects a terminal to the shell on the second serial port of a DUT, until the user types
// Ctrl-] or the DUT ends. sockets is the directory of the DUT's sockets.
func Attach(ctx context.Context, sockets string, in *os.File, out io.Writer) error {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(sockets, "serial1"))
	if err != nil {
		return infra("connect to the DUT's shell", err)
	}
	return attach(ctx, conn, in, out)
}

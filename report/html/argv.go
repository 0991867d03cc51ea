package html

import (
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	"vmtb/bench"
	"vmtb/flow"
	"vmtb/report/run"
)

// optionLines splits a shell command line before each option, to make it readable. Joined by
// blanks, the lines are the same command again.
func optionLines(line string) []string {
	var out []string
	quoted, from := false, 0
	for i := 0; i < len(line); i++ {
		switch {
		case line[i] == '\'':
			quoted = !quoted
		case line[i] == '\\' && !quoted:
			i++ // bench.Quote writes a quote as \'
		case line[i] == ' ' && !quoted && i > from && i+2 < len(line) && line[i+1] == '-' && line[i+2] != ' ':
			out = append(out, line[from:i])
			from = i + 1
		}
	}
	return append(out, line[from:])
}

var (
	argvSocket  = regexp.MustCompile(`(?:^|[ ,])path=(/[^, ']+)`)
	argvOverlay = regexp.MustCompile(`(?:file\.filename|file)=(/[^, ']+\.qcow2)`)
)

// prepare returns shell commands that create the files for the command line argv again, because the
// run has removed them: the directories of the machine's sockets and console, and its overlays over
// image.
func prepare(argv, image string) string {
	var dirs, lines []string
	overlays := argvOverlay.FindAllStringSubmatch(argv, -1)
	for _, m := range slices.Concat(argvSocket.FindAllStringSubmatch(argv, -1), overlays) {
		if dir := bench.Quote(path.Dir(m[1])); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	if len(dirs) > 0 {
		lines = append(lines, "mkdir -p "+strings.Join(dirs, " "))
	}
	if image == "" {
		image = "guest_os.img"
	}
	for _, m := range overlays {
		lines = append(
			lines, "qemu-img create -f qcow2 -F FORMAT_OF_IMAGE -b "+bench.Quote(image)+" "+bench.Quote(m[1]),
		)
	}
	if len(lines) == 0 {
		return ""
	}
	return run.Clean(strings.Join(lines, "\n")) + "\n"
}

// image returns the guest image in the run's configuration; "" if there is none.
func image(info flow.Info) string {
	var c struct {
		Guest struct {
			OSImage string `json:"os_image"`
		} `json:"guest"`
	}
	if json.Unmarshal(info.Config, &c) != nil {
		return ""
	}
	return c.Guest.OSImage
}

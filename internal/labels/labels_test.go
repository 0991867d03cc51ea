package labels

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrite(t *testing.T) {
	s := Set{}
	s.Put("gpu", "bmg")
	s.Put("pci", "8086:e20b")
	s.Put("vfs", "24")
	s.Put("kernel", "7.0.0-rc3+ debug\x1b")
	s.Put("guc", " ")
	for format, want := range map[string]string{
		"text": "gpu=bmg\nkernel=7.0.0-rc3+-debug\npci=8086:e20b\nvfs=24\n",
		"json": "{\n  \"gpu\": \"bmg\",\n  \"kernel\": \"7.0.0-rc3+-debug\",\n  \"pci\": \"8086:e20b\",\n  " +
			"\"vfs\": \"24\"\n}\n",
		"lava":   "gpu-bmg\nkernel-7.0.0-rc3--debug\npci-8086-e20b\nvfs-24\n",
		"slurm":  "Features=gpu-bmg,kernel-7.0.0-rc3--debug,pci-8086-e20b,vfs-24 Gres=vf:24\n",
		"gitlab": "gpu:bmg,kernel:7.0.0-rc3+-debug,pci:8086:e20b,vfs:24\n",
	} {
		var b bytes.Buffer
		if err := s.Write(&b, format); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(want, b.String()); diff != "" {
			t.Errorf("%s (-want +got)\n%s", format, diff)
		}
	}
	if err := s.Write(&bytes.Buffer{}, "xml"); err == nil ||
		!strings.Contains(err.Error(), "text, json, lava, slurm, gitlab") {
		t.Error(err)
	}
}

func TestParse(t *testing.T) {
	got, err := Parse("labels", []byte("# of the lab\n\nrack=b7\n owner=ci@lab \nnote=a=b\n"))
	if diff := cmp.Diff(Set{"rack": "b7", "owner": "ci@lab", "note": "a=b"}, got); err != nil || diff != "" {
		t.Errorf("%v\n%s", err, diff)
	}
	_, err = Parse("labels", []byte("rack=b7\nRack=b8\nrack=b9\nowner=two words\nalone\n=x\nempty=\n"))
	for _, want := range []string{
		`labels:2: "Rack=b8": want NAME=VALUE`, "labels:3: rack was given before", "labels:4:", "labels:5:",
		"labels:6:", "labels:7:",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
}

// Labels that were read can be written and read again, and their words are valid for engines.
func FuzzParse(f *testing.F) {
	f.Add([]byte("a=b\n# x\nc-d_2=~!,|&\n"))
	word := regexp.MustCompile(`^[a-z][A-Za-z0-9_.-]*$`)
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := Parse("f", data)
		if err != nil {
			return
		}
		var text, object, lava bytes.Buffer
		for format, b := range map[string]*bytes.Buffer{"text": &text, "json": &object, "lava": &lava} {
			if err := s.Write(b, format); err != nil {
				t.Fatal(err)
			}
		}
		again, err := Parse("f", text.Bytes())
		if diff := cmp.Diff(s, again); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		read := Set{}
		if err := json.Unmarshal(object.Bytes(), &read); err != nil || !cmp.Equal(s, read) {
			t.Errorf("%v: %v", err, read)
		}
		for line := range strings.Lines(lava.String()) {
			if !word.MatchString(strings.TrimSuffix(line, "\n")) {
				t.Errorf("tag %q", line)
			}
		}
	})
}

package bench

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A configuration file of the Python tool loads unchanged.
func TestParseConfigOfPythonTool(t *testing.T) {
	data, err := os.ReadFile("testdata/vmtb_config.json")
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig("/opt/vmtb/vmtb_config.json", data)
	if err != nil {
		t.Fatal(err)
	}
	if *c.Host.CardIndex != 1 || c.Guest.OSImage != "/home/vmuser/guest_os.img" || c.VM.MemoryMiB != 4096 {
		t.Errorf("got %+v", c)
	}
	if want := "/opt/vmtb/vmm_flows/resources/wsim"; c.Resources.WsimPath != want {
		t.Errorf("wsim path %q, want %q", c.Resources.WsimPath, want)
	}
}

// The deployed example contains the defaults.
func TestExampleConfig(t *testing.T) {
	const file = "../examples/vmtb_config.json"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseConfig(file, data)
	if err != nil {
		t.Fatal(err)
	}
	want := DefaultConfig()
	want.Resources = got.Resources // relative to the file
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-default +example)\n%s", diff)
	}
}

func TestParseConfigRefuses(t *testing.T) {
	if _, err := ParseConfig(
		"c.json", []byte(`{"device_models": {"e20c": "Bmg_g21_12.json", "0xE20D": "Bmg_g21_12"}}`),
	); err != nil {
		t.Error(err)
	}
	tests := []struct{ name, data, want string }{
		{"unknown key", "{\"host\": {\n  \"cardindex\": 1}}", "c.json:2:3: host.cardindex: unknown key"},
		{"wrong type", `{"vm": {"cpus": "2"}}`, "c.json:1:17: vm.cpus: found a JSON string"},
		{
			"a KCIDB origin that is none", `{"ci": {"kcidb_origin": "My Lab"}}`,
			`c.json: ci.kcidb_origin is "My Lab", want lower-case letters, digits and _`,
		},
		{
			"a KCIDB build without origin", `{"ci": {"kcidb_build_id": "66f"}}`,
			`c.json: ci.kcidb_build_id is "66f", want origin:id`,
		},
		{"no memory", `{"vm": {"memory_mib": 1}}`, "c.json: vm.memory_mib is 1, want 64 or more"},
		{"vnc", `{"vm": {"vnc": "loud"}}`, `vm.vnc is "loud"`},
		{"ssh", `{"vm": {"ssh_port": 70000}}`, `vm.ssh_port is 70000`},
		{"bus", `{"vm": {"disk_bus": "scsi"}}`, `vm.disk_bus is "scsi"`},
		{"firmware", `{"vm": {"firmware": "ovmf"}}`, `vm.firmware is "ovmf", want bios, uefi or the absolute path`},
		{"scale", `{"timeout_scale": 0}`, "timeout_scale is 0"},
		{"no work", `{"workload_scale": 0}`, "workload_scale is 0"},
		{"card", `{"host": {"card_index": -1}}`, "host.card_index is -1"},
		{
			"command line", `{"guest": {"cmdline": "quiet"}}`,
			"guest.cmdline (--guest-cmdline) needs guest.kernel (--guest-kernel)",
		},
		{"lines", `{"guest": {"kernel": "7.2", "cmdline": "a\nb"}}`, `guest.cmdline is "a\nb", want one line`},
		{"no driver", `{"guest": {"driver": ""}}`, `guest.driver is "", want the name of a kernel driver`},
		{"driver", `{"host": {"driver": "../xe"}}`, `host.driver is "../xe", want the name of a kernel driver`},
		{"null", `{"host": null}`, "c.json:1:10: host: found a JSON null"},
		{
			"card and address", `{"host": {"card_index": 0, "pci_address": "0000:03:00.0"}}`,
			"host.card_index and host.pci_address: give one",
		},
		{"device id", `{"device_models": {"bmg": "Bmg_g21_12"}}`, `device_models: "bmg" is not a PCI device id`},
		{
			"long device id", `{"device_models": {"1e20b": "Bmg_g21_12"}}`,
			`device_models: "1e20b" is not a PCI device id`,
		},
		{
			"model elsewhere", `{"device_models": {"0xE20C": "../Bmg_g21_12"}}`,
			`device_models.0xE20C is "../Bmg_g21_12"`,
		},
		{"no model", `{"device_models": {"e20c": ""}}`, `device_models.e20c is ""`},
		{"no JSON", "", "c.json:1:1: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := ParseConfig("c.json", []byte(tt.data))
			if _, ok := errors.AsType[*UsageError](err); !ok || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a usage error with %q", err, tt.want)
			}
		})
	}
}

func FuzzParseConfig(f *testing.F) {
	data, err := os.ReadFile("testdata/vmtb_config.json")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := ParseConfig("c.json", data)
		if err == nil && c.Validate() != nil {
			t.Errorf("accepted what does not validate: %v", c.Validate())
		}
	})
}

// SSH port 0 differs from no SSH port.
func TestSSHPort(t *testing.T) {
	c, err := ParseConfig("f.json", []byte(`{"vm": {"ssh_port": 0, "vnc": "local"}}`))
	if err != nil || c.VM.SSHPort == nil || *c.VM.SSHPort != 0 || c.VM.VNC != "local" {
		t.Errorf("%+v, %v", c, err)
	}
	if c = DefaultConfig(); c.VM.SSHPort != nil || c.VM.Screens("on") != "on" {
		t.Errorf("by default: %+v", c.VM)
	}
}

package vgpu

import (
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"

	"vmtb/bench"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden pins the plan of every model for every number of VFs and every scheduler.
func TestGolden(t *testing.T) {
	for _, id := range []uint16{0xe20b, 0xe212, 0xb080, 0x56c0} {
		m, err := LoadModel(id, nil, Files())
		if err != nil {
			t.Fatal(err)
		}
		t.Run(m.Name, func(t *testing.T) {
			got := describe(t, m)
			file := filepath.Join("testdata", m.Name+".golden")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func describe(t *testing.T, m *Model) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "%s, version %s\nspare %+v\n", m.Name, m.Version, m.spare.resources(true))
	for n := 1; n <= 17; n++ {
		plan, note, err := m.Plan(n, DefaultProfile)
		fmt.Fprintf(&b, "\n%d VFs: ", n)
		if err != nil {
			fmt.Fprintf(&b, "%v\n", err)
			continue
		}
		fmt.Fprintf(&b, "%s\n  %+v\n", note, *plan.Quota)
		m.ECC = false
		if off, _, err := m.Plan(n, DefaultProfile); err != nil {
			t.Error(err)
		} else if off.Quota.VRAM != plan.Quota.VRAM {
			fmt.Fprintf(&b, "  without ECC: VRAM %d\n", off.Quota.VRAM)
		}
		m.ECC = true
		for _, mode := range []SchedulerMode{
			Infinite, DefaultProfile, Flexible30FPS, Fixed30FPS, FlexibleBurstableQoS,
		} {
			s, err := m.Scheduling(n, mode)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(&b, "  %-23s PF %s; VF %s; if idle %v\n", mode, s.PF, s.VF, s.ScheduleIfIdle)
		}
	}
	return b.String()
}

func TestBurstableRoundsDown(t *testing.T) {
	m, err := LoadModel(0xe20b, nil, Files())
	if err != nil {
		t.Fatal(err)
	}
	s, err := m.Scheduling(24, FlexibleBurstableQoS) // 2000 // 23 * 0.5 is 43.0 in Python, and 42.5 for 24 other VFs
	if err != nil || s.VF != (TimeSlice{43, 43000}) {
		t.Errorf("24 VFs: %s, %v", s.VF, err)
	}
	if s, err = m.Scheduling(25, FlexibleBurstableQoS); err != nil || s.VF != (TimeSlice{41, 41500}) {
		t.Errorf("25 VFs: %s, %v", s.VF, err)
	}
	if _, err = m.Scheduling(2, "NO_SUCH"); err == nil || !strings.Contains(err.Error(), "NO_SUCH") {
		t.Errorf("unknown mode: %v", err)
	}
}

func builtIn(t testing.TB, name string) []byte {
	t.Helper()
	b, err := fs.ReadFile(Files(), name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestLoadModel(t *testing.T) {
	mine := fstest.MapFS{
		"Ptl.json": {Data: []byte(strings.Replace(string(builtIn(t, "Ptl.json")), `"0.1"`, `"mine"`, 1))},
	}
	for _, c := range []struct {
		name    string
		device  uint16
		mapping map[string]string
		want    string
	}{
		{"known", 0xe20b, nil, "Bmg_g21_12 1.2"},
		{"mapped", 0xe20c, map[string]string{"E20C": "Bmg_g21_12.json"}, "Bmg_g21_12 1.2"},
		{"mapped with 0x", 0xe20c, map[string]string{"0xe20c": "Flex170"}, "Flex170 1.1"},
		{"the user's file counts", 0xfd81, nil, "Ptl mine"},
	} {
		m, err := LoadModel(c.device, c.mapping, Files(), mine)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		} else if got := m.Name + " " + m.Version; got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	var ue *bench.UsageError
	if _, err := LoadModel(0x1234, nil, mine); !errors.As(err, &ue) || !errors.Is(err, bench.ErrNotAvailable) ||
		!strings.Contains(err.Error(), "1234") {
		t.Errorf("unknown device: %v", err)
	}
	if _, err := LoadModel(0xe20b, nil, mine); !errors.As(err, &ue) ||
		!strings.Contains(err.Error(), "Bmg_g21_12.json") {
		t.Errorf("missing file: %v", err)
	}
}

// TestNearestModel: for a GPU without a profile file, the error names the nearest model of its
// family.
func TestNearestModel(t *testing.T) {
	for device, says := range map[uint16]string{
		0xe211: `e211 (Battlemage): not available here (the nearest model is Bmg_g21_12: ` +
			`"device_models": {"e211": "Bmg_g21_12"} in the configuration selects it`,
		0xe216: `{"e216": "Bmg_g21_12"}`,
		0xe223: `{"e223": "Bmg_g21_12"}`,
		0x56c1: `the nearest model is Flex170`,
		0xd740: `(Nova Lake S)`,
		0xd75f: `the nearest model is Ptl`,
		0x6750: `(Crescent Island): not available here (map the id to a profile file of your own, ` +
			`"device_models": {"6750": "Mine"}`,
		0x1234: `map the id to a profile file of your own`,
	} {
		_, err := LoadModel(device, nil, Files())
		if !errors.Is(err, bench.ErrNotAvailable) || !strings.Contains(err.Error(), says) {
			t.Errorf("%04x: %v, want %s", device, err, says)
		}
		if _, name, found := strings.Cut(says, `": "`); found && !strings.HasPrefix(name, "Mine") {
			file, _, _ := strings.Cut(name, `"`)
			offered := map[string]string{"e211": "Bmg_g21_12", "e216": "Bmg_g21_12", "e223": "Bmg_g21_12"}
			if m, err := LoadModel(device, offered, Files()); err != nil || m.Name != file {
				t.Errorf("%04x as offered: %v", device, err)
			}
		}
	}
}

// TestMalformed shows the errors for malformed files.
func TestMalformed(t *testing.T) {
	good := string(builtIn(t, "Ptl.json"))
	for _, c := range []struct{ name, old, new, want string }{
		{
			"unknown key", `"VFCount": 1,`, `"VFCount": 1, "Vfcount": 1,`,
			"Ptl.json:19:30: vGPUResources.Profile.Ptl_1.Vfcount: unknown key; known here: VFCount, " +
				"LocalMemoryEccOff, " +
				"LocalMemoryEccOn, Contexts, Doorbells, GGTTSize",
		},
		{"missing key", `"version": "0.1",`, ``, "Ptl.json:1:1: version: is missing"},
		{
			"twice", `"VFCount": 1,`, `"VFCount": 1, "VFCount": 2,`,
			"Ptl.json:19:19: vGPUResources.Profile.Ptl_1.VFCount: duplicate object member name",
		},
		{
			"text for a number", `"VFCount": 1,`, `"VFCount": "1",`,
			`Ptl.json:19:16: vGPUResources.Profile.Ptl_1.VFCount: must be a whole number from 0 to 65536, not "1"`,
		},
		{
			"fraction", `"VFCount": 1,`, `"VFCount": 1.5,`,
			`Ptl.json:19:16: vGPUResources.Profile.Ptl_1.VFCount: must be a whole number from 0 to 65536, not 1.5`,
		},
		{
			"negative", `"Doorbells": 16,`, `"Doorbells": -1,`,
			`Ptl.json:10:18: PFResources.Profile.MinimumPFResources.Doorbells: must be a whole number from 0 to 256, ` +
				`not -1`,
		},
		{
			"no VFs", `"VFCount": 2,`, `"VFCount": 0,`,
			`Ptl.json:27:16: vGPUResources.Profile.Ptl_2.VFCount: must not be 0`,
		},
		{
			"number for a truth", `"ScheduleIfIdle": false`, `"ScheduleIfIdle": 0`,
			`Flexible_30fps_GPUTimeSlicing.GPUTimeSlicing.ScheduleIfIdle: must be true or false, not 0`,
		},
		{
			"list", `"Default": null`, `"Default": []`,
			"Ptl.json:16:14: vGPUResources.Default: this file must not have a list",
		},
		{
			"object for text", `"version": "0.1"`, `"version": {}`,
			"Ptl.json:2:13: version: must be a string, not an object",
		},
		{
			"no such default", `"Default": "Disabled"`, `"Default": "On"`,
			`vGPUSecurity.Default: there is no profile "On"`,
		},
		{
			"syntax", `"VFCount": 1,`, `"VFCount": 1`,
			`Ptl.json:20:5: vGPUResources.Profile.Ptl_1: invalid character '"' after object value`,
		},
		{"cut off", good[len(good)/2:], ``, "Ptl.json:"},
		{"something after the end", `"GuCThresholdEngineReset": 0
			}
		}
	}
}`, `"GuCThresholdEngineReset": 0}}}} 1`, "the file has more text after the end of the object"},
		{"formula", `lambda n: max(32 // n, 1)`, `lambda n: max(32 // n, 1`, "Ptl.json:53:29: " +
			"vGPUScheduler.Profile.Flexible_30fps_GPUTimeSlicing.GPUTimeSlicing.VFAttributes.VFExecutionQuantum: " +
			"\"lambda n: " +
			"max(32 // n, 1\": formula:1:25: got end of file, want ')'"},
		{"no lambda", `lambda n: max(32 // n, 1)`, `32`, "not a lambda of one argument"},
		{
			"formula that fails", `lambda n: max(32 // n, 1)`, `lambda n: 1 // (n - 1)`,
			"for 1 VF: floored division by zero",
		},
		{
			"negative result", `lambda n: max(32 // n, 1)`, `lambda n: 1 - n`,
			"for 2 VFs: -1 is not a number from 0 to 4294967295",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			if !strings.Contains(good, c.old) {
				t.Fatalf("the good file does not hold %q", c.old)
			}
			_, err := ParseModel("Ptl.json", []byte(strings.Replace(good, c.old, c.new, 1)))
			var ue *bench.UsageError
			if !errors.As(err, &ue) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got  %v\nwant %s", err, c.want)
			}
		})
	}
}

// TestFormulas: a formula is accepted only if it is arithmetic. Any other text is refused at once.
func TestFormulas(t *testing.T) {
	for text, want := range map[string]string{
		"lambda VFCount : max( 32 // VFCount, 1)": "10", "lambda n: 2.9": "2",
		"lambda n: n % 2 + abs(-1) + int(1.5)":                                                       "3",
		"lambda VFCount : 128000 if (VFCount == 1) else max( 64000 // VFCount, 16000)":               "21333",
		"lambda VFCount : min((2000 // max(VFCount-1,1)*0.5, 50))":                                   "50",
		"lambda VFCount : (2000 // max(VFCount-1,1) - min((2000 // max(VFCount-1,1))*0.5, 50))*1000": "950000",
		"lambda n: True": "column 11: only arithmetic", "lambda n: print(n)": "only arithmetic is allowed",
		"lambda n: 'x' * 1000000000":  "only arithmetic is allowed",
		"lambda n: (n,) * 1000000000": "only arithmetic is allowed", "lambda n: [n]": "only arithmetic is allowed",
		"lambda n: [x for x in range(n)]": "only arithmetic is allowed",
		"lambda n: (lambda m: m)(n)":      "only arithmetic is allowed", "lambda n: max": "only arithmetic is allowed",
		"lambda n: n.real":  "only arithmetic is allowed",
		"lambda n: min(*n)": "must be iterable", "lambda n: max(n, key=abs)": "only arithmetic is allowed",
		"lambda n: m": "only arithmetic is allowed", "lambda: 1": "of one argument",
		"lambda *n: 1": "plain argument", "lambda n, m: 1": "of one argument", "lambda n=1: 1": "plain argument",
		"def f(n): return 1": "",
		"lambda n: 1e400":    "", "lambda n: 1e308 * 10": "is not a number", "lambda n: 1e9999 - 1e9999": "",
		"lambda n: 1 << 10000000":                      "",
		"lambda n: " + strings.Repeat("(", 2000) + "n": "longer than",
		"lambda n: " + strings.Repeat("-", 900) + "n":  "3",
		"":                                     "",
		"lambda n: 99999999999999999999999999": "is not a number", "lambda n: n > 2": "not a number",
	} {
		start := time.Now()
		f, err := newFormula("file:1: key", text)
		var got uint64
		if err == nil {
			got, err = f.eval(3)
		}
		said := fmt.Sprint(got)
		if err != nil {
			said = err.Error()
		}
		if !strings.Contains(said, want) || err == nil && want != said {
			t.Errorf("%.60q: %.200s, want %s", text, said, want)
		}
		if d := time.Since(start); d > time.Second {
			t.Errorf("%.60q took %s", text, d)
		}
	}
}

func FuzzProfile(f *testing.F) {
	for _, name := range []string{"Ptl.json", "Flex170.json", "Bmg_g21_12.json"} {
		f.Add(builtIn(f, name), 2)
	}
	f.Add([]byte(`{"version":"1","PFResources":{"Default":null,"Profile":{}},"x":[[[[`), 1)
	f.Fuzz(func(t *testing.T, data []byte, n int) {
		m, err := ParseModel("f.json", data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "f.json:") {
				t.Errorf("an error that does not say where: %v", err)
			}
			return
		}
		for _, mode := range []SchedulerMode{DefaultProfile, FlexibleBurstableQoS} {
			if plan, note, err := m.Plan(n, mode); err == nil && (plan.Quota == nil || note == "") {
				t.Errorf("%d VFs: %+v, %q", n, plan, note)
			}
		}
	})
}

func FuzzFormula(f *testing.F) {
	f.Add("lambda n: 128000 if n == 1 else max(64000 // n, 16000)", 3)
	f.Add("lambda n: min((2000 // max(n-1,1)*0.5, 50))", 24)
	f.Add("lambda n: (n,) * 1000000000", 1)
	f.Fuzz(func(t *testing.T, text string, n int) {
		fm, err := newFormula("f", text)
		if err != nil {
			return
		}
		if v, err := fm.eval(n); err == nil && v > formulaMost {
			t.Errorf("%d", v)
		}
	})
}

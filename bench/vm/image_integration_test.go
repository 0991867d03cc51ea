//go:build integration

package vm

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"vmtb/bench"
)

// TestIntegrationBootRecord: the real qemu-img tells disks to boot from from others.
func TestIntegrationBootRecord(t *testing.T) {
	dir := t.TempDir()
	boots := make([]byte, 4096)
	copy(boots[sectorSize-len(bootSignature):], bootSignature)
	for _, tt := range []struct {
		name string
		data []byte
		want bool
	}{{"boots", boots, true}, {"zeros", make([]byte, 4096), false}, {"short", []byte("x"), false}, {"empty", nil, false}} {
		raw, qcow2 := filepath.Join(dir, tt.name+".img"), filepath.Join(dir, tt.name+".qcow2")
		must(t, os.WriteFile(raw, tt.data, 0o600))
		must(t, exec.Command("qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, qcow2).Run())
		for format, image := range map[string]string{"raw": raw, "qcow2": qcow2} {
			info, err := InspectImage(t.Context(), image)
			must(t, err)
			if got, err := info.BootRecord(t.Context(), image); got != tt.want || info.Format != format || err != nil {
				t.Errorf("%s: %+v, boot record %v, %v", image, info, got, err)
			}
		}
	}
	torn := filepath.Join(dir, "torn")
	must(t, os.WriteFile(torn, []byte("QFI\xfbgarbage"), 0o600))
	if _, err := InspectImage(t.Context(), torn); !errors.As(err, new(*bench.UsageError)) {
		t.Errorf("%v, want a UsageError", err)
	}
}

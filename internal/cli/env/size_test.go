package env

import "testing"

func TestMebibytes(t *testing.T) {
	for text, want := range map[string]int{
		"64": 64, "512M": 512, "512MiB": 512, "4G": 4096, "4g": 4096, "4 GiB": 4096, "1T": 1 << 20, "2048K": 2, "0": 0,
	} {
		var n int
		if err := NewMebibytes(&n, 7).Set(text); err != nil || n != want {
			t.Errorf("%q is %d MiB, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range []string{
		"", "G", "4X", "-1", "4.5G", "1K", "1e3", "99999999999999999999", "17179869184G", "4096T", "4GG", "0x10",
	} {
		n := 0
		if err := NewMebibytes(&n, 7).Set(text); err == nil || n != 7 {
			t.Errorf("%q is taken for %d MiB", text, n)
		}
	}
}

package host_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"vmtb/bench"
	"vmtb/bench/host"
)

func TestBootSlots(t *testing.T) {
	slots := host.BootSlots{Dir: filepath.Join(t.TempDir(), "boots"), N: 2}
	never := func(int, func() error) error { t.Error("waits for a free slot"); return nil }
	first, err := slots.Take(t.Context(), never)
	if err != nil {
		t.Fatal(err)
	}
	second, err := slots.Take(t.Context(), never)
	if err != nil {
		t.Fatal(err)
	}
	waited := false
	third, err := slots.Take(t.Context(), func(n int, wait func() error) error {
		if n != 2 {
			t.Errorf("%d slots, want 2", n)
		}
		waited = true
		first()
		return wait()
	})
	if err != nil || !waited {
		t.Fatalf("%v, waited: %t, want the slot that was given back", err, waited)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	_, err = slots.Take(ctx, func(_ int, wait func() error) error {
		cancel(enough)
		return wait()
	})
	if !errors.Is(err, enough) {
		t.Errorf("%v, want the cause of the context's end", err)
	}
	second()
	third()
	for range 2 {
		release, err := slots.Take(t.Context(), never)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
	}
}

func TestBootSlotsWithoutDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var infra *bench.InfraError
	if _, err := (host.BootSlots{Dir: file}).Take(t.Context(), nil); !errors.As(err, &infra) {
		t.Errorf("%v, want an InfraError", err)
	}
}

package contract_test

import (
	"bytes"
	"context"
	"io"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"vmtb/bench/pci"
	"vmtb/bench/vfio"
	"vmtb/bench/xe/contract"
	"vmtb/internal/fake/fakehost"
)

// A brokenVFIO is a fake host whose VFIO devices are changed by wrap.
type brokenVFIO struct {
	fake
	wrap func(contract.VFIODevice) contract.VFIODevice
}

func (f brokenVFIO) OpenVFIO(group int, address string) (contract.VFIODevice, error) {
	d, err := f.fake.OpenVFIO(group, address)
	if err != nil {
		return nil, err
	}
	return f.wrap(d), nil
}

// Each of these devices breaks one promise.
type (
	moreFlags    struct{ contract.VFIODevice }
	otherSize    struct{ contract.VFIODevice }
	alwaysStops  struct{ contract.VFIODevice }
	neverFails   struct{ contract.VFIODevice }
	noSteps      struct{ contract.VFIODevice }
	otherErrno   struct{ contract.VFIODevice }
	forgetsWords struct{ contract.VFIODevice }
	noReset      struct{ contract.VFIODevice }
	keepsWords   struct {
		contract.VFIODevice
		last *uint32
	}
	cutsData struct{ contract.VFIODevice }
)

func (moreFlags) MigrationFlags() (uint64, error) {
	return vfio.HasStopCopy | vfio.HasP2P | vfio.HasPreCopy, nil
}
func (otherSize) DataSize() (uint64, error)    { return 1, nil }
func (alwaysStops) State() (vfio.State, error) { return vfio.Stop, nil }
func (noReset) Reset() error                   { return nil }
func (forgetsWords) SetRegister(int64, uint32) error {
	return nil
}

func (d keepsWords) SetRegister(offset int64, value uint32) error {
	*d.last = value
	return d.VFIODevice.SetRegister(offset, value)
}
func (d keepsWords) Register(int64) (uint32, error) { return *d.last, nil }

// neverFails reports success for a load that fails.
func (d neverFails) SetState(s vfio.State) (io.ReadWriteCloser, error) {
	data, err := d.VFIODevice.SetState(s)
	if data != nil {
		return swallows{data}, err
	}
	return nil, nil //nolint:nilnil // no data, by design
}

type swallows struct{ io.ReadWriteCloser }

func (s swallows) Write(p []byte) (int, error) {
	_, _ = s.ReadWriteCloser.Write(p)
	return len(p), nil
}

// noSteps changes states without an effect on the VF.
func (d noSteps) SetState(s vfio.State) (io.ReadWriteCloser, error) {
	if s == vfio.RunningP2P {
		return nil, nil //nolint:nilnil // no data, by design
	}
	return d.VFIODevice.SetState(s)
}

func (d noSteps) State() (vfio.State, error) {
	s, err := d.VFIODevice.State()
	if s == vfio.Running {
		s = vfio.RunningP2P
	}
	return s, err
}

func (d otherErrno) SetState(s vfio.State) (io.ReadWriteCloser, error) {
	data, err := d.VFIODevice.SetState(s)
	if err != nil {
		err = syscall.EPERM
	}
	return data, err
}

func (d otherErrno) MigrationFlags() (uint64, error) { return 0, syscall.ENOPKG }

// cutsData cuts off the trailer of the data.
func (d cutsData) SetState(s vfio.State) (io.ReadWriteCloser, error) {
	data, err := d.VFIODevice.SetState(s)
	if err != nil || s != vfio.StopCopy {
		return data, err
	}
	all, err := io.ReadAll(data)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Writer
		io.Closer
	}{bytes.NewReader(all[:len(all)-1]), data, data}, nil
}

// TestVFIOMutations: if a VFIO driver breaks a promise, the rule about it fails.
func TestVFIOMutations(t *testing.T) {
	type device = contract.VFIODevice
	saves, plain := vfioDevice(false), vfioDevice(true)
	for _, c := range []struct {
		rule string
		host fakehost.Options
		wrap func(device) device
	}{
		{"vfio_flags", saves, func(d device) device { return moreFlags{d} }},
		{"vfio_flags", saves, func(d device) device { return otherSize{d} }},
		{"vfio_plain", plain, func(d device) device { return otherErrno{d} }},
		{"vfio_open", saves, func(d device) device { return alwaysStops{d} }},
		{"vfio_states", saves, func(d device) device { return noSteps{d} }},
		{"vfio_states", saves, func(d device) device { return cutsData{d} }},
		{"vfio_path", saves, func(d device) device { return alwaysStops{d} }},
		{"vfio_illegal", saves, func(d device) device { return otherErrno{d} }},
		{"vfio_carries", saves, func(d device) device { return forgetsWords{d} }},
		{"vfio_checked", saves, func(d device) device { return neverFails{d} }},
		{"vfio_checked", saves, func(d device) device { return noReset{d} }},
		{"vfio_quotas_differ", saves, func(d device) device { return neverFails{d} }},
		{"vfio_flr", saves, func(d device) device { return noReset{d} }},
		{"vfio_flr", saves, func(d device) device { return keepsWords{d, new(uint32)} }},
	} {
		t.Run(c.rule, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := contract.NewProbe(
					brokenVFIO{fake{fakehost.New(c.host)}, c.wrap}, &journal{}, pci.Address("0000:03:00.0"),
				)
				if err != nil {
					t.Fatal(err)
				}
				if err := p.Settle(t.Context()); err != nil {
					t.Fatal(err)
				}
				r := ruleNamed(t, c.rule)
				if reason := p.Unmet(r); reason != "" {
					t.Fatal(reason)
				}
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := r.Run(ctx, p); err == nil {
					t.Error("not noticed")
				}
			})
		})
	}
}

func vfioDevice(noMigration bool) fakehost.Options {
	return device(fakehost.BMG(), func(o *fakehost.Options) { o.NoMigration = noMigration })
}

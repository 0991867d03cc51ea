package vgpu

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

// PlanFor reads the model only if it is needed, and names the profile that fits.
func TestPlanFor(t *testing.T) {
	noModel := func() (*Model, error) { return nil, errors.New("no model") }
	model := func() (*Model, error) { return LoadModel(0xe20b, nil, Files()) }
	m, err := model()
	if err != nil {
		t.Fatal(err)
	}
	if plan, note, err := PlanFor(2, ProfileAuto, Infinite, noModel); err != nil || note != "" ||
		!reflect.DeepEqual(plan, Auto(2)) {
		t.Errorf("fair shares: %+v, %q, %v", plan, note, err)
	}
	if _, _, err := PlanFor(2, ProfileAuto, Flexible30FPS, noModel); err == nil {
		t.Error("a mode without a model")
	}
	want := Auto(2)
	want.Scheduling, err = m.Scheduling(2, Flexible30FPS)
	if plan, _, err2 := PlanFor(2, ProfileAuto, Flexible30FPS, model); err != nil || err2 != nil ||
		!reflect.DeepEqual(plan, want) {
		t.Errorf("fair shares with a mode: %+v, %v, %v", plan, err, err2)
	}
	fit, _, err := m.Plan(2, DefaultProfile)
	if plan, note, err2 := PlanFor(2, ProfileFit, DefaultProfile, model); err != nil || err2 != nil || note == "" ||
		!reflect.DeepEqual(plan, fit) {
		t.Errorf("the profile that fits: %+v, %q, %v, %v", plan, note, err, err2)
	}
	named, err := m.PlanNamed("Bmg_4", 2, Infinite)
	if plan, _, err2 := PlanFor(2, "Bmg_4", Infinite, model); err != nil || err2 != nil ||
		!reflect.DeepEqual(plan, named) {
		t.Errorf("Bmg_4: %+v, %v, %v", plan, err, err2)
	}
	if _, _, err := PlanFor(2, "Bmg_99", Infinite, model); err == nil || !strings.Contains(err.Error(), "Bmg_99") {
		t.Errorf("Bmg_99: %v", err)
	}
}

package vm

// Spec returns what the machine was started as.
func (m *VM) Spec() Spec { return m.spec }

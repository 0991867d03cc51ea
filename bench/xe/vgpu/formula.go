package vgpu

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"go.starlark.net/starlark"
	"go.starlark.net/syntax"

	"vmtb/bench"
	"vmtb/internal/prose"
)

// A formula is a Python lambda of the number of VFs, from a profile file. Starlark evaluates it: a
// Python without files or clocks. Only arithmetic on one number is allowed, so a formula can
// neither hang nor use much memory.
type formula struct {
	where string // "Ptl.json:42: vGPUScheduler.….VFExecutionQuantum"
	text  string
	fn    starlark.Value
}

const (
	formulaLength = 1000 // bytes
	formulaSteps  = 10_000
	formulaMost   = math.MaxUint32 // the most that the kernel's files accept
)

func newFormula(where, text string) (*formula, error) {
	f := &formula{where: where, text: text}
	if len(text) > formulaLength {
		return nil, f.errorf("longer than %d characters", formulaLength)
	}
	options := &syntax.FileOptions{}
	expr, err := options.ParseExpr("formula", text, 0)
	if err != nil {
		return nil, f.errorf("%w", err)
	}
	lambda, ok := expr.(*syntax.LambdaExpr)
	if !ok || len(lambda.Params) != 1 {
		return nil, f.errorf("not a lambda of one argument")
	}
	param, ok := lambda.Params[0].(*syntax.Ident)
	if !ok {
		return nil, f.errorf("not a lambda of one plain argument")
	}
	if err := f.check(lambda.Body, param.Name); err != nil {
		return nil, err
	}
	if f.fn, err = starlark.EvalExprOptions(options, &starlark.Thread{}, expr, nil); err != nil {
		return nil, f.errorf("%w", err)
	}
	return f, nil
}

// check returns an error unless e is arithmetic, comparison, if-else, or min, max, abs, int of
// numbers.
func (f *formula) check(e syntax.Expr, param string) error {
	switch e := e.(type) {
	case *syntax.ParenExpr:
		return f.check(e.X, param)
	case *syntax.CondExpr:
		return errors.Join(f.check(e.Cond, param), f.check(e.True, param), f.check(e.False, param))
	case *syntax.BinaryExpr:
		return errors.Join(f.check(e.X, param), f.check(e.Y, param))
	case *syntax.UnaryExpr:
		if e.X != nil {
			return f.check(e.X, param)
		}
	case *syntax.Literal:
		if e.Token == syntax.INT || e.Token == syntax.FLOAT {
			return nil
		}
	case *syntax.Ident:
		if e.Name == param {
			return nil
		}
	case *syntax.CallExpr:
		if fn, ok := e.Fn.(*syntax.Ident); ok && slices.Contains([]string{"min", "max", "abs", "int"}, fn.Name) {
			return f.checkAll(arguments(e), param)
		}
	}
	start, _ := e.Span()
	return f.errorf("column %d: only arithmetic is allowed", start.Col)
}

func (f *formula) checkAll(list []syntax.Expr, param string) error {
	for _, e := range list {
		if err := f.check(e, param); err != nil {
			return err
		}
	}
	return nil
}

// arguments returns the arguments of a call. It treats min((a, b)) as min(a, b). Tuples are allowed
// nowhere else: they can be multiplied.
func arguments(call *syntax.CallExpr) []syntax.Expr {
	if len(call.Args) != 1 {
		return call.Args
	}
	arg := call.Args[0]
	for {
		switch e := arg.(type) {
		case *syntax.ParenExpr:
			arg = e.X
			continue
		case *syntax.TupleExpr:
			return e.List
		}
		return call.Args
	}
}

// eval evaluates the formula for n VFs, and rounds fractions down.
func (f *formula) eval(n int) (uint64, error) {
	thread := &starlark.Thread{Name: f.where}
	thread.SetMaxExecutionSteps(formulaSteps)
	v, err := starlark.Call(thread, f.fn, starlark.Tuple{starlark.MakeInt(n)}, nil)
	if err != nil {
		return 0, f.errorf("for %s: %w", prose.Count(n, "VF"), err)
	}
	whole := math.NaN()
	switch v := v.(type) {
	case starlark.Int:
		whole = float64(v.Float()) // exact below 2^53; larger numbers are refused below
	case starlark.Float:
		whole = math.Floor(float64(v))
	}
	if !(whole >= 0 && whole <= formulaMost) {
		return 0, f.errorf("for %s: %s is not a number from 0 to %d", prose.Count(n, "VF"), v, uint64(formulaMost))
	}
	return uint64(whole), nil
}

func (f *formula) errorf(format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &bench.UsageError{Err: fmt.Errorf("%s: %q: %w", f.where, f.text, err)}
}

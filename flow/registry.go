package flow

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Default deadlines, before [Options.TimeoutScale].
const (
	DefaultCaseTimeout     = 10 * time.Minute
	DefaultSetUpTimeout    = 10 * time.Minute
	DefaultResetTimeout    = 2 * time.Minute
	DefaultTearDownTimeout = 5 * time.Minute
	needsTimeout           = time.Minute
	restoreTimeout         = 2 * time.Minute
)

// A Class is a group of cases that share a fixture. P is the parameter: its String is the part of
// the id in brackets. V is the value that the fixture passes to the cases. A class without a name
// holds cases that stand alone in the file.
type Class[P fmt.Stringer, V any] struct {
	Name, Doc string
	Params    []P // in the order of the run; [NoParam] for a class without
	Fixture   Fixture[P, V]
	Needs     []Need[P]
	Timeout   time.Duration // of each case; 0 is DefaultCaseTimeout
	Cases     []Case[V]

	Own          bool     // a flow of vmtb, not of the Python tool
	Unprivileged bool     // needs no root
	AllowLog     []string // regular expressions of kernel messages that a rule forbids and these cases allow
}

// A Case is one flow. Func reports its result through t. ctx ends at the deadline, or when the run
// is interrupted.
type Case[V any] struct {
	Name, Doc string
	Func      func(ctx context.Context, t *T, v V)
	Timeout   time.Duration // 0 is the timeout of the class
	// After names an earlier case of the class on which this case depends. If that case ran and did
	// not pass, this case is skipped.
	After    string
	AllowLog []string // in addition to those of the class
	// ByName marks a case that is known to harm the machine. Only a pattern that names the case,
	// without "*", selects it.
	ByName bool
}

// A Fixture prepares the bench for the cases of a class with one parameter. Each function may be
// nil. If SetUp fails, TearDown does not run: the undo journal and [Env.Cleanup] undo what SetUp
// did. Reset runs between two cases. If Reset fails, the fixture is torn down and set up again.
type Fixture[P, V any] struct {
	SetUp    func(ctx context.Context, env *Env, p P) (V, error)
	Reset    func(ctx context.Context, env *Env, v V) error
	TearDown func(ctx context.Context, env *Env, v V) error

	SetUpTimeout, ResetTimeout, TearDownTimeout time.Duration // 0 is the default
}

// A Need is a precondition, checked before SetUp. If Check returns a reason, the cases are skipped.
// If it returns an error other than [ErrLater], their result is error. Check must not change the
// host, so that skipped cases leave it unchanged.
type Need[P any] struct {
	Name  string
	Check func(ctx context.Context, env *Env, p P) (reason string, err error)
}

// NoParam is the parameter of a class that has none: Params: []flow.NoParam{{}}.
type NoParam struct{}

func (NoParam) String() string { return "" }

// An Item is one case with one parameter, as it is listed, selected and planned. Deadlines are
// unscaled.
type Item struct {
	ID              ID            `json:"id"`
	Name            string        `json:"name"` // ID.String
	Doc             string        `json:"doc,omitempty"`
	ClassDoc        string        `json:"class_doc,omitempty"`
	Needs           []string      `json:"needs,omitempty"`
	Timeout         time.Duration `json:"timeout_ns"`
	SetUpTimeout    time.Duration `json:"set_up_timeout_ns"`
	ResetTimeout    time.Duration `json:"reset_timeout_ns"`
	TearDownTimeout time.Duration `json:"tear_down_timeout_ns"`
	After           string        `json:"after,omitempty"` // Case.After
	Own             bool          `json:"own,omitempty"`   // Class.Own
	Unprivileged    bool          `json:"unprivileged,omitempty"`
	ByName          bool          `json:"by_name,omitempty"` // Case.ByName
	AllowLog        []string      `json:"allow_log,omitempty"`
	Quarantine      *Quarantine   `json:"quarantine,omitempty"`
	Dir             string        `json:"dir,omitempty"` // folder in the run directory; "" before planning

	group *group
	run   func(ctx context.Context, t *T, v any)

	allow, allowClass []*regexp.Regexp // compiled AllowLog: of class and case, of the class alone
}

// before returns the id of the case in it.After.
func (it Item) before() ID { return ID{it.ID.File, it.ID.Class, it.After, it.ID.Param} }

// A group is a class with one parameter, without its types. One fixture serves it. v is a *V.
type group struct {
	needs    []need
	setUp    func(ctx context.Context, env *Env) (v any, err error)
	reset    func(ctx context.Context, env *Env, v any) error
	tearDown func(ctx context.Context, env *Env, v any) error
}

type need struct {
	name  string
	check func(ctx context.Context, env *Env) (reason string, err error)
}

// reason returns the skip reason of cases whose need is not met.
func (n need) reason(why string) string { return fmt.Sprintf("need %s: %s", n.name, why) }

// A Registry holds the flows that a program offers.
type Registry struct {
	items   []Item // in the order of registration
	files   []string
	classes map[[2]string]string // file and class, to the place of registration
	ids     map[ID]string
	errs    []error

	patterns map[string]*regexp.Regexp // of AllowLog: many flows have the same, and every command registers them
}

// NewRegistry returns an empty registry.
func NewRegistry() *Registry {
	return &Registry{
		classes: map[[2]string]string{}, ids: map[ID]string{}, patterns: map[string]*regexp.Regexp{},
	}
}

// Err returns every mistake made in registration, each with the file and line of its Add; nil if
// there is none.
func (r *Registry) Err() error { return errors.Join(r.errs...) }

// Items returns all registered cases in plan order: file (in order of registration), class,
// parameter, case.
func (r *Registry) Items() []Item {
	items := make([]Item, 0, len(r.items))
	for _, file := range r.files {
		for _, it := range r.items {
			if it.ID.File == file {
				items = append(items, it)
			}
		}
	}
	return items
}

// Add registers c in a file such as "test_basic", without directory and suffix. [Registry.Err]
// returns the mistakes.
func Add[P fmt.Stringer, V any](r *Registry, file string, c Class[P, V]) {
	where := caller()
	if !r.checkClass(where, file, c.Name, len(c.Params), len(c.Cases)) {
		return
	}
	for i, n := range c.Needs {
		if n.Name == "" || n.Check == nil {
			r.fail(where, "%s::%s: need %d lacks a name or a function", file, c.Name, i+1)
			return
		}
	}
	for _, p := range c.Params {
		if strings.ContainsFunc(p.String(), func(r rune) bool { return !unicode.IsPrint(r) }) {
			r.fail(where, "%s::%s: parameter %q has non-printable characters", file, c.Name, p)
			continue
		}
		g := newGroup(c, p)
		for _, k := range c.Cases {
			it := newItem(c, k, ID{file, c.Name, k.Name, p.String()})
			it.group = g
			it.allowClass = r.compile(where, it.ID, c.AllowLog)
			it.allow = append(slices.Clip(it.allowClass), r.compile(where, it.ID, k.AllowLog)...)
			if r.checkCase(where, it, k.Func != nil) {
				it.run = func(ctx context.Context, t *T, v any) { k.Func(ctx, t, *v.(*V)) }
				r.items = append(r.items, it)
			}
		}
	}
}

func newItem[P fmt.Stringer, V any](c Class[P, V], k Case[V], id ID) Item {
	it := Item{
		ID: id, Name: id.String(), Doc: k.Doc, ClassDoc: c.Doc, After: k.After, Own: c.Own,
		Unprivileged: c.Unprivileged, ByName: k.ByName, AllowLog: slices.Concat(c.AllowLog, k.AllowLog),
	}
	for _, n := range c.Needs {
		it.Needs = append(it.Needs, n.Name)
	}
	first := func(ds ...time.Duration) time.Duration {
		for _, d := range ds {
			if d > 0 {
				return d
			}
		}
		return 0
	}
	it.Timeout = first(k.Timeout, c.Timeout, DefaultCaseTimeout)
	it.SetUpTimeout = first(c.Fixture.SetUpTimeout, DefaultSetUpTimeout)
	it.ResetTimeout = first(c.Fixture.ResetTimeout, DefaultResetTimeout)
	it.TearDownTimeout = first(c.Fixture.TearDownTimeout, DefaultTearDownTimeout)
	return it
}

func newGroup[P fmt.Stringer, V any](c Class[P, V], p P) *group {
	fx := c.Fixture
	g := &group{setUp: func(ctx context.Context, env *Env) (any, error) {
		v := new(V)
		if fx.SetUp == nil {
			return v, nil
		}
		var err error
		*v, err = fx.SetUp(ctx, env, p)
		return v, err
	}}
	if fx.Reset != nil {
		g.reset = func(ctx context.Context, env *Env, v any) error { return fx.Reset(ctx, env, *v.(*V)) }
	}
	if fx.TearDown != nil {
		g.tearDown = func(ctx context.Context, env *Env, v any) error { return fx.TearDown(ctx, env, *v.(*V)) }
	}
	for _, n := range c.Needs {
		g.needs = append(g.needs, need{n.Name, func(ctx context.Context, env *Env) (string, error) {
			return n.Check(ctx, env, p)
		}})
	}
	return g
}

var name = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_]*$`)

func (r *Registry) checkClass(where, file, class string, params, cases int) bool {
	before := len(r.errs)
	if !name.MatchString(file) {
		r.fail(where, "file name %q: want letters, digits and _", file)
	}
	if class != "" && !name.MatchString(class) {
		r.fail(where, "%s: class name %q: want letters, digits and _", file, class)
	}
	if first, ok := r.classes[[2]string{file, class}]; ok && class != "" {
		r.fail(where, "%s::%s is already registered at %s", file, class, first)
	}
	if cases == 0 {
		r.fail(where, "%s::%s has no cases", file, class)
	}
	if params == 0 {
		r.fail(where, "%s::%s has no parameters (flow.NoParam is for classes without)", file, class)
	}
	if len(r.errs) > before {
		return false
	}
	r.classes[[2]string{file, class}] = where
	if !slices.Contains(r.files, file) {
		r.files = append(r.files, file)
	}
	return true
}

func (r *Registry) checkCase(where string, it Item, hasFunc bool) bool {
	id := it.ID
	first, dup := r.ids[id]
	_, known := r.ids[it.before()]
	switch {
	case !name.MatchString(id.Case):
		r.fail(where, "%s: case name %q: want letters, digits and _", id.Fixture(), id.Case)
	case !hasFunc:
		r.fail(where, "%s has no function", id)
	case it.After != "" && !known:
		r.fail(where, "%s: After names %s, which is not an earlier case of its class", id, it.After)
	case dup:
		r.fail(where, "%s is already registered at %s", id, first)
	default:
		r.ids[id] = where
		return true
	}
	return false
}

// compile compiles the patterns of AllowLog.
func (r *Registry) compile(where string, id ID, patterns []string) (compiled []*regexp.Regexp) {
	for _, p := range patterns {
		if r.patterns[p] == nil {
			re, err := regexp.Compile(p)
			if err != nil {
				r.fail(where, "%s: AllowLog: %v", id, err)
				continue
			}
			r.patterns[p] = re
		}
		compiled = append(compiled, r.patterns[p])
	}
	return compiled
}

func (r *Registry) fail(where, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(where+": "+format, args...))
}

// caller returns the file and line of the call of Add.
func caller() string {
	_, file, line, _ := runtime.Caller(2)
	return short(file, line)
}

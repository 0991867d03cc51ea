// Package strictjson parses JSON files written by people. It refuses unknown keys and wrong values,
// and names file, line, column and key. So a typing error never silently becomes a default.
package strictjson

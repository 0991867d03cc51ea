// Package strictjson reads the JSON files that people write: it refuses what it does not know and says where, by
// file, line, column and key, so that a typing error never becomes a silent default.
package strictjson

// Package docstest holds the tests of what the documentation shows: examples that
// readers copy are run as they are written. It has no code of its own.
package docstest

// Package docstest tests the documentation: its links, and the examples that readers
// copy, which are run exactly as they are written. It has nothing to call.
package docstest

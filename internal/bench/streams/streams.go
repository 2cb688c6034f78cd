// Package streams measures what many streams in one process cost: memory, and how late
// their polls begin. "make bench" runs it, and so does
//
//	go test -run '^$' -bench Streams ./internal/bench/streams
package streams

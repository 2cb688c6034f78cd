// Package pyclient holds the test that runs the Python client's own tests against
// what they read: a real NATS server, and messages of the feeder's own publisher. It
// has no code of its own.
package pyclient

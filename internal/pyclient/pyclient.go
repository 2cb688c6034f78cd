// Package pyclient runs the Python client's own tests against a real NATS server, with
// messages that the feeder's own code publishes. It has nothing to call.
package pyclient

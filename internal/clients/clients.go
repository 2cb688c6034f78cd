// Package clients runs the own tests of the clients in other languages against a real NATS
// server, with messages that the feeder's own code publishes. It has nothing to call.
package clients

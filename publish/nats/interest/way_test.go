package interest

import "testing"

func TestTraces(t *testing.T) {
	for version, want := range map[string]bool{
		"2.11.0": true, "2.15.2": true, "3.0.0": true, "2.11.0-RC.1": true,
		"2.10.29": false, "1.99.0": false, "": false, "2": false, "dev": false,
	} {
		if traces(version) != want {
			t.Errorf("%q: %v", version, !want)
		}
	}
}

// TestWay: answers of servers as they would tell of ways that take more servers than a test
// has, in any order.
func TestWay(t *testing.T) {
	const (
		first   = `{"request":{"header":{}},"events":[{"type":"in","kind":0},{"type":"eg","kind":1,"hop":"1"},{"type":"eg","kind":4,"hop":"2"}]}`
		route   = `{"request":{"header":{"Nats-Trace-Hop":["1"]}},"events":[{"type":"in","kind":1}]}`
		leaf    = `{"request":{"header":{"Nats-Trace-Hop":["2"]}},"events":[{"type":"in","kind":4},{"type":"eg","kind":2,"hop":"2.1"}]}`
		gateway = `{"request":{"header":{"Nats-Trace-Hop":["2.1"]}},"events":[{"type":"in","kind":2}]}`
		client  = `{"request":{"header":{"Nats-Trace-Hop":["2.1"]}},"events":[{"type":"in","kind":2},{"type":"eg","kind":0,"sub":"cvf.t.>"}]}`
		closed  = `{"request":{"header":{"Nats-Trace-Hop":["2.1"]}},"events":[{"type":"eg","kind":0,"error":"Not delivered because subscription is closed"}]}`
		old     = `{"request":{"header":{}},"events":[{"type":"in","kind":0},{"type":"eg","kind":4,"error":"Not delivered because remote does not support message tracing"}]}`
		export  = `{"request":{"header":{}},"events":[{"type":"in","kind":0},{"type":"se","acc":"B"}]}`
		full    = `{"request":{"header":{}},"events":[{"type":"in","kind":0},{"type":"js","stream":"theirs","error":"maximum messages exceeded"}]}`
	)
	for _, c := range []struct {
		name           string
		answers        []string
		whole, reaches bool
	}{
		{"nothing yet", nil, false, false},
		{"one of three", []string{first}, false, false},
		{"three of four", []string{first, route, leaf}, false, false},
		{"all", []string{first, route, leaf, gateway}, true, false},
		{"all, the last one first", []string{gateway, leaf, route, first}, true, false},
		{"a client at the end", []string{first, client}, false, true},
		{"a closed subscription", []string{first, route, leaf, closed}, true, false},
		{"an old server behind", []string{old}, true, true},
		{"another account", []string{export}, true, true},
		{"a stream that takes nothing", []string{full}, true, false},
	} {
		w := newWay("ours")
		for _, a := range c.answers {
			if err := w.add([]byte(a)); err != nil {
				t.Error(c.name, err)
			}
		}
		if w.whole() != c.whole || w.reaches != c.reaches {
			t.Errorf("%s: whole %v, reaches %v", c.name, w.whole(), w.reaches)
		}
	}
	if err := newWay("").add([]byte("rubbish")); err == nil {
		t.Error("rubbish is taken for an answer")
	}
}

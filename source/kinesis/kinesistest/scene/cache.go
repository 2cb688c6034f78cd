package scene

import (
	"container/list"
	"sync"
)

// A cache keeps byte slices up to a total size, and drops the least recently used first.
type cache struct {
	mu    sync.Mutex
	limit int
	size  int
	order *list.List // of *cached, the latest first
	byKey map[string]*list.Element
}

type cached struct {
	key  string
	data []byte
}

func newCache(limit int) *cache {
	return &cache{limit: limit, order: list.New(), byKey: map[string]*list.Element{}}
}

// get returns what was added under key, nil if it was dropped.
func (c *cache) get(key string) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return nil
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).data
}

// add keeps data under key, unless the key is in use or data alone exceeds the limit.
func (c *cache) add(key string, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.byKey[key] != nil || len(data) > c.limit {
		return
	}
	c.byKey[key] = c.order.PushFront(&cached{key, data})
	c.size += len(data)
	for c.size > c.limit {
		last := c.order.Remove(c.order.Back()).(*cached)
		delete(c.byKey, last.key)
		c.size -= len(last.data)
	}
}

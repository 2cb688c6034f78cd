package metrics

// Memory is how tensors are handed over to consumers of the same host.
type Memory struct {
	// InMemory is how many tensors were published by saying where they are, AsPayload how many
	// with their payload, and NoSlot how many were made elsewhere, as no slot was free.
	InMemory, AsPayload, NoSlot uint64
	// Remade is how often the memory was made anew, as consumers did not find it any more.
	Remade uint64
	// Slots is for how many tensors there is memory, and Held how many of them are being read.
	Slots, Held int
}

// memory adds the metrics of memory, which is read at every scrape.
func (f *families) memory(read func() Memory) {
	counter := func(name, help string, value func(Memory) uint64) {
		f.counterFunc(name, help, func() float64 { return float64(value(read())) })
	}
	counter("cvfeeder_memory_tensors_total", "Tensors that were handed over in memory: the message says where. There is none without `delivery.memory`, nor of the next five.",
		func(m Memory) uint64 { return m.InMemory })
	counter("cvfeeder_memory_payloads_total", "Messages that were published with their payload although there is memory: somebody listens who does not read it, or no slot was free.",
		func(m Memory) uint64 { return m.AsPayload })
	counter("cvfeeder_memory_no_slot_total", "Tensors for which no slot of the memory was free: consumers hold or expect all of them, or they are larger than a slot. Raise `delivery.memory_bytes`, or have consumers let go of tensors.",
		func(m Memory) uint64 { return m.NoSlot })
	counter("cvfeeder_memory_remade_total", "How often the memory was made anew, because its directory or file was removed, replaced or damaged: see `memory_lost` in docs/reasons.md.",
		func(m Memory) uint64 { return m.Remade })
	f.gaugeFunc("cvfeeder_memory_slots", "For how many tensors there is memory.", func() float64 { return float64(read().Slots) })
	f.gaugeFunc("cvfeeder_memory_slots_held", "Slots of the memory that consumers are reading.", func() float64 { return float64(read().Held) })
}

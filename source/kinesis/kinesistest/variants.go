package kinesistest

// Variants are other ways in which the real service may behave, where its documents leave
// it open. They are no faults, but a client has to get along with any of them.
type Variants struct {
	// FindRunning has windows find the fragment that is running when they open.
	FindRunning bool
	// EmptyEntries has a window without visible fragments answered with NO_MEDIA for each
	// instant, and not with ResourceNotFoundException.
	EmptyEntries bool
	// EmptyRefused has such a window refused with InvalidArgumentException.
	EmptyRefused bool
	// OmitMissing leaves instants without media out of the answer, which otherwise has
	// NO_MEDIA for them.
	OmitMissing bool
	// BareEntries has entries of instants without media that have neither content nor error.
	BareEntries bool
	// ExcludeEnd has windows without the image of the instant at which they end.
	ExcludeEnd bool
	// KeepAspect has pictures keep their aspect when they are resized: they are made as
	// large as fits into the size that was asked for.
	KeepAspect bool
	// NamesPage is how many names a page of ListStreams holds, whatever is asked for; 0
	// is 10 without MaxResults, and up to 1000 with it. It is the account's: of a
	// stream's own faults it does not count.
	NamesPage int
}

func (v *Variants) settings() []setting {
	return []setting{
		{"find-running", &v.FindRunning, "", 0, "windows find the fragment that is running when they open"},
		{"empty-entries", &v.EmptyEntries, "", 0, "windows without media are answered with NO_MEDIA for each instant"},
		{"empty-refused", &v.EmptyRefused, "", 0, "windows without media are refused as invalid"},
		{"omit-missing", &v.OmitMissing, "", 0, "instants without media are left out of the answer"},
		{"bare-entries", &v.BareEntries, "", 0, "entries of instants without media have neither content nor error"},
		{"exclude-end", &v.ExcludeEnd, "", 0, "windows do not include the instant at which they end"},
		{"keep-aspect", &v.KeepAspect, "", 0, "resized pictures keep their aspect"},
		{"names-page", &v.NamesPage, "100", maxListed, "names on a page of ListStreams, whatever is asked for"},
	}
}

// names returns how many names a page of ListStreams holds, if limit were asked for; 0 is
// nothing.
func (v Variants) names(limit int) int {
	switch {
	case v.NamesPage > 0:
		return v.NamesPage
	case limit == 0:
		return listedUnasked
	}
	return min(limit, mostListed)
}

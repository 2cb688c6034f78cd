// Package sourcetest has a suite for each contract of package source, which every
// implementation passes, and an implementation of each in memory, for tests of packages
// that use the contracts.
//
//	func TestFeed(t *testing.T) {
//		sourcetest.TestFeed(t, func(_ *testing.T, s sourcetest.Stream) source.OpenFeed {
//			return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
//				return … // a feed of the stream s
//			}
//		})
//	}
package sourcetest

// Package sourcetest has the suites that implementations of the contracts of package
// source pass, and an implementation of each in memory, for the tests of those who use
// them.
//
//	func TestFeed(t *testing.T) {
//		sourcetest.TestFeed(t, func(_ *testing.T, s sourcetest.Stream) source.OpenFeed {
//			return func(l *source.Ledger, fetched func(time.Duration, error)) source.Feed {
//				return … // a feed of the stream s
//			}
//		})
//	}
package sourcetest

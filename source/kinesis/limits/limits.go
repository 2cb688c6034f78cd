// Package limits holds the documented limits of Kinesis Video Streams that go beyond a
// single GetImages request (for that, see package poll). The client keeps within them,
// the fake service enforces them, and "cvfeeder check" compares a config with them.
package limits

// The points that the service grants a stream each second, shared by all its readers.
const (
	// MediaPoints: GetImages costs one for each image that it asks for.
	MediaPoints = 500
	// MetadataPoints: GetImages costs [RequestPoints] and one for each image,
	// ListFragments one for each fragment.
	MetadataPoints = 10_000
	// RequestPoints are the metadata points of a GetImages request besides its images.
	RequestPoints = 400
)

// The requests that the control plane grants each second.
const (
	// StreamRequests and AccountRequests are for DescribeStream and for GetDataEndpoint,
	// each, on one stream and in the whole account.
	StreamRequests  = 5
	AccountRequests = 300
	// AccountLists is for ListStreams, in the whole account.
	AccountLists = 50
)

// The size of answers.
const (
	// MaxResults is the largest number of images that a GetImages request may ask for at
	// once.
	MaxResults = 100
	// MaxContent is the longest ImageContent, in characters of base64.
	MaxContent = 6_291_456
)

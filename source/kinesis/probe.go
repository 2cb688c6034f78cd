package kinesis

// ListingPoints is how many metadata points [Stream.Fragments] takes for a page.
const ListingPoints = fragmentsPage

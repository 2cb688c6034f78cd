package kinesistest

import (
	"encoding/json"
	"time"
)

const (
	maxListed = 10_000 // the most that may be asked for
	// listedUnasked and mostListed are the names of a page as users measured them: without
	// MaxResults, and whatever it says. The documents promise 10,000.
	listedUnasked = 10
	mostListed    = 1000
)

// streamInfo is what the service says about a stream.
type streamInfo struct {
	StreamName           string
	StreamARN            string
	MediaType            string
	Version              string
	Status               string
	CreationTime         json.Number
	DataRetentionInHours int
}

func (st *stream) info(now time.Time) streamInfo {
	return streamInfo{
		StreamName:           st.Name,
		StreamARN:            st.arn(now),
		MediaType:            "video/h264",
		Version:              st.version,
		Status:               string(st.status(now)),
		CreationTime:         seconds(st.created(now)),
		DataRetentionInHours: int((st.retention(now) + time.Hour - 1) / time.Hour),
	}
}

func (s *Server) listStreams(c *call) (answer, error) {
	limit, _ := number[int32](c.fields, "MaxResults", 1, maxListed)
	token := c.fields.text("NextToken", listTokenShape)
	condition, _ := c.fields.nested("StreamNameCondition")
	condition.oneOf("ComparisonOperator", "BEGINS_WITH")
	prefix := condition.text("ComparisonValue", streamNameShape)
	if err := c.fields.check(); err != nil {
		return nil, err
	}
	if err := s.admit(c, 1); err != nil {
		return nil, err
	}
	request, after := "list "+prefix, ""
	if token != "" {
		var err error
		if after, err = s.where(c, request, token); err != nil {
			return nil, err
		}
	}
	// A token names the last stream, so that none is skipped when others come or go.
	now := c.record.Time
	found, more := s.streams.withPrefix(prefix, after, s.opts.Faults.names(int(limit)), now)
	out := struct {
		StreamInfoList []streamInfo
		NextToken      string `json:",omitempty"`
	}{StreamInfoList: make([]streamInfo, 0, len(found))}
	for _, st := range found {
		out.StreamInfoList = append(out.StreamInfoList, st.info(now))
	}
	if more {
		out.NextToken = s.tokens.issue(request, found[len(found)-1].Name, now)
	}
	return answerJSON(out), nil
}

func (s *Server) describeStream(c *call) (answer, error) {
	st, err := s.stream(c)
	if err != nil {
		return nil, err
	}
	if err := s.admit(c, 1); err != nil {
		return nil, err
	}
	return answerJSON(map[string]streamInfo{"StreamInfo": st.info(c.record.Time)}), nil
}

// describeStorage answers DescribeStreamStorageConfiguration.
func (s *Server) describeStorage(c *call) (answer, error) {
	st, err := s.stream(c)
	if err != nil {
		return nil, err
	}
	if err := s.admit(c, 1); err != nil {
		return nil, err
	}
	tier := "HOT"
	if st.Warm {
		tier = "WARM"
	}
	return answerJSON(storageInfo{st.Name, st.arn(c.record.Time), storageTier{tier}}), nil
}

type storageInfo struct {
	StreamName                 string
	StreamARN                  string
	StreamStorageConfiguration storageTier
}

type storageTier struct{ DefaultStorageTier string }

// apiNames are those of GetDataEndpoint.
var apiNames = []string{
	"PUT_MEDIA", "GET_MEDIA", "LIST_FRAGMENTS", "GET_MEDIA_FOR_FRAGMENT_LIST",
	"GET_HLS_STREAMING_SESSION_URL", "GET_DASH_STREAMING_SESSION_URL", "GET_CLIP", "GET_IMAGES",
}

// getDataEndpoint answers with the address at which the client has reached the server, so
// that it works through any port forwarding. If endpoints rotate, it adds a path. It has
// one for each of the APIs, as the service does, though only two of them are served there.
func (s *Server) getDataEndpoint(c *call) (answer, error) {
	_, ok := c.fields.oneOf("APIName", apiNames...)
	c.fields.required("APIName", ok)
	st, err := s.stream(c)
	if err != nil {
		return nil, err
	}
	if err := s.admit(c, 1); err != nil {
		return nil, err
	}
	scheme := "http://"
	if c.TLS != nil {
		scheme = "https://"
	}
	return answerJSON(map[string]string{"DataEndpoint": scheme + c.Host + st.endpoint(c.record.Time)}), nil
}
